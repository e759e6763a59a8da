package slow

import (
	"fmt"
	"math"
	"net/netip"
	"time"

	"pointsman/steering/control"
)

const (
	// tolerance is the part of all traffic by which one resolver may be misjudged.
	tolerance = 0.005
	// assignEvery is how often resolvers are assigned anew while the target rests, and
	// assignBeyond how far the target may move before.
	assignEvery  = time.Minute
	assignBeyond = 0.005
	// mostAssigned is how many resolvers all scopes together may have assigned: all nodes read
	// the guidance, and a value in the store is bounded.
	mostAssigned = 4_096
)

// assign divides a scope's traffic: the heavy resolvers by name, all others by a split.
func (n *step) assign(p Policy, s *scopeState) {
	target, before := n.targets[p.Scope], n.before.Last
	loads := n.in.Resolvers[p.Scope]
	split, list := before.Splits[p.Scope], before.Traffic[p.Scope]
	switch {
	case len(loads.Resolvers) == 0:
		split, list = target, nil
		s.Target, s.AssignedAt = nil, time.Time{}
	case split == nil || n.changed || n.stale(s, target):
		how, err := n.divide(p, target, loads, list)
		if err != nil {
			n.out.Why[p.Scope] += "; " + err.Error()
			how = control.Traffic{Residual: target}
		}
		split, list = how.Residual, how.Assigned
		s.Target, s.AssignedAt = target, n.in.Now
	}
	n.out.Splits[p.Scope] = split
	if len(list) > 0 {
		n.out.Traffic[p.Scope] = list
		n.out.Why[p.Scope] += fmt.Sprintf("; %d heavy resolvers are assigned, all others divide by %s",
			len(list), percents(split))
	}
}

// stale reports whether it is time to assign resolvers anew.
func (n *step) stale(s *scopeState, target control.Split) bool {
	age := n.in.Now.Sub(s.AssignedAt)
	return s.Target == nil || age < 0 || age >= assignEvery || apart(s.Target, target) > assignBeyond
}

func (n *step) divide(p Policy, target control.Split, loads ResolverLoads,
	prev []control.Assigned) (control.Traffic, error) {
	h := n.config.Hosts[p.Scope.Host]
	return control.Assign(control.TrafficInput{Resolvers: n.heaviest(loads.Resolvers),
		Total: loads.Total, Target: target, Prev: previous(prev), TTL: h.TTL, LeastTTL: h.LeastTTL,
		Tolerance: tolerance})
}

// heaviest bounds how many resolvers a scope may have assigned.
func (n *step) heaviest(list []control.Resolver) []control.Resolver {
	managed := 0
	for _, p := range n.policies {
		if n.managed(p) {
			managed++
		}
	}
	most := min(control.MostAssigned, max(1, mostAssigned/max(1, managed)))
	return control.Heaviest(list, most)
}

// previous are the backends of resolvers that have one alone.
func previous(list []control.Assigned) map[netip.Prefix]string {
	out := make(map[netip.Prefix]string, len(list))
	for _, a := range list {
		if len(a.Cycle) == 1 {
			out[a.Prefix] = a.Cycle[0]
		}
	}
	return out
}

// apart is the largest difference between two splits.
func apart(a, b control.Split) float64 {
	most := 0.0
	for name, v := range a {
		most = max(most, math.Abs(v-b[name]))
	}
	for name, v := range b {
		most = max(most, math.Abs(v-a[name]))
	}
	return most
}
