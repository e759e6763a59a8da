package audit

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"pointsman/internal/store"
)

const (
	sharedLog = "audit/all"
	// shipTimeout bounds what a Record may wait for the shared store.
	shipTimeout = time.Second
	// shipInterval is how often Run looks for what was not shipped, or was lost over there.
	shipInterval = 5 * time.Second
)

// cursor says how far the node's log is in the shared log. It is kept in the local store;
// when it lags, entries are found in the shared log itself and not shipped twice.
type cursor struct {
	// Local is the sequence of the last local record that was shipped.
	Local uint64 `json:"local"`
	// Shared is a shared sequence up to which no record of this node is missing in Local. 0:
	// nothing was read yet.
	Shared uint64 `json:"shared"`
}

func (l *Log) cursorKey() string { return "audit/shipped/" + l.node }

// Run ships what Record could not, until ctx ends; then it returns nil. Without a shared store
// it just waits. Call it once.
func (l *Log) Run(ctx context.Context) error {
	if l.shared == nil {
		<-ctx.Done()
		return nil
	}
	tick := time.NewTicker(shipInterval)
	defer tick.Stop()
	for {
		l.shipOrWarn(ctx)
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		case <-l.wake:
		}
	}
}

// shipSoon ships at once unless somebody does already or the shared store is away: then
// emergency switches must not wait for it.
func (l *Log) shipSoon(ctx context.Context) {
	if l.shared == nil {
		return
	}
	if l.away.Load() {
		return // Run tries at every tick
	}
	select {
	case l.shipTurn <- struct{}{}:
	default:
		// Whoever ships may have read the local log before our entry: let Run look again.
		select {
		case l.wake <- struct{}{}:
		default:
		}
		return
	}
	defer func() { <-l.shipTurn }()
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), shipTimeout)
	defer cancel()
	l.note(l.ship(ctx))
}

func (l *Log) shipOrWarn(ctx context.Context) {
	select {
	case l.shipTurn <- struct{}{}:
	case <-ctx.Done():
		return
	}
	defer func() { <-l.shipTurn }()
	err := l.ship(ctx)
	if ctx.Err() == nil {
		l.note(err)
		l.saveCursor(ctx)
	}
}

// note logs the change between reachable and away, not each try.
func (l *Log) note(err error) {
	switch was := l.away.Swap(err != nil); {
	case err != nil && !was:
		l.log.Warn("audit entries kept for later shipping", "err", err)
	case err == nil && was:
		l.log.Info("audit entries shipped")
	}
}

// ship brings every local record that the shared log lacks there, in order.
func (l *Log) ship(ctx context.Context) error {
	at, err := l.position(ctx)
	if err != nil {
		return err
	}
	there, last, err := l.shippedAfter(ctx, at.Shared)
	if err != nil {
		return err
	}
	err = eachRecord(ctx, l.local, l.localLog(), at.Local, func(r store.Record) error {
		lines, err := decodeRecord(r.Value)
		if err != nil {
			return fmt.Errorf("reading audit record %d: %w", r.Sequence, err)
		}
		if !there[lines[0].entry.ID] {
			sequence, err := l.shared.Append(ctx, sharedLog, r.Value)
			if err != nil {
				return err
			}
			last = max(last, sequence)
		}
		at.Local = r.Sequence
		return nil
	})
	if err == nil {
		at.Shared = last
	}
	l.shipped = &at
	return err
}

// shippedAfter returns which records of this node, by the ID of their first entry, are in the
// shared log after a sequence, and the last sequence there. Anything may have happened since
// the cursor was saved, and an append that timed out may have taken effect.
func (l *Log) shippedAfter(
	ctx context.Context, after uint64,
) (there map[string]bool, last uint64, err error) {
	there, last = map[string]bool{}, after
	err = eachRecord(ctx, l.shared, sharedLog, after, func(r store.Record) error {
		lines, err := decodeRecord(r.Value)
		if err == nil && lines[0].entry.Node == l.node {
			there[lines[0].entry.ID] = true
		}
		last = r.Sequence
		return nil // garbage is not what we look for
	})
	return there, last, err
}

// position returns the cursor, or the beginning when the shared log has lost what the cursor
// points at: then everything that is missing there is shipped again.
func (l *Log) position(ctx context.Context) (cursor, error) {
	if l.shipped == nil {
		var c cursor
		e, err := l.local.Get(ctx, l.cursorKey())
		if err == nil {
			err = json.Unmarshal(e.Value, &c)
		}
		if err != nil && !errors.Is(err, store.ErrNotFound) {
			return c, fmt.Errorf("reading how far audit entries were shipped: %w", err)
		}
		l.shipped, l.saved = &c, c
	}
	at := *l.shipped
	if at.Shared == 0 {
		return at, nil
	}
	records, err := l.shared.Read(ctx, sharedLog, at.Shared-1, 1)
	if err != nil {
		return at, err
	}
	if len(records) == 1 && records[0].Sequence == at.Shared {
		return at, nil
	}
	l.log.Warn("shared audit log lost entries", "node", l.node)
	return cursor{}, nil
}

// saveCursor saves how far shipping is, if that changed. It is best effort: an older cursor
// only makes the next start longer.
func (l *Log) saveCursor(ctx context.Context) {
	if l.shipped == nil || *l.shipped == l.saved {
		return
	}
	value, err := json.Marshal(*l.shipped)
	if err == nil {
		_, err = l.local.Put(ctx, l.cursorKey(), value, store.PutOptions{})
	}
	if err != nil {
		l.log.Warn("audit shipping position not saved", "err", err)
		return
	}
	l.saved = *l.shipped
}
