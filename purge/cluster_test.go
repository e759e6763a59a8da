package purge_test

import (
	"errors"
	"fmt"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"pointsman/internal/store"
	"pointsman/providers"
	"pointsman/purge"
)

func TestAPurgeOfANodeThatDiesIsDeliveredByAnother(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		shared, c := newMemory(), newCDN("one")
		c.script = func(int, providers.Batch) (bool, providers.Receipt, error) {
			return no(providers.Transient, 0)
		}
		a := start(t, purge.Config{Node: "a", Shared: shared}, c)
		b := start(t, purge.Config{Node: "b", Shared: shared}, c)
		st := submit(t, a.Service, tags("x"))
		if st.Durability != purge.Replicated {
			t.Errorf("durability %s", st.Durability)
		}
		time.Sleep(3 * time.Second)
		a.stop()
		c.mend()
		st = wait(t, b.Service, st.ID)
		if took := time.Since(st.AcceptedAt); st.Outcome() != purge.Done || took > 5*time.Minute {
			t.Errorf("after %v: %+v", took, st)
		}
		// The dead node learns of it when it returns, and sends nothing.
		calls := c.callCount()
		again := start(t, purge.Config{Node: "a", Local: a.local, Shared: shared}, c)
		if st = wait(t, again.Service, st.ID); st.Outcome() != purge.Done {
			t.Errorf("at its own node: %+v", st)
		}
		if len(c.appliedOf(st.ID)) != 1 || c.callCount() != calls {
			t.Errorf("applied %d times, %d calls after the return",
				len(c.appliedOf(st.ID)), c.callCount()-calls)
		}
	})
}

func TestTwoNodesDoNotDeliverTheSamePurgeTwice(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		shared, c := newMemory(), newCDN("one")
		c.script = func(call int, _ providers.Batch) (bool, providers.Receipt, error) {
			time.Sleep(20 * time.Second)
			if call%3 == 0 {
				return no(providers.Transient, 0)
			}
			return ok()
		}
		a := start(t, purge.Config{Node: "a", Shared: shared}, c)
		b := start(t, purge.Config{Node: "b", Shared: shared}, c)
		var all []purge.Status
		for i := range 60 {
			n := []*node{a, b}[i%2]
			all = append(all, submit(t, n.Service, tags(fmt.Sprint(i))))
		}
		for _, st := range all {
			for _, n := range []*node{a, b} {
				if st := wait(t, n.Service, st.ID); st.Outcome() != purge.Done {
					t.Errorf("%+v", st)
				}
			}
			if n := len(c.appliedOf(st.ID)); n != 1 {
				t.Errorf("purge %s was applied %d times", st.ID, n)
			}
		}
		left, err := shared.List(t.Context(), "purge/open/")
		if err != nil || len(left) != 0 {
			t.Errorf("%d are left open in the shared store, %v", len(left), err)
		}
	})
}

func TestWithTheSharedStoreAwayANodeAcceptsAndDeliversAloneAndMergesOnItsReturn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		shared, c := newMemory(), newCDN("one")
		var up atomic.Bool
		c.script = func(_ int, b providers.Batch) (bool, providers.Receipt, error) {
			if b.Items[0] == "stuck" && !up.Load() {
				return no(providers.Transient, 0)
			}
			return ok()
		}
		a := start(t, purge.Config{Node: "a", Shared: shared}, c)
		b := start(t, purge.Config{Node: "b", Shared: shared}, c)
		foreign := submit(t, b.Service, tags("stuck"))
		time.Sleep(5 * time.Second)
		shared.setFault(away)
		st := submit(t, a.Service, tags("x"))
		stuck := submit(t, a.Service, tags("stuck"))
		if st.Durability != purge.Local {
			t.Errorf("durability %s", st.Durability)
		}
		if st = wait(t, a.Service, st.ID); st.Outcome() != purge.Done {
			t.Errorf("%+v", st)
		}
		if st, err := b.Get(t.Context(), stuck.ID); err == nil {
			t.Errorf("b knows: %+v", st)
		}
		calls := c.callCount()
		b.stop()
		time.Sleep(10 * time.Minute)
		if got, err := a.Get(t.Context(), foreign.ID); err != nil || got.Results[0].State ==
			purge.Sent || c.callCount() == calls {
			t.Errorf("another's purge at a: %+v, %v", got, err)
		}
		shared.setFault(nil)
		b2 := start(t, purge.Config{Node: "b", Local: b.local, Shared: shared}, c)
		time.Sleep(5 * time.Second)
		got, err := b2.Get(t.Context(), stuck.ID)
		if err != nil || got.Durability != purge.Replicated {
			t.Errorf("b knows after the return: %+v, %v", got, err)
		}
		up.Store(true)
		for _, id := range []string{stuck.ID, foreign.ID} {
			if st := wait(t, a.Service, id); st.Outcome() != purge.Done {
				t.Errorf("%+v", st)
			}
		}
	})
}

func TestAnEmptiedSharedStoreIsFilledAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		shared, c := newMemory(), newCDN("one")
		c.script = func(int, providers.Batch) (bool, providers.Receipt, error) {
			return no(providers.Transient, 0)
		}
		a := start(t, purge.Config{Node: "a", Shared: shared}, c)
		st := submit(t, a.Service, tags("x"))
		time.Sleep(5 * time.Second)
		shared.Wipe()
		time.Sleep(2 * time.Minute)
		if _, err := shared.Get(t.Context(), "purge/open/"+st.ID); err != nil {
			t.Errorf("two minutes after the loss: %v", err)
		}
		if got, err := a.Get(t.Context(), st.ID); err != nil || got.Final() {
			t.Errorf("%+v, %v", got, err)
		}
	})
}

func TestGarbageInTheSharedStoreHarmsNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		shared, c := newMemory(), newCDN("one")
		a := start(t, purge.Config{Node: "a", Shared: shared}, c)
		for key, value := range map[string]string{
			"purge/open/01ARYZ6S410000000000000000": "{}",
			"purge/open/":                           "",
			"purge/open/x":                          "purge1 00000000 {}",
		} {
			if _, err := shared.Put(t.Context(), key, []byte(value), store.PutOptions{}); err != nil {
				t.Fatal(err)
			}
		}
		time.Sleep(2 * time.Minute)
		if st := wait(t, a.Service, submit(t, a.Service, tags("x")).ID); st.Outcome() != purge.Done ||
			st.Durability != purge.Replicated {
			t.Errorf("%+v", st)
		}
	})
}

func TestWhereReplicationIsDemandedAPurgeIsRefusedWithoutIt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		shared, c := newMemory(), newCDN("one")
		a := start(t, purge.Config{Node: "a", Shared: shared, RequireReplicated: true}, c)
		time.Sleep(time.Second)
		shared.setFault(away)
		for range 2 { // the first finds out, the second knows
			if st, err := a.Submit(t.Context(), tags("x")); !errors.Is(err, purge.ErrNotDurable) {
				t.Errorf("got %+v, %v", st, err)
			}
		}
		shared.setFault(nil)
		time.Sleep(time.Minute)
		if c.callCount() != 0 {
			t.Error("a refused purge was delivered")
		}
		st := submit(t, a.Service, tags("y"))
		if st.Durability != purge.Replicated {
			t.Errorf("%+v", st)
		}
	})
}

func TestOneIdempotencyKeyOnTwoNodesMakesOnePurge(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		shared, c := newMemory(), newCDN("one")
		a := start(t, purge.Config{Node: "a", Shared: shared}, c)
		b := start(t, purge.Config{Node: "b", Shared: shared}, c)
		req := tags("x")
		req.IdempotencyKey = "k"
		first := submit(t, a.Service, req)
		if again := submit(t, b.Service, req); again.ID != first.ID {
			t.Errorf("%s and %s", first.ID, again.ID)
		}
		time.Sleep(10 * time.Minute)
		if n := len(c.appliedOf(first.ID)); n != 1 || c.callCount() != 1 {
			t.Errorf("applied %d times in %d calls", n, c.callCount())
		}
		req.Soft = true
		if _, err := b.Submit(t.Context(), req); !errors.Is(err, purge.ErrIdempotencyMismatch) {
			t.Errorf("another request: %v", err)
		}
	})
}
