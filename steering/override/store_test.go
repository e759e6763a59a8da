package override_test

import (
	"context"
	"fmt"
	"sync"

	"pointsman/internal/store"
	"pointsman/internal/store/storetest"
)

// memory is a store in memory whose faults a test commands.
type memory struct {
	*storetest.Memory

	mu    sync.Mutex // guards all below
	fault fault
	puts  int
	deaf  bool // new hints are lost
}

type fault int

const (
	none   fault = iota
	away         // nothing works, nothing takes effect
	liar         // writes take effect and fail all the same
	mute         // nothing returns before its deadline
	noList       // only reading fails
)

func newMemory() *memory { return &memory{Memory: storetest.NewMemory(nil)} }

// now is the fault of this moment.
func (m *memory) now() fault {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.fault
}

// faulty says whether a write now may be lost, for all its caller knows.
func (m *memory) faulty() bool { return m.now() != none }

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

func (m *memory) plant(key, value string) {
	_, _ = m.Memory.Put(context.Background(), key, []byte(value), store.PutOptions{}) // can't fail
}

func (m *memory) raw(key string) string {
	e, _ := m.Memory.Get(context.Background(), key) // what isn't there is empty
	return string(e.Value)
}

func (m *memory) blocked(ctx context.Context, reading bool) error {
	switch f := m.now(); {
	case f == mute:
		<-ctx.Done()
		return fmt.Errorf("%w: %w", store.ErrUnavailable, ctx.Err())
	case f == away, f == noList && reading:
		return store.ErrUnavailable
	}
	return nil
}

func (m *memory) Get(ctx context.Context, key string) (store.Entry, error) {
	if err := m.blocked(ctx, true); err != nil {
		return store.Entry{}, err
	}
	return m.Memory.Get(ctx, key)
}

func (m *memory) Put(
	ctx context.Context, key string, value []byte, o store.PutOptions,
) (uint64, error) {
	if err := m.blocked(ctx, false); err != nil {
		return 0, err
	}
	m.mu.Lock()
	m.puts++
	m.mu.Unlock()
	revision, err := m.Memory.Put(ctx, key, value, o)
	if err == nil && m.now() == liar {
		return 0, store.ErrUnavailable
	}
	return revision, err
}

func (m *memory) List(ctx context.Context, prefix string) ([]store.Entry, error) {
	if err := m.blocked(ctx, true); err != nil {
		return nil, err
	}
	return m.Memory.List(ctx, prefix)
}

func (m *memory) deafen() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.deaf = true
}

func (m *memory) Watch(ctx context.Context, prefix string) <-chan struct{} {
	in, out := m.Memory.Watch(ctx, prefix), make(chan struct{})
	go func() { // ends with ctx, as the contract says
		defer close(out)
		for range in {
			m.mu.Lock()
			deaf := m.deaf
			m.mu.Unlock()
			if !deaf {
				select {
				case out <- struct{}{}:
				case <-ctx.Done():
				}
			}
		}
	}()
	return out
}
