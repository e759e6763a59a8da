package purge_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"pointsman/providers"
	"pointsman/purge"
)

const simSeeds = 200

// world is a cluster of one or two nodes, their disks, the store that they share and three
// providers, all of which fail as a seed says.
type world struct {
	t      *testing.T
	random *rand.Rand
	shared *memory // nil for a node alone
	cdns   []*cdn
	nodes  []*simNode
	acked  []purge.Status
	refuse int
}

// simNode is a node that can lose its power: what its disk holds at that moment is all that
// its successor gets.
type simNode struct {
	name string
	*node
	dead *atomic.Bool // its calls reach no provider any more
}

// front is a provider as one process sees it.
type front struct {
	*cdn
	dead *atomic.Bool
}

func (f front) Purge(ctx context.Context, b providers.Batch) (providers.Receipt, error) {
	if f.dead.Load() {
		return providers.Receipt{}, failing(providers.Transient, 0)
	}
	return f.cdn.Purge(ctx, b)
}

func newWorld(t *testing.T, seed uint64) *world {
	w := &world{t: t, random: rand.New(rand.NewPCG(seed, 7))}
	names := []string{"a"}
	if seed%2 == 1 {
		w.shared, names = newMemory(), []string{"a", "b"}
	}
	for i := range 2 {
		w.cdns = append(w.cdns, w.newCDN(fmt.Sprint("p", i)))
	}
	for _, name := range names {
		n := &simNode{name: name}
		w.boot(n, newMemory())
		w.nodes = append(w.nodes, n)
	}
	return w
}

// newCDN makes a provider that fails in its own measure and its own ways.
func (w *world) newCDN(name string) *cdn {
	c := newCDN(name)
	c.caps = full(1 + w.random.IntN(3))
	random := rand.New(rand.NewPCG(w.random.Uint64(), 0))
	var lock = make(chan struct{}, 1) // the script is called concurrently
	share, fatal := random.Float64()*0.8, random.Float64()*0.02
	c.script = func(int, providers.Batch) (bool, providers.Receipt, error) {
		lock <- struct{}{}
		defer func() { <-lock }()
		time.Sleep(time.Duration(random.IntN(3000)) * time.Millisecond)
		switch x := random.Float64(); {
		case x < fatal:
			return no([]providers.Class{providers.Invalid, providers.Auth}[random.IntN(2)], 0)
		case x < share/3: // the answer is lost, the purge is not
			e := failing(providers.Transient, 0)
			e.Unknown = true
			return true, providers.Receipt{}, e
		case x < share:
			classes := []providers.Class{providers.Transient, providers.Throttled,
				providers.Busy, providers.TooLarge}
			return no(classes[random.IntN(len(classes))], time.Duration(random.IntN(9))*time.Second)
		case x < share+(1-share)/2:
			return true, providers.Receipt{Confirmed: true}, nil
		}
		return true, providers.Receipt{Estimate: time.Duration(random.IntN(60)) * time.Second}, nil
	}
	return c
}

func (w *world) boot(n *simNode, disk *memory) {
	n.dead = &atomic.Bool{}
	c := purge.Config{Node: n.name, Local: disk, Deadline: 20 * time.Minute, Tick: 10 * time.Second,
		Rand: rand.New(rand.NewPCG(w.random.Uint64(), 1))}
	if w.shared != nil {
		c.Shared = w.shared
	}
	for _, p := range w.cdns {
		c.Targets = append(c.Targets, purge.Target{Provider: front{p, n.dead}})
	}
	n.node = start(w.t, c)
}

// crash cuts a node's power and boots it again from its disk.
func (w *world) crash(n *simNode) {
	n.local.setFault(away)
	disk := &memory{Memory: n.local.Clone()}
	n.dead.Store(true)
	n.stop()
	w.boot(n, disk)
}

// flaky makes a store fail now and then, before or after taking effect.
func (w *world) flaky(share float64) func(string, string) (bool, bool) {
	random := rand.New(rand.NewPCG(w.random.Uint64(), 2))
	return func(string, string) (bool, bool) { // called under the store's mutex
		return random.Float64() < share, random.IntN(2) == 0
	}
}

// trouble does one thing that no purge may be lost by.
func (w *world) trouble() {
	n := w.nodes[w.random.IntN(len(w.nodes))]
	switch w.random.IntN(8) {
	case 0:
		w.crash(n)
	case 1:
		n.local.setFault(w.flaky(0.5))
	case 2:
		n.local.setFault(nil)
	}
	if w.shared == nil {
		return
	}
	switch w.random.IntN(10) {
	case 0:
		w.shared.setFault(away)
	case 1:
		w.shared.setFault(w.flaky(0.3))
	case 2:
		w.shared.Wipe()
	case 3, 4:
		w.shared.setFault(nil)
	}
}

func (w *world) submit(i int) {
	n := w.nodes[w.random.IntN(len(w.nodes))]
	items := make([]string, 1+w.random.IntN(6))
	for j := range items {
		items[j] = fmt.Sprintf("t-%d-%d", i, j)
	}
	st, err := n.Submit(w.t.Context(), tags(items...))
	if err != nil {
		w.refuse++
		return
	}
	w.acked = append(w.acked, st)
}

// check is the oracle: each acknowledged purge has ended at each provider, and where it says
// that it was taken, the provider ran each of its items after the purge was accepted.
func (w *world) check(seed uint64) {
	for _, acked := range w.acked {
		for _, n := range w.nodes {
			st, err := n.Get(w.t.Context(), acked.ID)
			if err != nil && n.name != acked.AcceptedBy {
				continue // it may never have heard of it
			}
			if err != nil || !st.Final() {
				w.t.Errorf("seed %d: purge %s at node %s: %+v, %v", seed, acked.ID, n.name, st, err)
				continue
			}
			for i, r := range st.Results {
				w.checkResult(seed, st, r, w.cdns[i])
			}
		}
	}
}

func (w *world) checkResult(seed uint64, st purge.Status, r purge.Result, c *cdn) {
	if r.State == purge.Failed {
		if r.LastError == "" || r.Advice == "" {
			w.t.Errorf("seed %d: purge %s failed without a word: %+v", seed, st.ID, r)
		}
		return
	}
	ran := map[string]bool{}
	for _, a := range c.appliedOf(st.ID) {
		for _, item := range a.Items {
			ran[item] = ran[item] || !a.at.Before(st.AcceptedAt)
		}
	}
	for _, item := range st.Request.Items {
		if !ran[item] {
			w.t.Errorf("seed %d: purge %s is %s at %s, which never ran %s",
				seed, st.ID, r.State, r.Provider, item)
		}
	}
}

func TestEveryAcknowledgedPurgeEndsHoweverEverythingFails(t *testing.T) {
	acked, refused, taken, failed := 0, 0, 0, 0
	for seed := range uint64(simSeeds) {
		synctest.Test(t, func(t *testing.T) {
			w := newWorld(t, seed)
			for i := range 8 {
				w.submit(i)
				time.Sleep(time.Duration(w.random.IntN(60_000)) * time.Millisecond)
				w.trouble()
			}
			for _, n := range w.nodes {
				n.local.setFault(nil)
			}
			if w.shared != nil {
				w.shared.setFault(nil)
			}
			time.Sleep(30 * time.Minute) // past every deadline
			w.check(seed)
			acked, refused = acked+len(w.acked), refused+w.refuse
			for _, a := range w.acked {
				st, _ := w.nodes[0].Get(t.Context(), a.ID)
				for _, r := range st.Results {
					if r.State == purge.Failed {
						failed++
					} else {
						taken++
					}
				}
			}
		})
	}
	t.Logf("%d acknowledged, %d refused; deliveries: %d taken, %d failed",
		acked, refused, taken, failed)
	if acked < simSeeds*5 || refused == 0 || failed == 0 || taken < failed {
		t.Errorf("the worlds are too quiet or too dead to prove anything: %d acknowledged, "+
			"%d refused, %d taken, %d failed", acked, refused, taken, failed)
	}
}
