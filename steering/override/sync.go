package override

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"pointsman/internal/store"
)

// Load reads this node's own copies, so that the first table can honour them. Run does it
// too; call Load before to have them before the first table is compiled. The shared store is
// not needed. An error leaves the book as it was.
func (b *Book) Load(ctx context.Context) error {
	if b.local == nil {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, localTimeout)
	defer cancel()
	list, err := b.local.List(ctx, keyPrefix)
	if err != nil {
		return fmt.Errorf("loading overrides: %w", err)
	}
	b.mergeLocal(list)
	b.tell()
	return nil
}

// mergeLocal takes what the local store holds into memory.
func (b *Book) mergeLocal(list []store.Entry) {
	records := b.decodeAll(list)
	b.mu.Lock()
	defer b.mu.Unlock()
	for i, r := range records {
		if r == nil {
			continue
		}
		e := b.entries[r.ID]
		switch {
		case e == nil:
			b.entries[r.ID] = &entry{
				record: *r, inLocal: true, localRevision: list[i].Revision,
			}
		case e.Removed.IsZero() != r.Removed.IsZero():
			// One of the two is a tombstone, and wins.
			if e.Removed.IsZero() {
				b.entries[r.ID] = &entry{record: *r, inLocal: true}
			}
			b.entries[r.ID].localRevision = list[i].Revision
		default:
			e.inLocal, e.localRevision = true, list[i].Revision
		}
	}
}

// Run keeps the book: it loads, follows the shared store (by watch, and by a poll each
// second), writes what a store has missed, and drops what has expired. It blocks until ctx
// ends and then returns nil; a store that is away is logged once and tried again.
func (b *Book) Run(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	var watch <-chan struct{} // nil never signals
	if b.shared != nil {
		hints := b.shared.Watch(ctx, keyPrefix)
		watch = hints
		defer func() {
			for range hints { // until the store has let go of it
			}
		}()
	}
	defer cancel()
	ticker := time.NewTicker(poll)
	defer ticker.Stop()
	loaded := false
	for {
		if !loaded {
			loaded = b.tried(&b.localErr, "local store", b.Load(ctx))
		}
		b.sync(ctx)
		select {
		case <-ctx.Done():
			return nil
		case <-ticker.C:
		case _, open := <-watch:
			if !open {
				watch = nil // the poll goes on
			}
		}
	}
}

// tried logs when a home went away or came back, and reports whether it is there.
func (b *Book) tried(away *bool, home string, err error) bool {
	if errors.Is(err, context.Canceled) {
		return false
	}
	b.mu.Lock()
	was := *away
	*away = err != nil
	b.mu.Unlock()
	switch {
	case err != nil && !was:
		b.log.Warn("overrides lost a store", "state", home, "err", err)
	case err == nil && was:
		b.log.Info("overrides found a store again", "state", home)
	}
	return err == nil
}

// sync makes memory and both homes agree, as far as they are there.
func (b *Book) sync(ctx context.Context) {
	b.forget()
	there := b.shared != nil && b.tried(&b.sharedErr, "shared store", b.pull(ctx))
	b.tell()
	b.pushLocal(ctx)
	if there {
		b.pushShared(ctx)
		b.pushLocal(ctx) // what the shared store now knows
	}
	b.tell()
}

// forget drops what can't matter any more. The stores drop it by its time to live.
func (b *Book) forget() {
	b.mu.Lock()
	defer b.mu.Unlock()
	now := b.now()
	for id, e := range b.entries {
		if e.forgotten(now) {
			delete(b.entries, id)
		}
	}
}

// pull merges what the shared store holds into memory.
func (b *Book) pull(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, sharedTimeout)
	defer cancel()
	list, err := b.shared.List(ctx, keyPrefix)
	if err != nil {
		return fmt.Errorf("listing shared overrides: %w", err)
	}
	records := b.decodeAll(list)
	b.mu.Lock()
	defer b.mu.Unlock()
	found := make(map[string]bool, len(list))
	for i, r := range records {
		if r == nil {
			if e := b.entries[list[i].Key[len(keyPrefix):]]; e != nil {
				e.overwrite = true // ours is whole
			}
			continue
		}
		found[r.ID] = true
		b.mergeShared(*r)
	}
	for id, e := range b.entries {
		if !found[id] {
			e.inShared = false // lost there: it is written again
		}
	}
	return nil
}

// mergeShared takes one record of the shared store into memory. The caller holds b.mu.
func (b *Book) mergeShared(r record) {
	r.Shared = true
	e := b.entries[r.ID]
	switch {
	case e == nil:
		if !r.forgotten(b.now()) {
			b.entries[r.ID] = &entry{record: r, inShared: true}
		}
	case e.Removed.IsZero() && !r.Removed.IsZero():
		b.entries[r.ID] = &entry{record: r, inShared: true, localRevision: e.localRevision}
	case !e.Removed.IsZero() && r.Removed.IsZero():
		e.inShared = false // the tombstone has to get there
	default:
		e.inShared = true
		b.markShared(e)
	}
}

// markShared notes that other nodes know the record; Local learns it at the next push. The
// caller holds b.mu.
func (b *Book) markShared(e *entry) {
	if !e.Shared {
		e.Shared, e.inLocal = true, false
	}
}

// missing returns the entries that a home lacks, as copies, in the order of their IDs.
func (b *Book) missing(lacks func(*entry) bool) []entry {
	b.mu.Lock()
	defer b.mu.Unlock()
	var list []entry
	for _, e := range b.entries {
		if lacks(e) {
			list = append(list, *e)
		}
	}
	slices.SortFunc(list, func(x, y entry) int { return strings.Compare(x.ID, y.ID) })
	return list
}

// pushLocal writes what Local lacks. A record that changed in Local since it was read is read
// again and merged: a tombstone written meanwhile must not be undone.
func (b *Book) pushLocal(ctx context.Context) {
	if b.local == nil {
		return
	}
	for _, e := range b.missing(func(e *entry) bool { return !e.inLocal }) {
		err := b.putLocal(ctx, &e, store.Expect(e.localRevision))
		if errors.Is(err, store.ErrConflict) {
			err = b.reread(ctx, e.ID)
		}
		if !b.tried(&b.localErr, "local store", err) {
			return
		}
	}
}

// reread merges one record of Local.
func (b *Book) reread(ctx context.Context, id string) error {
	ctx, cancel := context.WithTimeout(ctx, localTimeout)
	defer cancel()
	got, err := b.local.Get(ctx, keyPrefix+id)
	if err == nil {
		b.mergeLocal([]store.Entry{got})
		return nil
	}
	if !errors.Is(err, store.ErrNotFound) {
		return fmt.Errorf("reading override %q: %w", id, err)
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if e := b.entries[id]; e != nil {
		e.localRevision = 0
	}
	return nil
}

// pushShared writes what the shared store lacks. A live record is only created there, never
// written over what another node wrote meanwhile; a tombstone wins over anything.
func (b *Book) pushShared(ctx context.Context) {
	now := b.now()
	lacks := func(e *entry) bool { return !e.inShared && !e.forgotten(now) }
	for _, e := range b.missing(lacks) {
		expect := store.Expect(0)
		if !e.Removed.IsZero() || e.overwrite {
			expect = nil
		}
		err := b.putShared(ctx, &e, expect)
		if errors.Is(err, store.ErrConflict) {
			continue // it is there; the next pull reads it
		}
		if !b.tried(&b.sharedErr, "shared store", err) {
			return
		}
	}
}

// putLocal writes a record to Local and notes it. Without a Local there is nothing to do.
func (b *Book) putLocal(ctx context.Context, e *entry, expect *uint64) error {
	if b.local == nil {
		return nil
	}
	revision, err := b.put(ctx, b.local, localTimeout, e.record, expect)
	if err != nil {
		return fmt.Errorf("writing to the local store: %w", err)
	}
	b.note(e, func(e *entry) { e.inLocal, e.localRevision = true, revision })
	return nil
}

// putShared writes a record to the shared store and notes it.
func (b *Book) putShared(ctx context.Context, e *entry, expect *uint64) error {
	if b.shared == nil {
		return nil
	}
	r := e.record
	r.Shared = true
	if _, err := b.put(ctx, b.shared, sharedTimeout, r, expect); err != nil {
		return fmt.Errorf("writing to the shared store: %w", err)
	}
	b.note(e, func(e *entry) {
		e.inShared, e.overwrite = true, false
		b.markShared(e)
	})
	return nil
}

// put writes a record to a store for as long as it can matter.
func (b *Book) put(
	ctx context.Context, s store.Store, timeout time.Duration, r record, expect *uint64,
) (uint64, error) {
	data, err := r.encode()
	if err != nil {
		return 0, err
	}
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	return s.Put(ctx, r.key(), data, store.PutOptions{Expect: expect, TTL: r.life(b.now())})
}

// note records what was written in the entry and, if the record there is still the same, in
// the one that memory holds.
func (b *Book) note(e *entry, f func(*entry)) {
	b.mu.Lock()
	defer b.mu.Unlock()
	kept := b.entries[e.ID]
	if kept != nil && kept != e && kept.record == e.record {
		f(kept)
	}
	f(e)
}

// decodeAll decodes entries; those that don't read are nil and logged once.
func (b *Book) decodeAll(list []store.Entry) []*record {
	records := make([]*record, len(list))
	for i, e := range list {
		r, err := decode(e)
		if err == nil {
			records[i] = &r
			continue
		}
		b.mu.Lock()
		known := b.bad[e.Key] == e.Revision
		b.bad[e.Key] = e.Revision
		b.mu.Unlock()
		if !known {
			b.log.Error("override record not read", "err", err)
		}
	}
	return records
}
