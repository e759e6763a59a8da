// Package override keeps the book of overrides: the operator's drains, pins and weights, and
// the fences of purges. They flow in through Add, Remove and the shared store; the whole list
// that holds flows out through OnChange and Active, from memory.
//
// Every override stands in two homes: in this node's own store, written first, so that the
// node can start and steer alone; and in the shared one, through which nodes learn of each
// other's. A removal is a record of its own (a tombstone) that outlives the override, so that
// no copy left behind somewhere brings it back. Merging two homes is a union in which a
// tombstone wins; so a shared store that lost its data is refilled from the nodes' copies and
// never empties them. Run owns the only goroutine.
package override

import (
	"cmp"
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"sync"
	"time"

	"pointsman/internal/store"
	"pointsman/steering"
)

// Sentinels on which callers branch; errors wrap them.
var (
	// ErrInvalid says that the override asked for is wrong; the error says how.
	ErrInvalid = errors.New("invalid override")
	// ErrNotFound says that no override that still holds has this ID.
	ErrNotFound = errors.New("override not found")
)

const (
	localTimeout  = 2 * time.Second
	sharedTimeout = 500 * time.Millisecond
	poll          = time.Second
	// retention is how long a record outlives its override: longer than clocks of two nodes
	// differ, or one jumps, by accident.
	retention = 48 * time.Hour
	// maxActive bounds the book against a caller in a loop.
	maxActive = 10_000
)

// Config is what a book needs.
type Config struct {
	// Shared is the store that all nodes see; nil, or the same as Local, on a single node.
	Shared store.Store
	// Local is this node's own store. It may be nil only when Shared is not.
	Local  store.Store
	Node   string           // this node's name, written into records
	Now    func() time.Time // nil: time.Now
	Logger *slog.Logger     // nil: nothing is logged
	// OnChange is called with all overrides that hold, after any of them came, went or
	// changed; never twice at a time. It may call the book. The list is the callee's own.
	OnChange func([]steering.Override)
}

// Book holds the overrides. All methods are safe for concurrent use.
type Book struct {
	local, shared store.Store // either may be nil, not both; shared is nil on a single node
	node          string
	now           func() time.Time
	log           *slog.Logger
	onChange      func([]steering.Override)

	mu        sync.Mutex // guards what follows; never held over I/O
	entries   map[string]*entry
	told      []steering.Override // what OnChange saw last
	telling   bool                // somebody is calling OnChange
	sharedErr bool                // the shared store was away at the last try
	localErr  bool
	bad       map[string]uint64 // revisions of records that don't read, to log each once
}

// entry is one override in memory, and what its homes are known to hold.
type entry struct {
	record
	// inLocal and inShared are true when that home holds just this record.
	inLocal, inShared bool
	// localRevision is that of the record in Local; 0: none is known.
	localRevision uint64
	// overwrite is true when the shared store holds something under this ID that doesn't read.
	overwrite bool
}

// New returns an empty book. Load or Run fills it from the stores.
func New(c Config) *Book {
	b := &Book{
		local: c.Local, shared: c.Shared, node: c.Node, now: c.Now, log: c.Logger,
		onChange: c.OnChange,
		entries:  make(map[string]*entry),
		bad:      make(map[string]uint64),
	}
	if b.shared == b.local {
		b.shared = nil
	}
	if b.now == nil {
		b.now = time.Now
	}
	if b.log == nil {
		b.log = slog.New(slog.DiscardHandler)
	}
	return b
}

// Add checks an override, gives it its ID and time, and takes it: durable in the local store,
// then in force on this node, then known to all. It returns the override as taken; Local is
// true in it when the shared store was away, and Run brings it there later. When no store took
// it, it is in force all the same, as nobody may have to wait for a disk to drain a backend:
// then Unsaved is true, and Run tries on. An error wraps ErrInvalid.
func (b *Book) Add(ctx context.Context, o steering.Override) (steering.Override, error) {
	now := b.now().UTC().Round(0)
	o, err := normalize(o, now)
	if err != nil {
		return steering.Override{}, fmt.Errorf("adding override: %w", err)
	}
	if n := len(b.Active(now)); n >= maxActive {
		return steering.Override{}, fmt.Errorf("adding override: %w: %d are active already",
			ErrInvalid, n)
	}
	o.ID, o.Created, o.Local, o.Unsaved = newID(), now, false, false
	e := &entry{record: record{Override: o, Node: b.node}}
	if err := b.write(ctx, e); err != nil {
		return steering.Override{}, fmt.Errorf("adding override of %q: %w", o.Backend, err)
	}
	b.log.Info("override added", "backend", o.Backend, "host", o.Host, "reason", o.Reason,
		"actor", o.Actor)
	b.mu.Lock()
	defer b.mu.Unlock()
	if kept := b.entries[o.ID]; kept != nil {
		e = kept // which knows more of the stores by now
	}
	return b.shown(e), nil
}

// Remove ends an override before its time: durable in the local store, at once on this node,
// then known to all; what a store did not take, Run brings there later. It returns ErrNotFound
// when no override that holds has the ID. When no store took the removal, a restart of this
// node before one does brings the override back. The actor is who asked, for the log.
func (b *Book) Remove(ctx context.Context, id, actor string) error {
	now := b.now().UTC().Round(0)
	o, ok := b.lookup(id)
	if !ok {
		b.sync(ctx) // another node may have added it a moment ago
		o, ok = b.lookup(id)
	}
	if !ok {
		return fmt.Errorf("removing override %q: %w", id, ErrNotFound)
	}
	e := &entry{record: record{Override: o, Node: b.node, Removed: now}}
	if err := b.write(ctx, e); err != nil {
		return fmt.Errorf("removing override %q: %w", id, err)
	}
	b.log.Info("override removed", "backend", o.Backend, "host", o.Host, "actor", actor)
	return nil
}

// lookup returns an override that holds.
func (b *Book) lookup(id string) (steering.Override, bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	e := b.entries[id]
	if e == nil || !e.holds(b.now()) {
		return steering.Override{}, false
	}
	return e.Override, true
}

// Active returns the overrides that hold at a time, newest first. The slice is the caller's.
func (b *Book) Active(now time.Time) []steering.Override {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.active(now)
}

// active is Active for a caller that holds b.mu.
func (b *Book) active(now time.Time) []steering.Override {
	var list []steering.Override
	for e := range maps.Values(b.entries) {
		if e.holds(now) {
			list = append(list, b.shown(e))
		}
	}
	slices.SortFunc(list, func(x, y steering.Override) int {
		return cmp.Or(y.Created.Compare(x.Created), cmp.Compare(x.ID, y.ID))
	})
	return list
}

// shown is an entry's override as callers see it.
func (b *Book) shown(e *entry) steering.Override {
	o := e.Override
	o.Local = b.shared != nil && !e.Shared
	o.Unsaved = !e.inLocal && !e.inShared
	return o
}

// write puts a record into its homes and into force: first Local, then memory, then Shared. It
// goes on when the caller has left, and fails only without any home. A live record is only ever
// created: a removal that overtakes this write must not be undone by it.
func (b *Book) write(ctx context.Context, e *entry) error {
	if b.local == nil && b.shared == nil {
		return errors.New("no store is configured")
	}
	ctx = context.WithoutCancel(ctx)
	var expect *uint64
	if e.Removed.IsZero() {
		expect = store.Expect(0)
	}
	localErr := b.putLocal(ctx, e, expect)
	inForce := localErr == nil && b.local != nil
	if inForce {
		b.adopt(e)
	}
	sharedErr := b.putShared(ctx, e, expect)
	switch {
	case inForce:
		b.tell() // it may be known to others now
	case b.shared != nil && sharedErr == nil:
		b.adopt(e)
	default:
		b.adopt(e)
		b.log.Error("override kept in memory only", "backend", e.Backend, "host", e.Host,
			"err", errors.Join(localErr, sharedErr))
		return nil
	}
	for _, err := range []error{localErr, sharedErr} {
		if err != nil && !errors.Is(err, store.ErrConflict) {
			b.log.Warn("override not written to one of its stores", "err", err)
		}
	}
	return nil
}

// adopt brings an entry into force and tells it. Memory gets a copy, as Run changes what it
// finds there while the caller still writes the entry to a store.
func (b *Book) adopt(e *entry) {
	kept := *e
	b.mu.Lock()
	b.entries[e.ID] = &kept
	b.mu.Unlock()
	b.tell()
}

// tell calls OnChange if what holds differs from what it saw last. If another goroutine is at
// it, that one looks again.
func (b *Book) tell() {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.telling || b.onChange == nil {
		return
	}
	b.telling = true
	for {
		list := b.active(b.now())
		if slices.Equal(list, b.told) {
			break
		}
		b.told = list
		b.mu.Unlock()
		b.onChange(slices.Clone(list))
		b.mu.Lock()
	}
	b.telling = false
}

// newID returns an ID that no other node will choose.
func newID() string {
	var raw [8]byte
	rand.Read(raw[:]) // never fails, and fills all of it
	return "ov-" + hex.EncodeToString(raw[:])
}
