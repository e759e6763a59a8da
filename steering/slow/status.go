package slow

import (
	"maps"
	"time"

	"pointsman/steering/control"
)

// Status is what the loop does on this node. It is immutable.
type Status struct {
	// Active is false when nothing is configured that the loop would do.
	Active bool
	// Leading says that this node leads, Leader who made the guidance in force.
	Leading bool
	Leader  string
	// Guidance is in force; its zero value: none.
	Guidance control.Guidance
	Interval time.Duration
	// Gains are the parts of an error that one step corrects, by host.
	Gains map[string]float64
	// Verdicts are those of the last step, by scope.
	Verdicts map[control.Scope]control.Verdict
	// Months are the volumes of this month so far, in GB, by backend.
	Months map[string]float64
	// Problem is why the last round failed; empty: it didn't.
	Problem string
}

// Status returns what the loop did in its last round.
func (r *Runner) Status() Status {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.status
}

// show makes the status of a round.
func (r *Runner) show(c Config, err error) {
	s := Status{Active: c.Active(), Leading: r.term.token > 0, Leader: r.known.Node,
		Guidance: r.known.Guidance, Interval: c.Loop.Interval, Gains: make(map[string]float64),
		Verdicts: maps.Clone(r.known.State.Steps), Months: make(map[string]float64)}
	for name, h := range c.Hosts {
		if h.Balance != Queries {
			s.Gains[name] = c.loop(h).Gain
		}
	}
	for b, m := range r.known.State.Months {
		s.Months[b] = m.Ledger.GB
	}
	if err != nil {
		s.Problem = err.Error()
	}
	r.metrics.show(s)
	r.mu.Lock()
	defer r.mu.Unlock()
	r.status = s
}
