package sim

import (
	"fmt"
	"time"

	"pointsman/probes"
	"pointsman/probes/health"
	"pointsman/steering"
)

// Pointsman's defaults, as package config has them (probing.*, hosts[].ramp).
const (
	interval = time.Second
	timeout  = 2 * time.Second
	ramp     = 30 * time.Second
)

// host is the steered name of every world.
const host = "www.example.test."

// epoch is when every world begins.
var epoch = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)

// fleet is Pointsman: nodes with the real trackers and engines on a clock of their own.
type fleet struct {
	world  *World
	check  check
	quorum bool // nodes exchange votes
	nodes  []*node
	// heard are the votes that were published in the last tick, by node; an exchange takes up
	// to a second.
	heard  []map[string]health.Vote
	out    [][]float64
	newest uint64 // version of the newest plan
	none   int
}

// node is one Pointsman.
type node struct {
	eye     eye
	name    string
	now     time.Duration
	tracker *health.Tracker
	engine  *steering.Engine
	watches []watch
	table   *steering.Table // that shares are of
	shares  []float64
}

// newFleet starts a node for each vantage of the world.
func newFleet(w *World, quorum bool) (*fleet, error) {
	f := &fleet{
		world: w, quorum: quorum, newest: firstVersion,
		check: check{interval: interval, connect: timeout, reply: timeout,
			certificates: true, content: true},
		out:   make([][]float64, len(w.Vantages)),
		heard: make([]map[string]health.Vote, len(w.Vantages)),
	}
	for i, v := range w.Vantages {
		n, err := f.node(eye{id: uint64(i), region: w.region(v.Region), faults: v.Faults}, v.Name)
		if err != nil {
			return nil, fmt.Errorf("starting node %q: %w", v.Name, err)
		}
		f.nodes = append(f.nodes, n)
	}
	return f, nil
}

func (f *fleet) node(e eye, name string) (*node, error) {
	w := f.world
	n := &node{eye: e, name: name, shares: make([]float64, len(w.Backends)+1)}
	clock := func() time.Time { return epoch.Add(n.now) }
	c := health.Config{Vantage: name, Now: clock, Rules: map[string]health.Rules{}}
	for _, b := range w.Backends {
		c.Backends = append(c.Backends, b.Name)
	}
	if w.Control != nil {
		c.Backends, c.Control = append(c.Backends, controlName), []string{controlName}
	}
	for _, b := range c.Backends {
		rules := health.DefaultRules()
		rules.StaleAfter = 5 * (interval + timeout) // five missed probes, as package app has it
		c.Rules[b] = rules
	}
	n.tracker = health.New(c)
	n.watches = w.begin(&f.check, &n.eye, len(c.Backends))
	n.engine = steering.NewEngine(steering.EngineConfig{Now: clock, Version: firstVersion})
	return n, n.engine.SetSpec(w.spec(nil))
}

// spec is the world's config, with other weights if they are given.
func (w *World) spec(weights map[string]uint32) *steering.Spec {
	s := &steering.Spec{}
	h := steering.Host{Name: host, TTL: time.Duration(w.TTL), Ramp: ramp,
		Stickiness: steering.Spread}
	const load = 1_000_000
	for tier := range 10 {
		pool := steering.Pool{Name: fmt.Sprintf("tier-%d", tier)}
		for _, b := range w.Backends {
			if b.Tier != tier {
				continue
			}
			weight := b.Weight
			if weights != nil {
				weight = weights[b.Name]
			}
			s.Backends = append(s.Backends, steering.Backend{Name: b.Name,
				CNAME: b.Name + ".cdn.test.", Capacity: uint64(b.Capacity * load)})
			pool.Members = append(pool.Members, steering.Member{Backend: b.Name, Weight: weight})
			if b.Capacity > 0 {
				h.Load = load
			}
		}
		if len(pool.Members) > 0 {
			s.Pools, h.Pools = append(s.Pools, pool), append(h.Pools, pool.Name)
		}
	}
	if weights != nil && len(weights) == 0 {
		h.Pools = nil // this is what an empty plan is: a name that nobody answers
	}
	s.Hosts = []steering.Host{h}
	return s
}

// step lets every node go on to t.
func (f *fleet) step(t time.Duration) [][]float64 {
	for i, n := range f.nodes {
		n.now = t
		for target := range n.watches {
			n.watches[target].until(t, f.world, &f.check, &n.eye, target,
				func(start time.Duration, s seen) { n.observe(f.world, target, start, s) })
		}
		if !f.quorum || n.eye.has(Partitioned, t, "") {
			n.tracker.Refresh()
		} else {
			n.tracker.Hear(f.others(i))
		}
		n.engine.SetView(n.tracker.View())
		n.engine.Advance()
	}
	for i, n := range f.nodes {
		f.heard[i] = nil
		if !n.eye.has(Partitioned, t, "") && !n.eye.has(Dead, t, "") {
			f.heard[i] = n.tracker.Ballot()
		}
		f.out[i] = nil
		if !n.eye.has(Dead, t, "") {
			f.out[i] = n.answers(f.world)
			f.ask(n, t)
		}
	}
	return f.out
}

// observe hands one probe's sample to the tracker.
func (n *node) observe(w *World, target int, start time.Duration, s seen) {
	name := controlName
	if target < len(w.Backends) {
		name = w.Backends[target].Name
	}
	n.tracker.Observe(probes.Sample{
		Backend: name, Vantage: n.name, Target: name, Start: epoch.Add(start),
		Phases: probes.Phases{Total: s.took}, Outcome: s.outcome,
	})
}

// others are the votes of all nodes but one, as they would be read from the store.
func (f *fleet) others(but int) map[string][]health.Vote {
	votes := make(map[string][]health.Vote, len(f.world.Backends))
	for i, ballot := range f.heard {
		if i == but {
			continue
		}
		for b, v := range ballot {
			votes[b] = append(votes[b], v)
		}
	}
	return votes
}

// answers are the shares of the table in force.
func (n *node) answers(w *World) []float64 {
	t := n.engine.Table()
	if t == n.table {
		return n.shares
	}
	n.table = t
	clear(n.shares)
	sum := 0.0
	for _, s := range t.Shares(host) {
		n.shares[w.backend(s.Backend)] = s.Share
		sum += s.Share
	}
	n.shares[len(n.shares)-1] = max(0, 1-sum)
	return n.shares
}

// ask puts one question to a node.
func (f *fleet) ask(n *node, t time.Duration) {
	draw := mix(f.world.Seed ^ mix(n.eye.id^mix(uint64(t))))
	d, ok := n.engine.Table().Pick(steering.Query{Host: host, Draw: draw})
	if !ok || d.CNAME == "" || f.world.backend(d.Backend) < 0 {
		f.none++
	}
}

func (f *fleet) empty() int { return f.none }

// order hands a plan to every node: a new one as the config that it is, a late one as what it
// is too, a table that somebody compiled under an earlier version. Both go through the engine,
// whose refusal leaves the table in force as it is.
func (f *fleet) order(p Order) {
	weights := p.Weights
	if weights == nil {
		weights = map[string]uint32{}
	}
	spec := f.world.spec(weights)
	for _, n := range f.nodes {
		if p.Version > f.newest {
			_ = n.engine.SetSpec(spec) // refused when it is empty
			continue
		}
		t, err := steering.Compile(steering.Inputs{
			Version: p.Version, Now: epoch.Add(n.now), Spec: spec, View: n.tracker.View(),
		})
		if err == nil {
			_ = n.engine.Publish(t) // refused, as its version is not above that in force
		}
	}
	f.newest = max(f.newest, p.Version)
}
