package probes

import "time"

// budget is a token bucket as one time stamp (a generic cell rate algorithm): next is when
// the bucket would be full again. It is not safe for concurrent use.
type budget struct {
	cost time.Duration // time that pays for one probe
	full time.Duration // what the bucket holds, as time
	next time.Time
}

// newBudget allows perSecond probes a second, at most a tenth of them (or one) at once.
func newBudget(perSecond float64) budget {
	cost := max(time.Duration(float64(time.Second)/perSecond), 1)
	return budget{cost: cost, full: max(time.Second/10, cost)}
}

// take pays for one probe, or says how long to wait until it can be paid.
func (b *budget) take(now time.Time) (wait time.Duration) {
	next := b.next
	if next.Before(now) {
		next = now
	}
	next = next.Add(b.cost)
	if wait := next.Sub(now) - b.full; wait > 0 {
		return wait
	}
	b.next = next
	return 0
}
