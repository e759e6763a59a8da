package drill

import (
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"pointsman/probes/health"
	"pointsman/steering"
)

var t0 = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

// running is a report of a drill that began at t0 for ten seconds.
func running() Report {
	return Report{ID: "d", Plan: Plan{Backend: "a", For: 10 * time.Second}, State: Running,
		Started: t0, Ends: t0.Add(10 * time.Second), Message: "probes of a fail since now"}
}

// restoring is the same after its fault was lifted at ten seconds.
func restoring() Report {
	r := running()
	r.State, r.Lifted = Restoring, t0.Add(10*time.Second)
	r.Detected, r.Shifted = 3*time.Second, 3100*time.Millisecond
	return r
}

func at(d time.Duration) time.Time { return t0.Add(d) }

func TestStepMovesADrillByWhatIsSeen(t *testing.T) {
	for name, c := range map[string]struct {
		from    Report
		seen    seen
		want    State
		message string // part of it
		aborted string
	}{
		"nothing happens yet": {running(), seen{now: at(time.Second), usable: true}, Running,
			"fail since now", ""},
		"the backend left": {running(), seen{now: at(3 * time.Second), gone: true}, Running,
			"no answer names a any more", ""},
		"its time is over": {running(), seen{now: at(10 * time.Second), gone: true}, Restoring,
			"fault lifted", ""},
		"an operator stops it": {running(), seen{now: at(4 * time.Second), stopped: "stopped by eve"},
			Restoring, "stopped by eve; waiting", "stopped by eve"},
		"too little would remain": {running(), seen{now: at(4 * time.Second),
			guardErr: errors.New("only 10 % left")}, Restoring, "aborted: only 10 % left",
			"aborted: only 10 % left"},
		"the lease is lost": {running(), seen{now: at(8 * time.Second),
			leaseLost: errors.New("away")}, Restoring, "the store is out of reach",
			"aborted: the store is out of reach"},
		"the node stops while it runs": {running(), seen{now: at(2 * time.Second), quit: true},
			Aborted, "the node is stopping", "the node is stopping; the fault was lifted"},
		"the guard bites in the last look": {running(), seen{now: at(10 * time.Second),
			guardErr: errors.New("little")}, Restoring, "aborted: little", "aborted: little"},
		"still out":   {restoring(), seen{now: at(11 * time.Second), gone: true}, Restoring, "", ""},
		"first share": {restoring(), seen{now: at(13 * time.Second), share: true}, Restoring, "", ""},
		"all back":    {restoring(), seen{now: at(40 * time.Second), share: true, back: true}, Done, "", ""},
		"the node stops while it returns": {restoring(), seen{now: at(12 * time.Second), quit: true},
			Aborted, "still returning", ""},
		"it never comes back": {restoring(), seen{now: at(72 * time.Second), share: true}, Failed,
			"did not come back within 1m0s", ""},
		"a final drill stays": {func() Report { r := running(); r.State = Done; return r }(),
			seen{now: at(time.Hour), quit: true}, Done, "", ""},
	} {
		t.Run(name, func(t *testing.T) {
			rep := c.from
			step(&rep, c.seen, time.Minute)
			if rep.State != c.want || !strings.Contains(rep.Message, c.message) ||
				rep.Aborted != c.aborted {
				t.Errorf("state %s, message %q, aborted %q", rep.State, rep.Message, rep.Aborted)
			}
			if rep.State.Final() && rep.State != c.from.State && rep.Ended != c.seen.now {
				t.Errorf("it ended at %s, was seen at %s", rep.Ended, c.seen.now)
			}
			if rep.State != Running && c.from.State == Running && rep.Lifted != c.seen.now &&
				c.want != Done {
				t.Errorf("the fault was lifted at %s, seen at %s", rep.Lifted, c.seen.now)
			}
		})
	}
}

func TestStepMeasuresWhenThingsWereFirstSeen(t *testing.T) {
	rep := running()
	for _, s := range []seen{
		{now: at(1 * time.Second), usable: true, back: true, share: true},
		{now: at(3 * time.Second)},
		{now: at(3200 * time.Millisecond), gone: true},
		{now: at(9 * time.Second), gone: true},
		{now: at(10 * time.Second), gone: true},
		{now: at(13 * time.Second), share: true},
		{now: at(14 * time.Second), share: true},
		{now: at(30 * time.Second), share: true, back: true},
	} {
		step(&rep, s, time.Minute)
	}
	got := []time.Duration{rep.Detected, rep.Shifted, rep.Returned, rep.Restored}
	want := []time.Duration{3 * time.Second, 3200 * time.Millisecond, 3 * time.Second,
		20 * time.Second}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("times (-want +got):\n%s", diff)
	}
	if rep.State != Done || rep.Message != "everything shifted and came back" {
		t.Errorf("it ended %s: %s", rep.State, rep.Message)
	}
}

func TestADrillWhoseBackendNeverLeftHasFailed(t *testing.T) {
	rep := running()
	step(&rep, seen{now: at(10 * time.Second), usable: true, back: true, share: true}, time.Minute)
	step(&rep, seen{now: at(11 * time.Second), usable: true, back: true, share: true}, time.Minute)
	if rep.State != Failed || !strings.Contains(rep.Message, "never left") {
		t.Errorf("it ended %s: %s", rep.State, rep.Message)
	}
}

func TestAStoppedDrillThatRestoredSaysWhoStoppedIt(t *testing.T) {
	rep := running()
	step(&rep, seen{now: at(4 * time.Second), gone: true, stopped: "stopped by eve"}, time.Minute)
	step(&rep, seen{now: at(5 * time.Second), share: true, back: true}, time.Minute)
	if rep.State != Aborted || rep.Message != "stopped by eve; restored" {
		t.Errorf("it ended %s: %s", rep.State, rep.Message)
	}
	if rep.Ends != at(4*time.Second) {
		t.Errorf("its end is %s, and it was stopped after 4 s", rep.Ends)
	}
}

// split compiles a table in which some backends are down; cdn.test. shares a, b and c by
// 70, 20 and 10, solo.test. knows a alone, with the edge behind it.
func split(t *testing.T, down ...string) *steering.Table {
	t.Helper()
	s := &steering.Spec{
		Pools: []steering.Pool{
			{Name: "cdns", Members: []steering.Member{{Backend: "a", Weight: 70},
				{Backend: "b", Weight: 20}, {Backend: "c", Weight: 10}}},
			{Name: "solo", Members: []steering.Member{{Backend: "a", Weight: 1}}},
			{Name: "edge", Members: []steering.Member{{Backend: "edge", Weight: 1}}}},
		Hosts: []steering.Host{
			{Name: "cdn.test.", TTL: time.Second, Pools: []string{"cdns", "edge"},
				Stickiness: steering.Spread},
			{Name: "solo.test.", TTL: time.Second, Pools: []string{"solo", "edge"},
				Stickiness: steering.Spread}},
	}
	v := &health.View{Version: 1, Backends: map[string]health.Health{}}
	for _, b := range []string{"a", "b", "c", "edge"} {
		s.Backends = append(s.Backends, steering.Backend{Name: b, CNAME: b + ".cdn.test."})
		h := health.Health{Backend: b, State: health.Healthy}
		if slices.Contains(down, b) {
			h.State = health.Unhealthy
		}
		v.Backends[b] = h
	}
	table, err := steering.Compile(steering.Inputs{Version: 1, Now: t0, Spec: s, View: v})
	if err != nil {
		t.Fatal(err)
	}
	return table
}

func TestTheGuardCountsWhatWouldRemain(t *testing.T) {
	table := split(t)
	only := func(host string) baseline {
		return baseline{host: table.Shares(host)}
	}
	for name, c := range map[string]struct {
		base    baseline
		backend string
		min     float64
		down    []string
		refusal string // empty: none
	}{
		"enough remains":           {only("cdn.test."), "a", 0.25, nil, ""},
		"exactly enough remains":   {only("cdn.test."), "b", 0.8, nil, ""},
		"too little remains":       {only("cdn.test."), "a", 0.5, nil, "only 30 %"},
		"the heir is down":         {only("cdn.test."), "a", 0.25, []string{"b"}, "only 10 %"},
		"all heirs are down":       {only("cdn.test."), "a", 0.25, []string{"b", "c"}, "only 0 %"},
		"nothing else has a share": {only("solo.test."), "a", 0.25, nil, "solo.test."},
		"one name of two is short": {baselineOf(table, "a"), "a", 0.25, nil, "solo.test."},
		"no traffic":               {baselineOf(table, "edge"), "edge", 0.25, nil, "no traffic"},
		"no table":                 {baselineOf(nil, "a"), "a", 0.25, nil, "no traffic"},
	} {
		t.Run(name, func(t *testing.T) {
			usable := func(b string) bool { return !slices.Contains(c.down, b) }
			err := guard(c.base, Plan{Backend: c.backend, MinHealthy: c.min}, usable)
			switch {
			case c.refusal == "" && err != nil:
				t.Errorf("refused: %v", err)
			case c.refusal != "" && (!errors.Is(err, ErrRefused) ||
				!strings.Contains(err.Error(), c.refusal)):
				t.Errorf("got %v, want a refusal with %q", err, c.refusal)
			}
		})
	}
}

func TestABaselineKnowsWhenItsBackendIsGoneAndBack(t *testing.T) {
	before := split(t)
	base := baselineOf(before, "b")
	if len(base) != 1 || base.gone(before, "b") || !base.back(before, "b") {
		t.Errorf("of an unchanged table: %v", base)
	}
	out := split(t, "b")
	if !base.gone(out, "b") || base.back(out, "b") {
		t.Error("a table without it still counts")
	}
	if part := split(t, "a"); base.gone(part, "b") || !base.back(part, "b") {
		t.Error("a table in which it has more counts as less")
	}
}

func TestAPlanIsCheckedBeforeAnythingHappens(t *testing.T) {
	for name, c := range map[string]struct {
		plan Plan
		want string
	}{
		"no backend": {Plan{For: time.Minute}, "no backend"},
		"too short":  {Plan{Backend: "a", For: time.Second}, "lasts 5s to 30m0s"},
		"too long":   {Plan{Backend: "a", For: time.Hour}, "lasts 5s to 30m0s"},
		"above one":  {Plan{Backend: "a", For: time.Minute, MinHealthy: 25}, "part of 1"},
		"below zero": {Plan{Backend: "a", For: time.Minute, MinHealthy: -1}, "part of 1"},
	} {
		t.Run(name, func(t *testing.T) {
			if _, err := c.plan.check(); !errors.Is(err, ErrRefused) ||
				!strings.Contains(err.Error(), c.want) {
				t.Errorf("got %v, want a refusal with %q", err, c.want)
			}
		})
	}
	p, err := Plan{Backend: "a", For: MinFor}.check()
	if err != nil || p.MinHealthy != DefaultMinHealthy {
		t.Errorf("a good plan became %+v, %v", p, err)
	}
}

func TestThinningKeepsEveryHostOfTheMomentsItKeeps(t *testing.T) {
	var points []Point
	for i := range 9 {
		for _, host := range []string{"x.", "y."} {
			points = append(points, Point{After: time.Duration(i) * time.Second, Host: host})
		}
	}
	got := thinned(points, 2)
	want := []Point{}
	for _, i := range []int{1, 3, 5, 7} {
		want = append(want, points[2*i], points[2*i+1])
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if left := thinned(points[:2], 2); len(left) != 0 {
		t.Errorf("one moment thinned is %v", left)
	}
}
