package storetest

import (
	"context"
	"fmt"
	"math/rand/v2"
	"sync"
	"time"

	"pointsman/internal/store"
)

// When says whether a failing write takes effect.
type When int

// A failing write returns ErrUnavailable either way; callers can't tell which it was.
const (
	// Before: the write fails and has no effect.
	Before When = iota
	// After: the write takes effect, and then its acknowledgement is lost.
	After
)

// Faulty is a store that fails on demand, for the tests of everything that keeps state:
//
//	f := storetest.NewFaulty(s)
//	f.FailWrites(storetest.After, 1) // the next write happens but reports ErrUnavailable
//	f.FailReads(2)                   // the next two reads report ErrUnavailable
//	f.Delay(50 * time.Millisecond)   // each call waits first, or until its context ends
//	f.Down(true)                     // nothing works until f.Down(false)
//	f.Randomly(seed, 0.1, 0.1, 0.05) // chance of failing before, after, and of failed reads
//
// Put, Delete, Append, Trim, Acquire and Release are writes; Get, List and Read are reads. All
// methods are safe for concurrent use.
type Faulty struct {
	inner    store.Store
	watchers sync.WaitGroup

	mu                  sync.Mutex // guards all below; not held while calling inner
	down                bool
	delay               time.Duration
	writeFaults         []writeFault
	readFaults          int
	random              *rand.Rand
	before, after, read float64
	writes, reads       int
}

type writeFault struct {
	when When
	left int // below 0: for ever
}

var _ store.Store = (*Faulty)(nil)

// NewFaulty wraps a store that works. Closing the wrapper closes s.
func NewFaulty(s store.Store) *Faulty { return &Faulty{inner: s} }

// FailWrites makes the next n writes fail (below 0: all, until called with 0). Calls queue up:
// the faults of an earlier call are used up first; n = 0 cancels all.
func (f *Faulty) FailWrites(when When, n int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if n == 0 {
		f.writeFaults = nil
		return
	}
	f.writeFaults = append(f.writeFaults, writeFault{when, n})
}

// FailReads makes the next n reads fail (below 0: all, until called with 0).
func (f *Faulty) FailReads(n int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.readFaults = n
}

// Down makes every call fail without effect, and drops watch signals, until Down(false).
func (f *Faulty) Down(down bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.down = down
}

// Delay makes every call wait first. A call whose context ends meanwhile fails without effect.
func (f *Faulty) Delay(d time.Duration) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.delay = d
}

// Randomly makes calls fail with these chances (0 to 1), the same way for the same seed and
// order of calls. All 0 ends it.
func (f *Faulty) Randomly(seed uint64, before, after, read float64) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.random = rand.New(rand.NewPCG(seed, seed))
	f.before, f.after, f.read = before, after, read
}

// Calls returns how many writes and reads were asked for, failed ones included.
func (f *Faulty) Calls() (writes, reads int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.writes, f.reads
}

// verdicts on one call.
const (
	pass = iota
	failBefore
	failAfter
)

func (f *Faulty) judgeWrite() (verdict int, delay time.Duration) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.writes++
	if f.down {
		return failBefore, f.delay
	}
	if len(f.writeFaults) > 0 {
		first := &f.writeFaults[0]
		verdict = failBefore + int(first.when)
		if first.left--; first.left == 0 {
			f.writeFaults = f.writeFaults[1:]
		}
		return verdict, f.delay
	}
	if f.random != nil {
		switch chance := f.random.Float64(); {
		case chance < f.before:
			verdict = failBefore
		case chance < f.before+f.after:
			verdict = failAfter
		}
	}
	return verdict, f.delay
}

func (f *Faulty) judgeRead() (fails bool, delay time.Duration) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.reads++
	switch {
	case f.down:
		return true, f.delay
	case f.readFaults != 0:
		f.readFaults--
		return true, f.delay
	}
	return f.random != nil && f.random.Float64() < f.read, f.delay
}

func (f *Faulty) write(ctx context.Context, do func() error) error {
	verdict, delay := f.judgeWrite()
	if err := wait(ctx, delay); err != nil {
		return err
	}
	if verdict == failBefore {
		return fmt.Errorf("%w: injected before the write", store.ErrUnavailable)
	}
	err := do()
	if verdict == failAfter {
		return fmt.Errorf("%w: injected after the write", store.ErrUnavailable)
	}
	return err
}

func (f *Faulty) reading(ctx context.Context, do func() error) error {
	fails, delay := f.judgeRead()
	if err := wait(ctx, delay); err != nil {
		return err
	}
	if fails {
		return fmt.Errorf("%w: injected in a read", store.ErrUnavailable)
	}
	return do()
}

func wait(ctx context.Context, d time.Duration) error {
	if d <= 0 {
		return nil
	}
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("%w: %w", store.ErrUnavailable, ctx.Err())
	}
}

// Get implements store.Store.
func (f *Faulty) Get(ctx context.Context, key string) (e store.Entry, err error) {
	err = f.reading(ctx, func() (err error) {
		e, err = f.inner.Get(ctx, key)
		return err
	})
	return e, err
}

// Put implements store.Store.
func (f *Faulty) Put(
	ctx context.Context, key string, value []byte, o store.PutOptions,
) (uint64, error) {
	var revision uint64
	err := f.write(ctx, func() (err error) {
		revision, err = f.inner.Put(ctx, key, value, o)
		return err
	})
	return onSuccess(revision, err)
}

// Delete implements store.Store.
func (f *Faulty) Delete(ctx context.Context, key string, expect *uint64) error {
	return f.write(ctx, func() error { return f.inner.Delete(ctx, key, expect) })
}

// List implements store.Store.
func (f *Faulty) List(ctx context.Context, prefix string) (list []store.Entry, err error) {
	err = f.reading(ctx, func() (err error) {
		list, err = f.inner.List(ctx, prefix)
		return err
	})
	return list, err
}

// Append implements store.Store.
func (f *Faulty) Append(ctx context.Context, log string, value []byte) (uint64, error) {
	var sequence uint64
	err := f.write(ctx, func() (err error) {
		sequence, err = f.inner.Append(ctx, log, value)
		return err
	})
	return onSuccess(sequence, err)
}

// Read implements store.Store.
func (f *Faulty) Read(
	ctx context.Context, log string, after uint64, limit int,
) (records []store.Record, err error) {
	err = f.reading(ctx, func() (err error) {
		records, err = f.inner.Read(ctx, log, after, limit)
		return err
	})
	return records, err
}

// Trim implements store.Store.
func (f *Faulty) Trim(ctx context.Context, log string, through uint64) error {
	return f.write(ctx, func() error { return f.inner.Trim(ctx, log, through) })
}

// Acquire implements store.Store.
func (f *Faulty) Acquire(
	ctx context.Context, name, holder string, ttl time.Duration,
) (store.Lease, error) {
	var lease store.Lease
	err := f.write(ctx, func() (err error) {
		lease, err = f.inner.Acquire(ctx, name, holder, ttl)
		return err
	})
	return onSuccess(lease, err)
}

// Release implements store.Store.
func (f *Faulty) Release(ctx context.Context, l store.Lease) error {
	return f.write(ctx, func() error { return f.inner.Release(ctx, l) })
}

// Watch implements store.Store.
func (f *Faulty) Watch(ctx context.Context, prefix string) <-chan struct{} {
	in := f.inner.Watch(ctx, prefix)
	out := make(chan struct{}, 1)
	f.watchers.Go(func() {
		defer close(out)
		for range in {
			f.mu.Lock()
			down := f.down
			f.mu.Unlock()
			if down {
				continue
			}
			select {
			case out <- struct{}{}:
			default: // one signal waits already
			}
		}
	})
	return out
}

// Close implements store.Store and closes the store within.
func (f *Faulty) Close() error {
	err := f.inner.Close()
	f.watchers.Wait()
	return err
}

// onSuccess hides what a write whose acknowledgement was lost would have returned.
func onSuccess[T any](v T, err error) (T, error) {
	if err != nil {
		var none T
		return none, err
	}
	return v, nil
}
