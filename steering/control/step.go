package control

import (
	"maps"
	"math"
	"time"
)

// rampSteps is in how many steps a returning backend climbs: its factor takes the values
// 1/rampSteps, 2/rampSteps … 1. Few steps keep the number of published tables small.
const rampSteps = 10

// Step returns the shares for in.Now. A backend that came back less than its ramp ago gets a
// factor that rises linearly from 1/10 to 1, and one whose cache is cold no more than its limit;
// all others have their full share. The splits are passed on unless they have faded. Epoch rises exactly when a factor
// or a split differs from in.Prev. Step never returns a factor of 0: whether a backend answers
// at all is not for control to say.
func Step(in Inputs) Shares {
	next := Shares{Factors: factors(in.Backends, func(b Backend) float64 {
		return min(rampFactor(b, in.Now), limitFactor(b))
	}), Limits: factors(in.Backends, limitFactor)}
	if in.Faded < 1 && len(in.Splits) > 0 {
		next.Splits, next.Faded = in.Splits, max(0, in.Faded)
	}
	if next.same(in.Prev) {
		return in.Prev
	}
	next.Epoch = in.Prev.Epoch + 1
	return next
}

// factors are those below 1; nil when there are none.
func factors(list []Backend, of func(Backend) float64) map[string]float64 {
	var out map[string]float64
	for _, b := range list {
		f := of(b)
		if f >= 1 {
			continue
		}
		if out == nil {
			out = make(map[string]float64)
		}
		out[b.Name] = f
	}
	return out
}

// same reports whether answers divide alike.
func (s Shares) same(o Shares) bool {
	return maps.Equal(s.Factors, o.Factors) && maps.Equal(s.Limits, o.Limits) &&
		s.Faded == o.Faded && equalSplits(s.Splits, o.Splits)
}

func equalSplits(a, b map[Scope]Split) bool {
	return maps.EqualFunc(a, b, func(x, y Split) bool { return maps.Equal(x, y) })
}

// limitFactor is the limit of a cold backend, rounded down to the ramp's steps and, below
// these, to a few more: the number of tables stays small.
func limitFactor(b Backend) float64 {
	if !(b.Limit > 0) || b.Limit >= 1 {
		return 1
	}
	if b.Limit >= 1.0/rampSteps {
		return math.Floor(b.Limit*rampSteps+1e-9) / rampSteps
	}
	for _, f := range []float64{0.05, 0.02, 0.01, 0.005, 0.002} {
		if b.Limit >= f {
			return f
		}
	}
	return 0.001
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
