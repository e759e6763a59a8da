package sim

import (
	"cmp"
	"slices"
	"time"
)

// model is another system's default policy: a detector, how its checkers are heard, and what it
// answers then.
type model struct {
	name, about string
	check       check
	// fleet is how many checkers the vendor has, in all regions alike; 0: there is no vendor, and
	// each of the world's vantages runs the system and decides alone.
	fleet int
	// groups are the vendor's regions, by which its checkers are spread; 0: one for each.
	groups int
	// judge is one checker's step after a probe.
	judge func(j *verdict, ok bool)
	// healthy says what the checkers' verdicts come to; nil with a fleet of 0.
	healthy func(up []bool) bool
	// answer divides answers among backends by which of them are up.
	answer func(w *weights, up []bool, out []float64)
}

// verdict is what one checker holds of one backend.
type verdict struct {
	down      bool
	successes int // in a row
	failures  int // in a row, or as the judge counts them
}

// weights are the backends as a model's answers see them.
type weights struct {
	weight []float64
	tier   []int
}

// emulation plays a model.
type emulation struct {
	world   *World
	model   model
	eyes    []eye
	watches [][]watch
	judged  [][]verdict // by eye, then backend
	plan    weights
	now     time.Duration
	up      []bool
	ballot  []bool
	out     [][]float64
	none    int
}

func newEmulation(w *World, m model) *emulation {
	e := &emulation{world: w, model: m, up: make([]bool, len(w.Backends))}
	for i, v := range w.Vantages {
		if m.fleet == 0 {
			e.eyes = append(e.eyes, eye{uint64(i), w.region(v.Region), v.Faults})
		}
	}
	for i := range m.fleet {
		group := i % cmp.Or(m.groups, m.fleet)
		e.eyes = append(e.eyes, eye{1000 + uint64(i), group % len(w.Regions), lies(w, i)})
	}
	for i := range e.eyes {
		e.watches = append(e.watches, w.begin(&e.model.check, &e.eyes[i], len(w.Backends)))
		e.judged = append(e.judged, make([]verdict, len(w.Backends)))
	}
	e.ballot = make([]bool, len(e.eyes))
	for _, b := range w.Backends {
		e.plan.weight = append(e.plan.weight, float64(b.Weight))
		e.plan.tier = append(e.plan.tier, b.Tier)
	}
	nodes := 1
	if m.fleet == 0 {
		nodes = len(e.eyes)
	}
	for range nodes {
		e.out = append(e.out, make([]float64, len(w.Backends)+1))
	}
	return e
}

// lies are the faults of a vendor's checker: as many of its checkers lie as vantages do in this
// world. Our own network's failures are none of its.
func lies(w *World, checker int) (list []Fault) {
	if checker >= len(w.Vantages) {
		return nil
	}
	for _, f := range w.Vantages[checker].Faults {
		if f.Kind == SaysDown || f.Kind == SaysUp {
			list = append(list, f)
		}
	}
	return list
}

func (e *emulation) step(t time.Duration) [][]float64 {
	e.now = t
	for i := range e.eyes {
		for b := range e.watches[i] {
			e.watches[i][b].until(t, e.world, &e.model.check, &e.eyes[i], b,
				func(_ time.Duration, s seen) { e.model.judge(&e.judged[i][b], s.ok()) })
		}
	}
	if e.frozen(t) {
		return e.out
	}
	if e.model.fleet > 0 {
		for b := range e.up {
			for i := range e.eyes {
				e.ballot[i] = !e.judged[i][b].down
			}
			e.up[b] = e.model.healthy(e.ballot)
		}
		e.answer(e.out[0])
		return e.out
	}
	for i := range e.eyes {
		if e.eyes[i].has(Dead, t, "") {
			e.out[i] = nil
			continue
		}
		if e.out[i] == nil {
			e.out[i] = make([]float64, len(e.up)+1)
		}
		for b := range e.up {
			e.up[b] = !e.judged[i][b].down
		}
		e.answer(e.out[i])
	}
	return e.out
}

func (e *emulation) frozen(t time.Duration) bool {
	return slices.ContainsFunc(e.world.Frozen, func(f Freeze) bool {
		return f.Policy == e.model.name && t >= time.Duration(f.From) && t < time.Duration(f.To)
	})
}

// answer fills in one node's answers.
func (e *emulation) answer(out []float64) {
	clear(out)
	if sum(e.plan.weight) == 0 {
		out[len(out)-1] = 1 // the plan in force has left the name empty
		e.none++
		return
	}
	e.model.answer(&e.plan, e.up, out[:len(e.up)])
	total := sum(out)
	for b := range out {
		out[b] /= total
	}
}

func (e *emulation) empty() int { return e.none }

// order takes any plan. None of the systems documents a fence: what is written last counts.
func (e *emulation) order(p Order) {
	for b := range e.plan.weight {
		e.plan.weight[b] = float64(p.Weights[e.world.Backends[b].Name])
	}
}

func sum(list []float64) (s float64) {
	for _, v := range list {
		s += v
	}
	return s
}
