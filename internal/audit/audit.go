// Package audit records who asked for what, before it is done.
//
// In flow entries; each is durable in the node's own log before Record returns, chained to the
// one before it by SHA-256, and then shipped to the log that all nodes share. Out flow the
// latest entries of all nodes. Run owns the shipping of what could not be shipped at once;
// Record and Recent work on the caller's goroutine.
package audit

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"pointsman/internal/store"
)

// Entry is one act that somebody asked for. The caller fills the first six fields; Record
// fills the rest and ignores what stands there.
type Entry struct {
	// Actor is who asked: a token's or certificate's name, or the program itself.
	Actor string `json:"actor"`
	// Action is what was asked, as one word or scope: "drain", "purge", "reload".
	Action string `json:"action"`
	// Target is what it was asked of: a backend, host, purge id. May be empty.
	Target string `json:"target,omitempty"`
	// Reason is why, in the actor's words. May be empty.
	Reason string `json:"reason,omitempty"`
	// From is the remote address the request came from. Empty: from within.
	From string `json:"from,omitempty"`
	// Detail holds what else matters. Never put a credential in it. May be nil.
	Detail map[string]string `json:"detail,omitempty"`

	// ID is unique over all nodes and times.
	ID string `json:"id"`
	// Time is when Record was called, in UTC.
	Time time.Time `json:"time"`
	// Node is the node that recorded it.
	Node string `json:"node"`
	// Number counts the node's entries from 1, without gaps.
	Number uint64 `json:"number"`
	// Previous is the hex SHA-256 of the node's entry before this one as stored; empty in the
	// first.
	Previous string `json:"previous,omitempty"`
}

// maxEntryBytes bounds an entry as stored: a request must not be able to fill the disk.
const maxEntryBytes = 16 << 10

// ErrInvalid says that an entry names no actor or action, or is too big.
var ErrInvalid = errors.New("invalid audit entry")

// Config says where entries are kept.
type Config struct {
	// Shared is the log of all nodes. Nil, or the same store as Local, for a single node.
	Shared store.Store
	// Local is this node's own store. It must be set.
	Local store.Store
	// Node names this node; it must be unique among those that share a store, and the only
	// writer of its name. Empty means "local".
	Node string
	// Now is the clock. Nil means time.Now.
	Now func() time.Time
	// Logger receives what an operator must know. Nil discards it.
	Logger *slog.Logger
	// Registerer takes the metrics. Nil registers none.
	Registerer prometheus.Registerer
}

// Log records entries. All methods are safe for concurrent use.
type Log struct {
	local  store.Store
	shared store.Store // nil when local is all there is
	node   string
	now    func() time.Time
	log    *slog.Logger

	metrics *metrics
	fault   atomic.Pointer[error] // of the last write of the local log; nil: it went well

	mu      sync.Mutex // guards pending; never held over I/O
	pending []*request

	// chainTurn admits one writer of the local log, which alone touches head.
	chainTurn chan struct{}
	head      head
	// shipTurn admits one shipper, which alone touches shipped and saved.
	shipTurn chan struct{}
	shipped  *cursor       // nil: not read yet
	saved    cursor        // as it stands in the local store
	away     atomic.Bool   // the shared store failed at the last try: leave it to Run
	wake     chan struct{} // tells Run that there is something to ship

	localTail, sharedTail tail
}

// request is one Record waiting to be written.
type request struct {
	entry Entry
	done  chan error // takes one
}

// New prepares a log. It reads nothing, so the stores may be away.
func New(c Config) *Log {
	if c.Node == "" {
		c.Node = "local"
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	if c.Shared == c.Local {
		c.Shared = nil
	}
	return &Log{
		local: c.Local, shared: c.Shared, node: c.Node, now: c.Now, log: c.Logger,
		metrics:   newMetrics(c.Registerer),
		chainTurn: make(chan struct{}, 1), shipTurn: make(chan struct{}, 1),
		wake:       make(chan struct{}, 1),
		localTail:  newTail(),
		sharedTail: newTail(),
	}
}

// Record returns nil once the entry is durable on this node: only then do what it says. It
// returns an error wrapping ErrInvalid, or store.ErrUnavailable when the entry may not have
// been kept. The shared log being away is no error.
func (l *Log) Record(ctx context.Context, e Entry) error {
	if e.Actor == "" || e.Action == "" {
		return fmt.Errorf("recording an audit entry: %w: no actor or action", ErrInvalid)
	}
	e.ID = rand.Text()
	e.Time = l.now().UTC()
	e.Node = l.node
	if _, err := encodeEntry(e); err != nil {
		return fmt.Errorf("recording %q by %q: %w", e.Action, e.Actor, err)
	}
	if err := l.chain(ctx, e); err != nil {
		return fmt.Errorf("recording %q by %q: %w", e.Action, e.Actor, err)
	}
	l.shipSoon(ctx)
	return nil
}

// chain writes the entry to the local log. Whoever gets the turn writes for all who wait,
// so that many requests at once share one synced write.
func (l *Log) chain(ctx context.Context, e Entry) error {
	r := &request{entry: e, done: make(chan error, 1)}
	l.mu.Lock()
	l.pending = append(l.pending, r)
	l.mu.Unlock()
	for {
		select {
		case err := <-r.done:
			return err
		case <-ctx.Done():
			return fmt.Errorf("%w: %w", store.ErrUnavailable, ctx.Err())
		case l.chainTurn <- struct{}{}:
		}
		l.writePending(ctx)
		<-l.chainTurn
	}
}

// maxGroup bounds the entries of one stored record (maxGroup * maxEntryBytes < 1 MiB).
const maxGroup = 32

func (l *Log) writePending(ctx context.Context) {
	l.mu.Lock()
	group := l.pending[:min(len(l.pending), maxGroup)]
	l.pending = append([]*request(nil), l.pending[len(group):]...)
	l.mu.Unlock()
	if len(group) == 0 {
		return
	}
	entries := make([]Entry, len(group))
	for i, r := range group {
		entries[i] = r.entry
	}
	// Others wait for this write: its leader's own request may end without it.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), localTimeout)
	defer cancel()
	err := l.appendChained(ctx, entries)
	l.noteWrite(err)
	for _, r := range group {
		r.done <- err
	}
}

// noteWrite remembers the outcome of a write.
func (l *Log) noteWrite(err error) {
	if err == nil {
		l.fault.Store(nil)
		l.metrics.failing.Set(0)
		return
	}
	l.fault.Store(&err)
	l.metrics.failing.Set(1)
}

// Fault returns why the last entry could not be recorded on this node, or nil when it was or
// there was none.
func (l *Log) Fault() error {
	if f := l.fault.Load(); f != nil {
		return *f
	}
	return nil
}

// localTimeout bounds one write of the local log.
const localTimeout = 5 * time.Second
