package override_test

import (
	"context"
	"errors"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"

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
	log   logBuffer
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
			if err := first.Remove(t.Context(), gone, "kim"); err != nil {
				t.Fatal(err)
			}
			first.want(t, "drain a")
			first.stop()

			second := newNode(local, shared)
			if err := second.Load(t.Context()); err != nil {
				t.Fatal(err)
			}
			second.want(t, "drain a")
			if err := second.Remove(t.Context(), gone, "kim"); !errors.Is(err, override.ErrNotFound) {
				t.Errorf("removing twice gives %v", err)
			}
			if err := second.Remove(t.Context(), kept, "kim"); err != nil {
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
		if err := b.Remove(t.Context(), id, "kim"); err != nil {
			t.Fatal(err)
		}
		a.want(t, "")
		b.want(t, "")

		shared.deafen() // hints are lost from here on
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
		if err := b.Remove(t.Context(), id, "kim"); err != nil {
			t.Fatal(err)
		}
		a.run(t).want(t, "")
	})
}

func TestARemovalThatOvertakesItsAddWins(t *testing.T) {
	local, shared := newMemory(), newMemory()
	var b *override.Book
	var id string
	b = override.New(override.Config{
		Local: local, Shared: shared,
		OnChange: func(list []steering.Override) { // between the two writes of Add
			if len(list) == 1 {
				id = list[0].ID
				if err := b.Remove(context.Background(), id, "kim"); err != nil {
					t.Error(err)
				}
			}
		},
	})
	if _, err := b.Add(t.Context(), drain("a")); err != nil {
		t.Fatal(err)
	}
	for name, m := range map[string]*memory{"local": local, "shared": shared} {
		if got := m.raw("overrides/" + id); !strings.Contains(got, `"removed":`) {
			t.Errorf("the %s store holds %s", name, got)
		}
	}
}

// logBuffer is a log that a test reads while the book writes.
type logBuffer struct {
	mu   sync.Mutex // guards text
	text strings.Builder
}

func (b *logBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.text.Write(p)
}

func (b *logBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.text.String()
}
