package purge

import (
	"context"
	"errors"
	"fmt"
	"time"

	"pointsman/internal/store"
	"pointsman/providers"
)

// maxDenied is how many calls of one turn may be denied in a row before the rest is given up.
const maxDenied = 3

// schedule puts every delivery of an unfinished purge where its next step happens. Purges of
// other nodes get a lease's length of patience: their own node goes first.
func (s *Service) schedule(id string) {
	r, ok := s.lookup(id)
	if !ok {
		return
	}
	for _, d := range r.Deliveries {
		if l := s.lane(d.Provider); l != nil {
			p, when := d.next()
			l.place(r.ID, p, s.patience(r, when), (*queue).push)
		}
	}
}

// patience returns when this node may take a step that is due at when.
func (s *Service) patience(r Record, when time.Time) time.Time {
	if r.AcceptedBy == s.cfg.Node {
		return when
	}
	return later(when, s.cfg.Now()).Add(s.cfg.LeaseTTL)
}

func (s *Service) lane(provider string) *lane {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.lanes[provider]
}

// look returns a purge's delivery through a lane and what is next for it.
func (s *Service) look(l *lane, id string) (r Record, d Delivery, p phase, when time.Time) {
	r, ok := s.lookup(id)
	if !ok {
		return r, d, phaseNone, when
	}
	found := r.delivery(l.name)
	if found == nil {
		return r, d, phaseNone, when
	}
	p, when = found.next()
	return r, *found, p, when
}

// deliver is one turn at sending a purge: the batches that are due and that the provider's
// limits allow. It returns when to come back to it for sending, if at all.
func (s *Service) deliver(ctx context.Context, l *lane, id string) (time.Time, bool) {
	r, _, p, when := s.look(l, id)
	if p != phaseSend || when.After(s.cfg.Now()) {
		return s.follow(l, id, phaseSend)
	}
	if err := l.limiter.Wait(ctx); err != nil {
		return s.cfg.Now(), true // the service stops; the journal keeps it
	}
	claim, wait := s.claim(ctx, r, l.name)
	if claim == nil {
		return s.cfg.Now().Add(wait), true
	}
	defer claim.release(ctx)
	// Another node's result may have come with the claim.
	var d Delivery
	if r, d, p, when = s.look(l, id); p == phaseSend && !when.After(s.cfg.Now()) {
		s.send(ctx, l, r, d)
		s.record(ctx, id)
	}
	return s.follow(l, id, phaseSend)
}

// follow says when a purge is due in the queue of the phase at hand, or moves it to the other.
func (s *Service) follow(l *lane, id string, at phase) (time.Time, bool) {
	_, _, p, when := s.look(l, id)
	if p == at {
		return when, true
	}
	l.place(id, p, when, (*queue).push)
	return time.Time{}, false
}

// send journals the due batches as sent, makes the calls and records each outcome in memory.
// The first sign of trouble that is not about the items ends the turn: the rest would meet it
// too.
func (s *Service) send(ctx context.Context, l *lane, r Record, d Delivery) {
	began := s.cfg.Now()
	cuts := s.markSent(r.ID, d, began, l.group())
	if err := s.save(context.WithoutCancel(ctx), r.ID); err != nil {
		// Delivering matters more than knowing that we did: after a crash it is sent again.
		s.log.Debug("purge not journaled yet", "purge_id", r.ID, "err", err)
	}
	denied := 0
	for i, c := range cuts {
		spent := s.cfg.Now().Sub(began) > s.cfg.LeaseTTL/3
		if i > 0 && (spent || ctx.Err() != nil || !l.limiter.Allow()) {
			s.putBack(r.ID, d, cuts[i:], s.cfg.Now())
			return
		}
		report, err := l.breaker.Allow()
		if err != nil {
			wait := Backoff(2, 0, s.ids.float())
			s.putBack(r.ID, d, cuts[i:], s.cfg.Now().Add(wait))
			return
		}
		e, until := s.attempt(ctx, l, r, d, c, report)
		switch {
		case e == nil:
			denied = 0
		case e.Temporary():
			l.slowDown(e, s.cfg.Now())
			s.putBack(r.ID, d, cuts[i+1:], until)
			return
		case e.Class == providers.Auth || e.Class == providers.NotFound:
			if denied++; denied == maxDenied {
				s.giveUp(r.ID, d)
				return
			}
		}
	}
}

// giveUp fails what is left of a delivery whose calls are all denied, for the reason of the
// last: it is about the account, and a thousand more calls would hear the same. Not at the
// first, since some providers deny single items that way.
func (s *Service) giveUp(id string, d Delivery) {
	s.editDelivery(id, d, func(d *Delivery) bool {
		return d.fail(s.cfg.Now())
	})
}

// markSent marks up to n due batches as sent and returns them.
func (s *Service) markSent(id string, d Delivery, now time.Time, n int) []Cut {
	var cuts []Cut
	s.editDelivery(id, d, func(d *Delivery) bool {
		for i, p := range d.Batches {
			if len(cuts) < n && (p.State == Queued || p.State == Sent) && !p.NotBefore.After(now) {
				d.Batches[i] = p.markSent(now)
				cuts = append(cuts, p.Cut)
			}
		}
		return len(cuts) > 0
	})
	return cuts
}

// putBack queues batches again that were marked sent and not called for.
func (s *Service) putBack(id string, d Delivery, cuts []Cut, until time.Time) {
	s.editDelivery(id, d, func(d *Delivery) bool {
		for _, c := range cuts {
			if p := d.part(c); p != nil && p.State == Sent {
				*p = p.putBack(until)
			}
		}
		return len(cuts) > 0
	})
}

// editDelivery changes a delivery in memory unless a retry has replaced it by a later round.
func (s *Service) editDelivery(id string, old Delivery, edit func(*Delivery) bool) {
	s.change(id, func(r *Record) bool {
		d := r.delivery(old.Provider)
		return d != nil && d.Round == old.Round && edit(d)
	})
}

// part returns the batch with that range, or nil.
func (d *Delivery) part(c Cut) *Part {
	for i := range d.Batches {
		if d.Batches[i].Cut == c {
			return &d.Batches[i]
		}
	}
	return nil
}

// attempt makes one call and records its outcome. After a temporary error until is when the
// batch is tried again.
func (s *Service) attempt(
	ctx context.Context, l *lane, r Record, d Delivery, c Cut, report func(error),
) (e *providers.Error, until time.Time) {
	began := s.cfg.Now()
	receipt, err := s.purge(ctx, l, providers.Batch{
		PurgeID: r.ID, RepeatKey: repeatKey(r.ID, d, c), Kind: d.Kind,
		Items: itemsFor(r.Request, d.Kind, c), Soft: d.Soft,
	})
	now := s.cfg.Now()
	if err == nil {
		report(nil)
		s.metrics.attempted(l.name, "ok", now.Sub(began))
		s.editDelivery(r.ID, d, func(d *Delivery) bool {
			return d.settle(c, func(p Part) Part { return p.taken(receipt, now) }, l, now)
		})
		return nil, now
	}
	e = asError(l.name, err)
	report(breakerFault(e))
	s.metrics.attempted(l.name, string(e.Class), now.Sub(began))
	s.editDelivery(r.ID, d, func(d *Delivery) bool {
		return d.settle(c, func(p Part) Part {
			out, halves, why := p.refused(e, now, s.ids.float())
			d.Last, until = further(d.Last, why, compareProblems), out.NotBefore
			d.Batches = append(d.Batches, halves...)
			return out
		}, l, now)
	})
	return e, until
}

// breakerFault is what the breaker counts: that a provider does not work. One that refuses or
// slows us down works.
func breakerFault(e *providers.Error) error {
	if e.Class == providers.Transient {
		return e
	}
	return nil
}

// settle applies an outcome to a batch unless what is known of it is further already.
func (d *Delivery) settle(c Cut, outcome func(Part) Part, l *lane, now time.Time) bool {
	p := d.part(c)
	if p == nil || rank(p.State) >= rank(Accepted) {
		return false
	}
	after := outcome(*p)
	*d.part(c) = after // outcome may have moved the batches
	sortParts(d.Batches)
	if d.Check.State == CheckPending && d.Check.Attempts == 0 && !after.DoneAt.IsZero() {
		usual := l.target.Load().Provider.Capabilities().Propagation
		if after.State == Confirmed {
			usual = 0
		}
		d.Check.NotBefore = later(d.Check.NotBefore, stamp(now.Add(min(usual, checkPatience))))
	}
	return true
}

// purge makes one call under its deadline. At a stop the call in hand gets StopGrace to end. A
// provider that panics loses its call, not the process.
func (s *Service) purge(
	ctx context.Context, l *lane, b providers.Batch,
) (receipt providers.Receipt, err error) {
	callCtx, cancel := context.WithTimeout(context.WithoutCancel(ctx), s.cfg.CallTimeout)
	defer cancel()
	ended := context.AfterFunc(ctx, func() {
		defer cancel()
		pause(callCtx, s.cfg.StopGrace)
	})
	defer ended()
	defer func() {
		if v := recover(); v != nil {
			s.log.Error("provider panicked", "provider", l.name, "purge_id", b.PurgeID, "err", v)
			err = fmt.Errorf("provider %q panicked: %v", l.name, v)
		}
	}()
	return l.target.Load().Provider.Purge(callCtx, b)
}

// claim is the right to work at one delivery.
type claim struct {
	s     *Service
	lease *store.Lease // nil when this node needs none
}

// claim takes the delivery's lease and joins what the shared store knows of the purge. Without
// a reachable shared store the node that accepted the purge works alone. It returns nil and how
// long to wait when another node has it, or must be supposed to.
func (s *Service) claim(ctx context.Context, r Record, provider string) (*claim, time.Duration) {
	own := r.AcceptedBy == s.cfg.Node
	if s.reachable() {
		var lease store.Lease
		err := s.call(ctx, func(ctx context.Context, in store.Store) error {
			var err error
			lease, err = in.Acquire(ctx, "purge/"+r.ID+"/"+provider, s.cfg.Node, s.cfg.LeaseTTL)
			return err
		})
		if errors.Is(err, store.ErrHeld) {
			return nil, s.cfg.LeaseTTL / 3
		}
		if err == nil {
			s.doubt(r.ID)
			if err := s.share(ctx, r.ID); err != nil {
				s.log.Debug("purge not shared yet", "purge_id", r.ID, "err", err)
			}
			return &claim{s: s, lease: &lease}, 0
		}
	}
	if own {
		return &claim{s: s}, 0
	}
	return nil, s.cfg.LeaseTTL / 3
}

func (c *claim) release(ctx context.Context) {
	if c.lease == nil || !c.s.reachable() {
		return // it runs out by itself
	}
	err := c.s.call(ctx, func(ctx context.Context, in store.Store) error {
		return in.Release(ctx, *c.lease)
	})
	if err != nil {
		c.s.log.Debug("purge lease not released", "purge_id", c.lease.Name, "err", err)
	}
}
