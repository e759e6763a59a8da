package slow_test

import (
	"bytes"
	"context"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"pointsman/internal/store"
	"pointsman/internal/store/storetest"
	"pointsman/steering/control"
	"pointsman/steering/slow"
)

// node is one runner with what it put in force.
type node struct {
	*slow.Runner
	local *storetest.Memory
	link  *storetest.Faulty // to the shared store; nil: there is none
	stop  func()

	mu  sync.Mutex // guards got and log
	got []control.Guidance
	log bytes.Buffer
}

// Write is the node's log.
func (n *node) Write(p []byte) (int, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.log.Write(p)
}

func (n *node) said(what string) int {
	n.mu.Lock()
	defer n.mu.Unlock()
	return strings.Count(n.log.String(), what)
}

func (n *node) applied() []control.Guidance {
	n.mu.Lock()
	defer n.mu.Unlock()
	return slices.Clone(n.got)
}

// last is the guidance in force.
func (n *node) last() control.Guidance {
	all := n.applied()
	if len(all) == 0 {
		return control.Guidance{}
	}
	return all[len(all)-1]
}

// startNode starts a node on its local store; shared may be nil.
func startNode(t *testing.T, name string, local *storetest.Memory, shared store.Store) *node {
	n := &node{local: local}
	cfg := slow.RunnerConfig{Node: name, Local: local,
		Logger:   slog.New(slog.NewTextHandler(n, nil)),
		Policies: func() []slow.Policy { return policy(control.Split{"a": 0.6, "b": 0.4}) },
		Loads: func() map[string]slow.Measured {
			return map[string]slow.Measured{"a": {Value: 500}, "b": {Value: 500}}
		},
		Apply: func(g control.Guidance) error {
			n.mu.Lock()
			defer n.mu.Unlock()
			n.got = append(n.got, g)
			return nil
		}}
	if shared != nil {
		n.link = storetest.NewFaulty(shared)
		cfg.Shared = n.link
	}
	n.Runner = slow.NewRunner(cfg, defaults(slow.Traffic, 20*time.Second, "a", "b"))
	ctx, cancel := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	wg.Go(func() {
		if err := n.Run(ctx); err != nil {
			t.Error(err)
		}
	})
	n.stop = sync.OnceFunc(func() { cancel(); wg.Wait() })
	t.Cleanup(n.stop)
	return n
}

// rising fails when guidance that was put in force is not newer than what was before.
func rising(t *testing.T, n *node, name string) {
	t.Helper()
	all := n.applied()
	for i := 1; i < len(all); i++ {
		if !all[i].Newer(all[i-1]) {
			t.Errorf("%s put %d/%d in force after %d/%d", name, all[i].Epoch, all[i].Seq,
				all[i-1].Epoch, all[i-1].Seq)
		}
	}
}

func same(a, b control.Guidance) bool { return a.Epoch == b.Epoch && a.Seq == b.Seq }

func TestOneNodeLeadsAndAllPutTheSameInForce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		shared := storetest.NewMemory(nil)
		defer shared.Close()
		one := startNode(t, "one", storetest.NewMemory(nil), shared)
		time.Sleep(time.Second)
		two := startNode(t, "two", storetest.NewMemory(nil), shared)
		time.Sleep(5*time.Minute + 2*time.Second)
		if !one.Status().Leading || two.Status().Leading || two.Status().Leader != "one" {
			t.Errorf("one %+v, two %+v", one.Status(), two.Status())
		}
		if g := two.last(); !same(g, one.last()) || g.Seq < 25 {
			t.Errorf("one has %d/%d in force, two %d/%d", one.last().Epoch, one.last().Seq, g.Epoch,
				g.Seq)
		}
		split := two.last().Splits[control.Scope{Host: simHost}]
		if split["a"] <= 0.6 { // its traffic is 50 % where 60 % is wanted
			t.Errorf("a has %v", split)
		}
		if why := two.last().Why[control.Scope{Host: simHost}]; !strings.Contains(why,
			"a has 10.0 points to gain") || !strings.Contains(why, "measured a 500/s, b 500/s") {
			t.Errorf("why: %s", why)
		}
		rising(t, one, "one")
		rising(t, two, "two")
		if n := two.said("leader changed"); n != 1 {
			t.Errorf("the leader changed %d times", n)
		}
	})
}

func TestAnotherNodeTakesOverWhereTheLeaderLeftOff(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		shared := storetest.NewMemory(nil)
		defer shared.Close()
		one := startNode(t, "one", storetest.NewMemory(nil), shared)
		time.Sleep(time.Second)
		two := startNode(t, "two", storetest.NewMemory(nil), shared)
		time.Sleep(10 * time.Minute)
		before := one.last()
		one.stop()
		time.Sleep(time.Minute)
		after := two.last()
		if !two.Status().Leading || after.Epoch <= before.Epoch {
			t.Errorf("two %+v after %d", two.Status(), before.Epoch)
		}
		scope := control.Scope{Host: simHost}
		if was, is := before.Splits[scope]["a"], after.Splits[scope]["a"]; is < was || is > was+0.07 {
			t.Errorf("a went from %v to %v: the new leader began anew", was, is)
		}
		rising(t, two, "two")
	})
}

func TestALeaderThatIsCutOffStopsAndItsLateStepsAreRefused(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		shared := storetest.NewMemory(nil)
		defer shared.Close()
		one := startNode(t, "one", storetest.NewMemory(nil), shared)
		time.Sleep(time.Second)
		two := startNode(t, "two", storetest.NewMemory(nil), shared)
		time.Sleep(2 * time.Minute)
		one.link.Down(true)
		time.Sleep(11 * time.Second)
		held := one.last()
		time.Sleep(2 * time.Minute)
		if one.Status().Leading || !two.Status().Leading {
			t.Errorf("one leads %v, two %v", one.Status().Leading, two.Status().Leading)
		}
		if !same(one.last(), held) {
			t.Error("a node without the store went on by itself")
		}
		if one.Status().Problem == "" || one.said("store lost by the slow loop") != 1 {
			t.Errorf("its problem is %q, told %d times", one.Status().Problem,
				one.said("store lost by the slow loop"))
		}
		one.link.Down(false)
		time.Sleep(30 * time.Second)
		if one.Status().Leading || one.last().Epoch != two.last().Epoch {
			t.Errorf("one has %d/%d in force, two %d/%d", one.last().Epoch, one.last().Seq,
				two.last().Epoch, two.last().Seq)
		}
		rising(t, one, "one")
		rising(t, two, "two")
	})
}

// slowLink answers Acquire at once and keeps every Put of the record back until it is let go: a
// leader that was stopped between the two.
type slowLink struct {
	store.Store
	hold chan struct{}
}

func (s slowLink) Put(ctx context.Context, key string, v []byte, o store.PutOptions) (uint64,
	error) {
	if strings.HasSuffix(key, "record") {
		<-s.hold
	}
	return s.Store.Put(context.WithoutCancel(ctx), key, v, o)
}

func TestAStepThatComesAfterAnotherLeadersIsRefusedByTheStore(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		shared := storetest.NewMemory(nil)
		defer shared.Close()
		late := slowLink{shared, make(chan struct{})}
		one := startNode(t, "one", storetest.NewMemory(nil), late)
		time.Sleep(time.Second)
		two := startNode(t, "two", storetest.NewMemory(nil), shared)
		time.Sleep(2 * time.Minute) // one's lease has run out while its first step hangs
		if !two.Status().Leading {
			t.Fatalf("two does not lead: %+v", two.Status())
		}
		close(late.hold)
		time.Sleep(time.Minute)
		if n := one.said("another node leads"); n != 1 {
			t.Errorf("the late step was refused %d times", n)
		}
		for _, g := range one.applied() {
			if g.Epoch < two.applied()[0].Epoch {
				t.Errorf("the late step %d/%d was put in force", g.Epoch, g.Seq)
			}
		}
		if one.Status().Leading || one.last().Epoch != two.last().Epoch {
			t.Error("one does not follow two")
		}
		rising(t, two, "two")
	})
}

func TestAStoreThatLostItsDataDoesNotMakeNewGuidanceOld(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		shared := storetest.NewMemory(nil)
		defer shared.Close()
		one := startNode(t, "one", storetest.NewMemory(nil), shared)
		time.Sleep(time.Second)
		two := startNode(t, "two", storetest.NewMemory(nil), shared)
		time.Sleep(2 * time.Minute)
		before := two.last()
		shared.Wipe()
		time.Sleep(2 * time.Minute)
		for name, n := range map[string]*node{"one": one, "two": two} {
			if g := n.last(); g.Epoch <= before.Epoch || !g.At.After(before.At) {
				t.Errorf("%s is at %d/%d of %s", name, g.Epoch, g.Seq, g.At)
			}
			rising(t, n, name)
		}
	})
}

func TestAnUncertainWriteNeitherStopsTheLoopNorTurnsItBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		shared := storetest.NewMemory(nil)
		defer shared.Close()
		one := startNode(t, "one", storetest.NewMemory(nil), shared)
		two := startNode(t, "two", storetest.NewMemory(nil), shared)
		one.link.Randomly(1, 0.2, 0.2, 0.2)
		two.link.Randomly(2, 0.2, 0.2, 0.2)
		time.Sleep(time.Hour)
		one.link.Randomly(1, 0, 0, 0)
		two.link.Randomly(1, 0, 0, 0)
		time.Sleep(time.Minute + time.Second)
		a, b := one.last(), two.last()
		if a.Epoch != b.Epoch || time.Since(a.At) > time.Minute || time.Since(b.At) > time.Minute {
			t.Errorf("one is at %d/%d, two at %d/%d", a.Epoch, a.Seq, b.Epoch, b.Seq)
		}
		rising(t, one, "one")
		rising(t, two, "two")
	})
}

func TestANodeAloneLeadsItselfAndGoesOnAfterARestart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		local := storetest.NewMemory(nil)
		defer local.Close()
		one := startNode(t, "one", local, nil)
		time.Sleep(10*time.Minute + time.Second)
		before := one.last()
		one.stop()
		time.Sleep(time.Minute)
		again := startNode(t, "one", local, nil)
		time.Sleep(15 * time.Second)
		all := again.applied()
		scope := control.Scope{Host: simHost}
		if len(all) < 2 || !same(all[0], before) || all[1].Epoch <= before.Epoch {
			t.Fatalf("after %d/%d came %+v", before.Epoch, before.Seq, all)
		}
		if was, is := before.Splits[scope]["a"], all[1].Splits[scope]["a"]; is < was || is > was+0.02 {
			t.Errorf("a went from %v to %v", was, is)
		}
		if !again.Status().Leading {
			t.Error("the node does not lead itself")
		}
	})
}

func TestWhenNothingIsAskedOfTheLoopItTakesBackWhatItDid(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		one := startNode(t, "one", storetest.NewMemory(nil), nil)
		time.Sleep(time.Minute)
		one.SetConfig(defaults(slow.Queries, 20*time.Second, "a", "b"))
		time.Sleep(time.Minute)
		n := len(one.applied())
		if g := one.last(); len(g.Splits) > 0 {
			t.Errorf("in force is %+v", g)
		}
		time.Sleep(10 * time.Minute)
		if len(one.applied()) != n {
			t.Error("steps go on that nobody asked for")
		}
	})
}

func TestWhatTheEdgesOfAllNodesServeAddsUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		shared := storetest.NewMemory(nil)
		defer shared.Close()
		config := defaults(slow.Traffic, 20*time.Second, "a", "b")
		runners := map[string]*slow.Runner{}
		ctx, cancel := context.WithCancel(t.Context())
		var wg sync.WaitGroup
		for name, rate := range map[string]float64{"one": 100, "two": 300} {
			r := slow.NewRunner(slow.RunnerConfig{Node: name, Shared: shared,
				Local: storetest.NewMemory(nil),
				Own:   func() map[string]float64 { return map[string]float64{"a": rate} },
				Loads: func() map[string]slow.Measured {
					return map[string]slow.Measured{"b": {Value: 600}}
				},
				Policies: func() []slow.Policy { return policy(control.Split{"a": 1, "b": 1}) },
			}, config)
			runners[name] = r
			wg.Go(func() { _ = r.Run(ctx) })
		}
		time.Sleep(time.Minute + time.Second)
		why := runners["one"].Status().Guidance.Why[control.Scope{Host: simHost}]
		if !strings.Contains(why, "measured a 400/s, b 600/s") {
			t.Errorf("why: %s", why)
		}
		cancel()
		wg.Wait()
	})
}
