package purge

import (
	"time"

	"pointsman/providers"
)

// Bounds of the wait between two attempts.
const (
	backoffBase  = 500 * time.Millisecond
	backoffCap   = time.Minute
	backoffFloor = 100 * time.Millisecond
	// hintCap bounds what a provider may ask for: a broken header must not park a purge until
	// its deadline.
	hintCap = time.Hour
)

// Backoff returns how long to wait after a failed attempt (from 1): full jitter below a
// ceiling that doubles from 500 ms to one minute, at least 100 ms. A hint above 0 is what the
// provider asked for; the wait is never shorter than it (up to an hour), and spread over a
// quarter more, at least a second, so that many deliveries do not return at once. r is random
// in [0, 1).
func Backoff(attempt int, hint time.Duration, r float64) time.Duration {
	if hint > 0 {
		hint = min(hint, hintCap)
		return hint + time.Duration(r*float64(max(hint/4, time.Second)))
	}
	ceiling := backoffCap
	if shift := max(attempt, 1) - 1; shift < 16 {
		ceiling = min(backoffBase<<shift, backoffCap)
	}
	return max(time.Duration(r*float64(ceiling)), backoffFloor)
}

// hint is what to wait for an error: what the provider asked, or what is usual for its class
// when it named nothing.
func hint(e *providers.Error) time.Duration {
	switch {
	case e.RetryAfter > 0:
		return e.RetryAfter
	case e.Class == providers.Throttled:
		return 5 * time.Second
	case e.Class == providers.Busy:
		return 15 * time.Second
	}
	return 0
}
