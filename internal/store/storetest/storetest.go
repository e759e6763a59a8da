// Package storetest is the executable form of the contract in package store: a suite that
// every home must pass, and a wrapper that injects faults into any store, for the tests of
// the packages that keep state. It is imported by tests only. Goroutines that the suite
// starts end within their subtest.
package storetest

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"pointsman/internal/store"
)

// patience bounds every wait for something that must happen.
const patience = 5 * time.Second

// Run runs the suite. open returns a new, empty store and closes it at the test's cleanup;
// it is called once for each subtest, and subtests run side by side. When Run returns, all
// have ended.
func Run(t *testing.T, open func(t *testing.T) store.Store) {
	groups := []map[string]func(*testing.T, store.Store){
		keyTests, expiryTests, listTests, logTests, leaseTests, watchTests, lifeTests, raceTests,
	}
	t.Run("contract", func(t *testing.T) {
		for _, group := range groups {
			for name, test := range group {
				t.Run(name, func(t *testing.T) {
					t.Parallel()
					test(t, open(t))
				})
			}
		}
	})
}

// eventually polls until ok, or fails the test.
func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	tick := time.NewTicker(2 * time.Millisecond)
	defer tick.Stop()
	for !ok() {
		select {
		case <-tick.C:
		case <-ctx.Done():
			t.Fatalf("%s: not within %v", what, patience)
		}
	}
}

func mustPut(t *testing.T, s store.Store, key, value string, o store.PutOptions) uint64 {
	t.Helper()
	revision, err := s.Put(t.Context(), key, []byte(value), o)
	if err != nil {
		t.Fatalf("Put(%q): %v", key, err)
	}
	if revision == 0 {
		t.Fatalf("Put(%q) returned revision 0", key)
	}
	return revision
}

func mustGet(t *testing.T, s store.Store, key string) store.Entry {
	t.Helper()
	e, err := s.Get(t.Context(), key)
	if err != nil {
		t.Fatalf("Get(%q): %v", key, err)
	}
	return e
}

func mustAppend(t *testing.T, s store.Store, log, value string) uint64 {
	t.Helper()
	sequence, err := s.Append(t.Context(), log, []byte(value))
	if err != nil {
		t.Fatalf("Append(%q): %v", log, err)
	}
	return sequence
}

func mustAcquire(
	t *testing.T, s store.Store, name, holder string, ttl time.Duration,
) store.Lease {
	t.Helper()
	lease, err := s.Acquire(t.Context(), name, holder, ttl)
	if err != nil {
		t.Fatalf("Acquire(%q, %q): %v", name, holder, err)
	}
	return lease
}

// wantError checks for one sentinel, and that none of the others is claimed too.
func wantError(t *testing.T, what string, err, want error) {
	t.Helper()
	for _, sentinel := range []error{
		store.ErrNotFound, store.ErrConflict, store.ErrHeld, store.ErrUnavailable,
		store.ErrInvalid,
	} {
		if errors.Is(err, sentinel) != (sentinel == want) {
			t.Fatalf("%s returned %v, want one that is %v alone", what, err, want)
		}
	}
}

func wantValues(t *testing.T, s store.Store, log string, after uint64, limit int, want ...string) {
	t.Helper()
	records, err := s.Read(t.Context(), log, after, limit)
	if err != nil {
		t.Fatalf("Read(%q): %v", log, err)
	}
	var got []string
	for _, r := range records {
		got = append(got, string(r.Value))
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Fatalf("Read(%q, %d, %d) (-want +got):\n%s", log, after, limit, diff)
	}
}

func wantKeys(t *testing.T, s store.Store, prefix string, want ...string) {
	t.Helper()
	list, err := s.List(t.Context(), prefix)
	if err != nil {
		t.Fatalf("List(%q): %v", prefix, err)
	}
	var got []string
	for _, e := range list {
		got = append(got, e.Key)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Fatalf("List(%q) (-want +got):\n%s", prefix, diff)
	}
}

// together runs f n times at once and fails the test with what they return.
func together(t *testing.T, n int, f func(i int) error) {
	t.Helper()
	var group sync.WaitGroup
	errs := make([]error, n)
	for i := range n {
		group.Go(func() { errs[i] = f(i) })
	}
	group.Wait()
	if err := errors.Join(errs...); err != nil {
		t.Fatal(err)
	}
}

func numbered(prefix string, i int) string { return fmt.Sprintf("%s%05d", prefix, i) }
