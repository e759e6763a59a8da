package slow

import (
	"fmt"
	"math"
	"slices"
	"strings"
	"time"

	"pointsman/steering/control"
)

// headroom is how much more a slot may carry than the figures that it is planned by.
const headroom = 1.15

// The whole numbers that the solver counts in: finer than anybody measures, and far from the end
// of 63 bits.
const (
	loadUnits  = 1_000_000
	priceUnits = 1_000_000_000
)

// goals solves for the cheapest shares of the hosts that ask for them.
func (n *step) goals() {
	ledgers := n.ledgers()
	var scopes []Policy
	total := 0.0
	for _, p := range n.policies {
		if n.config.Hosts[p.Scope.Host].Balance == Cost && p.Held == "" {
			scopes = append(scopes, p)
			total += n.demand[p.Scope]
		}
	}
	if len(scopes) == 0 {
		return
	}
	if !(total > 0) {
		for _, p := range scopes {
			n.why[p.Scope] = "no demand is known, so the weights are the goal"
		}
		return
	}
	problem := n.problem(scopes, total, ledgers)
	found, err := control.Solve(problem)
	if err != nil {
		for _, p := range scopes {
			n.why[p.Scope] = "the weights are the goal: " + err.Error()
		}
		return
	}
	splits := found.Splits()
	for _, p := range scopes {
		if s := splits[p.Scope]; s != nil {
			n.goal[p.Scope] = s
			n.why[p.Scope] = n.reasons(p.Scope, found, total)
		}
	}
}

// problem states the demands of scopes in units of their total.
func (n *step) problem(scopes []Policy, total float64,
	ledgers map[string]*control.Ledger) control.Problem {
	unit := loadUnits / total
	p := control.Problem{Bound: n.config.Bound}
	used := make(map[string]bool)
	for _, at := range scopes {
		d := control.Demand{Scope: at.Scope, Load: int64(n.demand[at.Scope] * unit)}
		for _, b := range membersOf(at.Weights) {
			latency := n.in.Latencies[b].Value
			if !(latency > 0 && latency < time.Hour.Seconds()) {
				latency = 0
			}
			d.Routes = append(d.Routes, control.Route{Backend: b,
				Latency: time.Duration(latency * float64(time.Second))})
			used[b] = true
		}
		p.Demands = append(p.Demands, d)
	}
	others := n.others(scopes)
	top := int64(1)
	for b := range used {
		s := control.Supplier{Backend: b}
		if most := n.config.Backends[b].Capacity; most > 0 {
			s.Capacity = max(1, int64(max(0, most/headroom-others[b])*unit))
		}
		if l := ledgers[b]; l != nil {
			s.Curve = units(l.Curve(n.mbps(n.total)), unit/n.mbps(1))
			top = max(top, s.Curve[len(s.Curve)-1].Price)
		}
		p.Suppliers = append(p.Suppliers, s)
	}
	for i := range p.Suppliers { // prices in proportion, so that no product grows too large
		for j := range p.Suppliers[i].Curve {
			price := &p.Suppliers[i].Curve[j].Price
			*price = int64(float64(*price) / float64(top) * priceUnits)
		}
	}
	return p
}

// units turns a curve's Mbit/s into the solver's units. Segments of nothing are left out.
func units(curve []control.Segment, unit float64) (out []control.Segment) {
	at := int64(0)
	for _, s := range curve {
		if s.UpTo > 0 {
			to := int64(min(float64(s.UpTo)*unit, loadUnits*loadUnits))
			if to <= at {
				continue
			}
			at, s.UpTo = to, to
		}
		out = append(out, s)
	}
	return out
}

// others is what backends get of the scopes that are not solved for, in requests/s.
func (n *step) others(scopes []Policy) map[string]float64 {
	out := make(map[string]float64)
	for _, p := range n.policies {
		if slices.ContainsFunc(scopes, func(o Policy) bool { return o.Scope == p.Scope }) {
			continue
		}
		for b, share := range n.sharesOf(p) {
			out[b] += share * n.demand[p.Scope]
		}
	}
	return out
}

// reasons says what a solution means for a scope.
func (n *step) reasons(scope control.Scope, a control.Assignment, total float64) string {
	late, over := int64(0), int64(0)
	for _, f := range a.Flows {
		if f.Scope == scope {
			over += f.Over
			if f.Late {
				late += f.Load
			}
		}
	}
	parts := []string{fmt.Sprintf("the cheapest for %.0f requests/s", n.demand[scope])}
	part := func(load int64) float64 { return math.Ceil(float64(load) / loadUnits * total) }
	if late > 0 {
		parts = append(parts, fmt.Sprintf("%.0f/s beyond the latency bound", part(late)))
	}
	if over > 0 {
		parts = append(parts, fmt.Sprintf("%.0f/s above every capacity", part(over)))
	}
	return strings.Join(parts, ", ")
}
