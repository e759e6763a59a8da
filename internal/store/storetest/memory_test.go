package storetest_test

import (
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"pointsman/internal/store"
	"pointsman/internal/store/storetest"
)

func TestTheStoreInMemoryKeepsTheContract(t *testing.T) {
	defer goleak.VerifyNone(t)
	storetest.Run(t, func(t *testing.T) store.Store {
		m := storetest.NewMemory(nil)
		t.Cleanup(func() { _ = m.Close() })
		return m
	})
}

func TestTheStoreInMemoryLivesInABubble(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := storetest.NewMemory(nil)
		heard := m.Watch(t.Context(), "a")
		if _, err := m.Put(t.Context(), "a", nil, store.PutOptions{TTL: time.Hour}); err != nil {
			t.Fatal(err)
		}
		<-heard
		time.Sleep(time.Hour - time.Nanosecond)
		if _, err := m.Get(t.Context(), "a"); err != nil {
			t.Errorf("before its end: %v", err)
		}
		time.Sleep(time.Nanosecond)
		if _, err := m.Get(t.Context(), "a"); !errors.Is(err, store.ErrNotFound) {
			t.Errorf("at its end: %v", err)
		}
	})
}

func TestTheStoreInMemoryGoesByItsClock(t *testing.T) {
	now := time.Unix(0, 0)
	m := storetest.NewMemory(func() time.Time { return now })
	old, err := m.Acquire(t.Context(), "l", "a", time.Minute)
	if err != nil || !old.Expires.Equal(now.Add(time.Minute)) {
		t.Fatalf("%+v, %v", old, err)
	}
	now = old.Expires
	if l, err := m.Acquire(t.Context(), "l", "b", time.Minute); err != nil || l.Token <= old.Token {
		t.Errorf("after its end: %+v, %v", l, err)
	}
}

func TestACloneSeesNothingOfWhatComesAfterAndAWipeLeavesNothing(t *testing.T) {
	m := storetest.NewMemory(nil)
	write := func(s store.Store, value string) {
		t.Helper()
		_, err1 := s.Put(t.Context(), "a", []byte(value), store.PutOptions{})
		_, err2 := s.Append(t.Context(), "log", []byte(value))
		_, err3 := s.Acquire(t.Context(), "lease/"+value, value, time.Hour)
		if err := errors.Join(err1, err2, err3); err != nil {
			t.Fatal(err)
		}
	}
	read := func(s store.Store) (value string, records int) {
		t.Helper()
		e, err := s.Get(t.Context(), "a")
		if err != nil && !errors.Is(err, store.ErrNotFound) {
			t.Fatal(err)
		}
		list, err := s.Read(t.Context(), "log", 0, 10)
		if err != nil {
			t.Fatal(err)
		}
		return string(e.Value), len(list)
	}
	write(m, "one")
	c := m.Clone()
	write(m, "two")
	if v, n := read(c); v != "one" || n != 1 {
		t.Errorf("the clone has %q and %d records", v, n)
	}
	write(c, "three")
	m.Wipe()
	if v, n := read(m); v != "" || n != 0 {
		t.Errorf("after the wipe: %q and %d records", v, n)
	}
	if v, n := read(c); v != "three" || n != 2 {
		t.Errorf("the clone has %q and %d records", v, n)
	}
	if _, err := c.Acquire(t.Context(), "lease/one", "other", time.Hour); !errors.Is(
		err, store.ErrHeld) {
		t.Errorf("the clone has forgotten a lease: %v", err)
	}
}
