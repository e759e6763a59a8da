package storetest

import (
	"context"
	"errors"
	"testing"
	"time"

	"pointsman/internal/store"
)

var watchTests = map[string]func(*testing.T, store.Store){
	"a watch signals writes and deletions": func(t *testing.T, s store.Store) {
		signals := s.Watch(t.Context(), "w/")
		// A watch may begin late, so write until it is heard, as a reader would poll.
		eventually(t, "signal of a write", func() bool {
			mustPut(t, s, "w/a", "v", store.PutOptions{})
			return drain(signals)
		})
		eventually(t, "quiet", func() bool { return !drain(signals) })
		wantError(t, "Delete", s.Delete(t.Context(), "w/a", nil), nil)
		eventually(t, "signal of a deletion", func() bool { return drain(signals) })
	},
	"a watch that nobody reads holds up nobody": func(t *testing.T, s store.Store) {
		signals := s.Watch(t.Context(), "")
		for range 30 {
			mustPut(t, s, "a", "v", store.PutOptions{})
		}
		eventually(t, "a merged signal", func() bool { return drain(signals) })
	},
	"a watch closes its channel when its context ends": func(t *testing.T, s store.Store) {
		ctx, cancel := context.WithCancel(t.Context())
		signals := s.Watch(ctx, "w/")
		cancel()
		waitClosed(t, signals)
	},
}

func drain(signals <-chan struct{}) bool {
	select {
	case _, ok := <-signals:
		return ok
	default:
		return false
	}
}

func waitClosed(t *testing.T, signals <-chan struct{}) {
	t.Helper()
	timeout := time.After(patience)
	for {
		select {
		case _, ok := <-signals:
			if !ok {
				return
			}
		case <-timeout:
			t.Fatal("the watch did not end")
		}
	}
}

var lifeTests = map[string]func(*testing.T, store.Store){
	"a closed store is unavailable": func(t *testing.T, s store.Store) {
		mustPut(t, s, "a", "v", store.PutOptions{})
		signals := s.Watch(context.WithoutCancel(t.Context()), "")
		wantError(t, "Close", s.Close(), nil)
		wantError(t, "Close again", s.Close(), nil)
		waitClosed(t, signals)
		waitClosed(t, s.Watch(t.Context(), ""))
		for name, err := range callAll(t.Context(), s) {
			wantError(t, name, err, store.ErrUnavailable)
		}
	},
	"a call whose context has ended returns at once": func(t *testing.T, s store.Store) {
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		began := time.Now()
		for name, err := range callAll(ctx, s) {
			wantError(t, name, err, store.ErrUnavailable)
			if !errors.Is(err, context.Canceled) {
				t.Errorf("%s returned %v, which hides why", name, err)
			}
		}
		if took := time.Since(began); took > time.Second {
			t.Errorf("took %v", took)
		}
	},
	"a fault wrapper without faults is the store itself": func(t *testing.T, s store.Store) {
		f := NewFaulty(s)
		for name, err := range callAll(t.Context(), f) {
			if err != nil && !errors.Is(err, store.ErrNotFound) {
				t.Errorf("%s: %v", name, err)
			}
		}
		f.Down(true)
		for name, err := range callAll(t.Context(), f) {
			wantError(t, name, err, store.ErrUnavailable)
		}
		f.Down(false)
		mustGet(t, f, "put")
	},
}

// callAll calls every method that can fail.
func callAll(ctx context.Context, s store.Store) map[string]error {
	errs := map[string]error{}
	_, errs["Get"] = s.Get(ctx, "a")
	_, errs["Put"] = s.Put(ctx, "put", nil, store.PutOptions{})
	errs["Delete"] = s.Delete(ctx, "a", nil)
	_, errs["List"] = s.List(ctx, "")
	_, errs["Append"] = s.Append(ctx, "log", nil)
	_, errs["Read"] = s.Read(ctx, "log", 0, 1)
	errs["Trim"] = s.Trim(ctx, "log", 1)
	_, errs["Acquire"] = s.Acquire(ctx, "lease", "h", time.Second)
	errs["Release"] = s.Release(ctx, store.Lease{Name: "lease", Holder: "h", Token: 1})
	return errs
}
