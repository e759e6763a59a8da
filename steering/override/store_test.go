package override_test

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

// memory is a store of keys in memory whose faults a test commands. The methods the book
// doesn't use stay nil and would panic.
type memory struct {
	store.Store

	mu       sync.Mutex
	entries  map[string]item
	revision uint64
	watchers []chan struct{}
	fault    fault
	puts     int
}

type item struct {
	value    []byte
	revision uint64
	expires  time.Time
}

type fault int

const (
	none   fault = iota
	away         // nothing works, nothing takes effect
	liar         // writes take effect and fail all the same
	mute         // nothing returns before its deadline
	noList       // only reading fails
)

func newMemory() *memory { return &memory{entries: map[string]item{}} }

// faulty says whether a write now may be lost, for all its caller knows.
func (m *memory) faulty() bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.fault != none
}

func (m *memory) set(f fault) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.fault = f
}

func (m *memory) writes() int {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.puts
}

// wipe loses all data, as a Redis without persistence does on restart.
func (m *memory) wipe() {
	m.mu.Lock()
	defer m.mu.Unlock()
	clear(m.entries)
	m.revision = 0
}

func (m *memory) plant(key, value string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.revision++
	m.entries[key] = item{value: []byte(value), revision: m.revision}
}

func (m *memory) raw(key string) string {
	m.mu.Lock()
	defer m.mu.Unlock()
	return string(m.entries[key].value)
}

func (m *memory) blocked(ctx context.Context, reading bool) error {
	m.mu.Lock()
	f := m.fault
	m.mu.Unlock()
	switch {
	case f == mute:
		<-ctx.Done()
		return fmt.Errorf("%w: %w", store.ErrUnavailable, ctx.Err())
	case f == away, f == noList && reading:
		return store.ErrUnavailable
	}
	return ctx.Err()
}

func (m *memory) Get(ctx context.Context, key string) (store.Entry, error) {
	if err := m.blocked(ctx, true); err != nil {
		return store.Entry{}, err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	e, ok := m.live(key)
	if !ok {
		return store.Entry{}, store.ErrNotFound
	}
	return store.Entry{Key: key, Value: e.value, Revision: e.revision}, nil
}

func (m *memory) live(key string) (item, bool) {
	e, ok := m.entries[key]
	if ok && !e.expires.IsZero() && !time.Now().Before(e.expires) {
		delete(m.entries, key)
		return item{}, false
	}
	return e, ok
}

func (m *memory) Put(
	ctx context.Context, key string, value []byte, o store.PutOptions,
) (uint64, error) {
	if err := m.blocked(ctx, false); err != nil {
		return 0, err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.puts++
	if old, _ := m.live(key); o.Expect != nil && *o.Expect != old.revision {
		return 0, store.ErrConflict
	}
	m.revision++
	e := item{value: slices.Clone(value), revision: m.revision}
	if o.TTL > 0 {
		e.expires = time.Now().Add(o.TTL)
	}
	m.entries[key] = e
	for _, w := range m.watchers {
		select {
		case w <- struct{}{}:
		default:
		}
	}
	if m.fault == liar {
		return 0, store.ErrUnavailable
	}
	return e.revision, nil
}

func (m *memory) List(ctx context.Context, prefix string) ([]store.Entry, error) {
	if err := m.blocked(ctx, true); err != nil {
		return nil, err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	var list []store.Entry
	for _, key := range slices.Sorted(maps.Keys(m.entries)) {
		if e, ok := m.live(key); ok && strings.HasPrefix(key, prefix) {
			list = append(list, store.Entry{Key: key, Value: e.value, Revision: e.revision})
		}
	}
	return list, nil
}

func (m *memory) Watch(ctx context.Context, _ string) <-chan struct{} {
	w := make(chan struct{}, 1)
	m.mu.Lock()
	m.watchers = append(m.watchers, w)
	m.mu.Unlock()
	out := make(chan struct{})
	go func() {
		defer close(out)
		for {
			select {
			case <-ctx.Done():
				return
			case <-w:
			}
			select {
			case <-ctx.Done():
				return
			case out <- struct{}{}:
			}
		}
	}()
	return out
}
