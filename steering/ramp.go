package steering

import (
	"time"

	"pointsman/steering/control"
)

// step asks control for the shares of a moment.
func (e *Engine) step(in Inputs, ramps map[string]time.Duration, now time.Time) control.Shares {
	faded := in.Guidance.Faded(now, e.config.GuidanceKeep)
	backends := make([]control.Backend, 0, len(ramps)+len(in.Guidance.Limits))
	for name := range in.Guidance.Limits {
		if _, ramped := ramps[name]; !ramped {
			backends = append(backends, control.Backend{Name: name,
				Limit: limitOf(in.Guidance, faded, name)})
		}
	}
	for name, ramp := range ramps {
		h := in.View.Of(name)
		backends = append(backends, control.Backend{
			Name: name, Usable: h.State.Usable(), UsableSince: e.cameBack(name, h.UsableSince),
			Ramp: ramp, Limit: limitOf(in.Guidance, faded, name),
		})
	}
	return control.Step(control.Inputs{Now: now, Prev: in.Shares, Backends: backends,
		Splits: in.Guidance.Splits, Faded: faded})
}

// hostRamps finds how long each backend's return takes: the longest ramp of a host that uses
// it. It trusts nothing of the spec, which may not have been compiled yet.
func hostRamps(s *Spec) map[string]time.Duration {
	if s == nil {
		return nil
	}
	pools := make(map[string]*Pool, len(s.Pools))
	for i := range s.Pools {
		pools[s.Pools[i].Name] = &s.Pools[i]
	}
	ramps := make(map[string]time.Duration)
	byPool := make(map[string]time.Duration)
	var raise func(pool string, ramp time.Duration)
	raise = func(pool string, ramp time.Duration) {
		if p := pools[pool]; p != nil && byPool[pool] < ramp {
			byPool[pool] = ramp
			for _, m := range p.Members {
				if m.Pool != "" {
					raise(m.Pool, ramp)
				} else {
					ramps[m.Backend] = max(ramps[m.Backend], ramp)
				}
			}
		}
	}
	for _, h := range s.Hosts {
		for _, pool := range h.allPools() {
			raise(pool, h.Ramp)
		}
	}
	return ramps
}
