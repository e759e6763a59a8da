package control

import (
	"maps"
	"time"
)

// rampSteps is in how many steps a returning backend climbs: its factor takes the values
// 1/rampSteps, 2/rampSteps … 1. Few steps keep the number of published tables small.
const rampSteps = 10

// Step returns the shares for in.Now. A backend that came back less than its ramp ago gets a
// factor that rises linearly from 1/10 to 1; all others have their full share. Epoch rises
// exactly when a factor differs from in.Prev. Step never returns a factor of 0: whether a
// backend answers at all is not for control to say.
func Step(in Inputs) Shares {
	var factors map[string]float64
	for _, b := range in.Backends {
		f := rampFactor(b, in.Now)
		if f >= 1 {
			continue
		}
		if factors == nil {
			factors = make(map[string]float64)
		}
		factors[b.Name] = f
	}
	if maps.Equal(factors, in.Prev.Factors) {
		return in.Prev
	}
	return Shares{Epoch: in.Prev.Epoch + 1, Factors: factors}
}

// rampFactor is where on its slow start a backend stands.
func rampFactor(b Backend, now time.Time) float64 {
	if !b.Usable || b.UsableSince.IsZero() || b.Ramp <= 0 {
		return 1
	}
	elapsed := now.Sub(b.UsableSince)
	switch {
	case elapsed >= b.Ramp:
		return 1
	case elapsed <= -b.Ramp:
		// The return lies far in the future: the clock jumped back. Waiting for it to catch
		// up could hold the share down for a day.
		return 1
	case elapsed < 0:
		return 1.0 / rampSteps
	}
	// Float division keeps a ramp of hours from overflowing; both operands are exact.
	step := int(float64(elapsed) / float64(b.Ramp) * (rampSteps - 1))
	return float64(step+1) / rampSteps
}
