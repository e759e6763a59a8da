package control

import (
	"cmp"
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"
	"time"
)

// Problem asks where the demand of all scopes should go for the least money. Loads, capacities
// and prices are whole numbers of units that the caller chooses (Mbit/s or requests/s, and
// millionths of a currency for one unit over the time that is planned), so that the answer is
// exact and the same on every node.
type Problem struct {
	Demands   []Demand
	Suppliers []Supplier
	Bound     Bound
}

// Demand is the load of one scope and the backends that may serve it.
type Demand struct {
	Scope Scope
	// Load is what is expected; 0 counts as 1, so that every scope gets a split.
	Load   int64
	Routes []Route
}

// Route is one backend as one scope sees it. A backend without a route never serves the scope,
// and a route to a backend that is not among the suppliers (down, drained) is left out.
type Route struct {
	Backend string
	// Latency is as measured from there; 0: not measured, which is outside of the bound while
	// another route is measured.
	Latency time.Duration
	// Capacity is what the backend has for this scope alone; 0: no limit of its own.
	Capacity int64
}

// Supplier is a backend with what it can carry and what that costs.
type Supplier struct {
	Backend string
	// Capacity is for all scopes together; 0: no limit.
	Capacity int64
	// Curve is the marginal price by load, from 0 upwards; prices must not fall. Empty: free.
	Curve []Segment
}

// Segment is the part of a supplier's load up to UpTo at one price.
type Segment struct {
	UpTo  int64 // 0: without end; only in the last segment, which always has none
	Price int64 // of one unit, at least 0
}

// Bound is how much slower than the scope's best route a route may be: the larger of the two.
// It is a constraint and no price: money never buys a slower route beyond it.
type Bound struct {
	Percent float64
	Within  time.Duration
}

// Flow is what one scope sends to one backend.
type Flow struct {
	Scope   Scope
	Backend string
	Load    int64 // Over included
	Late    bool  // the route is slower than the bound allows
	Over    int64 // above every capacity
}

// Assignment is the answer to a Problem.
type Assignment struct {
	Flows []Flow // by scope, then backend; only those above 0
	Cost  int64  // of what is within capacity
	Late  int64  // load on routes outside of the bound
	Over  int64  // load above capacity
	// Homeless are the scopes, in order, whose routes all lead to backends that are not among
	// the suppliers. They have no flows and no split.
	Homeless []Scope
}

// Splits returns the shares that the flows are, scope by scope.
func (a Assignment) Splits() map[Scope]Split {
	out := make(map[Scope]Split)
	for _, f := range a.Flows {
		if out[f.Scope] == nil {
			out[f.Scope] = make(Split)
		}
		out[f.Scope][f.Backend] += float64(f.Load)
	}
	for scope, s := range out {
		out[scope] = s.Normal()
	}
	return out
}

// Solve finds the cheapest flows. What can't be met degrades in this order:
//
//  1. All demand within latency bounds and capacities, for the least money; among equally
//     cheap flows, those with the least latency.
//  2. When the bounds leave demand without capacity, routes beyond them are taken for as
//     little load and excess (milliseconds × load) as possible, whatever they cost.
//  3. When all capacity that a scope can reach is full, the rest of its demand is spread over
//     its backends in proportion to their capacities, and flagged as Over.
//
// The method is successive shortest paths with potentials over lexicographic costs, which is
// exact. An error names the mistake in the problem; there is no other.
func Solve(p Problem) (Assignment, error) {
	n, err := newNetwork(p)
	if err != nil {
		return Assignment{}, fmt.Errorf("solving for shares: %w", err)
	}
	for n.augment() {
	}
	return n.assignment(), nil
}

// maxTotal bounds loads and prices so that no sum or product overflows 63 bits.
const maxTotal = math.MaxInt64 / 4

// toll is the price of an arc. The parts count in the order in which they stand.
type toll struct {
	late    int64 // ms beyond the bound
	price   int64
	latency int64 // µs; only breaks ties
}

func (t toll) plus(o toll) toll {
	return toll{t.late + o.late, t.price + o.price, t.latency + o.latency}
}

func (t toll) minus(o toll) toll {
	return toll{t.late - o.late, t.price - o.price, t.latency - o.latency}
}

func (t toll) less(o toll) bool {
	if t.late != o.late {
		return t.late < o.late
	}
	if t.price != o.price {
		return t.price < o.price
	}
	return t.latency < o.latency
}

// newNetwork checks the problem and builds source → scopes → backends → sink.
func newNetwork(p Problem) (*network, error) {
	suppliers := slices.SortedFunc(slices.Values(p.Suppliers), func(a, b Supplier) int {
		return strings.Compare(a.Backend, b.Backend)
	})
	demands := slices.SortedFunc(slices.Values(p.Demands), func(a, b Demand) int {
		return a.Scope.Compare(b.Scope)
	})
	if err := checkProblem(p.Bound, demands, suppliers); err != nil {
		return nil, err
	}
	n := &network{
		demands: demands, suppliers: suppliers,
		sink: 1 + len(demands) + len(suppliers),
	}
	n.size(n.sink+1, len(demands)*(len(suppliers)+1)+3*len(suppliers))
	for i, d := range demands {
		n.arc(0, 1+i, max(d.Load, 1), toll{})
		n.routes(1+i, d, p.Bound)
	}
	for i, s := range suppliers {
		n.supply(1+len(demands)+i, s)
	}
	return n, nil
}

// routes adds the arcs of one scope to its backends.
func (n *network) routes(from int, d Demand, bound Bound) {
	best, worst := time.Duration(0), time.Duration(0)
	for _, r := range d.Routes {
		if n.supplier(r.Backend) < 0 || r.Latency == 0 {
			continue
		}
		if best == 0 || r.Latency < best {
			best = r.Latency
		}
		worst = max(worst, r.Latency)
	}
	limit := best + max(bound.Within, time.Duration(float64(best)*bound.Percent/100))
	for _, r := range slices.SortedFunc(slices.Values(d.Routes), func(a, b Route) int {
		return strings.Compare(a.Backend, b.Backend)
	}) {
		to := n.supplier(r.Backend)
		if to < 0 {
			continue // a backend that is gone or drained
		}
		latency := r.Latency
		if latency == 0 && best > 0 {
			latency = max(worst, limit) + time.Second
		}
		t := toll{latency: latency.Microseconds()}
		if excess := latency - limit; best > 0 && excess > 0 {
			t.late = max(1, excess.Milliseconds())
		}
		capacity := r.Capacity
		if capacity == 0 {
			capacity = maxTotal
		}
		n.arc(from, 1+len(n.demands)+to, capacity, t)
	}
}

// supply adds the arcs of one backend to the sink: one for each segment of its curve.
func (n *network) supply(from int, s Supplier) {
	left := s.Capacity
	if left == 0 {
		left = maxTotal
	}
	curve := s.Curve
	if len(curve) == 0 {
		curve = []Segment{{}}
	}
	at := int64(0)
	for _, seg := range curve {
		room := left
		if seg.UpTo > 0 {
			room = min(left, seg.UpTo-at)
			at = seg.UpTo
		}
		if room > 0 {
			n.arc(from, n.sink, room, toll{price: seg.Price})
			left -= room
		}
	}
}

// supplier returns the index of a backend, or -1.
func (n *network) supplier(backend string) int {
	i, ok := slices.BinarySearchFunc(n.suppliers, backend, func(s Supplier, name string) int {
		return cmp.Compare(s.Backend, name)
	})
	if !ok {
		return -1
	}
	return i
}

// checkProblem returns every mistake of a problem, joined. Both lists are in order.
func checkProblem(bound Bound, demands []Demand, suppliers []Supplier) error {
	var errs []error
	if bound.Within < 0 || bound.Within > time.Hour ||
		!(bound.Percent >= 0 && bound.Percent <= 10_000) {
		errs = append(errs, errors.New("the latency bound must be 0 to 10,000 % and 0 to an hour"))
	}
	price := int64(1)
	for i, s := range suppliers {
		if i > 0 && suppliers[i-1].Backend == s.Backend {
			errs = append(errs, fmt.Errorf("backend %q is there twice", s.Backend))
		}
		top, err := checkSupplier(s)
		errs = append(errs, err)
		price = max(price, top)
	}
	total := int64(0)
	for i, d := range demands {
		if i > 0 && demands[i-1].Scope == d.Scope {
			errs = append(errs, fmt.Errorf("the demand of %s is there twice", d.Scope))
		}
		errs = append(errs, checkDemand(d))
		if d.Load > maxTotal/price-total-1 {
			return errors.Join(append(errs,
				errors.New("load times price is too large: count in larger units"))...)
		}
		total += max(d.Load, 1)
	}
	return errors.Join(errs...)
}

func checkSupplier(s Supplier) (price int64, err error) {
	if s.Capacity < 0 {
		return 0, fmt.Errorf("the capacity of backend %q is below 0", s.Backend)
	}
	at := int64(0)
	for i, seg := range s.Curve {
		last := i == len(s.Curve)-1
		switch {
		case seg.Price < price:
			return 0, fmt.Errorf("the prices of backend %q fall with load", s.Backend)
		case last != (seg.UpTo == 0) || !last && seg.UpTo <= at:
			return 0, fmt.Errorf("the segments of backend %q must rise and end with 0", s.Backend)
		}
		at, price = seg.UpTo, seg.Price
	}
	return price, nil
}

func checkDemand(d Demand) error {
	if d.Load < 0 {
		return fmt.Errorf("the load of %s is below 0", d.Scope)
	}
	for i, r := range d.Routes {
		if r.Latency < 0 || r.Latency > time.Hour || r.Capacity < 0 {
			return fmt.Errorf("the route of %s to backend %q has a latency or capacity below 0, "+
				"or above an hour", d.Scope, r.Backend)
		}
		if slices.ContainsFunc(d.Routes[:i], func(o Route) bool { return o.Backend == r.Backend }) {
			return fmt.Errorf("%s has two routes to backend %q", d.Scope, r.Backend)
		}
	}
	return nil
}
