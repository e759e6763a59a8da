package health

import "time"

// Rules say when a backend changes its state. A zero field takes the value of DefaultRules;
// a negative duration switches its rule off.
type Rules struct {
	// Rise is how many successes in a row make a backend usable again, or Healthy at first.
	Rise int
	// Fall is how many failures in a row make it Unhealthy.
	Fall int
	// CounterDown catches what never fails Fall times in a row: a counter rises by one with
	// each failure, is cleared only by ClearAfter successes in a row, and at CounterDown the
	// backend is Unhealthy. From half of it on the backend is Degraded.
	CounterDown int
	// ClearAfter is how many successes in a row clear the counter.
	ClearAfter int
	// DegradedAbove is the smoothed latency above which a backend is Degraded; it must come
	// under four fifths of it to be Healthy again. 0: off.
	DegradedAbove time.Duration
	// HoldDown is how long a backend stays out after its second fall within RelapseWindow; it
	// doubles with each further one up to HoldDownMax. The first return needs Rise successes
	// only. Falling by the counter counts as a relapse, as it is flapping by definition. The
	// time counts from the last of Fall or more failures in a row, so from an outage's end.
	HoldDown, HoldDownMax time.Duration
	// RelapseWindow is how long a backend must have been usable for its falls to be forgotten.
	RelapseWindow time.Duration
	// CertWarn is how long before the end of its certificate a backend is Degraded.
	CertWarn time.Duration
	// StaleAfter is the age from which a vantage's samples no longer count; then the last
	// state is kept. Set it to several intervals and timeouts of the backend's probes.
	StaleAfter time.Duration
}

// DefaultRules are the rules of a backend of which the config says nothing. With probes each
// second a dead backend is out after 3 s, one that fails every other probe after 40 s, and a
// restarted one is back after 3 s.
//
// CounterDown 20 with ClearAfter 10 is what tells flapping from noise: at 5 % random failures
// the gap to the next failure is under 10 successes with probability 1-0.95^10 = 0.40, so a
// false run to 20 has 0.4^19 = 3e-8 per failure; at 50 % it is certain.
func DefaultRules() Rules {
	return Rules{
		Rise: 3, Fall: 3, CounterDown: 20, ClearAfter: 10,
		HoldDown: 30 * time.Second, HoldDownMax: 10 * time.Minute,
		RelapseWindow: 10 * time.Minute, CertWarn: 7 * 24 * time.Hour,
		StaleAfter: 30 * time.Second,
	}
}

// orDefaults fills in what is not set.
func (r Rules) orDefaults() Rules {
	d := DefaultRules()
	count := func(n *int, otherwise int) {
		if *n <= 0 {
			*n = otherwise
		}
	}
	span := func(v *time.Duration, otherwise time.Duration) {
		if *v == 0 {
			*v = otherwise
		}
	}
	count(&r.Rise, d.Rise)
	count(&r.Fall, d.Fall)
	count(&r.CounterDown, max(d.CounterDown, 2*r.Fall))
	count(&r.ClearAfter, max(d.ClearAfter, r.Rise))
	span(&r.HoldDown, d.HoldDown)
	span(&r.HoldDownMax, max(d.HoldDownMax, r.HoldDown))
	span(&r.RelapseWindow, d.RelapseWindow)
	span(&r.CertWarn, d.CertWarn)
	span(&r.StaleAfter, d.StaleAfter)
	return r
}

// holdDown is how long a backend is held after its nth fall in a row of relapses; 0 for the
// first.
func (r Rules) holdDown(falls int) time.Duration {
	if falls < 2 || r.HoldDown <= 0 {
		return 0
	}
	hold := r.HoldDown
	for range falls - 2 {
		if hold *= 2; hold >= r.HoldDownMax {
			return max(r.HoldDownMax, r.HoldDown)
		}
	}
	return hold
}
