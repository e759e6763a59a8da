package purge

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"pointsman/internal/store"
)

// Key prefixes in both stores. A purge moves from open to done when it is final, so that a
// start reads only what is unfinished.
const (
	openPrefix = "purge/open/"
	donePrefix = "purge/done/"
	keyPrefix  = "purge/key/" // idempotency keys, hashed
)

// entry is one unfinished purge in memory. Its fields are guarded by Service.mu; the record is
// replaced, never edited.
type entry struct {
	record  Record
	version int           // of record
	saved   int           // the version that the local store has
	saving  chan struct{} // not nil while a write is under way; closed when it ends
	shared  int           // the version that the shared store is known to have
	seen    uint64        // the revision in the shared store that was read last
	changed chan struct{} // closed at the next change
}

// lookup returns the unfinished purge, or false.
func (s *Service) lookup(id string) (Record, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	e, ok := s.open[id]
	if !ok {
		return Record{}, false
	}
	return e.record, true
}

// insert puts a record into memory, or joins it with what is there. journaled and shared
// say that the local and the shared store are known to have it.
func (s *Service) insert(r Record, journaled, shared bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if e, ok := s.open[r.ID]; ok {
		s.replace(e, Merge(e.record, r))
		return
	}
	e := &entry{record: r, changed: make(chan struct{})}
	if !shared {
		e.shared = -1
	}
	if !journaled {
		e.saved = -1
	}
	s.open[r.ID] = e
}

// replace swaps in a changed record and tells who waits. The caller holds mu.
func (s *Service) replace(e *entry, r Record) {
	e.record = r
	e.version++
	close(e.changed)
	e.changed = make(chan struct{})
}

// change edits an unfinished purge in memory and counts what became final by it; it reports
// whether there was such a purge and edit changed it. edit gets a clone.
func (s *Service) change(id string, edit func(*Record) bool) bool {
	s.mu.Lock()
	e, ok := s.open[id]
	if !ok {
		s.mu.Unlock()
		return false
	}
	before, r := e.record, e.record.clone()
	changed := edit(&r)
	if changed {
		s.replace(e, r)
	}
	s.mu.Unlock()
	if changed {
		s.announce(before, r)
	}
	return changed
}

// announce counts and logs the deliveries that a change on this node has settled.
func (s *Service) announce(before, after Record) {
	now := s.cfg.Now()
	for _, d := range after.Deliveries {
		was := before.delivery(d.Provider)
		if was == nil || was.State() == d.State() && was.Final() == d.Final() {
			continue
		}
		s.metrics.reached(d, age(now, after.AcceptedAt))
		if !d.Final() {
			continue
		}
		level := slog.LevelInfo
		if d.State() == Failed || d.Check.State == CheckUnverified {
			level = slog.LevelWarn
		}
		s.log.Log(context.Background(), level, "purge delivery ended", "purge_id", after.ID,
			"provider", d.Provider, "state", d.State(), "check", d.Check.State,
			"reason", d.Check.Reason, "err", d.Last.Message,
			"took", age(now, after.AcceptedAt))
	}
}

// save makes the local store hold at least the present version of a purge. One write per purge
// is under way at a time, so that an older version never follows a newer one. A purge that has
// become final moves to the history.
func (s *Service) save(ctx context.Context, id string) error {
	s.mu.Lock()
	e, ok := s.open[id]
	if !ok {
		s.mu.Unlock()
		return nil
	}
	for want := e.version; e.saved < want; {
		if busy := e.saving; busy != nil {
			s.mu.Unlock()
			select {
			case <-busy:
			case <-ctx.Done():
				return fmt.Errorf("journaling purge %s: %w", id, ctx.Err())
			}
			s.mu.Lock()
			continue
		}
		busy := make(chan struct{})
		e.saving = busy
		r, version := e.record, e.version
		s.mu.Unlock()
		err := s.write(ctx, r)
		s.mu.Lock()
		e.saving = nil
		close(busy)
		if err != nil {
			s.mu.Unlock()
			return s.journalError(ctx, "journaling", id, err)
		}
		e.saved = version
		s.journalWorks()
	}
	s.mu.Unlock()
	return nil
}

// retire drops a purge from memory once its final version is in the history.
func (s *Service) retire(id string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if e, ok := s.open[id]; ok && e.record.Final() && e.saved == e.version {
		delete(s.open, id)
		close(e.changed)
	}
}

// commit journals the present version of a purge here, then there, and retires it when it is
// final. Neither write holds a delivery up: what could not be written stays in memory and is
// written at a later tick, and a crash before that only repeats the delivery.
// The error is that of the local write.
func (s *Service) commit(ctx context.Context, id string) error {
	ctx = context.WithoutCancel(ctx) // what has happened is written down also at a stop
	if err := s.save(ctx, id); err != nil {
		return err
	}
	if err := s.share(ctx, id); err != nil {
		s.log.Debug("purge not shared yet", "purge_id", id, "err", err)
	}
	s.retire(id)
	return nil
}

// record is commit for a worker, to whom a failed write is no reason to stop: the tick repeats
// it.
func (s *Service) record(ctx context.Context, id string) {
	if err := s.commit(ctx, id); err != nil {
		s.log.Debug("purge not journaled yet", "purge_id", id, "err", err)
	}
}

// write puts a record into the local store: the open part, or the history once it is final.
func (s *Service) write(ctx context.Context, r Record) error {
	raw, err := encode(r)
	if err != nil {
		return err
	}
	if !r.Final() {
		_, err = s.cfg.Local.Put(ctx, openPrefix+r.ID, raw, store.PutOptions{})
		return err
	}
	o := store.PutOptions{TTL: s.cfg.Retention}
	if _, err = s.cfg.Local.Put(ctx, donePrefix+r.ID, raw, o); err != nil {
		return err
	}
	// A crash here leaves both; load joins them.
	return s.cfg.Local.Delete(ctx, openPrefix+r.ID, nil)
}

// journalError wraps an error of the local store. Whether the store can be trusted again, after
// a full disk or a failed sync, is the store's to say: it refuses for as long as not. The log
// hears of it once, not with each of the purges that are written again at every tick.
func (s *Service) journalError(ctx context.Context, act, id string, err error) error {
	if ctx.Err() == nil && !s.unwritten.Swap(true) {
		s.metrics.journalFailing(true)
		s.log.Error("purge journal write failed", "purge_id", id,
			"err", err)
	}
	return fmt.Errorf("%s purge %s: %w: %w", act, id, ErrJournal, err)
}

// journalWorks notes a write that succeeded.
func (s *Service) journalWorks() {
	if s.unwritten.Swap(false) {
		s.metrics.journalFailing(false)
		s.log.Info("purge journal written again")
	}
}

// stored reads a purge from a store, the open part first. Both parts exist for a moment while
// it moves; they are joined.
func stored(ctx context.Context, from store.Store, id string) (Record, error) {
	var found []Record
	for _, prefix := range []string{openPrefix, donePrefix} {
		e, err := from.Get(ctx, prefix+id)
		if errors.Is(err, store.ErrNotFound) {
			continue
		}
		if err != nil {
			return Record{}, fmt.Errorf("reading purge %s: %w", id, err)
		}
		r, err := decode(e.Value)
		if err != nil {
			return Record{}, fmt.Errorf("reading purge %s: %w", id, err)
		}
		found = append(found, r)
	}
	switch len(found) {
	case 0:
		return Record{}, fmt.Errorf("%w: %s", ErrNotFound, id)
	case 1:
		return found[0], nil
	}
	return Merge(found[0], found[1]), nil
}

// load reads the unfinished purges into memory. One unreadable value keeps no other from being
// delivered: it stays where it is, counted and logged.
func (s *Service) load(ctx context.Context) error {
	list, err := s.cfg.Local.List(ctx, openPrefix)
	if err != nil {
		return fmt.Errorf("reading the purge journal: %w", err)
	}
	for _, e := range list {
		r, err := decode(e.Value)
		if err != nil {
			s.metrics.unreadable()
			s.log.Error("unreadable purge found", "key", e.Key, "err", err)
			continue
		}
		if done, err := s.cfg.Local.Get(ctx, donePrefix+r.ID); err == nil {
			if other, err := decode(done.Value); err == nil {
				r = Merge(r, other)
			}
		}
		if r.Final() { // the move to the history was cut short
			if err = s.write(ctx, r); err == nil {
				continue
			}
			_ = s.journalError(ctx, "filing", r.ID, err) // which logs; the next tick files it
		}
		s.insert(r, !r.Final(), false)
	}
	return nil
}

// history lists finished purges of this node, newest first, up to limit. Ids lead with their
// time, so it reads backwards in slices of a few minutes instead of everything.
func (s *Service) history(ctx context.Context, limit int) ([]Record, error) {
	var out []Record
	now := s.cfg.Now()
	for t := now.Add(2 * bucketSpan); len(out) < limit; t = t.Add(-bucketSpan) {
		if now.Sub(t) > s.cfg.Retention+s.cfg.Deadline+2*bucketSpan {
			break
		}
		list, err := s.cfg.Local.List(ctx, donePrefix+bucket(t))
		if err != nil {
			return nil, fmt.Errorf("listing finished purges: %w", err)
		}
		for i := len(list) - 1; i >= 0 && len(out) < limit; i-- {
			if r, err := decode(list[i].Value); err == nil {
				out = append(out, r)
			}
		}
	}
	return out, nil
}

// age is how long ago t was, never below 0.
func age(now, t time.Time) time.Duration { return max(now.Sub(t), 0) }
