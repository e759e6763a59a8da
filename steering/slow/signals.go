package slow

import (
	"fmt"
	"maps"
	"math"
	"slices"
	"strings"
	"time"

	"pointsman/steering/control"
)

// forget is how long after its last figure a backend's load counts as measured: so long a gap in
// the figures is a fault, during which shares stay; then the operator has taken the source away.
const forget = 24 * time.Hour

// sane reports whether a figure can be gone by.
func (m Measured) sane() bool {
	return m.Value >= 0 && !math.IsInf(m.Value, 0) && m.Age >= 0
}

// measure takes note of whose load is measured.
func (n *step) measure() {
	if n.next.Seen == nil {
		n.next.Seen = make(map[string]time.Time)
	}
	for b, m := range n.loads {
		n.next.Seen[b] = n.in.Now.Add(-m.Age)
	}
	maps.DeleteFunc(n.next.Seen, func(_ string, at time.Time) bool {
		return n.in.Now.Sub(at) > forget
	})
}

// demands finds out how many requests each scope gets: what is measured at all backends together
// or else what the operator stated, divided among hosts by their stated loads and among a host's
// places by the loads of their resolvers.
func (n *step) demands() {
	n.loads = make(map[string]Measured, len(n.in.Loads))
	for b, m := range n.in.Loads {
		if m.sane() {
			n.loads[b] = m
		}
	}
	stated, measured := 0.0, 0.0
	all := len(n.policies) > 0
	for b := range n.backends() {
		m, ok := n.loads[b]
		all = all && ok
		measured += m.Value
	}
	relative := n.relative()
	sum := 0.0
	for _, p := range n.policies {
		sum += relative[p.Scope]
	}
	for _, host := range n.hosts() {
		stated += n.config.Hosts[host].Load
	}
	n.total = stated
	if all && measured > 0 {
		n.total = measured
	}
	for _, p := range n.policies {
		if sum > 0 {
			n.demand[p.Scope] = n.total * relative[p.Scope] / sum
		}
	}
}

// relative returns how the scopes' demands relate.
func (n *step) relative() map[control.Scope]float64 {
	byHost, places := make(map[string]float64), make(map[string]float64)
	known := true
	for _, p := range n.policies {
		byHost[p.Scope.Host] += max(0, n.in.Resolvers[p.Scope].Total)
		places[p.Scope.Host]++
		known = known && n.config.Hosts[p.Scope.Host].Load > 0
	}
	out := make(map[control.Scope]float64, len(n.policies))
	for _, p := range n.policies {
		host, part := p.Scope.Host, 1/places[p.Scope.Host]
		if of := byHost[host]; of > 0 && !math.IsInf(of, 0) {
			part = max(0, n.in.Resolvers[p.Scope].Total) / of
		}
		weight := 1.0
		switch {
		case known:
			weight = n.config.Hosts[host].Load
		case byHost[host] > 0 && !math.IsInf(byHost[host], 0):
			weight = byHost[host]
		}
		out[p.Scope] = weight * part
	}
	return out
}

// hosts lists the hosts that have a scope, in order.
func (n *step) hosts() (out []string) {
	for _, p := range n.policies { // in order
		if len(out) == 0 || out[len(out)-1] != p.Scope.Host {
			out = append(out, p.Scope.Host)
		}
	}
	return out
}

// backends are those who can answer in any scope.
func (n *step) backends() map[string]bool {
	out := make(map[string]bool)
	for _, p := range n.policies {
		for b, w := range p.Weights {
			if w > 0 {
				out[b] = true
			}
		}
	}
	return out
}

// signals are what the loop goes by in a scope, and a note of where they come from.
func (n *step) signals(p Policy, h Host, current control.Split) (map[string]control.Signal,
	string) {
	switch h.Balance {
	case Latency:
		return n.gather(current, func(b string) (Measured, bool) {
				m, ok := n.in.Latencies[b]
				return m, ok && m.Value > 0
			}), "latency " + n.figures(current, "%.1f ms", func(b string) float64 {
				return 1000 * n.in.Latencies[b].Value
			}, n.in.Latencies)
	case Load:
		return n.gather(current, func(b string) (Measured, bool) {
				m, ok := n.loads[b]
				capacity := n.config.Backends[b].Capacity
				return Measured{Value: m.Value / capacity, Age: m.Age}, ok && capacity > 0
			}), "load " + n.figures(current, "%.0f/s", func(b string) float64 { return n.loads[b].Value },
				n.loads)
	}
	for b := range current {
		if _, ever := n.next.Seen[b]; !ever {
			return n.open(current), "the traffic of " + b + " is not measured: taken to be as answered"
		}
	}
	loads, _ := n.loadsOf(p.Scope.Host, current)
	return n.attributed(p, current), "measured " + n.figures(current, "%.0f/s",
		func(b string) float64 { return loads[b].Value }, loads)
}

func (n *step) gather(current control.Split, of func(string) (Measured, bool)) map[string]control.
	Signal {
	out := make(map[string]control.Signal, len(current))
	for b := range current {
		if m, ok := of(b); ok {
			out[b] = control.Signal{Value: m.Value, Age: m.Age}
		}
	}
	return out
}

// open is what traffic would be if it were as answers are.
func (n *step) open(current control.Split) map[string]control.Signal {
	out := make(map[string]control.Signal, len(current))
	for b, v := range current {
		out[b] = control.Signal{Value: v}
	}
	return out
}

// attributed divides what was measured of each backend among the scopes in proportion to what
// they should send it by their shares: exact for one scope, and for several when what bends a
// backend's traffic is the same in all. A share's part of that answers at once and the rest late,
// which is less lag than the loop's gain was certified for.
func (n *step) attributed(p Policy, current control.Split) map[string]control.Signal {
	out := make(map[string]control.Signal, len(current))
	loads, alone := n.loadsOf(p.Scope.Host, current)
	for b, own := range current {
		m, ok := loads[b]
		if !ok {
			continue
		}
		mine, all := 0.0, 0.0
		for _, o := range n.policies {
			if alone && o.Scope.Host != p.Scope.Host {
				continue
			}
			share := n.sharesOf(o)[b]
			if o.Scope == p.Scope {
				share = own
				mine = share * n.demand[o.Scope]
			}
			all += share * n.demand[o.Scope]
		}
		if all > 0 {
			out[b] = control.Signal{Value: m.Value * mine / all, Age: m.Age}
		} else if own == 0 || n.total == 0 {
			out[b] = control.Signal{Value: m.Value, Age: m.Age}
		}
	}
	return out
}

// loadsOf returns what was measured of a host alone, when that is known of all its backends, or
// else of all hosts together.
func (n *step) loadsOf(host string, current control.Split) (loads map[string]Measured, alone bool) {
	own := n.in.HostLoads[host]
	for b := range current {
		if m, ok := own[b]; !ok || !m.sane() {
			return n.loads, false
		}
	}
	return own, true
}

// sharesOf is how a scope divided its answers up to now.
func (n *step) sharesOf(p Policy) control.Split {
	if kept := n.before.Scopes[p.Scope].Shares; n.managed(p) && p.Held == "" && kept != nil {
		current, _ := remember(kept, p.Weights, membersOf(p.Weights))
		return current
	}
	return p.Weights.Normal()
}

// figures writes down what was measured of each backend, with the age of the oldest.
func (n *step) figures(current control.Split, format string, value func(string) float64,
	from map[string]Measured) string {
	var parts []string
	oldest := time.Duration(0)
	for _, b := range slices.Sorted(maps.Keys(current)) {
		if m, ok := from[b]; ok {
			parts = append(parts, b+" "+fmt.Sprintf(format, value(b)))
			oldest = max(oldest, m.Age)
		} else {
			parts = append(parts, b+" not")
		}
	}
	return fmt.Sprintf("%s (up to %s old)", strings.Join(parts, ", "), oldest.Round(time.Second))
}
