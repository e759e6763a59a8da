package storetest_test

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"

	"pointsman/internal/store"
	"pointsman/internal/store/storetest"
)

func newFaulty(t *testing.T) *storetest.Faulty {
	t.Helper()
	f := storetest.NewFaulty(storetest.NewMemory(nil))
	t.Cleanup(func() { _ = f.Close() })
	return f
}

func put(t *testing.T, f *storetest.Faulty, key string) error {
	t.Helper()
	_, err := f.Put(t.Context(), key, []byte("v"), store.PutOptions{})
	return err
}

func TestAnUntroubledWrapperKeepsTheContract(t *testing.T) {
	defer goleak.VerifyNone(t)
	storetest.Run(t, func(t *testing.T) store.Store { return newFaulty(t) })
}

func TestWritesFailBeforeOrAfterTakingEffect(t *testing.T) {
	for when, effect := range map[storetest.When]error{
		storetest.Before: store.ErrNotFound, storetest.After: nil,
	} {
		f := newFaulty(t)
		f.FailWrites(when, 1)
		if err := put(t, f, "a"); !errors.Is(err, store.ErrUnavailable) {
			t.Errorf("when %d: Put = %v", when, err)
		}
		if _, err := f.Get(t.Context(), "a"); !errors.Is(err, effect) {
			t.Errorf("when %d: Get = %v, want %v", when, err, effect)
		}
		if err := put(t, f, "b"); err != nil {
			t.Errorf("when %d: the second Put = %v", when, err)
		}
	}
}

func TestFaultsQueueUpAndCanBeCancelled(t *testing.T) {
	f := newFaulty(t)
	f.FailWrites(storetest.Before, 1)
	f.FailWrites(storetest.After, -1)
	for _, key := range []string{"a", "b", "c"} {
		if err := put(t, f, key); !errors.Is(err, store.ErrUnavailable) {
			t.Errorf("Put(%q) = %v", key, err)
		}
	}
	f.FailWrites(storetest.Before, 0)
	if err := put(t, f, "d"); err != nil {
		t.Error(err)
	}
	list, err := f.List(t.Context(), "")
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, e := range list {
		got = append(got, e.Key)
	}
	if diff := cmp.Diff([]string{"b", "c", "d"}, got); diff != "" {
		t.Error(diff)
	}
	if writes, reads := f.Calls(); writes != 4 || reads != 1 {
		t.Errorf("counted %d writes and %d reads", writes, reads)
	}
}

func TestReadsFailAsOftenAsAsked(t *testing.T) {
	f := newFaulty(t)
	f.FailReads(2)
	for i, want := range []error{store.ErrUnavailable, store.ErrUnavailable, nil} {
		if _, err := f.List(t.Context(), ""); !errors.Is(err, want) {
			t.Errorf("read %d = %v, want %v", i, err, want)
		}
	}
}

func TestRandomFaultsRepeatWithTheirSeed(t *testing.T) {
	outcomes := func(seed uint64) string {
		f := newFaulty(t)
		f.Randomly(seed, 0.3, 0.3, 0)
		var s string
		for i := range 20 {
			_, err := f.Append(t.Context(), "log", fmt.Append(nil, i))
			s += fmt.Sprint(err == nil, " ")
		}
		f.Randomly(0, 0, 0, 0)
		records, err := f.Read(t.Context(), "log", 0, 100)
		if err != nil {
			t.Fatal(err)
		}
		for _, r := range records {
			s += string(r.Value) + " "
		}
		return s
	}
	if first, again := outcomes(1), outcomes(1); first != again {
		t.Errorf("seed 1 gave %s, then %s", first, again)
	}
	if outcomes(1) == outcomes(2) {
		t.Error("seeds 1 and 2 gave the same faults")
	}
}

func TestADelayIsCutShortByTheContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := storetest.NewFaulty(nil) // never reached
		f.Delay(time.Hour)
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		began := time.Now()
		_, err := f.Get(ctx, "a")
		if !errors.Is(err, store.ErrUnavailable) || !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("Get = %v", err)
		}
		if took := time.Since(began); took != time.Second {
			t.Errorf("took %v", took)
		}
	})
}

func TestAnOutageDropsWatchSignals(t *testing.T) {
	f := newFaulty(t)
	ctx, cancel := context.WithCancel(t.Context())
	signals := f.Watch(ctx, "")
	if err := put(t, f, "a"); err != nil {
		t.Fatal(err)
	}
	<-signals
	f.Down(true)
	if err := put(t, f, "b"); !errors.Is(err, store.ErrUnavailable) {
		t.Errorf("Put while down = %v", err)
	}
	f.Down(false)
	cancel()
	for range signals {
		t.Error("a signal of a write that did not happen")
	}
}
