package health_test

import (
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"pointsman/probes"
	"pointsman/probes/health"
)

func drilled(second int) probes.Sample {
	s := good(second)
	s.Outcome, s.Detail = probes.FailedDrill, "drill 7"
	return s
}

// lived feeds a line as play does, in which 'd' is a sample that a drill failed and ' ' a second
// without a sample. It returns the last record and how the target stood after each second.
func lived(r health.Rules, line string) (s health.Record, stood []health.State) {
	for i, c := range line {
		switch c {
		case '+':
			s = health.Step(r, s, good(i))
		case '-':
			s = health.Step(r, s, bad(i))
		case 'd':
			s = health.Step(r, s, drilled(i))
		}
		state, _ := s.Verdict()
		stood = append(stood, state)
	}
	return s, stood
}

// changed leaves each state once.
func changed(states []health.State) (out []health.State) {
	for _, s := range states {
		if len(out) == 0 || out[len(out)-1] != s {
			out = append(out, s)
		}
	}
	return out
}

func TestADrillTakesATargetOutAndLeavesNothingBehind(t *testing.T) {
	const u, h, x = health.Unknown, health.Healthy, health.Unhealthy
	up := times(30, "+")
	for _, c := range []struct {
		name, line string
		states     []health.State
		reason     string
		falls      int
	}{
		{"fall failures take it out", up + "ddd", []health.State{u, h, x},
			"3 failures in a row: drill 7", 0},
		{"fewer do not", up + "dd+dd+", []health.State{u, h}, "", 0},
		{"it takes rise to come back", up + times(20, "d") + "++", []health.State{u, h, x},
			"2 of 3 successes that are needed to come back", 0},
		{"and no more", up + times(20, "d") + "+++", []health.State{u, h, x, h}, "", 0},
		{"nor after a second drill", up + times(20, "d") + "+++" + times(20, "d") + "+++",
			[]health.State{u, h, x, h, x, h}, "", 0},
		{"nor a tenth", up + times(10, times(20, "d")+"+++"), []health.State{u, h,
			x, h, x, h, x, h, x, h, x, h, x, h, x, h, x, h, x, h, x, h}, "", 0},
		{"a fault after a drill is a first fall", up + times(20, "d") + "+++---+++",
			[]health.State{u, h, x, h, x, h}, "3 successes in a row", 1},
		{"a drill after a fault is no relapse", up + "---+++" + times(20, "d") + "+++",
			[]health.State{u, h, x, h, x, h}, "", 1},
		{"a fault before and one after are two falls", up + "---+++ddd+++---" + times(29, "+"),
			[]health.State{u, h, x, h, x, h, x}, "held down until", 2},
		{"one that died in its drill falls", up + times(9, "d") + "---+++",
			[]health.State{u, h, x, h}, "3 successes in a row", 1},
		{"a failure before it is back begins the rise anew", up + "ddd++-++",
			[]health.State{u, h, x}, "2 of 3 successes that are needed to come back", 0},
		{"a held one stays held through a drill", up + "---+++---dddd" + times(25, "+"),
			[]health.State{u, h, x, h, x}, "held down until", 2},
		{"until its time and no longer", up + "---+++---dddd" + times(27, "+"),
			[]health.State{u, h, x, h, x, h}, "27 successes in a row", 2},
		{"one never measured is out too", "dddd", []health.State{u, x},
			"4 failures in a row: drill 7", 0},
		{"and rises as any", "dddd+++", []health.State{u, x, h}, "3 successes in a row", 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			s, stood := lived(health.DefaultRules(), c.line)
			if diff := cmp.Diff(c.states, changed(stood)); diff != "" {
				t.Error("states (-want +got):", diff)
			}
			if _, reason := s.Verdict(); !strings.HasPrefix(reason, c.reason) || reason == "" {
				t.Errorf("reason is %q, want %q", reason, c.reason)
			}
			if s.Falls != c.falls {
				t.Errorf("it remembers %d falls, want %d", s.Falls, c.falls)
			}
		})
	}
}

// TestWithAndWithoutADrillTheLaterBehaviourIsEqual plays the same real samples twice, once with
// drills in between.
func TestWithAndWithoutADrillTheLaterBehaviourIsEqual(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		r := health.Rules{
			Rise:          rapid.IntRange(1, 6).Draw(t, "rise"),
			Fall:          rapid.IntRange(1, 6).Draw(t, "fall"),
			CounterDown:   rapid.IntRange(2, 30).Draw(t, "counter"),
			ClearAfter:    rapid.IntRange(1, 12).Draw(t, "clear"),
			HoldDown:      time.Duration(rapid.IntRange(1, 60).Draw(t, "hold")) * time.Second,
			RelapseWindow: time.Duration(rapid.IntRange(1, 300).Draw(t, "window")) * time.Second,
		}
		with := "+"
		for range rapid.IntRange(1, 6).Draw(t, "parts") {
			with += rapid.StringMatching(`[+]{0,20}[+-]{0,60}`).Draw(t, "real")
			with += times(rapid.IntRange(0, 40).Draw(t, "drill"), "d")
		}
		with += rapid.StringMatching(`[+-]{0,120}`).Draw(t, "after")

		a, drill := lived(r, with)
		b, plain := lived(r, strings.ReplaceAll(with, "d", " "))
		back := 0 // real successes in a row, without a drill between
		for i, c := range with {
			switch c {
			case '+':
				back++
			default:
				back = 0
			}
			if drill[i] != plain[i] && (drill[i] != health.Unhealthy || back >= r.Rise) {
				t.Fatalf("%q: after %d samples it is %q, without drills %q", with, i+1, drill[i],
					plain[i])
			}
		}
		if a.Falls != b.Falls || a.Counter != b.Counter || a.HeldUntil != b.HeldUntil ||
			a.Returned != b.Returned || a.State != b.State {
			t.Fatalf("%q: it is remembered as\n%+v\nwithout drills as\n%+v", with, a, b)
		}
	})
}

func TestTwoDrillsInARowEndEquallyFastAndAFaultLaterIsNoRelapse(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, health.Config{Backends: []string{"a"}})
		r.run()
		defer r.stop()
		r.feed(5, probes.OK, "a")
		for _, outcome := range []probes.Outcome{probes.FailedDrill, probes.FailedDrill,
			probes.FailedStatus} {
			r.feed(20, outcome, "a")
			r.want("a:unhealthy")
			r.reason("a", "seen "+string(outcome))
			r.feed(2, probes.OK, "a")
			r.want("a:unhealthy")
			r.feed(1, probes.OK, "a")
			r.want("a:healthy")
		}
	})
}
