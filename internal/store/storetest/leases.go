package storetest

import (
	"errors"
	"sync/atomic"
	"testing"
	"time"

	"pointsman/internal/store"
)

var leaseTests = map[string]func(*testing.T, store.Store){
	"a lease has one holder": func(t *testing.T, s store.Store) {
		before := time.Now()
		l := mustAcquire(t, s, "lease", "a", time.Hour)
		if l.Name != "lease" || l.Holder != "a" || l.Token == 0 {
			t.Errorf("Acquire = %+v", l)
		}
		if life := l.Expires.Sub(before); life < 59*time.Minute || life > 61*time.Minute {
			t.Errorf("the lease for an hour expires in %v", life)
		}
		_, err := s.Acquire(t.Context(), "lease", "b", time.Hour)
		wantError(t, "Acquire by another", err, store.ErrHeld)
		mustAcquire(t, s, "lease/other", "b", time.Hour)
	},
	"its holder renews it and keeps the token": func(t *testing.T, s store.Store) {
		first := mustAcquire(t, s, "lease", "a", time.Hour)
		longer := mustAcquire(t, s, "lease", "a", 2*time.Hour)
		if longer.Token != first.Token || !longer.Expires.After(first.Expires) {
			t.Errorf("renewing %+v gave %+v", first, longer)
		}
		shorter := mustAcquire(t, s, "lease", "a", short)
		if shorter.Token != first.Token || !shorter.Expires.Before(first.Expires) {
			t.Errorf("renewing %+v gave %+v", longer, shorter)
		}
		waitLeased(t, s, "lease", "b", shorter)
	},
	"a lease that ran out goes to the next with a higher token": func(t *testing.T, s store.Store) {
		first := mustAcquire(t, s, "lease", "a", short)
		second := waitLeased(t, s, "lease", "b", first)
		_, err := s.Acquire(t.Context(), "lease", "a", time.Hour)
		wantError(t, "Acquire by the late holder", err, store.ErrHeld)
		wantError(t, "Release by the late holder", s.Release(t.Context(), first), nil)
		_, err = s.Acquire(t.Context(), "lease", "a", time.Hour)
		wantError(t, "Acquire after releasing a lost lease", err, store.ErrHeld)
		if again := mustAcquire(t, s, "lease", "b", time.Hour); again.Token != second.Token {
			t.Errorf("token %d became %d", second.Token, again.Token)
		}
	},
	"a released lease goes to the next with a higher token": func(t *testing.T, s store.Store) {
		last := uint64(0)
		for _, holder := range []string{"a", "b", "b", "a"} {
			l := mustAcquire(t, s, "lease", holder, time.Hour)
			if l.Token <= last {
				t.Fatalf("token %d after %d", l.Token, last)
			}
			last = l.Token
			wantError(t, "Release", s.Release(t.Context(), l), nil)
			wantError(t, "Release again", s.Release(t.Context(), l), nil)
		}
		never := store.Lease{Name: "never", Holder: "a", Token: 7}
		wantError(t, "Release of none", s.Release(t.Context(), never), nil)
	},
	"an expired lease taken anew lives its own term": func(t *testing.T, s store.Store) {
		// More expired leases than one write sweeps, so that remains of the first terms meet
		// the second ones.
		for i := range 40 {
			mustAcquire(t, s, numbered("lease/", i), "a", short)
		}
		last := mustAcquire(t, s, "clock", "a", short)
		waitLeased(t, s, "clock", "b", last)
		for i := range 40 {
			mustAcquire(t, s, numbered("lease/", 39-i), "b", time.Hour)
		}
		for i := range 40 {
			_, err := s.Acquire(t.Context(), numbered("lease/", i), "c", time.Hour)
			wantError(t, "Acquire", err, store.ErrHeld)
		}
	},
	"of many who ask at once one gets the lease": func(t *testing.T, s store.Store) {
		for range 5 {
			var winners atomic.Int32
			var won atomic.Pointer[store.Lease]
			together(t, 12, func(i int) error {
				l, err := s.Acquire(t.Context(), "lease", numbered("holder", i), time.Hour)
				if errors.Is(err, store.ErrHeld) {
					return nil
				}
				winners.Add(1)
				won.Store(&l)
				return err
			})
			if winners.Load() != 1 {
				t.Fatalf("%d holders", winners.Load())
			}
			wantError(t, "Release", s.Release(t.Context(), *won.Load()), nil)
		}
	},
}

// waitLeased takes a lease from its holder once it has run out.
func waitLeased(
	t *testing.T, s store.Store, name, holder string, old store.Lease,
) (l store.Lease) {
	t.Helper()
	eventually(t, "taking over "+name, func() bool {
		var err error
		l, err = s.Acquire(t.Context(), name, holder, time.Hour)
		if err != nil {
			wantError(t, "Acquire", err, store.ErrHeld)
		}
		return err == nil
	})
	if l.Token <= old.Token {
		t.Fatalf("token %d after %d", l.Token, old.Token)
	}
	// Expires may be earlier than the home's own end of term, never later.
	if time.Now().Before(old.Expires) {
		t.Fatalf("taken over %v before it expired", time.Until(old.Expires))
	}
	return l
}
