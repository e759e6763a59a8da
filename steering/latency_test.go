package steering_test

import (
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"pointsman/probes/health"
	"pointsman/steering"
)

// paced is a view in which the backends of tree have latencies in milliseconds.
func paced(version uint64, ms map[string]int) *health.View {
	v := view(version)
	for name, n := range ms {
		v.Backends[name] = health.Health{Backend: name, State: health.Healthy,
			Latency: time.Duration(n) * time.Millisecond, LastSample: time.Now().Add(-time.Second)}
	}
	return v
}

func TestALatencyMovesTheTableOnlyWhenItMovesFarEnough(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := started(t, steering.EngineConfig{})
		show := func(version uint64, d int) {
			e.SetView(paced(version, map[string]int{"a": 40, "b": 40, "c": 40, "d": d}))
			time.Sleep(time.Second)
			synctest.Wait()
		}
		e.SetView(paced(1, map[string]int{"a": 40, "b": 40, "c": 40, "d": 60}))
		setSpec(t, e, tree())
		time.Sleep(time.Second) // for the view that was handed in before
		synctest.Wait()
		first := e.Table()
		const alone = "a:37.5 b:18.75 c:18.75 f:12.5 g:12.5"
		if got := split(first, host); got != alone {
			t.Fatalf("shares are %q", got)
		}
		for i := range 20 { // a view each second, and noise within a tenth
			show(1, 57+i%7)
		}
		if e.Table() != first {
			t.Error("noise alone made a new table")
		}
		show(1, 47) // the same version: no state changed
		if got := split(e.Table(), host); got != "a:18.75 b:9.38 c:9.38 d:37.5 f:12.5 g:12.5" {
			t.Errorf("d is fast enough by now, and shares are %q", got)
		}
		changes := e.Changes(0)
		if got := changes[len(changes)-1].Cause; got != "latency of d: 60ms to 47ms" {
			t.Errorf("the cause is %q", got)
		}
		show(1, 0) // not measured any more: only those that are count
		if got := split(e.Table(), host); got != alone {
			t.Errorf("d is not measured, and shares are %q", got)
		}
	})
}

func TestLatenciesThatNobodyGoesByCompileNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := started(t, steering.EngineConfig{})
		e.SetView(paced(1, map[string]int{"a": 40}))
		setSpec(t, e, spec())
		time.Sleep(time.Second) // for the view that was handed in before
		synctest.Wait()
		first := e.Table()
		e.SetView(paced(1, map[string]int{"a": 400}))
		time.Sleep(time.Second)
		synctest.Wait()
		if e.Table() != first {
			t.Error("the table was compiled again")
		}
	})
}

func TestAnExplanationShowsWhatPoliciesCompare(t *testing.T) {
	v := paced(3, map[string]int{"a": 41, "d": 60})
	v.Backends["a"] = health.Health{Backend: "a", State: health.Healthy,
		Latency: 41 * time.Millisecond, LastSample: start.Add(-2 * time.Second)}
	table := compile(t, steering.Inputs{Spec: tree(), View: v, Latencies: milliseconds})
	e, ok := steering.Explain(table, host, resolver(1), 0, start)
	if !ok {
		t.Fatal("not steered")
	}
	var got []steering.Input
	costs := 0
	for _, s := range e.Steps {
		for _, in := range s.Inputs {
			if in.Kind == "latency" && in.Backend == "a" {
				got = append(got, in)
			}
			if in.Kind == "cost" && strings.HasPrefix(s.What, "pool us") {
				costs++
			}
		}
	}
	age := 2.0
	want := []steering.Input{{Kind: "latency", Backend: "a", Value: "40ms", Source: "view 3",
		Reason: "measured 41ms, which is not far enough from it to count",
		Seen:   start.Add(-2 * time.Second), AgeSeconds: &age}}
	if d := cmp.Diff(want, got); d != "" {
		t.Errorf("latencies (-want +got):\n%s", d)
	}
	if costs != 3 {
		t.Errorf("%d costs are shown, want 3", costs)
	}
	if text := strings.Join(details(e), "\n"); !strings.Contains(text,
		"the first pool, top, answers") || !strings.Contains(text, "chosen by latency") {
		t.Errorf("the explanation is\n%s", text)
	}
}

func TestNamesBehindTreesAreResolved(t *testing.T) {
	flat := tree(func(s *steering.Spec) { s.Hosts[0].Flatten = true })
	if got := len(flat.Targets()); got != 9 {
		t.Errorf("%d names are resolved, want 9: %v", got, flat.Targets())
	}
}

func TestHostsShareVerdictsOnlyWhereTheyCannotDiffer(t *testing.T) {
	other := func(name string, edit func(*steering.Host)) func(*steering.Spec) {
		return func(s *steering.Spec) {
			h := s.Hosts[0]
			h.Name = name
			edit(&h)
			s.Hosts = append(s.Hosts, h)
		}
	}
	drain := override(steering.Drain, "a")
	drain.Host = "named.test."
	in := steering.Inputs{View: view(1), Overrides: []steering.Override{drain},
		Spec: spec(
			other("same.test.", func(*steering.Host) {}),
			other("named.test.", func(*steering.Host) {}),
			other("other.test.", func(h *steering.Host) { h.Pools = []string{"edge"} }),
			other("loaded.test.", func(h *steering.Host) { h.Load = 1000 }),
			func(s *steering.Spec) { s.Backends[0].Capacity = 100 })}
	table := compile(t, in)
	for name, want := range map[string]string{
		host: "a:70 b:20 c:10", "same.test.": "a:70 b:20 c:10", "named.test.": "b:66.67 c:33.33",
		"other.test.": "edge:100", "loaded.test.": "a:10 b:60 c:30",
	} {
		if got := split(table, name); got != want {
			t.Errorf("%s: shares are %q, want %q", name, got, want)
		}
	}
}
