package override_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"pointsman/internal/store"
	"pointsman/steering"
	"pointsman/steering/override"
)

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
				if err := a.Remove(t.Context(), old, "kim"); err != nil {
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
		if err := a.Remove(t.Context(), id, "kim"); err != nil {
			t.Fatal(err)
		}
		time.Sleep(2 * time.Second)
		b.stop()
		shared.Wipe()
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
		if err := a.Remove(t.Context(), id, "kim"); err != nil {
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
		if err := n.Remove(t.Context(), id, "kim"); err != nil {
			t.Fatal(err)
		}
		shared.set(none)
		time.Sleep(3 * time.Second)
		n.want(t, "")
	})
}

func TestWhatNoStoreTookIsInForceAndIsSavedOnceOneDoes(t *testing.T) {
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
				kept := n.add(t, "old")
				n.local.set(faults[0])
				n.shared.set(faults[1])
				o, err := n.Add(t.Context(), drain("x"))
				if err != nil || name == "nothing took effect" && !o.Unsaved {
					t.Fatalf("got %+v, %v", o, err)
				}
				if err := n.Remove(t.Context(), kept, "kim"); err != nil {
					t.Fatal(err)
				}
				if on := n.Active(time.Now()); len(on) != 1 || on[0].Backend != "x" {
					t.Errorf("in force are %+v", on)
				}
				n.local.set(none)
				n.shared.set(none)
				time.Sleep(5 * time.Second)
				n.want(t, "drain x")
				if o := n.Active(time.Now())[0]; o.Unsaved || o.Local {
					t.Errorf("with the stores back it is %+v", o)
				}
				n.stop()
				for _, other := range []*node{
					newNode(n.local, newMemory()), newNode(newMemory(), n.shared),
				} {
					other.run(t)
					time.Sleep(5 * time.Second)
					other.want(t, "drain x")
					other.stop()
				}
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
		if err := n.Remove(t.Context(), kept, "kim"); err != nil {
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

func TestOnlyARestartBringsBackWhatNoStoreHasRemoved(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newNode(newMemory(), newMemory())
		id := n.add(t, "x")
		n.local.set(away)
		n.shared.set(away)
		if err := n.Remove(t.Context(), id, "kim"); err != nil {
			t.Fatal(err)
		}
		n.want(t, "")
		if !strings.Contains(n.log.String(), "override kept in memory only") {
			t.Errorf("the log says\n%s", n.log.String())
		}
		n.local.set(none)
		again := newNode(n.local, n.shared)
		if err := again.Load(t.Context()); err != nil {
			t.Fatal(err)
		}
		again.want(t, "drain x!")
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
		if err := n.Remove(t.Context(), id, "kim"); err != nil {
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
			if err := b.Remove(context.Background(), list[0].ID, "kim"); err != nil {
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
// what was added and not removed, but for what a restart forgot before any store took it.
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
	unsaved := map[string]bool{} // known to a node's memory alone, perhaps
	open := map[string]bool{}    // a restart may have forgotten what was unsaved
	var ids []string             // of all that were added
	for _, s := range steps {
		n := nodes[s%3]
		switch action := s / 3; {
		case action < 12:
			id := n.add(t, "b")
			ids = append(ids, id)
			want[id] = true
			unsaved[id] = n.local.faulty() && shared.faulty()
		case action < 18 && len(ids) > 0:
			id := ids[s%len(ids)]
			err := n.Remove(t.Context(), id, "kim")
			if err != nil && !errors.Is(err, override.ErrNotFound) {
				t.Fatal(err)
			}
			if err == nil {
				delete(want, id)
				unsaved[id] = unsaved[id] || n.local.faulty() && shared.faulty()
			}
		case action < 22:
			shared.set([]fault{none, away, liar, mute}[s%4])
		case action < 26:
			n.local.set([]fault{none, away, liar}[s/3%3])
		case action < 29:
			n.stop()
			for id, is := range unsaved {
				open[id] = open[id] || is
			}
			nodes[s%3] = newNode(n.local, shared).run(t)
		default:
			shared.Wipe()
		}
		time.Sleep(time.Duration(s) * 20 * time.Millisecond)
	}
	shared.set(none)
	for _, n := range nodes {
		n.local.set(none)
	}
	time.Sleep(10 * time.Second)
	agreed := true
	for id, is := range open { // either outcome is right, but all nodes must have the same
		if is && strings.Contains(nodes[0].ids(), id) {
			want[id] = true
		} else if is {
			delete(want, id)
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

func TestALocalStoreThatLostItsDataIsWrittenAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newNode(newMemory(), newMemory()).run(t)
		n.shared.set(away)
		n.add(t, "x")
		n.local.Wipe()
		n.shared.set(none)
		time.Sleep(5 * time.Second)
		n.stop()
		n.shared.set(away)
		again := newNode(n.local, n.shared).run(t)
		again.want(t, "drain x")
	})
}
