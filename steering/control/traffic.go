package control

import (
	"cmp"
	"errors"
	"fmt"
	"math"
	"net/netip"
	"slices"
	"time"
)

// MostAssigned is how many resolvers may get a backend of their own.
const MostAssigned = 1_024

// Resolver is a client prefix of DNS, and the load of the users behind it.
type Resolver struct {
	Prefix netip.Prefix
	Load   float64 // in any unit
	Error  float64 // how far off Load may be, relative to it: 0.3 is ±30 %
}

// sortResolvers puts the largest first; equals in the order of their prefixes.
func sortResolvers(list []Resolver) {
	slices.SortFunc(list, func(a, b Resolver) int {
		return cmp.Or(cmp.Compare(b.Load, a.Load), a.Prefix.Compare(b.Prefix))
	})
}

// TrafficInput is what Assign goes by. It is only read.
type TrafficInput struct {
	Resolvers []Resolver // those known; only the heaviest MostAssigned get a backend
	Total     float64    // load of all resolvers, those that are not listed included
	Target    Split      // of the traffic
	// Prev are the backends of those in force with a cycle of one: a resolver keeps its own
	// while that has room.
	Prev map[netip.Prefix]string
	// TTL is the host's, LeastTTL the shortest that a heavy resolver may be given.
	TTL, LeastTTL time.Duration
	// Tolerance is the part of all traffic by which one resolver may be misjudged before it is
	// divided; 0.005 is a good value.
	Tolerance float64
}

// Assigned is what one resolver is answered with.
type Assigned struct {
	Prefix netip.Prefix `json:"prefix"`
	// Cycle holds the backends that its lookups are answered with, one after the other and
	// then from the start; most have one only. A resolver that is so heavy, and whose load is
	// so uncertain, that no backend should stand for all of it has several in about the
	// proportions of the target, and a TTL that is shorter by as many, so that its users
	// divide within the time of one full TTL.
	Cycle []string      `json:"cycle"`
	TTL   time.Duration `json:"ttl"` // in JSON nanoseconds
}

// Traffic is how to answer so that the traffic divides as it should.
type Traffic struct {
	Assigned []Assigned // heaviest first, at most MostAssigned
	// Residual is for everybody else: what makes up for what the assigned can't divide.
	Residual Split
}

// Assign divides traffic among backends by giving each heavy resolver to the backend that
// lacks most of its target, the heaviest first. A resolver that was assigned before stays as
// long as at least half of it still fits. It is pure, and the same on every node. The error
// says what is wrong with the input.
func Assign(in TrafficInput) (Traffic, error) {
	target := in.Target.Normal()
	switch {
	case target == nil:
		return Traffic{}, errors.New("assigning resolvers: the target has no backend")
	case in.TTL <= 0 || in.LeastTTL <= 0 || in.LeastTTL > in.TTL:
		return Traffic{}, fmt.Errorf("assigning resolvers: a TTL of %s and a least of %s",
			in.TTL, in.LeastTTL)
	case !(in.Tolerance > 0):
		return Traffic{}, fmt.Errorf("assigning resolvers: a tolerance of %v", in.Tolerance)
	}
	list := Heaviest(in.Resolvers, MostAssigned)
	sum := 0.0
	for _, r := range list {
		sum += r.Load
	}
	total := in.Total
	if !(total >= sum) || math.IsInf(total, 0) {
		total = sum
	}
	d := deficits{backends: target.backends(), lack: make([]float64, len(target)), in: in,
		total: total}
	for i, b := range d.backends {
		d.lack[i] = target[b] * total
	}
	out := Traffic{Assigned: make([]Assigned, 0, len(list))}
	for _, r := range list {
		out.Assigned = append(out.Assigned, d.assign(r, target))
	}
	out.Residual = d.residual(target)
	return out, nil
}

// Heaviest returns up to most of the resolvers that count, largest first, each prefix once.
func Heaviest(list []Resolver, most int) []Resolver {
	out := make([]Resolver, 0, len(list))
	seen := make(map[netip.Prefix]bool, len(list))
	for _, r := range list {
		if r.Prefix.IsValid() && r.Load > 0 && !math.IsInf(r.Load, 0) && !seen[r.Prefix] {
			seen[r.Prefix] = true
			out = append(out, r)
		}
	}
	sortResolvers(out)
	return out[:min(len(out), max(0, most))]
}

// deficits is what each backend lacks of its target while resolvers are handed out.
type deficits struct {
	backends []string // in order
	lack     []float64
	in       TrafficInput
	total    float64
}

func (d *deficits) assign(r Resolver, target Split) Assigned {
	a := Assigned{Prefix: r.Prefix, TTL: d.in.TTL}
	if n := d.answers(r); n > 1 {
		// Whole seconds, as DNS counts; rounded down, so that a TTL has room for all of n.
		a.TTL = max(d.in.LeastTTL, (d.in.TTL / time.Duration(n)).Truncate(time.Second))
		for _, i := range d.cycle(n, target) {
			d.lack[i] -= r.Load / float64(n)
			a.Cycle = append(a.Cycle, d.backends[i])
		}
		return a
	}
	to := d.neediest()
	if before, ok := slices.BinarySearch(d.backends, d.in.Prev[r.Prefix]); ok &&
		target[d.backends[before]] > 0 && d.lack[before] >= r.Load/2 {
		to = before
	}
	d.lack[to] -= r.Load
	a.Cycle = []string{d.backends[to]}
	return a
}

// answers is in how many answers a resolver has to be divided so that by each of them less
// than the tolerance is misjudged, as far as the least TTL allows.
func (d *deficits) answers(r Resolver) int {
	off := r.Load / d.total * r.Error
	if !(off > d.in.Tolerance) {
		return 1
	}
	return int(min(math.Ceil(off/d.in.Tolerance), float64(d.in.TTL/d.in.LeastTTL)))
}

// cycle spreads n answers evenly in the proportions of the target: each goes to the backend
// that is farthest behind. It returns indices.
func (d *deficits) cycle(n int, target Split) []int {
	out := make([]int, 0, n)
	counts := make([]float64, len(d.backends))
	for k := 1; k <= n; k++ {
		to, most := 0, math.Inf(-1)
		for i, b := range d.backends {
			// Equal but for rounding is equal: the first.
			if behind := target[b]*float64(k) - counts[i]; target[b] > 0 && behind > most+1e-9 {
				to, most = i, behind
			}
		}
		counts[to]++
		out = append(out, to)
	}
	return out
}

// neediest is the backend that lacks most; the first of equals.
func (d *deficits) neediest() int {
	to := 0
	for i, lack := range d.lack {
		if lack > d.lack[to] {
			to = i
		}
	}
	return to
}

// residual is the split of what the assigned leave over; the target when that is nothing.
func (d *deficits) residual(target Split) Split {
	out := make(Split, len(d.backends))
	for i, b := range d.backends {
		out[b] = 0
		if target[b] > 0 { // rounding must not bring a drained backend back
			out[b] = max(0, d.lack[i])
		}
	}
	if rest := out.Normal(); rest != nil {
		return rest
	}
	return target
}
