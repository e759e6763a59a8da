package health

import (
	"context"
	"time"
)

// exchangeVotes publishes this vantage's votes and reads the others', each second and after
// each change, until ctx ends. It writes the whole state each time: constant work, and a store
// that lost everything is filled again. A store that is away costs nothing but the others'
// votes, which grow old and leave the count.
func (t *Tracker) exchangeVotes(ctx context.Context) {
	ticker := time.NewTicker(exchangeEvery)
	defer ticker.Stop()
	working := true
	for {
		err := t.exchangeOnce(ctx)
		switch {
		case ctx.Err() != nil:
			return
		case err != nil && working:
			t.log.Warn("votes not exchanged", "vantage", t.vantage, "err", err)
		case err == nil && !working:
			t.log.Info("votes exchanged again", "vantage", t.vantage)
		}
		working = err == nil
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		case <-t.trade:
		}
	}
}

// exchangeOnce publishes and reads, and returns the first error. Reading is tried although
// publishing failed.
func (t *Tracker) exchangeOnce(ctx context.Context) error {
	failed := t.bounded(ctx, "publish", func(ctx context.Context) error {
		return t.exchange.Publish(ctx, t.ownVotes())
	})
	var others map[string][]Vote
	err := t.bounded(ctx, "read", func(ctx context.Context) (err error) {
		others, err = t.exchange.Others(ctx)
		return err
	})
	if failed == nil {
		failed = err
	}
	if err == nil || len(others) > 0 {
		t.setOthers(others)
	}
	return failed
}

// bounded calls do under a deadline and counts its failure.
func (t *Tracker) bounded(ctx context.Context, name string, do func(context.Context) error) error {
	callCtx, cancel := context.WithTimeout(ctx, exchangeTimeout)
	defer cancel()
	err := do(callCtx)
	if err != nil && ctx.Err() == nil {
		t.metrics.failures.WithLabelValues(name).Inc()
	}
	return err
}

func (t *Tracker) ownVotes() map[string]Vote {
	t.mu.Lock()
	defer t.mu.Unlock()
	votes := make(map[string]Vote, len(t.backends))
	for name, b := range t.backends {
		votes[name] = b.own
	}
	return votes
}

// setOthers takes the others' votes in and publishes when a state changed by them.
func (t *Tracker) setOthers(others map[string][]Vote) {
	t.mu.Lock()
	defer t.unlock()
	t.others = others
	before, now := t.version, t.now()
	t.decideAll(now)
	if t.version != before {
		t.publish(now)
		signal(t.wake)
	}
}
