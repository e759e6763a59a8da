package nodes_test

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"pointsman/internal/admin/api"
	"pointsman/internal/store/redisstore"
	"pointsman/steering/drill"
)

// TestADrillShowsOnAllNodesAndLeavesNothing runs one from the command line, and stops another
// from the node that does not run it.
func TestADrillShowsOnAllNodesAndLeavesNothing(t *testing.T) {
	t.Parallel()
	f := newFleet(t)
	redis(t, f.redis, "")
	a, b := f.prepare("a", 1), f.prepare("b", 2)
	a.start()
	b.start()
	before := a.status()
	endA, endB := a.watch(), b.watch()

	said := make(chan string, 1)
	go func() {
		out, code := command(t, []string{"POINTSMAN_ADMIN_URL=http://" + a.admin}, "drill", "start",
			"--backend", "one", "--for", "6s", "--reason", "a quiet day")
		if code != 0 {
			t.Errorf("the drill ended with exit code %d", code)
		}
		said <- out
	}()
	began := time.Now()
	await(t, 5*time.Second, "b takes it out too", func() bool { return b.target("one") == 0 })
	t.Logf("b gave it no more answers %s after the command", time.Since(began))
	if _, err := b.api.StartDrill(t.Context(), api.DrillRequest{Backend: "two", For: "10s",
		Confirm: "two"}); err == nil || !strings.Contains(err.Error(), "another drill is running") {
		t.Errorf("a second drill at once: %v", err)
	}
	out := <-said
	for _, want := range []string{"# Drill ", "everything shifted and came back", "a quiet day",
		"fault lifted to full share"} {
		if !strings.Contains(out, want) {
			t.Errorf("the report has no %q:\n%s", want, out)
		}
	}
	f.measured(a)
	await(t, 10*time.Second, "b has it back", func() bool { return b.target("one") == 40 })

	// A drill right after another returns as fast: it is not held against the backend.
	for range 2 {
		f.stopped(a, b)
	}
	endA()
	endB()
	f.nothingLeft(before, a, b)
}

// stopped drills backend two from a and stops that from b.
func (f *fleet) stopped(a, b *node) {
	f.t.Helper()
	var d api.Drill
	await(f.t, 5*time.Second, "the drill before this one is over", func() bool {
		var err error
		d, err = a.api.StartDrill(f.t.Context(), api.DrillRequest{Backend: "two", For: "5m",
			Confirm: "two"})
		return err == nil
	})
	await(f.t, 5*time.Second, "out on both", func() bool {
		return a.target("two") == 0 && b.target("two") == 0
	})
	began := time.Now()
	if out := b.cli(0, "drill", "stop", d.ID); !strings.Contains(out, "is being stopped") {
		f.t.Errorf("b says:\n%s", out)
	}
	await(f.t, 10*time.Second, "restored on both", func() bool {
		return a.target("two") == 30 && b.target("two") == 30
	})
	f.t.Logf("stopped from b, the backend had its full share on both after %s", time.Since(began))
}

// measured checks the newest drill's report.
func (f *fleet) measured(n *node) {
	f.t.Helper()
	list, err := n.api.Drills(f.t.Context())
	if err != nil || len(list) != 1 {
		f.t.Fatalf("drills: %+v, %v", list, err)
	}
	d, err := n.api.Drill(f.t.Context(), list[0].ID)
	if err != nil {
		f.t.Fatal(err)
	}
	var rep drill.Report
	if err := json.Unmarshal(d.Report, &rep); err != nil {
		f.t.Fatal(err)
	}
	f.t.Logf("detected %s, shifted %s, first share back %s, full share %s", rep.Detected, rep.Shifted,
		rep.Returned, rep.Restored)
	for what, d := range map[string]time.Duration{"detected": rep.Detected, "shifted": rep.Shifted,
		"returned": rep.Returned, "restored": rep.Restored} {
		if d <= 0 || d > 10*time.Second {
			f.t.Errorf("%s after %s", what, d)
		}
	}
	if len(rep.Points) < 7 || len(rep.Hosts) != 1 {
		f.t.Errorf("it has %d points of %v", len(rep.Points), rep.Hosts)
	}
}

// nothingLeft checks that nodes and store are as they were but for the reports.
func (f *fleet) nothingLeft(before api.Status, nodes ...*node) {
	f.t.Helper()
	for _, n := range nodes {
		await(f.t, 5*time.Second, n.vantage+" runs no drill", func() bool { return n.status().Drill == nil })
		st := n.status()
		if st.TableHash != before.TableHash || len(st.Overrides) != 0 {
			f.t.Errorf("%s was %+v\nand is %+v", n.vantage, before.Hosts, st.Hosts)
		}
	}
	look, err := redisstore.New(redisstore.Config{Address: f.redis, Prefix: "pointsman/"})
	if err != nil {
		f.t.Fatal(err)
	}
	defer look.Close()
	await(f.t, 5*time.Second, "the lease is free and no notice is left", func() bool {
		lease, err := look.Acquire(f.t.Context(), "drill", "the test", time.Second)
		if err != nil {
			return false
		}
		_ = look.Release(f.t.Context(), lease)
		left, err := look.List(f.t.Context(), "drill/")
		return err == nil && len(left) == 0
	})
}
