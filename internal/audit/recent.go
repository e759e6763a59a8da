package audit

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"

	"pointsman/internal/store"
)

// keepRecent bounds what Recent can return, and what it remembers.
const keepRecent = 1000

// tail remembers the last entries of a log and how far it was read, so that each Recent reads
// only what is new.
type tail struct {
	turn    chan struct{} // admits one reader, which alone touches the rest
	after   uint64
	entries []Entry
}

func newTail() tail { return tail{turn: make(chan struct{}, 1)} }

// Recent returns up to n entries (at most 1000) of all nodes, newest first. When the shared
// log is away it returns this node's own entries and no error.
func (l *Log) Recent(ctx context.Context, n int) ([]Entry, error) {
	own, err := l.localTail.read(ctx, l.local, l.localLog())
	if err != nil {
		return nil, fmt.Errorf("reading recent audit entries: %w", err)
	}
	all := own
	if l.shared != nil {
		shared, err := l.sharedTail.read(ctx, l.shared, sharedLog)
		if err != nil && !errors.Is(err, store.ErrUnavailable) {
			return nil, fmt.Errorf("reading recent audit entries: %w", err)
		}
		all = merge(own, shared)
	}
	slices.SortStableFunc(all, func(a, b Entry) int {
		if c := b.Time.Compare(a.Time); c != 0 {
			return c
		}
		if c := cmp.Compare(a.Node, b.Node); c != 0 {
			return c
		}
		return cmp.Compare(b.Number, a.Number)
	})
	return all[:max(0, min(n, len(all), keepRecent))], nil
}

// merge returns the entries of both, each ID once.
func merge(own, shared []Entry) []Entry {
	seen := make(map[string]bool, len(own)+len(shared))
	var all []Entry
	for _, list := range [][]Entry{own, shared} {
		for _, e := range list {
			if !seen[e.ID] {
				seen[e.ID] = true
				all = append(all, e)
			}
		}
	}
	return all
}

// read returns a copy of the log's last entries, after reading what is new. When the store is
// away it returns what it remembers too.
func (t *tail) read(ctx context.Context, s store.Store, log string) ([]Entry, error) {
	select {
	case t.turn <- struct{}{}:
		defer func() { <-t.turn }()
	case <-ctx.Done():
		return nil, fmt.Errorf("%w: %w", store.ErrUnavailable, ctx.Err())
	}
	err := eachRecord(ctx, s, log, t.after, func(r store.Record) error {
		t.after = r.Sequence
		lines, err := decodeRecord(r.Value)
		if err != nil {
			return nil // Verify is what tells of damage; others' entries are still worth showing
		}
		for _, line := range lines {
			t.entries = append(t.entries, line.entry)
		}
		if excess := len(t.entries) - keepRecent; excess > 0 {
			t.entries = slices.Delete(t.entries, 0, excess)
		}
		return nil
	})
	return slices.Clone(t.entries), err
}
