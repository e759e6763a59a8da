package drill_test

import (
	"context"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"pointsman/internal/store/storetest"
	"pointsman/probes/health"
	"pointsman/steering"
	"pointsman/steering/drill"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// world is a few nodes around one store. Each node has a real engine; its health comes from a
// tracker as plain as can be: three probes in a row decide.
type world struct {
	t     *testing.T
	store *storetest.Memory
	nodes []*node
}

type node struct {
	w      *world
	runner *drill.Runner
	engine *steering.Engine
	store  *storetest.Faulty // this node's way to the store
	stop   func()

	mu      sync.Mutex // guards what follows
	broken  map[string]bool
	streak  map[string]int // above 0: good probes in a row; below: bad ones
	state   map[string]health.Health
	version uint64
	served  map[string]uint64
	changes []drill.Report
}

var backends = []string{"a", "b", "c"}

func spec() *steering.Spec {
	s := &steering.Spec{Pools: []steering.Pool{{Name: "cdns", Members: []steering.Member{
		{Backend: "a", Weight: 70}, {Backend: "b", Weight: 20}, {Backend: "c", Weight: 10}}}},
		Hosts: []steering.Host{{Name: "cdn.test.", TTL: time.Second, Pools: []string{"cdns"},
			Stickiness: steering.Spread, Ramp: 10 * time.Second}}}
	for _, b := range backends {
		s.Backends = append(s.Backends, steering.Backend{Name: b, CNAME: b + ".cdn.test."})
	}
	return s
}

func newWorld(t *testing.T) *world {
	w := &world{t: t, store: storetest.NewMemory(nil)}
	t.Cleanup(func() {
		for _, n := range w.nodes {
			n.stop()
		}
		_ = w.store.Close()
	})
	return w
}

// start adds a node and runs it until stop, or the test's end.
func (w *world) start(name string) *node {
	n := &node{w: w, store: storetest.NewFaulty(w.store), broken: map[string]bool{},
		streak: map[string]int{}, state: map[string]health.Health{}, served: map[string]uint64{}}
	n.engine = steering.NewEngine(steering.EngineConfig{})
	n.runner = drill.New(drill.Config{Node: name, Store: n.store, Table: n.engine.Table,
		Usable: n.usable, Served: n.counts, ReturnLimit: time.Minute,
		OnChange: func(r drill.Report) {
			n.mu.Lock()
			defer n.mu.Unlock()
			n.changes = append(n.changes, r)
		}})
	for _, b := range backends {
		n.state[b] = health.Health{Backend: b, State: health.Healthy, Since: time.Now()}
	}
	n.publish()
	if err := n.engine.SetSpec(spec()); err != nil {
		w.t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	var all sync.WaitGroup
	all.Go(func() { _ = n.runner.Run(ctx) })
	all.Go(func() { _ = n.engine.Run(ctx) })
	all.Go(func() { n.probe(ctx) })
	n.stop = func() { cancel(); all.Wait() }
	w.nodes = append(w.nodes, n)
	synctest.Wait()
	return n
}

// probe measures each backend once a second, and serves a hundred answers meanwhile.
func (n *node) probe(ctx context.Context) {
	t := time.NewTicker(time.Second)
	defer t.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case now := <-t.C:
			n.measure(now)
			n.publish()
		}
	}
}

func (n *node) measure(now time.Time) {
	n.mu.Lock()
	defer n.mu.Unlock()
	for _, s := range n.engine.Table().Shares("cdn.test.") {
		n.served[s.Backend] += uint64(s.Share*100 + 0.5)
	}
	for _, b := range backends {
		_, failing := n.runner.Inject(b, now)
		bad := failing || n.broken[b]
		switch {
		case bad == (n.streak[b] < 0):
		default:
			n.streak[b] = 0
		}
		if bad {
			n.streak[b]--
		} else {
			n.streak[b]++
		}
		h := n.state[b]
		switch {
		case n.streak[b] == -3:
			h.State, h.Since = health.Unhealthy, now
		case n.streak[b] == 3 && h.State == health.Unhealthy:
			h.State, h.Since, h.UsableSince = health.Healthy, now, now
		}
		n.state[b] = h
	}
}

func (n *node) publish() {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.version++
	v := &health.View{Version: n.version, At: time.Now(), Backends: map[string]health.Health{}}
	for b, h := range n.state {
		v.Backends[b] = h
	}
	n.engine.SetView(v)
}

func (n *node) usable(b string) bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.state[b].State.Usable()
}

func (n *node) breakIt(b string, broken bool) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.broken[b] = broken
}

func (n *node) counts() []drill.Served {
	n.mu.Lock()
	defer n.mu.Unlock()
	var out []drill.Served
	for b, c := range n.served {
		out = append(out, drill.Served{Host: "cdn.test.", Backend: b, Count: c})
	}
	return out
}

func (n *node) states() (list []drill.State) {
	n.mu.Lock()
	defer n.mu.Unlock()
	for _, r := range n.changes {
		list = append(list, r.State)
	}
	return list
}

func (n *node) failing(b string) bool {
	_, failing := n.runner.Inject(b, time.Now())
	return failing
}

// begin starts a drill of a for a while, which must be accepted.
func (n *node) begin(d time.Duration) drill.Report {
	n.w.t.Helper()
	rep, err := n.runner.Start(n.w.t.Context(), drill.Plan{Backend: "a", For: d, Actor: "ops",
		Reason: "quiet day"})
	if err != nil {
		n.w.t.Fatal(err)
	}
	synctest.Wait()
	return rep
}

// end waits for a drill's end as this node knows it, and returns the stored report.
func (n *node) end(id string) drill.Report {
	n.w.t.Helper()
	for range 3000 {
		time.Sleep(500 * time.Millisecond)
		rep, err := n.runner.Get(n.w.t.Context(), id)
		if err == nil && rep.State.Final() {
			time.Sleep(100 * time.Millisecond) // for what it gives back
			synctest.Wait()
			return rep
		}
	}
	n.w.t.Fatal("the drill did not end")
	return drill.Report{}
}

// nothingLeft says what a drill left behind: a fault, a notice, a lease, a share not restored.
func (w *world) nothingLeft() {
	w.t.Helper()
	for i, n := range w.nodes {
		for _, b := range backends {
			if n.failing(b) {
				w.t.Errorf("node %d still makes probes of %s fail", i, b)
			}
		}
		if rep, ok := n.runner.Current(); ok {
			w.t.Errorf("node %d still runs drill %s", i, rep.ID)
		}
	}
	if entries, err := w.store.List(context.Background(), "drill/"); err != nil || len(entries) > 0 {
		w.t.Errorf("the store still has %v, %v", entries, err)
	}
	lease, err := w.store.Acquire(context.Background(), "drill", "the test", time.Second)
	if err != nil {
		w.t.Errorf("the lease is not free: %v", err)
	}
	_ = w.store.Release(context.Background(), lease)
}
