package steering

import (
	"fmt"
	"slices"
	"time"

	"pointsman/probes/health"
)

// latencies are those of a view's backends, as measured; those never measured are missing.
func latencies(v *health.View) map[string]time.Duration {
	list := make(map[string]time.Duration, len(v.Backends))
	for name, h := range v.Backends {
		if h.Latency > 0 {
			list[name] = h.Latency
		}
	}
	return list
}

// byLatency reports whether any pool of a spec, which may be nil, goes by latencies.
func (s *Spec) byLatency() bool {
	return s != nil && slices.ContainsFunc(s.Pools, func(p Pool) bool { return p.Choose == ByLatency })
}

// latencyCauses says whose latencies moved, of those that count.
func latencyCauses(before, after Inputs) []string {
	if !after.Spec.byLatency() {
		return nil
	}
	var parts []string
	for name, d := range after.Latencies {
		if was := before.Latencies[name]; was != d {
			parts = append(parts, fmt.Sprintf("latency of %s: %s to %s", name, shortly(was),
				shortly(d)))
		}
	}
	for name, was := range before.Latencies {
		if _, ok := after.Latencies[name]; !ok {
			parts = append(parts, fmt.Sprintf("latency of %s: %s to %s", name, shortly(was),
				shortly(0)))
		}
	}
	slices.Sort(parts)
	return parts
}

// shortly renders a latency for people.
func shortly(d time.Duration) string {
	if d <= 0 {
		return "not known"
	}
	return d.Round(10 * time.Microsecond).String()
}

// values writes down what a pool that goes by latency or cost compares: the values of its backends,
// those of the pools in it among them.
func (p *poolTrace) values(c *compiler) {
	if p == nil || p.pool.Choose != ByLatency && p.pool.Choose != ByCost {
		return
	}
	seen := make(map[string]bool)
	c.backends(p.pool.Name, func(m Member) {
		if seen[m.Backend] {
			return
		}
		seen[m.Backend] = true
		if p.pool.Choose == ByLatency {
			p.inputs = append(p.inputs, latencyInput(c.in, m.Backend))
			return
		}
		p.inputs = append(p.inputs, c.fedInputs(m.Backend, FieldCost)...)
		if c.fed.of(m.Backend, FieldCost) == nil {
			p.inputs = append(p.inputs, Input{Kind: "cost", Backend: m.Backend, Source: "config",
				Value: millionths(c.specs[m.Backend].Cost)})
		}
	})
}

// latencyInput is the latency that pools go by, beside what was measured last.
func latencyInput(in Inputs, backend string) Input {
	held, h := in.Latencies[backend], in.View.Of(backend)
	out := Input{Kind: "latency", Backend: backend, Value: shortly(held), Source: "no view yet",
		Seen: h.LastSample}
	if in.View != nil {
		out.Source = fmt.Sprintf("view %d", in.View.Version)
	}
	if h.Latency > 0 && h.Latency != held {
		out.Reason = "measured " + shortly(h.Latency) + ", which is not far enough from it to count"
	}
	return out
}
