package audit_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/goleak"

	"pointsman/internal/audit"
	"pointsman/internal/store"
	"pointsman/internal/store/boltstore"
	"pointsman/internal/store/storetest"
)

const nodeLog = "audit/node/local"

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func newStore(t *testing.T) *storetest.Faulty {
	t.Helper()
	s, err := boltstore.Open(boltstore.Config{Path: filepath.Join(t.TempDir(), "s.db")})
	if err != nil {
		t.Fatal(err)
	}
	f := storetest.NewFaulty(s)
	t.Cleanup(func() { _ = f.Close() })
	return f
}

func record(t *testing.T, l *audit.Log, action string) {
	t.Helper()
	if err := l.Record(t.Context(), audit.Entry{Actor: "ops", Action: action}); err != nil {
		t.Fatal(err)
	}
}

func verify(t *testing.T, l *audit.Log) {
	t.Helper()
	if err := l.Verify(t.Context()); err != nil {
		t.Errorf("Verify = %v", err)
	}
}

// actions returns what Recent has, newest first.
func actions(t *testing.T, l *audit.Log) string {
	t.Helper()
	entries, err := l.Recent(t.Context(), 1000)
	if err != nil {
		t.Fatal(err)
	}
	var all []string
	for _, e := range entries {
		all = append(all, e.Action)
	}
	return strings.Join(all, " ")
}

// stored returns how often each entry, by action, stands in a log.
func stored(t *testing.T, s store.Store, log string) (counts map[string]int, records int) {
	t.Helper()
	found, err := s.Read(t.Context(), log, 0, 1<<20)
	if err != nil {
		t.Fatal(err)
	}
	counts = map[string]int{}
	for _, r := range found {
		for line := range bytes.Lines(r.Value) {
			_, rest, _ := strings.Cut(string(line), `"action":"`)
			action, _, _ := strings.Cut(rest, `"`)
			counts[action]++
		}
	}
	return counts, len(found)
}

func TestWhatIsRecordedIsFoundNewestFirst(t *testing.T) {
	now := time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)
	s := newStore(t)
	l := audit.New(audit.Config{
		Local: s, Node: "n1", Now: func() time.Time { now = now.Add(time.Second); return now },
	})
	first := audit.Entry{
		Actor: "ops", Action: "drain", Target: "cdn-a", Reason: "line\nbreak", From: "[::1]:99",
		Detail: map[string]string{"for": "2m"}, Number: 99, ID: "forged", Node: "forged",
	}
	for _, e := range []audit.Entry{first, {Actor: "ops", Action: "undo"}} {
		if err := l.Record(t.Context(), e); err != nil {
			t.Fatal(err)
		}
	}
	got, err := l.Recent(t.Context(), 10)
	if err != nil {
		t.Fatal(err)
	}
	first.Number, first.Node, first.Time = 1, "n1", now.Add(-time.Second)
	want := []audit.Entry{{Actor: "ops", Action: "undo", Number: 2, Node: "n1", Time: now}, first}
	ignore := cmpopts.IgnoreFields(audit.Entry{}, "ID", "Previous")
	if diff := cmp.Diff(want, got, ignore); diff != "" {
		t.Fatalf("(-want +got):\n%s", diff)
	}
	if got[0].ID == got[1].ID || got[1].ID == "forged" || len(got[0].Previous) != 64 {
		t.Errorf("ids %q and %q, previous %q", got[0].ID, got[1].ID, got[0].Previous)
	}
	if one, err := l.Recent(t.Context(), 1); err != nil || len(one) != 1 || one[0].Action != "undo" {
		t.Errorf("Recent(1) = %v, %v", one, err)
	}
	if none, err := l.Recent(t.Context(), -1); err != nil || len(none) != 0 {
		t.Errorf("Recent(-1) = %v, %v", none, err)
	}
	verify(t, l)
}

func TestAnEntryThatCannotBeKeptIsAnError(t *testing.T) {
	s := newStore(t)
	metrics := prometheus.NewRegistry()
	l := audit.New(audit.Config{Local: s, Registerer: metrics})
	failing := func(want float64) {
		t.Helper()
		all, err := metrics.Gather()
		if err != nil || len(all) != 1 || all[0].Metric[0].Gauge.GetValue() != want {
			t.Errorf("the gauges are %v, %v, want %v", all, err, want)
		}
		if err := l.Fault(); (err != nil) != (want == 1) {
			t.Errorf("the fault is %v", err)
		}
	}
	record(t, l, "a")
	failing(0)
	s.FailWrites(storetest.Before, 1)
	s.FailWrites(storetest.After, 1)
	for range 2 {
		err := l.Record(t.Context(), audit.Entry{Actor: "ops", Action: "refused"})
		if !errors.Is(err, store.ErrUnavailable) {
			t.Errorf("Record = %v", err)
		}
		failing(1)
	}
	record(t, l, "b")
	failing(0)
	// The second attempt is in the log: somebody did ask. The chain goes around neither.
	if got := actions(t, l); got != "b refused a" {
		t.Errorf("Recent = %q", got)
	}
	verify(t, l)
}

func TestEntriesOutsideTheBoundsAreRefused(t *testing.T) {
	l := audit.New(audit.Config{Local: newStore(t)})
	for name, e := range map[string]audit.Entry{
		"no actor":  {Action: "drain"},
		"no action": {Actor: "ops"},
		"too big":   {Actor: "ops", Action: "drain", Reason: strings.Repeat("r", 1<<20)},
	} {
		if err := l.Record(t.Context(), e); !errors.Is(err, audit.ErrInvalid) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if got := actions(t, l); got != "" {
		t.Errorf("kept %q", got)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := l.Verify(ctx); err != nil && !errors.Is(err, context.Canceled) {
		t.Errorf("Verify = %v", err)
	}
}

func TestManyAtOnceShareWritesAndKeepTheChain(t *testing.T) {
	const each, clients = 10, 20
	s := newStore(t)
	s.Delay(time.Millisecond)
	l := audit.New(audit.Config{Local: s})
	var group sync.WaitGroup
	for c := range clients {
		group.Go(func() {
			for i := range each {
				e := audit.Entry{Actor: "ops", Action: fmt.Sprintf("%d-%d", c, i)}
				if err := l.Record(context.Background(), e); err != nil {
					t.Error(err)
				}
			}
		})
	}
	group.Wait()
	counts, records := stored(t, s, nodeLog)
	if len(counts) != each*clients {
		t.Errorf("%d entries of %d", len(counts), each*clients)
	}
	if records > each*clients/2 {
		t.Errorf("%d writes for %d entries", records, each*clients)
	}
	verify(t, l)
}

func TestNodesSeeEachOthersEntries(t *testing.T) {
	shared := newStore(t)
	now := time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)
	clock := func() time.Time { now = now.Add(time.Second); return now }
	one := audit.New(audit.Config{Shared: shared, Local: newStore(t), Node: "one", Now: clock})
	two := audit.New(audit.Config{Shared: shared, Local: newStore(t), Node: "two", Now: clock})
	record(t, one, "a")
	record(t, two, "b")
	record(t, one, "c")
	for _, l := range []*audit.Log{one, two} {
		if got := actions(t, l); got != "c b a" {
			t.Errorf("Recent = %q", got)
		}
		verify(t, l)
	}
}

func TestWithoutTheSharedLogEntriesWaitForIt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		shared, local := newStore(t), newStore(t)
		var log bytes.Buffer
		l := audit.New(audit.Config{
			Shared: shared, Local: local, Logger: slog.New(slog.NewTextHandler(&log, nil)),
		})
		shared.Down(true)
		shared.Delay(500 * time.Millisecond)
		began := time.Now()
		for _, action := range []string{"a", "b", "c"} {
			record(t, l, action)
		}
		// The first one tries the shared store, the others don't wait for it again.
		if took := time.Since(began); took > 1200*time.Millisecond {
			t.Errorf("recording took %v", took)
		}
		if got := actions(t, l); got != "c b a" && got != "a b c" {
			t.Errorf("Recent without the shared log = %q", got)
		}
		stop := run(t, l)
		time.Sleep(time.Minute)
		shared.Down(false)
		shared.Delay(0)
		time.Sleep(10 * time.Second)
		record(t, l, "d")
		counts, _ := stored(t, shared, "audit/all")
		if diff := cmp.Diff(map[string]int{"a": 1, "b": 1, "c": 1, "d": 1}, counts); diff != "" {
			t.Errorf("shared log (-want +got):\n%s", diff)
		}
		stop()
		for _, want := range []string{"kept for later shipping", "audit entries shipped"} {
			if n := strings.Count(log.String(), want); n != 1 {
				t.Errorf("%q logged %d times", want, n)
			}
		}
	})
}

// run starts Run and returns what ends it and checks how it ended.
func run(t *testing.T, l *audit.Log) (stop func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- l.Run(ctx) }() // stop waits for it
	return func() {
		cancel()
		if err := <-ended; err != nil {
			t.Errorf("Run = %v", err)
		}
	}
}

func TestNoEntryIsLostOrDoubledUnderFaults(t *testing.T) {
	for seed := range uint64(6) {
		synctest.Test(t, func(t *testing.T) {
			shared, local := newStore(t), newStore(t)
			shared.Randomly(seed, 0.3, 0.3, 0.3)
			want := map[string]int{}
			for restart := range 3 {
				l := audit.New(audit.Config{Shared: shared, Local: local})
				stop := run(t, l)
				for i := range 8 {
					action := fmt.Sprintf("%d-%d", restart, i)
					record(t, l, action)
					want[action] = 1
					time.Sleep(time.Second)
				}
				stop()
			}
			shared.Randomly(0, 0, 0, 0)
			l := audit.New(audit.Config{Shared: shared, Local: local})
			stop := run(t, l)
			synctest.Wait()
			time.Sleep(time.Minute)
			stop()
			counts, _ := stored(t, shared, "audit/all")
			if diff := cmp.Diff(want, counts); diff != "" {
				t.Errorf("seed %d: shared log (-want +got):\n%s", seed, diff)
			}
			verify(t, l)
		})
	}
}

func TestASharedLogThatLostAllIsFilledAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		shared := newStore(t)
		l := audit.New(audit.Config{Shared: shared, Local: newStore(t)})
		stop := run(t, l)
		for _, action := range []string{"a", "b"} {
			record(t, l, action)
		}
		time.Sleep(10 * time.Second)
		if err := shared.Trim(t.Context(), "audit/all", 1<<62); err != nil {
			t.Fatal(err)
		}
		time.Sleep(10 * time.Second)
		record(t, l, "c")
		stop()
		counts, _ := stored(t, shared, "audit/all")
		if diff := cmp.Diff(map[string]int{"a": 1, "b": 1, "c": 1}, counts); diff != "" {
			t.Errorf("shared log (-want +got):\n%s", diff)
		}
	})
}

func TestGarbageInTheSharedLogHidesNothingElse(t *testing.T) {
	shared := newStore(t)
	for _, garbage := range []string{"", "x", "{}\n", "null\n", "\xff\n"} {
		if _, err := shared.Append(t.Context(), "audit/all", []byte(garbage)); err != nil {
			t.Fatal(err)
		}
	}
	l := audit.New(audit.Config{Shared: shared, Local: newStore(t)})
	record(t, l, "a")
	if got := actions(t, l); got != "a" {
		t.Errorf("Recent = %q", got)
	}
	if counts, _ := stored(t, shared, "audit/all"); counts["a"] != 1 {
		t.Errorf("shared log holds %v", counts)
	}
}

func TestOneStoreNeedsNoShipping(t *testing.T) {
	s := newStore(t)
	l := audit.New(audit.Config{Shared: s, Local: s})
	stop := run(t, l)
	record(t, l, "a")
	stop()
	if counts, _ := stored(t, s, "audit/all"); len(counts) != 0 {
		t.Errorf("shipped %v to itself", counts)
	}
	if got := actions(t, l); got != "a" {
		t.Errorf("Recent = %q", got)
	}
}

func TestRecentIsBounded(t *testing.T) {
	s := newStore(t)
	l := audit.New(audit.Config{Local: s})
	var group sync.WaitGroup
	for c := range 50 {
		group.Go(func() {
			for i := range 22 {
				e := audit.Entry{Actor: "ops", Action: fmt.Sprintf("%d-%d", c, i)}
				if err := l.Record(context.Background(), e); err != nil {
					t.Error(err)
				}
			}
		})
	}
	group.Wait()
	entries, err := l.Recent(t.Context(), 5000)
	if err != nil || len(entries) != 1000 {
		t.Fatalf("%d entries, %v", len(entries), err)
	}
	for _, e := range entries {
		if e.Number <= 100 {
			t.Errorf("entry %d of 1100 is among the last 1000", e.Number)
		}
	}
}
