package purge

import (
	"context"
	"log/slog"
	"sync/atomic"
	"time"

	"github.com/sony/gobreaker/v2"
	"golang.org/x/time/rate"

	"pointsman/providers"
)

// Limits of one provider's lane.
const (
	defaultWorkers = 4
	checkWorkers   = 2
	maxGroup       = 50 // batches that are journaled as sent together

	breakerTrip = 5                // transient errors in a row
	breakerOpen = 10 * time.Second // without a call, then one tries
	breakerPoll = 500 * time.Millisecond
)

// lane is everything that belongs to one provider on this node, so that no provider ever waits
// for another: queues, workers, limits and breaker.
type lane struct {
	name    string
	workers int
	target  atomic.Pointer[Target] // replaced at a reload
	limiter *rate.Limiter
	breaker *gobreaker.TwoStepCircuitBreaker[struct{}]
	send    *queue
	check   *queue
	now     func() time.Time

	quietUntil atomic.Int64 // Unix milliseconds; the provider asked for no call before
}

func (t Target) workers() int {
	if t.Concurrency > 0 {
		return t.Concurrency
	}
	return defaultWorkers
}

func newLane(t Target, now func() time.Time, log *slog.Logger) *lane {
	return &lane{
		name: t.Provider.Name(), workers: t.workers(),
		limiter: rate.NewLimiter(rate.Inf, 1),
		breaker: gobreaker.NewTwoStepCircuitBreaker[struct{}](gobreaker.Settings{
			Name: t.Provider.Name(), Timeout: breakerOpen,
			ReadyToTrip: func(c gobreaker.Counts) bool {
				return c.ConsecutiveFailures >= breakerTrip
			},
			// Nothing else in the log tells before the deadline that purges don't get there.
			OnStateChange: func(name string, was, is gobreaker.State) {
				switch {
				case was == gobreaker.StateClosed:
					log.Warn("provider stopped taking purges", "provider", name)
				case is == gobreaker.StateClosed:
					log.Info("provider took purges again", "provider", name)
				}
			},
		}),
		send: newQueue(now), check: newQueue(now), now: now,
	}
}

// set takes over a target of the same name.
func (l *lane) set(t Target) {
	l.target.Store(&t)
	limit := rate.Inf
	if t.Rate > 0 {
		limit = rate.Limit(t.Rate)
	}
	if l.limiter.Limit() != limit {
		l.limiter.SetLimit(limit)
	}
	if burst := max(t.Burst, 1); l.limiter.Burst() != burst {
		l.limiter.SetBurst(burst)
	}
}

// group is how many batches may go out together now: as many as the limiter has tokens for
// beyond the one that was just taken.
func (l *lane) group() int {
	if l.limiter.Limit() == rate.Inf {
		return maxGroup
	}
	return 1 + min(max(int(l.limiter.Tokens()), 0), maxGroup-1)
}

// blocked returns how long no call may go out: the breaker is open, or the provider said to
// slow down. 0 means that one may.
func (l *lane) blocked() time.Duration {
	if l.breaker.State() == gobreaker.StateOpen {
		return breakerPoll
	}
	return max(time.UnixMilli(l.quietUntil.Load()).Sub(l.now()), 0)
}

// slowDown keeps every purge back after the provider asked for it, not just the one that heard.
func (l *lane) slowDown(e *providers.Error, now time.Time) {
	if e.Class == providers.Throttled || e.Class == providers.Busy {
		l.quietUntil.Store(now.Add(min(hint(e), hintCap)).UnixMilli())
	}
}

// place puts a purge into the queue of its phase.
func (l *lane) place(id string, p phase, when time.Time, put func(*queue, string, time.Time)) {
	switch p {
	case phaseSend:
		put(l.send, id, when)
	case phaseCheck:
		put(l.check, id, when)
	}
}

// work hands due purges of one queue to do, one at a time, until ctx ends. do returns when the
// purge is due in the same queue again, if it is.
func (l *lane) work(
	ctx context.Context, q *queue, blocked func() time.Duration,
	do func(ctx context.Context, id string) (time.Time, bool),
) {
	for ctx.Err() == nil {
		if wait := blocked(); wait > 0 {
			pause(ctx, wait)
			continue
		}
		id, wait, ok := q.take()
		if ok {
			when, more := do(ctx, id)
			q.done(id, when, more)
			continue
		}
		var timer <-chan time.Time
		if wait > 0 {
			timer = time.After(wait)
		}
		select {
		case <-ctx.Done():
		case <-q.wake:
		case <-timer:
		}
	}
}
