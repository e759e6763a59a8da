package override_test

import (
	"context"
	"errors"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"
	"pgregory.net/rapid"

	"pointsman/internal/store"
	"pointsman/steering"
	"pointsman/steering/override"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// node is one node's book with its stores and what it was told.
type node struct {
	*override.Book
	local, shared *memory

	mu    sync.Mutex
	told  [][]steering.Override
	log   strings.Builder
	clock time.Duration // added to the bubble's time
	stop  func()
}

func newNode(local, shared *memory) *node {
	n := &node{local: local, shared: shared, stop: func() {}}
	c := override.Config{
		Node: "fra-1", Logger: slog.New(slog.NewTextHandler(&n.log, nil)),
		Now: func() time.Time {
			n.mu.Lock()
			defer n.mu.Unlock()
			return time.Now().Add(n.clock)
		},
		OnChange: func(list []steering.Override) {
			n.mu.Lock()
			defer n.mu.Unlock()
			n.told = append(n.told, list)
		},
	}
	if local != nil {
		c.Local = local
	}
	if shared != nil {
		c.Shared = shared
	}
	n.Book = override.New(c)
	return n
}

// run runs the book until the test is over or stop is called.
func (n *node) run(t *testing.T) *node {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- n.Run(ctx) }()
	n.stop = sync.OnceFunc(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("Run returned %v", err)
		}
	})
	t.Cleanup(n.stop)
	return n
}

// holds is what is active, as "kind backend", newest first; "!" marks what is local.
func (n *node) holds() string { return text(n.Active(time.Now())) }

// ids are those of what is active.
func (n *node) ids() string {
	all := ""
	for _, o := range n.Active(time.Now()) {
		all += " " + o.ID
	}
	return all
}

func text(list []steering.Override) string {
	var parts []string
	for _, o := range list {
		part := string(o.Kind) + " " + o.Backend
		if o.Local {
			part += "!"
		}
		parts = append(parts, part)
	}
	return strings.Join(parts, ", ")
}

func (n *node) lastTold() string {
	n.mu.Lock()
	defer n.mu.Unlock()
	if len(n.told) == 0 {
		return ""
	}
	return text(n.told[len(n.told)-1])
}

func (n *node) want(t *testing.T, want string) {
	t.Helper()
	synctest.Wait()
	if got := n.holds(); got != want {
		t.Errorf("holds %q, want %q", got, want)
	}
	if got := n.lastTold(); got != want {
		t.Errorf("told %q, want %q", got, want)
	}
}

func drain(backend string) steering.Override {
	return steering.Override{
		Kind: steering.Drain, Backend: backend, Reason: "slow", Actor: "kim",
		Expires: time.Now().Add(time.Hour),
	}
}

func (n *node) add(t *testing.T, backend string) string {
	t.Helper()
	o, err := n.Add(t.Context(), drain(backend))
	if err != nil {
		t.Fatal(err)
	}
	return o.ID
}

func TestWrongOverridesAreRefusedWithEveryReason(t *testing.T) {
	b := newNode(newMemory(), nil)
	for _, c := range []struct {
		want string
		edit func(*steering.Override)
	}{
		{`unknown kind "darin"`, func(o *steering.Override) { o.Kind = "darin" }},
		{"backend is required", func(o *steering.Override) { o.Backend = "" }},
		{"reason is required", func(o *steering.Override) { o.Reason = " \t" }},
		{"reason is longer", func(o *steering.Override) { o.Reason = strings.Repeat("x", 1001) }},
		{"reason holds characters", func(o *steering.Override) { o.Reason = "a\x1b[2J" }},
		{"actor holds characters", func(o *steering.Override) { o.Actor = "kim\nroot" }},
		{"an end is required", func(o *steering.Override) { o.Expires = time.Time{} }},
		{"has passed", func(o *steering.Override) { o.Expires = time.Now() }},
		{"at most 720h0m0s", func(o *steering.Override) {
			o.Expires = time.Now().Add(31 * 24 * time.Hour)
		}},
		{"weight goes with kind", func(o *steering.Override) { o.Weight = 4 }},
		{"weight 1000001 is above", func(o *steering.Override) {
			o.Kind, o.Weight = steering.Weight, 1_000_001
		}},
	} {
		o := drain("a")
		c.edit(&o)
		_, err := b.Add(t.Context(), o)
		if !errors.Is(err, override.ErrInvalid) || !strings.Contains(err.Error(), c.want) {
			t.Errorf("error is %v, want %q in it", err, c.want)
		}
	}
	_, err := b.Add(t.Context(), steering.Override{})
	for _, want := range []string{"kind", "backend", "reason", "end"} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("error is %v, want %q in it", err, want)
		}
	}
	if b.holds() != "" || b.local.writes() != 0 {
		t.Error("a wrong override was kept")
	}
}

func TestAnOverrideGetsItsIDTimeAndCanonicalHost(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newNode(newMemory(), nil)
		o := drain("a")
		o.Host, o.ID, o.Local = "CDN.Example.test", "mine", true
		got, err := n.Add(t.Context(), o)
		if err != nil {
			t.Fatal(err)
		}
		if !strings.HasPrefix(got.ID, "ov-") || len(got.ID) != 19 {
			t.Errorf("ID is %q", got.ID)
		}
		o.ID, o.Host, o.Local = got.ID, "cdn.example.test.", false
		o.Created, o.Expires = time.Now().UTC(), o.Expires.UTC()
		if diff := cmp.Diff(o, got); diff != "" {
			t.Error(diff)
		}
		if diff := cmp.Diff([]steering.Override{got}, n.Active(time.Now())); diff != "" {
			t.Error(diff)
		}
	})
}

func TestOneNodeKeepsItsOverridesThroughARestart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		local := newMemory()
		for _, shared := range []*memory{nil, local} {
			first := newNode(local, shared).run(t)
			kept := first.add(t, "a")
			time.Sleep(time.Millisecond)
			gone := first.add(t, "b")
			first.want(t, "drain b, drain a")
			if err := first.Remove(t.Context(), gone); err != nil {
				t.Fatal(err)
			}
			first.want(t, "drain a")
			first.stop()

			second := newNode(local, shared)
			if err := second.Load(t.Context()); err != nil {
				t.Fatal(err)
			}
			second.want(t, "drain a")
			if err := second.Remove(t.Context(), gone); !errors.Is(err, override.ErrNotFound) {
				t.Errorf("removing twice gives %v", err)
			}
			if err := second.Remove(t.Context(), kept); err != nil {
				t.Fatal(err)
			}
			second.want(t, "")
		}
	})
}

func TestAnOverrideEndsByItselfAndIsForgottenLater(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newNode(newMemory(), newMemory()).run(t)
		n.add(t, "a")
		time.Sleep(59 * time.Minute)
		n.want(t, "drain a")
		time.Sleep(62 * time.Second)
		n.want(t, "")
		n.stop()
		time.Sleep(49 * time.Hour)
		for _, m := range []*memory{n.local, n.shared} {
			list, err := m.List(t.Context(), "")
			if err != nil || len(list) != 0 {
				t.Errorf("the store holds %v, %v", list, err)
			}
		}
	})
}

func TestNodesLearnOfEachOtherWithinASecond(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		shared := newMemory()
		a := newNode(newMemory(), shared).run(t)
		b := newNode(newMemory(), shared).run(t)
		synctest.Wait()
		id := a.add(t, "x")
		a.want(t, "drain x")
		b.want(t, "drain x") // by the watch, at once
		if err := b.Remove(t.Context(), id); err != nil {
			t.Fatal(err)
		}
		a.want(t, "")
		b.want(t, "")

		shared.mu.Lock()
		shared.watchers = nil // hints are lost from here on
		shared.mu.Unlock()
		a.add(t, "y")
		time.Sleep(time.Second)
		b.want(t, "drain y")
	})
}

func TestRemovingWhatAnotherNodeJustAdded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		shared := newMemory()
		a, b := newNode(newMemory(), shared), newNode(newMemory(), shared)
		id := a.add(t, "x")
		if err := b.Remove(t.Context(), id); err != nil {
			t.Fatal(err)
		}
		a.run(t).want(t, "")
	})
}

func TestWithoutTheSharedStoreOverridesAreTakenAndMergedLater(t *testing.T) {
	for name, f := range map[string]fault{"away": away, "mute": mute} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				shared := newMemory()
				a := newNode(newMemory(), shared).run(t)
				b := newNode(newMemory(), shared).run(t)
				old := a.add(t, "old")
				time.Sleep(time.Second)
				shared.set(f)

				began := time.Now()
				o, err := a.Add(t.Context(), drain("x"))
				if err != nil || !o.Local {
					t.Fatalf("added %+v, %v", o, err)
				}
				if took := time.Since(began); took > 600*time.Millisecond {
					t.Errorf("adding took %s", took)
				}
				if err := a.Remove(t.Context(), old); err != nil {
					t.Fatal(err)
				}
				a.want(t, "drain x!")
				b.want(t, "drain old")
				time.Sleep(time.Minute)
				if n := strings.Count(a.log.String(), "overrides lost a store"); n != 1 {
					t.Errorf("the loss was logged %d times:\n%s", n, a.log.String())
				}

				shared.set(none)
				time.Sleep(2500 * time.Millisecond)
				a.want(t, "drain x")
				b.want(t, "drain x")
			})
		})
	}
}

func TestANodeStartsAloneFromItsOwnCopies(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		shared, local := newMemory(), newMemory()
		a := newNode(newMemory(), shared)
		b := newNode(local, shared).run(t)
		a.add(t, "x")
		time.Sleep(2 * time.Second)
		b.want(t, "drain x")
		b.stop()
		shared.set(away)
		again := newNode(local, shared).run(t)
		again.want(t, "drain x") // and known to have been shared
		again.add(t, "y")
		time.Sleep(5 * time.Second)
		again.stop()
		third := newNode(local, shared).run(t)
		third.want(t, "drain y!, drain x")
	})
}

func TestALostSharedStoreIsRefilledAndWipesNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		shared := newMemory()
		a := newNode(newMemory(), shared).run(t)
		b := newNode(newMemory(), shared).run(t)
		a.add(t, "x")
		time.Sleep(time.Millisecond)
		id := a.add(t, "y")
		time.Sleep(time.Second)
		if err := a.Remove(t.Context(), id); err != nil {
			t.Fatal(err)
		}
		time.Sleep(2 * time.Second)
		b.stop()
		shared.wipe()
		time.Sleep(2 * time.Second)
		a.want(t, "drain x")
		list, _ := shared.List(t.Context(), "overrides/")
		if len(list) != 2 {
			t.Errorf("the store holds %d records, want the override and the tombstone", len(list))
		}
		fresh := newNode(newMemory(), shared).run(t)
		fresh.want(t, "drain x")
	})
}

func TestARemovalIsNotUndoneByACopyLeftBehind(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		shared, local := newMemory(), newMemory()
		a := newNode(newMemory(), shared).run(t)
		b := newNode(local, shared).run(t)
		id := a.add(t, "x")
		time.Sleep(2 * time.Second)
		b.stop() // with a live copy
		if err := a.Remove(t.Context(), id); err != nil {
			t.Fatal(err)
		}
		time.Sleep(2 * time.Second)
		again := newNode(local, shared).run(t)
		time.Sleep(2 * time.Second)
		again.want(t, "")
		a.want(t, "")
	})
}

func TestAStoreThatWritesAndFailsIsCaughtUpWith(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		shared := newMemory()
		n := newNode(newMemory(), shared).run(t)
		shared.set(liar)
		id := n.add(t, "x")
		time.Sleep(3 * time.Second)
		shared.set(none)
		time.Sleep(3 * time.Second)
		n.want(t, "drain x")
		shared.set(liar)
		if err := n.Remove(t.Context(), id); err != nil {
			t.Fatal(err)
		}
		shared.set(none)
		time.Sleep(3 * time.Second)
		n.want(t, "")
	})
}

func TestWhatNoStoreTookIsRefusedAndNeverComesBack(t *testing.T) {
	for name, faults := range map[string][2]fault{
		"nothing took effect":      {away, away},
		"both took effect":         {liar, liar},
		"the shared one took it":   {away, liar},
		"the node's own took it":   {liar, away},
		"neither answered in time": {mute, mute},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				n := newNode(newMemory(), newMemory()).run(t)
				synctest.Wait()
				n.local.set(faults[0])
				n.shared.set(faults[1])
				_, err := n.Add(t.Context(), drain("x"))
				if !errors.Is(err, store.ErrUnavailable) || errors.Is(err, override.ErrInvalid) {
					t.Fatalf("error is %v", err)
				}
				n.want(t, "")
				n.local.set(none)
				n.shared.set(none)
				time.Sleep(5 * time.Second)
				n.want(t, "")
				other := newNode(n.local, n.shared).run(t)
				time.Sleep(5 * time.Second)
				other.want(t, "")
			})
		})
	}
}

func TestAFullDiskDoesNotKeepADrainOut(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newNode(newMemory(), newMemory()).run(t)
		kept := n.add(t, "old")
		time.Sleep(time.Second)
		n.local.set(away)
		n.add(t, "x")
		n.want(t, "drain x, drain old")
		if err := n.Remove(t.Context(), kept); err != nil {
			t.Fatal(err)
		}
		n.want(t, "drain x")
		n.local.set(none)
		time.Sleep(5 * time.Second)
		n.stop()
		n.shared.set(away)
		again := newNode(n.local, n.shared)
		if err := again.Load(t.Context()); err != nil {
			t.Fatal(err)
		}
		again.want(t, "drain x")
	})
}

func TestARemovalThatNoStoreTookLeavesTheOverride(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newNode(newMemory(), newMemory())
		id := n.add(t, "x")
		n.local.set(away)
		n.shared.set(away)
		if err := n.Remove(t.Context(), id); !errors.Is(err, store.ErrUnavailable) {
			t.Errorf("error is %v", err)
		}
		n.want(t, "drain x")
	})
}

func TestRecordsThatDoNotReadAreLoggedOnceAndLeftAlone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		shared := newMemory()
		for key, value := range map[string]string{
			"overrides/ov-1": "{",
			"overrides/ov-2": `{"id":"ov-3","kind":"drain","backend":"a"}`,
			"overrides/ov-4": `{"id":"ov-4","kind":"drain","backend":"a"}`,
			"overrides/ov-5": `{"id":"ov-5","expires":"2999-01-01T00:00:00Z"}`,
		} {
			shared.plant(key, value)
		}
		n := newNode(newMemory(), shared).run(t)
		id := n.add(t, "x")
		time.Sleep(10 * time.Second)
		n.want(t, "drain x")
		if got := strings.Count(n.log.String(), "override record not read"); got != 4 {
			t.Errorf("%d records logged, want 4:\n%s", got, n.log.String())
		}
		if shared.raw("overrides/ov-1") != "{" {
			t.Error("a foreign record was written over")
		}
		shared.plant("overrides/"+id, "garbage")
		time.Sleep(3 * time.Second)
		if got := shared.raw("overrides/" + id); !strings.Contains(got, `"backend":"x"`) {
			t.Errorf("our own record stays %q", got)
		}
	})
}

func TestAStoreWithoutListingAtStartIsReadLater(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		local := newMemory()
		newNode(local, nil).add(t, "x")
		local.set(noList)
		n := newNode(local, nil)
		if err := n.Load(t.Context()); !errors.Is(err, store.ErrUnavailable) {
			t.Errorf("error is %v", err)
		}
		n.run(t)
		time.Sleep(3 * time.Second)
		n.want(t, "")
		local.set(none)
		time.Sleep(time.Second)
		n.want(t, "drain x")
	})
}

func TestAClockThatJumpsADayLosesNoOverride(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newNode(newMemory(), newMemory()).run(t)
		n.add(t, "x")
		n.mu.Lock()
		n.clock = 24 * time.Hour
		n.mu.Unlock()
		time.Sleep(3 * time.Second)
		if n.lastTold() != "" {
			t.Error("an expired override holds")
		}
		n.mu.Lock()
		n.clock = 0
		n.mu.Unlock()
		time.Sleep(3 * time.Second)
		n.want(t, "drain x")
	})
}

func TestABookWithoutALocalStoreUsesTheShared(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newNode(nil, newMemory()).run(t)
		id := n.add(t, "x")
		n.want(t, "drain x")
		if err := n.Remove(t.Context(), id); err != nil {
			t.Fatal(err)
		}
		n.want(t, "")
	})
	if _, err := newNode(nil, nil).Add(t.Context(), drain("x")); err == nil {
		t.Error("a book without stores took an override")
	}
}

func TestOnChangeMayCallTheBook(t *testing.T) {
	local := newMemory()
	var b *override.Book
	var told []string
	b = override.New(override.Config{Local: local, OnChange: func(list []steering.Override) {
		told = append(told, text(list))
		if len(list) == 1 && len(told) == 1 {
			if err := b.Remove(context.Background(), list[0].ID); err != nil {
				t.Error(err)
			}
		}
	}})
	if _, err := b.Add(t.Context(), drain("a")); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{"drain a", ""}, told); diff != "" {
		t.Error(diff)
	}
}

// Whatever happens to three nodes and their stores, after the faults end all agree on exactly
// what was added and not removed.
func TestAfterAnyFaultsAllNodesAgree(t *testing.T) {
	outer := t
	rapid.Check(t, func(rt *rapid.T) {
		steps := rapid.SliceOfN(rapid.IntRange(0, 99), 1, 30).Draw(rt, "steps")
		ok := true
		synctest.Test(outer, func(t *testing.T) { ok = agree(t, steps) })
		if !ok {
			rt.Fatal("the nodes disagree")
		}
	})
}

func agree(t *testing.T, steps []int) bool {
	shared := newMemory()
	var nodes []*node
	for range 3 {
		nodes = append(nodes, newNode(newMemory(), shared).run(t))
	}
	want := map[string]bool{}
	open := map[string]bool{} // a removal failed and may have taken effect
	var ids []string          // of all that were acknowledged
	restarted := false
	for _, s := range steps {
		n := nodes[s%3]
		switch action := s / 3; {
		case action < 12:
			o, err := n.Add(t.Context(), drain("b"))
			if err == nil {
				ids = append(ids, o.ID)
				want[o.ID] = true
			}
		case action < 18 && len(ids) > 0:
			id := ids[s%len(ids)]
			err := n.Remove(t.Context(), id)
			if err == nil {
				delete(want, id)
				delete(open, id)
			} else if want[id] && !errors.Is(err, override.ErrNotFound) {
				open[id] = true
			}
		case action < 22:
			shared.set([]fault{none, away, liar, mute}[s%4])
		case action < 26:
			n.local.set([]fault{none, away, liar}[s/3%3])
		case action < 29:
			restarted = true
			n.stop()
			nodes[s%3] = newNode(n.local, shared).run(t)
		default:
			shared.wipe()
		}
		time.Sleep(time.Duration(s) * 20 * time.Millisecond)
	}
	shared.set(none)
	for _, n := range nodes {
		n.local.set(none)
	}
	time.Sleep(10 * time.Second)
	agreed := true
	for id := range open { // either outcome is right, but all nodes must have the same
		if !strings.Contains(nodes[0].ids(), id) {
			delete(want, id)
		}
	}
	for _, id := range strings.Fields(nodes[0].ids()) {
		// A node that stopped before any store took the tombstone of an Add that failed and
		// yet took effect can't know of it; all must agree then, too.
		if restarted && !slices.Contains(ids, id) {
			want[id] = true
		}
	}
	for i, n := range nodes {
		got := map[string]bool{}
		for _, o := range n.Active(time.Now()) {
			got[o.ID] = true
			agreed = agreed && !o.Local
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Logf("node %d after %v: %s", i, steps, diff)
			agreed = false
		}
		n.stop()
	}
	return agreed
}
