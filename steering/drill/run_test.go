package drill_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"pointsman/internal/store"
	"pointsman/internal/store/storetest"
	"pointsman/steering/drill"
)

func TestADrillShiftsMeasuresAndRestores(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		n := w.start("n1")
		before := n.engine.Table().Shares("cdn.test.")
		rep := n.begin(30 * time.Second)
		if rep.State != drill.Running || !n.failing("a") || n.failing("b") {
			t.Fatalf("it began as %s; a fails: %t", rep.State, n.failing("a"))
		}
		rep = n.end(rep.ID)
		if rep.State != drill.Done {
			t.Fatalf("it ended %s: %s", rep.State, rep.Message)
		}
		for what, c := range map[string]struct{ got, min, max time.Duration }{
			"detected": {rep.Detected, 2 * time.Second, 3500 * time.Millisecond},
			"shifted":  {rep.Shifted, rep.Detected, rep.Detected + 500*time.Millisecond},
			"returned": {rep.Returned, 2 * time.Second, 4500 * time.Millisecond},
			"restored": {rep.Restored, 12 * time.Second, 16 * time.Second},
		} {
			if c.got < c.min || c.got > c.max {
				t.Errorf("%s after %s, want %s to %s", what, c.got, c.min, c.max)
			}
		}
		t.Logf("detected %s, shifted %s, returned %s, restored %s", rep.Detected, rep.Shifted,
			rep.Returned, rep.Restored)
		if diff := cmp.Diff(before, n.engine.Table().Shares("cdn.test.")); diff != "" {
			t.Errorf("shares (-before +after):\n%s", diff)
		}
		want := []drill.State{drill.Running, drill.Restoring, drill.Done}
		if diff := cmp.Diff(want, n.states()); diff != "" {
			t.Errorf("states told (-want +got):\n%s", diff)
		}
		curve(t, rep)
		w.nothingLeft()
	})
}

// curve holds the report's points against what must have happened.
func curve(t *testing.T, rep drill.Report) {
	t.Helper()
	n := len(rep.Points)
	if n < 40 || n > 50 {
		t.Fatalf("the report has %d points, one a second for about 45 s", n)
	}
	last := rep.Points[n-1]
	if want := rep.Lifted.Add(rep.Restored).Sub(rep.Started); last.After != want {
		t.Errorf("the last point is of %s, the share was restored at %s", last.After, want)
	}
	if diff := cmp.Diff(rep.Before[0].Shares, last.Shares); diff != "" {
		t.Errorf("shares (-at first +at last):\n%s", diff)
	}
	for _, p := range rep.Points {
		sum, mine := 0.0, 0.0
		for _, s := range p.Shares {
			sum += s.Share
			if s.Backend == "a" {
				mine = s.Share
			}
		}
		if sum < 0.999 || sum > 1.001 {
			t.Errorf("after %s the shares add up to %f", p.After, sum)
		}
		if p.After > rep.Shifted+2*time.Second && p.After < 30*time.Second &&
			(mine != 0 || p.Answered > 0) {
			t.Errorf("after %s the backend has %f, of answers %f", p.After, mine, p.Answered)
		}
	}
}

func TestADrillIsRefusedBeforeItChangesAnything(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		n := w.start("n1")
		start := func(p drill.Plan) error { _, err := n.runner.Start(t.Context(), p); return err }
		if err := start(drill.Plan{Backend: "nobody", For: time.Minute}); !errors.Is(err, drill.ErrRefused) {
			t.Errorf("an unknown backend: %v", err)
		}
		if err := start(drill.Plan{Backend: "a", For: time.Minute, MinHealthy: 0.5}); !errors.Is(err,
			drill.ErrRefused) {
			t.Errorf("with too little left: %v", err)
		}
		n.store.Down(true)
		if err := start(drill.Plan{Backend: "a", For: time.Minute}); !errors.Is(err, drill.ErrRefused) ||
			!errors.Is(err, store.ErrUnavailable) {
			t.Errorf("without the store: %v", err)
		}
		n.store.Down(false)
		w.nothingLeft()
		first := n.begin(10 * time.Second)
		if err := start(drill.Plan{Backend: "b", For: time.Minute}); !errors.Is(err, drill.ErrRefused) ||
			!strings.Contains(err.Error(), "another drill") {
			t.Errorf("a second one at once: %v", err)
		}
		n.end(first.ID)
		if list, err := n.runner.List(t.Context()); err != nil || len(list) != 1 {
			t.Errorf("the store knows %d drills, %v", len(list), err)
		}
	})
}

// TestAStartThatFailsAfterItsWriteTookEffectLeavesNothing: other nodes must not make probes
// fail for a drill that never began.
func TestAStartThatFailsAfterItsWriteTookEffectLeavesNothing(t *testing.T) {
	for writes := range 3 {
		t.Run(fmt.Sprint("write ", writes+1), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t)
				n, other := w.start("n1"), w.start("n2")
				for range writes {
					n.store.FailWrites(storetest.Before, 0)
				}
				skip := &skipping{Store: n.store, pass: writes, faulty: n.store}
				r := drill.New(drill.Config{Node: "n3", Store: skip, Table: n.engine.Table,
					Usable: n.usable})
				_, err := r.Start(t.Context(), drill.Plan{Backend: "a", For: time.Minute})
				if !errors.Is(err, drill.ErrRefused) {
					t.Fatalf("it was not refused: %v", err)
				}
				time.Sleep(3 * time.Second)
				if other.failing("a") {
					t.Error("another node makes probes fail for it")
				}
				if list, _ := n.runner.List(t.Context()); len(list) > 0 {
					t.Errorf("the store keeps it: %+v", list)
				}
				time.Sleep(10 * time.Second) // the lease's own time
				w.nothingLeft()
			})
		})
	}
}

// skipping lets some writes pass and then makes one fail after it took effect.
type skipping struct {
	store.Store
	pass   int
	faulty *storetest.Faulty
}

func (s *skipping) write() {
	if s.pass == 0 {
		s.faulty.FailWrites(storetest.After, 1)
	}
	s.pass--
}

func (s *skipping) Put(ctx context.Context, k string, v []byte, o store.PutOptions) (uint64, error) {
	s.write()
	return s.Store.Put(ctx, k, v, o)
}

func (s *skipping) Acquire(
	ctx context.Context, name, holder string, ttl time.Duration,
) (store.Lease, error) {
	s.write()
	return s.Store.Acquire(ctx, name, holder, ttl)
}

func TestAStartOnANodeThatRunsNoDrillsIsRefusedAndLeavesNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		n := w.start("n1")
		idle := drill.New(drill.Config{Node: "n2", Store: w.store, Table: n.engine.Table,
			Usable: n.usable})
		if _, err := idle.Start(t.Context(), drill.Plan{Backend: "a", For: time.Minute}); !errors.Is(err,
			drill.ErrRefused) {
			t.Fatalf("it was not refused: %v", err)
		}
		time.Sleep(2 * time.Second)
		w.nothingLeft()
	})
}

func TestAnOperatorStopsADrill(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		n := w.start("n1")
		rep := n.begin(5 * time.Minute)
		time.Sleep(6 * time.Second)
		for range 3 { // an impatient one
			if _, err := n.runner.Stop(t.Context(), rep.ID, "eve"); err != nil {
				t.Fatal(err)
			}
		}
		time.Sleep(time.Second)
		if n.failing("a") {
			t.Error("a second later the fault is still there")
		}
		rep = n.end(rep.ID)
		if rep.State != drill.Aborted || rep.Message != "stopped by eve; restored" {
			t.Errorf("it ended %s: %s", rep.State, rep.Message)
		}
		if again, err := n.runner.Stop(t.Context(), rep.ID, "eve"); err != nil ||
			again.State != drill.Aborted {
			t.Errorf("stopping what has ended: %s, %v", again.State, err)
		}
		if _, err := n.runner.Stop(t.Context(), "no such", "eve"); !errors.Is(err, drill.ErrNotFound) {
			t.Errorf("stopping what never was: %v", err)
		}
		w.nothingLeft()
	})
}

func TestADrillIsAbortedWhenTooLittleRemains(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		n := w.start("n1")
		rep := n.begin(5 * time.Minute)
		time.Sleep(10 * time.Second)
		n.breakIt("b", true) // 10 % would be with c alone
		rep = n.end(rep.ID)
		if rep.State != drill.Aborted || !strings.Contains(rep.Message, "25 % must remain") {
			t.Errorf("it ended %s: %s", rep.State, rep.Message)
		}
		if took := rep.Lifted.Sub(rep.Started); took > 14*time.Second {
			t.Errorf("the fault was lifted %s after b broke", took-10*time.Second)
		}
		w.nothingLeft()
	})
}

func TestADrillThatLosesTheStoreLiftsItsFaultRestoresAndIsRecordedLater(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		n := w.start("n1")
		rep := n.begin(5 * time.Minute)
		time.Sleep(10 * time.Second)
		n.store.Down(true)
		time.Sleep(11 * time.Second) // the lease lasts ten
		if n.failing("a") {
			t.Error("the store is away for 11 s and the fault is still there")
		}
		time.Sleep(30 * time.Second)
		if !n.usable("a") {
			t.Error("the backend did not come back")
		}
		n.store.Down(false)
		rep = n.end(rep.ID)
		if rep.State != drill.Aborted || !strings.Contains(rep.Message, "out of reach; restored") {
			t.Errorf("it ended %s: %s", rep.State, rep.Message)
		}
		w.nothingLeft()
	})
}

func TestADrillWhoseLeaseAnotherHoldsIsAbortedAtTheNextRenewal(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		n := w.start("n1")
		rep := n.begin(5 * time.Minute)
		time.Sleep(time.Second)
		lease, err := w.store.Acquire(t.Context(), "drill", "n1/"+rep.ID, time.Second)
		if err != nil {
			t.Fatal(err)
		}
		if err := w.store.Release(t.Context(), lease); err != nil {
			t.Fatal(err)
		}
		if _, err := w.store.Acquire(t.Context(), "drill", "thief", time.Minute); err != nil {
			t.Fatal(err)
		}
		time.Sleep(4 * time.Second)
		if n.failing("a") {
			t.Error("the fault outlived the lease")
		}
		if rep = n.end(rep.ID); rep.State != drill.Aborted {
			t.Errorf("it ended %s: %s", rep.State, rep.Message)
		}
	})
}

func TestANodeThatStopsLiftsItsFault(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		n, other := w.start("n1"), w.start("n2")
		rep := n.begin(5 * time.Minute)
		time.Sleep(5 * time.Second)
		if !other.failing("a") {
			t.Fatal("the other node's probes do not fail")
		}
		n.stop()
		time.Sleep(2 * time.Second)
		if n.failing("a") || other.failing("a") {
			t.Error("the fault outlived its node")
		}
		rep, err := other.runner.Get(t.Context(), rep.ID)
		if err != nil || rep.State != drill.Aborted || !strings.Contains(rep.Message, "stopping") {
			t.Errorf("it ended %s: %s, %v", rep.State, rep.Message, err)
		}
		w.nothingLeft()
	})
}

func TestADrillEndsAtItsTimeThoughItsNodeDied(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		n, other := w.start("n1"), w.start("n2")
		rep := n.begin(20 * time.Second)
		time.Sleep(5 * time.Second)
		n.store.Down(true) // it dies: nothing that it does arrives any more
		n.stop()
		time.Sleep(5 * time.Second)
		if !other.failing("a") {
			t.Error("the drill is announced and its time is not over")
		}
		time.Sleep(11 * time.Second)
		if other.failing("a") {
			t.Error("the fault outlived the drill's time")
		}
		if left, err := other.runner.Get(t.Context(), rep.ID); err != nil || left.State != drill.Running {
			t.Errorf("the dead node's drill is %s, %v", left.State, err)
		}
		again := w.start("n1") // it comes back under its name
		time.Sleep(2 * time.Second)
		rep, err := other.runner.Get(t.Context(), rep.ID)
		if err != nil || rep.State != drill.Aborted || !strings.Contains(rep.Message, "restarted") {
			t.Errorf("after the restart it is %s: %s, %v", rep.State, rep.Message, err)
		}
		again.stop()
	})
}

func TestTheFaultOfADeadNodesDrillCanBeStopped(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		n, other := w.start("n1"), w.start("n2")
		rep := n.begin(20 * time.Minute)
		time.Sleep(5 * time.Second)
		n.store.Down(true)
		n.stop()
		if _, err := other.runner.Stop(t.Context(), rep.ID, "eve"); err != nil {
			t.Fatal(err)
		}
		time.Sleep(2 * time.Second)
		if other.failing("a") {
			t.Error("two seconds after the stop the fault is still there")
		}
	})
}

func TestADrillIsStoppedFromAnotherNode(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		n, other := w.start("n1"), w.start("n2")
		rep := n.begin(5 * time.Minute)
		time.Sleep(5 * time.Second)
		told, err := other.runner.Stop(t.Context(), rep.ID, "eve")
		if err != nil || !strings.Contains(told.Message, "node n1 was asked") {
			t.Fatalf("asked over there: %s, %v", told.Message, err)
		}
		time.Sleep(3 * time.Second)
		if n.failing("a") || other.failing("a") {
			t.Error("three seconds later the fault is still there")
		}
		rep = other.end(rep.ID)
		if rep.State != drill.Aborted || rep.Message != "stopped by eve; restored" {
			t.Errorf("it ended %s: %s", rep.State, rep.Message)
		}
		w.nothingLeft()
	})
}

func TestAnOrphanIsClosedOnceTheStoreIsBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		n := w.start("n1")
		rep := n.begin(10 * time.Minute)
		time.Sleep(time.Second)
		n.store.Down(true)
		n.stop()
		again := w.start("n1")
		again.store.FailReads(20) // a few seconds of looking
		time.Sleep(30 * time.Second)
		got, err := again.runner.Get(t.Context(), rep.ID)
		if err != nil || got.State != drill.Aborted {
			t.Errorf("the orphan is %s, %v", got.State, err)
		}
		w.nothingLeft()
	})
}

func TestForeignValuesAmongTheDrillsAreNotListed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		n := w.start("n1")
		for k, v := range map[string]string{"drills/x": "{", "drills/y": "{}", "drills/z": `"?"`} {
			if _, err := w.store.Put(t.Context(), k, []byte(v), store.PutOptions{}); err != nil {
				t.Fatal(err)
			}
		}
		if list, err := n.runner.List(t.Context()); err != nil || len(list) > 0 {
			t.Errorf("listed %v, %v", list, err)
		}
		if _, err := n.runner.Get(t.Context(), "x"); err == nil {
			t.Error("a value that does not read was returned")
		}
		if _, err := n.runner.Get(t.Context(), "none"); !errors.Is(err, drill.ErrNotFound) {
			t.Errorf("a drill that never was: %v", err)
		}
		for _, raw := range []string{"{", `{"id":"other"}`} { // a notice that means nothing here
			if _, err := w.store.Put(t.Context(), "drill/notice", []byte(raw),
				store.PutOptions{TTL: 5 * time.Second}); err != nil {
				t.Fatal(err)
			}
			time.Sleep(6 * time.Second)
		}
		w.nothingLeft()
	})
}

func TestAReportTooLongForTheStoreIsThinnedNotLost(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		n := w.start("n1")
		s := spec()
		long := strings.Repeat(strings.Repeat("x", 60)+".", 3)
		for i := range 12 { // 13 names with shares each second for four minutes
			h := s.Hosts[0]
			h.Name = fmt.Sprintf("%shost-%d.test.", long, i)
			s.Hosts = append(s.Hosts, h)
		}
		if err := n.engine.SetSpec(s); err != nil {
			t.Fatal(err)
		}
		rep := n.end(n.begin(4 * time.Minute).ID)
		if rep.State != drill.Done {
			t.Fatalf("it ended %s: %s", rep.State, rep.Message)
		}
		stored, err := w.store.Get(t.Context(), "drills/"+rep.ID)
		if err != nil || len(stored.Value) > 1<<20 || !strings.Contains(string(stored.Value),
			`"state":"done"`) {
			t.Errorf("stored %d bytes, %v", len(stored.Value), err)
		}
		if len(rep.Points) == 0 || len(rep.Points)%13 != 0 {
			t.Errorf("%d points are left", len(rep.Points))
		}
	})
}
