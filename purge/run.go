package purge

import (
	"context"
	"fmt"
	"sync"
	"time"
)

// Run delivers until ctx ends and everything it started has too; then it returns nil. An error
// means that the journal could not be read. It is called once.
func (s *Service) Run(ctx context.Context) error {
	if err := s.load(ctx); err != nil {
		if ctx.Err() != nil {
			return nil
		}
		return fmt.Errorf("running purges: %w", err)
	}
	for _, id := range s.openIDs() {
		s.schedule(id)
	}
	var wg sync.WaitGroup
	defer wg.Wait()
	wg.Go(func() { s.tick(ctx) })
	if s.cfg.Shared != nil {
		wg.Go(func() { s.keepInStep(ctx) })
	}
	running := map[*lane]context.CancelFunc{}
	for {
		s.staff(ctx, &wg, running)
		select {
		case <-ctx.Done():
			for _, stop := range running {
				stop()
			}
			return nil
		case <-s.moved:
		}
	}
}

// staff starts the workers of new lanes and sends those of removed ones home; they finish the
// call in hand.
func (s *Service) staff(
	ctx context.Context, wg *sync.WaitGroup, running map[*lane]context.CancelFunc,
) {
	s.mu.Lock()
	order := s.order
	s.mu.Unlock()
	wanted := make(map[*lane]bool, len(order))
	for _, l := range order {
		wanted[l] = true
		if running[l] != nil {
			continue
		}
		laneCtx, stop := context.WithCancel(ctx)
		running[l] = stop
		for range l.workers {
			wg.Go(func() {
				l.work(laneCtx, l.send, l.blocked,
					func(ctx context.Context, id string) (time.Time, bool) {
						return s.deliver(ctx, l, id)
					})
			})
		}
		for range checkWorkers {
			wg.Go(func() {
				l.work(laneCtx, l.check, func() time.Duration { return 0 },
					func(ctx context.Context, id string) (time.Time, bool) {
						return s.verify(ctx, l, id)
					})
			})
		}
	}
	for l, stop := range running {
		if !wanted[l] {
			stop()
			delete(running, l)
		}
	}
}

// tick looks at every unfinished purge now and then: deadlines that have passed, writes that
// are owed, deliveries that no queue has, and the gauges.
func (s *Service) tick(ctx context.Context) {
	for pause(ctx, s.cfg.Tick) {
		now := s.cfg.Now()
		oldest := map[string]time.Time{}
		writing := true
		for _, id := range s.openIDs() {
			if ctx.Err() != nil {
				return
			}
			if err := s.tend(ctx, id, now, writing); err != nil {
				s.log.Debug("purge not journaled yet", "purge_id", id, "err", err)
				writing = false // the others wait for the next tick
			}
			s.keepQueued(id, oldest)
		}
		s.mu.Lock()
		order := s.order
		s.mu.Unlock()
		for _, l := range order {
			var waited time.Duration
			if at, ok := oldest[l.name]; ok {
				waited = age(now, at)
			}
			s.metrics.queued(l.name, l.send.depth()+l.check.depth(), waited)
		}
	}
}

// tend is tick for one purge; it returns the error of a write that is owed.
func (s *Service) tend(ctx context.Context, id string, now time.Time, writing bool) error {
	expired := s.change(id, func(r *Record) bool {
		found := false
		for i := range r.Deliveries {
			d := &r.Deliveries[i]
			if !d.Deadline.After(now) && d.expire(now) {
				found = true
			}
		}
		return found
	})
	s.mu.Lock()
	e, ok := s.open[id]
	owed := ok && (e.saved != e.version || e.record.Final()) && e.saving == nil
	s.mu.Unlock()
	if writing && (expired || owed) {
		return s.commit(ctx, id)
	}
	return nil
}

// keepQueued makes sure that each unfinished delivery is in a queue, and notes the oldest.
func (s *Service) keepQueued(id string, oldest map[string]time.Time) {
	r, ok := s.lookup(id)
	if !ok {
		return
	}
	for _, d := range r.Deliveries {
		p, when := d.next()
		if p == phaseNone {
			continue
		}
		if at, have := oldest[d.Provider]; !have || r.AcceptedAt.Before(at) {
			oldest[d.Provider] = r.AcceptedAt
		}
		if l := s.lane(d.Provider); l != nil {
			l.place(id, p, s.patience(r, when), (*queue).ensure)
		}
	}
}
