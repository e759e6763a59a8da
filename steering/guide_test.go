package steering_test

import (
	"fmt"
	"log/slog"
	"math"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"pointsman/steering"
	"pointsman/steering/control"
)

// everybody is the scope of clients at none of the host's places.
var everybody = control.Scope{Host: host}

// splitOf is guidance of one split for everybody.
func splitOf(split control.Split) control.Guidance {
	return control.Guidance{Epoch: 3, Seq: 17, At: start.Add(-time.Minute),
		Splits: map[control.Scope]control.Split{everybody: split},
		Why:    map[control.Scope]string{everybody: "b was 30 ms slower"}}
}

// follow makes inputs follow guidance, as an engine does.
func follow(in steering.Inputs, g control.Guidance) steering.Inputs {
	in.Guidance = g
	in.Shares.Splits = g.Splits
	return in
}

// notes is what the explanation says under a heading.
func notes(t testing.TB, table *steering.Table, what string) string {
	t.Helper()
	x, ok := steering.Explain(table, host, resolver(1), 0, start)
	if !ok {
		t.Fatal("not steered")
	}
	for _, s := range x.Steps {
		if s.What == what {
			return s.Detail
		}
	}
	return ""
}

func TestASplitTakesThePlaceOfWeightsAmongThoseWhoMayAnswer(t *testing.T) {
	weight := override(steering.Weight, "b")
	weight.Weight = 20
	weightEdge := override(steering.Weight, "edge")
	weightEdge.Weight = 3
	capped := spec(func(s *steering.Spec) {
		s.Backends[1].Capacity, s.Hosts[0].Load = 300, 1000 // b: 30 %
	})
	applied := "guidance 3.17 for cdn.example.test. divides what the pools leave, in place of the weights"
	ignored := "guidance 3.17 for cdn.example.test. is ignored: "
	for _, c := range []struct {
		about, want, note string
		in                steering.Inputs
		split             control.Split
	}{
		{"all healthy", "a:20 b:50 c:30", applied, steering.Inputs{Spec: spec()},
			control.Split{"a": .2, "b": .5, "c": .3}},
		{"not normal", "a:25 b:75", applied, steering.Inputs{Spec: spec()},
			control.Split{"a": .1, "b": .3}},
		{"one is down", "a:40 c:60", applied, steering.Inputs{Spec: spec(), View: view(1, "b")},
			control.Split{"a": .2, "b": .5, "c": .3}},
		{"one is drained", "b:62.5 c:37.5", applied, steering.Inputs{Spec: spec(),
			Overrides: []steering.Override{override(steering.Drain, "a")}},
			control.Split{"a": .2, "b": .5, "c": .3}},
		{"one weighs 0", "a:40 c:60", applied, steering.Inputs{Spec: spec(func(s *steering.Spec) {
			s.Pools[0].Members[1].Weight = 0
		})}, control.Split{"a": .2, "b": .5, "c": .3}},
		{"a ramp", "a:2.44 b:60.98 c:36.59", applied, steering.Inputs{Spec: spec(),
			Shares: control.Shares{Factors: map[string]float64{"a": .1}}},
			control.Split{"a": .2, "b": .5, "c": .3}},
		{"a cold cache on a host without ramps", "a:2.44 b:60.98 c:36.59", applied, steering.Inputs{
			Spec:   spec(func(s *steering.Spec) { s.Hosts[0].Ramp = 0 }),
			Shares: control.Shares{Limits: map[string]float64{"a": .1}}},
			control.Split{"a": .2, "b": .5, "c": .3}},
		{"a capacity", "a:28 b:30 c:42", applied, steering.Inputs{Spec: capped},
			control.Split{"a": .2, "b": .5, "c": .3}},
		{"a capacity, others are spared", "a:61.25 b:30 c:8.75", applied,
			steering.Inputs{Spec: capped}, control.Split{"b": 1}},
		{"half faded", "a:45 b:35 c:20", applied + "; 50% of it has faded, as nobody has renewed it",
			steering.Inputs{Spec: spec(), Shares: control.Shares{Faded: .5}},
			control.Split{"a": .2, "b": .5, "c": .3}},
		{"an operator's weight", "a:70 b:20 c:10", ignored + "an operator's weight holds for b",
			steering.Inputs{Spec: spec(), Overrides: []steering.Override{weight}},
			control.Split{"a": .2, "b": .5, "c": .3}},
		{"an operator's weight elsewhere", "a:20 b:50 c:30", applied,
			steering.Inputs{Spec: spec(), Overrides: []steering.Override{weightEdge}},
			control.Split{"a": .2, "b": .5, "c": .3}},
		{"a stranger", "a:70 b:20 c:10", ignored + "it names x, y, which these pools do not have",
			steering.Inputs{Spec: spec()}, control.Split{"a": .2, "y": .5, "x": .3, "z": 0}},
		{"nothing", "a:70 b:20 c:10", ignored + "it gives nothing to anybody",
			steering.Inputs{Spec: spec()}, control.Split{"a": 0}},
		{"not a number", "a:70 b:20 c:10", ignored + "it gives nothing to anybody",
			steering.Inputs{Spec: spec()}, control.Split{"a": math.NaN(), "b": math.Inf(1)}},
		{"nothing for those who are left", "b:66.67 c:33.33",
			ignored + "it gives nothing to those who can answer",
			steering.Inputs{Spec: spec(), View: view(1, "a")}, control.Split{"a": 1}},
		{"the ladder is further down", "edge:100", ignored + "it gives nothing to those who can answer",
			steering.Inputs{Spec: spec(), View: view(1, "a", "b", "c")}, control.Split{"a": 1}},
		{"all down", "a:20 b:50 c:30", applied, steering.Inputs{Spec: spec(),
			View: view(1, "a", "b", "c", "edge", "origin")}, control.Split{"a": .2, "b": .5, "c": .3}},
		{"a pin", "c:100", "guidance 3.17 for cdn.example.test. is ignored: no weights divide these " +
			"answers", steering.Inputs{Spec: spec(),
			Overrides: []steering.Override{override(steering.Pin, "c")}}, control.Split{"a": 1}},
	} {
		table := compile(t, follow(c.in, splitOf(c.split)))
		if got := split(table, host); got != c.want {
			t.Errorf("%s: shares are %q, want %q", c.about, got, c.want)
		}
		if got := notes(t, table, "guidance"); got != c.note {
			t.Errorf("%s: explained as %q, want %q", c.about, got, c.note)
		}
	}
}

func TestASplitOfATreeDividesTheBackendsThatTheTreeWouldAnswerWith(t *testing.T) {
	nested := spec(func(s *steering.Spec) {
		s.Pools = append(s.Pools,
			steering.Pool{Name: "pair", Choose: steering.ByOrder, Members: []steering.Member{
				{Backend: "a", Weight: 1}, {Backend: "b", Weight: 1}}},
			steering.Pool{Name: "root", Members: []steering.Member{
				{Pool: "pair", Weight: 80}, {Backend: "c", Weight: 20}}})
		s.Hosts[0].Pools = []string{"root", "origin"}
	})
	even := splitOf(control.Split{"a": .4, "b": .4, "c": .2})
	for about, c := range map[string]struct{ down, want string }{
		"the first of the pair": {"", "a:66.67 c:33.33"}, "the second": {"a", "b:66.67 c:33.33"},
	} {
		table := compile(t, follow(steering.Inputs{Spec: nested, View: view(1, c.down)}, even))
		if got := split(table, host); got != c.want {
			t.Errorf("%s: shares are %q, want %q", about, got, c.want)
		}
	}
}

func TestEachPlaceHasItsOwnSplitAndItsPartsHaveItToo(t *testing.T) {
	s := spec(placed, func(s *steering.Spec) {
		s.Backends[1].Deny = &steering.Audience{Prefixes: prefixes("20.2.0.0/24")} // b
	})
	dach := control.Scope{Host: host, Place: "dach"}
	g := splitOf(control.Split{"c": 1})
	g.Splits[dach] = control.Split{"a": .1, "b": .9}
	table := compile(t, follow(steering.Inputs{Spec: s, Countries: atlas(t)}, g))
	for place, want := range map[string]string{"": "c:100", "dach": "a:10 b:90", "us": "c:100",
		"dach without b": "a:100", "office": "origin:100"} {
		if got := shareText(table.SharesAt(host, place)); got != want {
			t.Errorf("%q: shares are %q, want %q", place, got, want)
		}
	}
	g.Splits[control.Scope{Host: host, Place: "dach without b"}] = control.Split{"edge": 1}
	table = compile(t, follow(steering.Inputs{Spec: s, Countries: atlas(t)}, g))
	if got := notes(t, table, "guidance"); !strings.Contains(got, "divides") {
		t.Errorf("explained as %q", got)
	}
}

func TestTenThousandLookupsDivideAsASplitSaysAtEachPlace(t *testing.T) {
	g := splitOf(control.Split{"a": 1.0 / 3, "b": 0.0625, "c": 1 - 1.0/3 - 0.0625})
	dach := control.Scope{Host: host, Place: "dach"}
	g.Splits[dach] = control.Split{"a": 0.123, "b": 0.877}
	table := compile(t, follow(steering.Inputs{Spec: spec(placed), Countries: atlas(t)}, g))
	draws, worst := steering.NewDraws(7), 0.0
	for place, first := range map[string]byte{"": 11, "dach": 20} {
		counts := map[string]float64{}
		for i := range 10_000 {
			client := fmt.Sprintf("%d.1.%d.%d/32", first, i%100, i/100)
			d := drawnPick(t, table, draws, client)
			counts[d.Backend] += 1.0 / 10_000
		}
		for backend, want := range g.Splits[control.Scope{Host: host, Place: place}] {
			worst = max(worst, math.Abs(counts[backend]-want))
		}
	}
	t.Logf("farthest from the split: %.3f points", 100*worst)
	if worst > 0.001 {
		t.Errorf("%.3f points off, at most 0.1", 100*worst)
	}
}

func TestAnEngineFollowsTheNewestGuidanceOnly(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r, log := prometheus.NewRegistry(), &strings.Builder{}
		e := started(t, steering.EngineConfig{Registerer: r,
			Logger: slog.New(slog.NewTextHandler(log, nil))})
		setSpec(t, e, spec())
		g := splitOf(control.Split{"a": .2, "b": .5, "c": .3})
		g.At = time.Now()
		newer, older, bad := g, g, g
		newer.Seq, newer.Splits = 18, splitOf(control.Split{"b": 1}).Splits
		older.Epoch, older.Seq = 2, 99
		bad.Seq, bad.Limits = 19, map[string]float64{"a": 1}
		for _, step := range []struct {
			about   string
			g       control.Guidance
			refused bool
			want    string
		}{
			{"the first", g, false, "a:20 b:50 c:30"}, {"the same", g, false, "a:20 b:50 c:30"},
			{"a newer one", newer, false, "b:100"}, {"the one before", g, true, "b:100"},
			{"one of an older leader", older, true, "b:100"}, {"a malformed one", bad, true, "b:100"},
		} {
			if err := e.SetGuidance(step.g); (err != nil) != step.refused {
				t.Errorf("%s: %v", step.about, err)
			}
			time.Sleep(50 * time.Millisecond)
			if got := split(e.Table(), host); got != step.want {
				t.Errorf("%s: shares are %q, want %q", step.about, got, step.want)
			}
		}
		all := e.Changes(0)
		if last := all[len(all)-1].Cause; last != "guidance 3.18; shares: epoch 2" {
			t.Errorf("the last change came by %q", last)
		}
		time.Sleep(2 * time.Second)
		got := gather(t, r)
		for name, want := range map[string]float64{
			"pointsman_steering_guidance_epoch":          3,
			"pointsman_steering_guidance_refused_total":  3,
			"pointsman_steering_guidance_in_force_ratio": 1,
			"pointsman_steering_guidance_decided_timestamp_seconds": float64(
				g.At.UnixNano()) / 1e9,
		} {
			if got[name] != want {
				t.Errorf("%s is %v, want %v", name, got[name], want)
			}
		}
		if n := strings.Count(log.String(), "guidance refused"); n != 3 {
			t.Errorf("%d refusals logged, want 3", n)
		}
		e.ClearGuidance()
		time.Sleep(50 * time.Millisecond)
		if got := split(e.Table(), host); got != "a:70 b:20 c:10" {
			t.Errorf("shares are %q after the guidance was cleared", got)
		}
		if err := e.SetGuidance(g); err == nil {
			t.Error("guidance from before it was cleared is followed")
		}
	})
}

func TestGuidanceThatNobodyRenewsFadesToTheWeights(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := started(t, steering.EngineConfig{})
		g := splitOf(control.Split{"a": 0, "b": 1})
		g.At, g.Limits = time.Now(), map[string]float64{"c": 0.1}
		if err := e.SetGuidance(g); err != nil {
			t.Fatal(err)
		}
		setSpec(t, e, spec())
		first := e.Table()
		time.Sleep(15*time.Minute - 2*time.Second)
		if e.Table().Version != first.Version || split(first, host) != "b:100" {
			t.Fatalf("after 15 minutes the shares are %q", split(e.Table(), host))
		}
		last := 0.0
		for range 16 * 60 {
			time.Sleep(time.Second)
			a := e.Table().Shares(host)[0].Share
			if a < last-1e-9 || a-last > 0.1 {
				t.Fatalf("the share of a went from %v to %v", last, a)
			}
			last = a
		}
		if got := split(e.Table(), host); got != "a:70 b:20 c:10" {
			t.Errorf("shares are %q after half an hour", got)
		}
		if n := e.Table().Version - first.Version; n > 12 {
			t.Errorf("%d tables on the way, want 11 or so", n)
		}
		version := e.Table().Version
		time.Sleep(time.Hour)
		if e.Table().Version != version {
			t.Error("tables are published after it has faded")
		}
	})
}
