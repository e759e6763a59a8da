package storetest

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"pointsman/internal/store"
)

// Memory is a store in memory that keeps the whole contract, for tests that live in a bubble of
// fake time, where no file or socket may be waited for. Wrap it in a Faulty for faults. All
// methods are safe for concurrent use.
type Memory struct {
	now     func() time.Time
	waiting sync.WaitGroup // watchers; added to under mu while not closed
	done    chan struct{}  // closed by Close

	mu      sync.Mutex // guards all below
	closed  bool
	last    uint64 // revision, sequence or token
	entries map[string]mortal
	logs    map[string][]store.Record
	leases  map[string]store.Lease
	watches map[chan struct{}]string // prefixes
}

// mortal is an entry with its end; zero: none.
type mortal struct {
	store.Entry
	ends time.Time
}

var _ store.Store = (*Memory)(nil)

// NewMemory makes an empty store. now is its clock; nil: time.Now, which in a bubble is the
// bubble's. Close waits for its watches.
func NewMemory(now func() time.Time) *Memory {
	if now == nil {
		now = time.Now
	}
	return &Memory{
		now: now, done: make(chan struct{}), entries: map[string]mortal{},
		logs: map[string][]store.Record{}, leases: map[string]store.Lease{},
		watches: map[chan struct{}]string{},
	}
}

// Wipe loses everything, as a restarted Redis without persistence does: revisions begin anew.
// Nothing is signalled.
func (m *Memory) Wipe() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.last = 0
	clear(m.entries)
	clear(m.logs)
	clear(m.leases)
}

// Clone is a store of its own with the same content, as a disk after a crash: what is written to
// m from now on does not reach it.
func (m *Memory) Clone() *Memory {
	m.mu.Lock()
	defer m.mu.Unlock()
	c := NewMemory(m.now)
	c.last = m.last
	maps.Copy(c.entries, m.entries) // values are never changed in place
	maps.Copy(c.leases, m.leases)
	for log, records := range m.logs {
		c.logs[log] = slices.Clone(records)
	}
	return c
}

// enter checks what every call needs, and takes mu; the caller unlocks it if there is no error.
func (m *Memory) enter(ctx context.Context, argument error) error {
	if argument != nil {
		return argument
	}
	if err := ctx.Err(); err != nil {
		return fmt.Errorf("%w: %w", store.ErrUnavailable, err)
	}
	m.mu.Lock()
	if m.closed {
		m.mu.Unlock()
		return fmt.Errorf("%w: closed", store.ErrUnavailable)
	}
	return nil
}

// live gives an entry, the zero one if there is none or its time is over.
func (m *Memory) live(key string) mortal {
	e := m.entries[key]
	if !e.ends.IsZero() && !m.now().Before(e.ends) {
		delete(m.entries, key)
		return mortal{}
	}
	return e
}

// signal tells those who watch key.
func (m *Memory) signal(key string) {
	for w, prefix := range m.watches {
		if strings.HasPrefix(key, prefix) {
			select {
			case w <- struct{}{}:
			default: // one signal waits already
			}
		}
	}
}

func copied(e store.Entry) store.Entry {
	e.Value = slices.Clone(e.Value)
	return e
}

// Get implements store.Store.
func (m *Memory) Get(ctx context.Context, key string) (store.Entry, error) {
	if err := m.enter(ctx, store.CheckKey(key)); err != nil {
		return store.Entry{}, fmt.Errorf("getting %q: %w", key, err)
	}
	defer m.mu.Unlock()
	e := m.live(key)
	if e.Revision == 0 {
		return store.Entry{}, fmt.Errorf("getting %q: %w", key, store.ErrNotFound)
	}
	return copied(e.Entry), nil
}

// Put implements store.Store.
func (m *Memory) Put(
	ctx context.Context, key string, value []byte, o store.PutOptions,
) (uint64, error) {
	argument := store.CheckKey(key)
	if argument == nil {
		argument = store.CheckValue(value)
	}
	if err := m.enter(ctx, argument); err != nil {
		return 0, fmt.Errorf("putting %q: %w", key, err)
	}
	defer m.mu.Unlock()
	if o.Expect != nil && m.live(key).Revision != *o.Expect {
		return 0, fmt.Errorf("putting %q: %w", key, store.ErrConflict)
	}
	m.last++
	e := mortal{Entry: copied(store.Entry{Key: key, Value: value, Revision: m.last})}
	if o.TTL > 0 {
		e.ends = m.now().Add(o.TTL)
	}
	m.entries[key] = e
	m.signal(key)
	return m.last, nil
}

// Delete implements store.Store.
func (m *Memory) Delete(ctx context.Context, key string, expect *uint64) error {
	if err := m.enter(ctx, store.CheckKey(key)); err != nil {
		return fmt.Errorf("deleting %q: %w", key, err)
	}
	defer m.mu.Unlock()
	e := m.live(key)
	switch {
	case expect == nil:
	case e.Revision == 0:
		return fmt.Errorf("deleting %q: %w", key, store.ErrNotFound)
	case e.Revision != *expect:
		return fmt.Errorf("deleting %q: %w", key, store.ErrConflict)
	}
	delete(m.entries, key)
	m.signal(key)
	return nil
}

// List implements store.Store.
func (m *Memory) List(ctx context.Context, prefix string) ([]store.Entry, error) {
	if err := m.enter(ctx, store.CheckPrefix(prefix)); err != nil {
		return nil, fmt.Errorf("listing %q: %w", prefix, err)
	}
	defer m.mu.Unlock()
	var out []store.Entry
	for _, key := range slices.Sorted(maps.Keys(m.entries)) {
		if strings.HasPrefix(key, prefix) {
			if e := m.live(key); e.Revision != 0 {
				out = append(out, copied(e.Entry))
			}
		}
	}
	return out, nil
}

// Append implements store.Store.
func (m *Memory) Append(ctx context.Context, log string, value []byte) (uint64, error) {
	argument := store.CheckKey(log)
	if argument == nil {
		argument = store.CheckValue(value)
	}
	if err := m.enter(ctx, argument); err != nil {
		return 0, fmt.Errorf("appending to %q: %w", log, err)
	}
	defer m.mu.Unlock()
	m.last++
	m.logs[log] = append(m.logs[log], store.Record{Sequence: m.last, Value: slices.Clone(value)})
	m.signal(log)
	return m.last, nil
}

// Read implements store.Store.
func (m *Memory) Read(
	ctx context.Context, log string, after uint64, limit int,
) ([]store.Record, error) {
	if err := m.enter(ctx, store.CheckKey(log)); err != nil {
		return nil, fmt.Errorf("reading %q: %w", log, err)
	}
	defer m.mu.Unlock()
	var out []store.Record
	for _, r := range m.logs[log] {
		if r.Sequence > after && len(out) < limit {
			out = append(out, store.Record{Sequence: r.Sequence, Value: slices.Clone(r.Value)})
		}
	}
	return out, nil
}

// Trim implements store.Store.
func (m *Memory) Trim(ctx context.Context, log string, through uint64) error {
	if err := m.enter(ctx, store.CheckKey(log)); err != nil {
		return fmt.Errorf("trimming %q: %w", log, err)
	}
	defer m.mu.Unlock()
	m.logs[log] = slices.DeleteFunc(m.logs[log], func(r store.Record) bool {
		return r.Sequence <= through
	})
	return nil
}

// Acquire implements store.Store.
func (m *Memory) Acquire(
	ctx context.Context, name, holder string, ttl time.Duration,
) (store.Lease, error) {
	if err := m.enter(ctx, store.CheckLease(name, holder, ttl)); err != nil {
		return store.Lease{}, fmt.Errorf("acquiring %q: %w", name, err)
	}
	defer m.mu.Unlock()
	l, now := m.leases[name], m.now()
	held := now.Before(l.Expires)
	switch {
	case held && l.Holder != holder:
		return store.Lease{}, fmt.Errorf("acquiring %q: %w", name, store.ErrHeld)
	case !held:
		m.last++
		l = store.Lease{Name: name, Holder: holder, Token: m.last}
	}
	l.Expires = now.Add(ttl)
	m.leases[name] = l
	return l, nil
}

// Release implements store.Store.
func (m *Memory) Release(ctx context.Context, l store.Lease) error {
	if err := m.enter(ctx, store.CheckKey(l.Name)); err != nil {
		return fmt.Errorf("releasing %q: %w", l.Name, err)
	}
	defer m.mu.Unlock()
	if have := m.leases[l.Name]; have.Holder == l.Holder && have.Token == l.Token {
		delete(m.leases, l.Name) // tokens go on rising all the same
	}
	return nil
}

// Watch implements store.Store. The channel is closed at Close too.
func (m *Memory) Watch(ctx context.Context, prefix string) <-chan struct{} {
	w := make(chan struct{}, 1)
	if m.enter(ctx, nil) != nil {
		close(w)
		return w
	}
	defer m.mu.Unlock()
	m.watches[w] = prefix
	m.waiting.Go(func() {
		select {
		case <-ctx.Done():
		case <-m.done:
		}
		m.mu.Lock()
		defer m.mu.Unlock()
		delete(m.watches, w)
		close(w)
	})
	return w
}

// Close implements store.Store.
func (m *Memory) Close() error {
	m.mu.Lock()
	if !m.closed {
		m.closed = true
		close(m.done)
	}
	m.mu.Unlock()
	m.waiting.Wait()
	return nil
}
