package purge

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"time"

	"pointsman/internal/store"
)

// shareTries bounds how often one write to the shared store is repeated after a conflict.
const shareTries = 5

// reachable reports whether the shared store exists and is not known to be away. While it is,
// only the sync loop knocks; nothing else waits for it.
func (s *Service) reachable() bool { return s.cfg.Shared != nil && !s.away.Load() }

// observe learns from the outcome of a call to the shared store whether it is there, and
// returns that outcome.
func (s *Service) observe(err error) error {
	gone := errors.Is(err, store.ErrUnavailable) || errors.Is(err, context.DeadlineExceeded)
	if s.away.Swap(gone) != gone {
		s.metrics.sharedAway(gone)
		if gone {
			s.log.Warn("shared store lost", "err", err)
		} else {
			s.log.Info("shared store returned")
		}
	}
	return err
}

// call runs one operation on the shared store under its deadline. It outlives a stop of the
// service, for it is short and what it writes has happened.
func (s *Service) call(ctx context.Context, do func(context.Context, store.Store) error) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), s.cfg.SharedTimeout)
	defer cancel()
	return s.observe(do(ctx, s.cfg.Shared))
}

// publish offers a new purge to the shared store and reports whether it is there now.
func (s *Service) publish(ctx context.Context, r Record) error {
	r.Replicated = true
	raw, err := encode(r)
	if err != nil {
		return err
	}
	err = s.call(ctx, func(ctx context.Context, to store.Store) error {
		_, err := to.Put(ctx, openPrefix+r.ID, raw, store.PutOptions{Expect: store.Expect(0)})
		return err
	})
	if errors.Is(err, store.ErrConflict) {
		return nil // another node took it under the same idempotency key; share will join
	}
	return err
}

// sharedCopy is what the shared store has of a purge.
type sharedCopy struct {
	record   Record
	exists   bool
	revision uint64 // of the open part; 0 when only the history has it, or nothing
}

func (s *Service) readShared(ctx context.Context, id string) (sharedCopy, error) {
	var c sharedCopy
	err := s.call(ctx, func(ctx context.Context, from store.Store) error {
		e, err := from.Get(ctx, openPrefix+id)
		if err == nil {
			c.revision = e.Revision
		} else if errors.Is(err, store.ErrNotFound) {
			e, err = from.Get(ctx, donePrefix+id)
		}
		if errors.Is(err, store.ErrNotFound) {
			return nil
		}
		if err != nil {
			return err
		}
		if c.record, err = decode(e.Value); err != nil {
			s.metrics.unreadable() // worth nothing: it is overwritten by what we know
			return nil
		}
		c.exists = c.record.ID == id
		return nil
	})
	if err != nil {
		return c, fmt.Errorf("reading purge %s from the shared store: %w", id, err)
	}
	return c, nil
}

// share brings the shared store and this node to the same knowledge of a purge. It does
// nothing while the store is away or has this version already.
func (s *Service) share(ctx context.Context, id string) error {
	for range shareTries {
		if !s.reachable() {
			return nil
		}
		s.mu.Lock()
		e, ok := s.open[id]
		current := ok && e.shared == e.version && e.record.Replicated
		s.mu.Unlock()
		if !ok || current {
			return nil
		}
		c, err := s.readShared(ctx, id)
		if err != nil {
			return err
		}
		if c.exists && s.absorb(c.record) {
			if err := s.save(ctx, id); err != nil {
				return err
			}
		}
		err = s.writeShared(ctx, id, c.revision)
		if !errors.Is(err, store.ErrConflict) {
			return err
		}
	}
	return fmt.Errorf("sharing purge %s: %w", id, store.ErrConflict)
}

// doubt makes the next share read the shared store whatever is believed of it: who claims a
// delivery must know what its last holder did.
func (s *Service) doubt(id string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if e, ok := s.open[id]; ok {
		e.shared = -1
	}
}

// absorb joins another node's copy into the one in memory; it reports whether that told us
// anything new.
func (s *Service) absorb(other Record) bool {
	return s.join(other.ID, func(mine Record) Record { return Merge(mine, other) })
}

func (s *Service) join(id string, with func(Record) Record) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	e, ok := s.open[id]
	if !ok {
		return false
	}
	joined := with(e.record)
	if same(joined, e.record) {
		return false
	}
	s.replace(e, joined)
	return true
}

// writeShared writes the version in memory over the revision that it was joined with.
func (s *Service) writeShared(ctx context.Context, id string, revision uint64) error {
	s.mu.Lock()
	e, ok := s.open[id]
	if !ok {
		s.mu.Unlock()
		return nil
	}
	r, version := e.record, e.version
	s.mu.Unlock()
	if err := s.putShared(ctx, r, revision); err != nil {
		return fmt.Errorf("sharing purge %s: %w", id, err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	e.record.Replicated = true // reaches the disk with the next change; until then it is true
	e.shared = max(e.shared, version)
	return nil
}

// putShared writes a record to the part of the shared store where it belongs.
func (s *Service) putShared(ctx context.Context, r Record, revision uint64) error {
	r.Replicated = true
	raw, err := encode(r)
	if err != nil {
		return err
	}
	return s.call(ctx, func(ctx context.Context, to store.Store) error {
		if !r.Final() {
			o := store.PutOptions{Expect: &revision}
			_, err := to.Put(ctx, openPrefix+r.ID, raw, o)
			return err
		}
		o := store.PutOptions{TTL: s.cfg.Retention}
		if _, err := to.Put(ctx, donePrefix+r.ID, raw, o); err != nil {
			return err
		}
		return to.Delete(ctx, openPrefix+r.ID, nil)
	})
}

// same reports whether two records say the same of the purge; where a copy lies is no part.
func same(a, b Record) bool {
	a.Replicated, b.Replicated = false, false
	return reflect.DeepEqual(a, b)
}

// keepInStep compares with the shared store at the start, when a watch hints at a change, each
// tick while the store is away, and every SyncEvery in any case. It never spends more than a
// tenth of its time on it.
func (s *Service) keepInStep(ctx context.Context) {
	hints := s.cfg.Shared.Watch(ctx, openPrefix)
	var last time.Time // of an exchange that took nothing for granted
	for {
		began := time.Now()
		whole := s.away.Load() || began.Sub(last) >= s.cfg.SyncEvery
		err := s.exchange(ctx, whole)
		if err != nil && ctx.Err() == nil {
			s.log.Debug("purges not exchanged", "err", err)
		}
		if whole && err == nil {
			last = began
		}
		rest := max(s.cfg.Tick, 10*time.Since(began))
		next := s.cfg.SyncEvery
		if err != nil {
			next = rest
		}
		if !pause(ctx, rest) {
			return
		}
		select {
		case <-ctx.Done():
			return
		case _, open := <-hints:
			if !open {
				hints = nil // the watch has ended; polling goes on
			}
		case <-time.After(max(next-rest, 0)):
		}
	}
}

// exchange joins every unfinished purge here with every one there. What is missing on a side
// is added to it; an empty answer removes nothing. Unless whole is true it passes over what has
// the revision that was seen last: a store that lost its data may number anew, so now and then
// all is read.
func (s *Service) exchange(ctx context.Context, whole bool) error {
	var list []store.Entry
	err := s.call(ctx, func(ctx context.Context, from store.Store) error {
		var err error
		list, err = from.List(ctx, openPrefix)
		return err
	})
	if err != nil {
		return fmt.Errorf("listing shared purges: %w", err)
	}
	for _, e := range list {
		if !whole && s.seen(e, false) {
			continue
		}
		r, err := decode(e.Value)
		if err != nil || e.Key != openPrefix+r.ID {
			s.metrics.unreadable()
			s.log.Warn("unreadable shared purge found", "key", e.Key, "err", err)
			continue
		}
		if err := s.receive(ctx, r, e.Revision); err != nil {
			return err
		}
		s.seen(e, true)
	}
	s.forget(list)
	for _, id := range s.openIDs() {
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if err := s.share(ctx, id); err != nil {
			return err
		}
		s.retire(id)
	}
	return nil
}

// seen reports whether a shared entry is the one that was read last, and notes it if asked to.
func (s *Service) seen(of store.Entry, note bool) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	e, ok := s.open[of.Key[len(openPrefix):]]
	if !ok {
		return false
	}
	if note {
		e.seen = of.Revision
	}
	return e.seen == of.Revision
}

// forget takes back that the shared store has a purge which it did not list: it may have lost
// its data. share then looks, and writes it again.
func (s *Service) forget(list []store.Entry) {
	listed := make(map[string]bool, len(list))
	for _, e := range list {
		listed[e.Key[len(openPrefix):]] = true
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for id, e := range s.open {
		if !listed[id] {
			e.shared = -1
		}
	}
}

// receive takes in one unfinished purge of the shared store.
func (s *Service) receive(ctx context.Context, r Record, revision uint64) error {
	if _, ok := s.lookup(r.ID); ok {
		if s.absorb(r) {
			s.schedule(r.ID)
			return s.save(ctx, r.ID)
		}
		return nil
	}
	mine, err := stored(ctx, s.cfg.Local, r.ID)
	if err == nil {
		r = Merge(mine, r)
	}
	if err == nil && r.Final() {
		return s.putShared(ctx, r, revision) // finished here while the store was away
	}
	if !s.room() {
		return fmt.Errorf("taking in purge %s: %w", r.ID, ErrOverloaded)
	}
	// Into memory first: a write that fails may have taken effect, and is repeated by the tick.
	s.insert(r, false, false)
	s.schedule(r.ID)
	return s.save(ctx, r.ID)
}

// pause waits, or reports false when ctx ended first.
func pause(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-t.C:
		return true
	}
}
