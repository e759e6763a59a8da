package health_test

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"pointsman/probes"
	"pointsman/probes/health"
)

var epoch = time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)

// good and bad are samples at a number of seconds after the epoch.
func good(second int) probes.Sample {
	return probes.Sample{
		Backend: "b", Target: "t", Start: epoch.Add(time.Duration(second) * time.Second),
		Outcome: probes.OK, Phases: probes.Phases{Total: 20 * time.Millisecond},
	}
}

func bad(second int) probes.Sample {
	s := good(second)
	s.Outcome, s.Detail = probes.FailedStatus, "status 503, want 200"
	return s
}

// play feeds a line of samples, one a second: '+' succeeds, '-' fails. It returns the last
// record and the states passed through, each once.
func play(r health.Rules, line string) (health.Record, []health.State) {
	var s health.Record
	var states []health.State
	for i, c := range line {
		sample := good(i)
		if c == '-' {
			sample = bad(i)
		}
		s = health.Step(r, s, sample)
		if len(states) == 0 || states[len(states)-1] != s.State {
			states = append(states, s.State)
		}
	}
	return s, states
}

func times(n int, line string) string { return strings.Repeat(line, n) }

func TestStatesFollowTheSamples(t *testing.T) {
	const u, h, d, x = health.Unknown, health.Healthy, health.Degraded, health.Unhealthy
	for _, c := range []struct {
		name, line string
		states     []health.State
		reason     string
	}{
		{"unknown until it has risen", "++", []health.State{u}, "2 of 3 successes"},
		{"healthy after rise", "+++", []health.State{u, h}, "3 successes in a row"},
		{"one failure delays the rise", "++-++", []health.State{u}, "2 of 3 successes"},
		{"unhealthy at once when it never answered", "---", []health.State{u, x},
			"3 failures in a row: status 503, want 200"},
		{"two failures are not enough", "+++--+--+", []health.State{u, h}, ""},
		{"three are", "+++---", []health.State{u, h, x},
			"3 failures in a row: status 503, want 200"},
		{"a long outage is told by its length", "+++" + times(40, "-"),
			[]health.State{u, h, x}, "40 failures in a row: status 503"},
		{"the first return needs rise alone", "+++" + times(100, "-") + "+++",
			[]health.State{u, h, x, h}, "3 successes in a row"},
		{"two successes do not bring it back", "---++-++", []health.State{u, x},
			"2 of 3 successes that are needed to come back"},
		{"after a return one failure is one failure", "+++" + times(100, "-") + "+++-+--+",
			[]health.State{u, h, x, h}, ""},
		{"a relapse is held down", "+++---+++---" + times(29, "+"),
			[]health.State{u, h, x, h, x}, "held down until 03:04:46: fell 2 times"},
		{"and back after the hold-down", "+++---+++---" + times(31, "+"),
			[]health.State{u, h, x, h, x, h}, "31 successes in a row"},
		{"failing in between begins the hold-down anew",
			"+++---+++---" + times(20, "+") + "---" + times(28, "+"),
			[]health.State{u, h, x, h, x}, "held down"},
		{"every other probe fails", "+++" + times(19, "-+"), []health.State{u, h, d}, ""},
		{"for long", "+++" + times(100, "-+"), []health.State{u, h, d, x},
			"1 of 3 successes"},
		{"two of three fail", "+++" + times(60, "--+"), []health.State{u, h, d, x}, ""},
		{"one of nine fails, which never clears", "+++" + times(30, "-++++++++"),
			[]health.State{u, h, d, x}, "8 of 10 successes in a row that clear its failures"},
		{"one of eleven fails, which clears", "+++" + times(50, "-++++++++++"),
			[]health.State{u, h}, ""},
		{"degraded ends when the counter is cleared", "+++" + times(12, "-+") + times(9, "+"),
			[]health.State{u, h, d, h}, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			s, states := play(health.DefaultRules(), c.line)
			if diff := cmp.Diff(c.states, states); diff != "" {
				t.Error("states (-want +got):", diff)
			}
			if !strings.HasPrefix(s.Reason, c.reason) {
				t.Errorf("reason is %q, want %q", s.Reason, c.reason)
			}
		})
	}
}

func TestTheHoldDownDoublesAndIsForgiven(t *testing.T) {
	r := health.DefaultRules()
	var s health.Record
	second := 0
	feed := func(sample func(int) probes.Sample) { s = health.Step(r, s, sample(second)); second++ }
	// outage fails until the backend is out and returns how many seconds of successes it takes
	// to come back.
	outage := func() (took int) {
		for s.State != health.Unhealthy {
			feed(bad)
		}
		for s.State == health.Unhealthy {
			feed(good)
			took++
		}
		return took
	}
	for range 3 {
		feed(good)
	}
	var got []int
	for range 8 {
		got = append(got, outage())
	}
	if d := cmp.Diff([]int{3, 30, 60, 120, 240, 480, 600, 600}, got); d != "" {
		t.Error("seconds to come back (-want +got):", d)
	}
	for range 601 {
		feed(good)
	}
	if took := outage(); took != 3 {
		t.Errorf("after 10 good minutes it took %d s to come back, want 3", took)
	}
}

// What is up for less than the first hold-down is back once and then stays out: 3 transitions,
// then none. With longer periods the doubling catches up.
func TestAFlapOfHalfTheTimeMakesFewTransitions(t *testing.T) {
	for _, c := range []struct{ period, tenMinutes, hour int }{
		{2, 1, 1}, {4, 1, 1}, {10, 3, 3}, {20, 3, 3}, {40, 3, 3}, {58, 3, 3},
		{60, 5, 5}, {120, 7, 7}, {600, 3, 11},
	} {
		t.Run(fmt.Sprintf("period %d s", c.period), func(t *testing.T) {
			line := times(c.period/2, "+") + times(c.period/2, "-")
			line = "+++++" + times(3600/c.period, line)
			_, first := play(health.DefaultRules(), line[:605])
			_, all := play(health.DefaultRules(), line)
			if n, m := transitions(first), transitions(all); n > c.tenMinutes || m > c.hour {
				t.Errorf("%d transitions in 10 minutes, %d in an hour: want at most %d and %d",
					n, m, c.tenMinutes, c.hour)
			}
		})
	}
}

// transitions counts the changes between usable and Unhealthy.
func transitions(states []health.State) (n int) {
	for i := 1; i < len(states); i++ {
		if states[i].Usable() != states[i-1].Usable() {
			n++
		}
	}
	return n
}

// random plays seconds of samples that fail with probability p.
func random(r health.Rules, seed uint64, n int, p float64) (falls int, out time.Duration) {
	draw := rand.New(rand.NewPCG(seed, 1))
	var s health.Record
	for i := range n {
		sample := good(i)
		if draw.Float64() < p {
			sample = bad(i)
		}
		before := s.State
		s = health.Step(r, s, sample)
		if s.State == health.Unhealthy {
			out += time.Second
			if before != health.Unhealthy {
				falls++
			}
		}
	}
	return falls, out
}

// Independent failures at 5 % meet three in a row at a rate of p³(1-p) a sample: 11.9 in
// 100,000. That is what fall 3 means; the counter must add none to it. Lost packets are not
// failed probes, as TCP sends again.
func TestRandomLossThrowsABackendOutNoOftenerThanFallSays(t *testing.T) {
	only := health.DefaultRules()
	only.Fall = 1000
	only.CounterDown = health.DefaultRules().CounterDown
	for seed := range uint64(2) {
		if falls, _ := random(only, seed, 100_000, 0.05); falls != 0 {
			t.Errorf("seed %d: the counter threw it out %d times at 5 %%", seed, falls)
		}
		falls, out := random(health.DefaultRules(), seed, 100_000, 0.05)
		if falls > 25 || out > 2000*time.Second { // 11.9 and four standard deviations
			t.Errorf("seed %d: out %d times, for %v, at 5 %%", seed, falls, out)
		}
		if falls, _ := random(health.DefaultRules(), seed, 100_000, 0.01); falls > 2 {
			t.Errorf("seed %d: out %d times at 1 %%", seed, falls)
		}
	}
}

func TestHalfTheProbesFailingKeepsABackendOut(t *testing.T) {
	for seed := range uint64(10) {
		falls, out := random(health.DefaultRules(), seed, 3600, 0.5)
		if falls > 6 || out < 55*time.Minute {
			t.Errorf("seed %d: fell %d times and was out %v of an hour", seed, falls, out)
		}
	}
}

func TestASlowBackendIsDegradedUntilItIsClearlyFaster(t *testing.T) {
	r := health.DefaultRules()
	r.DegradedAbove = 100 * time.Millisecond
	var s health.Record
	step := func(i int, d time.Duration) health.State {
		sample := good(i)
		sample.Phases.Total = d
		s = health.Step(r, s, sample)
		return s.State
	}
	i := 0
	feed := func(n int, d time.Duration) (last health.State) {
		for range n {
			last = step(i, d)
			i++
		}
		return last
	}
	if got := feed(10, 90*time.Millisecond); got != health.Healthy {
		t.Errorf("at 90 ms it is %s", got)
	}
	if got := feed(30, 110*time.Millisecond); got != health.Degraded {
		t.Errorf("at 110 ms it is %s", got)
	}
	if want := "slow: 110ms, want at most 100ms"; s.Reason != want {
		t.Errorf("reason is %q, want %q", s.Reason, want)
	}
	if got := feed(50, 95*time.Millisecond); got != health.Degraded {
		t.Errorf("back at 95 ms it is %s: no hysteresis", got)
	}
	if got := feed(50, 70*time.Millisecond); got != health.Healthy {
		t.Errorf("at 70 ms it is %s", got)
	}
}

func TestACertificateNearItsEndDegradesABackend(t *testing.T) {
	r := health.DefaultRules()
	var s health.Record
	for i := range 3 {
		sample := good(i)
		sample.CertExpires = epoch.Add(3 * 24 * time.Hour)
		s = health.Step(r, s, sample)
	}
	if s.State != health.Degraded || s.Reason != "certificate ends in 3.0 days" {
		t.Errorf("got %s: %s", s.State, s.Reason)
	}
	r.CertWarn = -1
	if s = health.Step(r, s, good(3)); s.State != health.Healthy {
		t.Errorf("without the rule: got %s: %s", s.State, s.Reason)
	}
}

func TestStatesNeverChangeWithoutTheirEvidence(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		r := health.Rules{
			Rise:        rapid.IntRange(1, 6).Draw(t, "rise"),
			Fall:        rapid.IntRange(1, 6).Draw(t, "fall"),
			CounterDown: rapid.IntRange(2, 30).Draw(t, "counter"),
			ClearAfter:  rapid.IntRange(1, 12).Draw(t, "clear"),
		}
		line := rapid.SliceOfN(rapid.Bool(), 1, 300).Draw(t, "line")
		var s health.Record
		successes, failures := 0, 0
		for i, ok := range line {
			before := s
			if ok {
				successes, failures = successes+1, 0
				s = health.Step(r, s, good(i))
			} else {
				successes, failures = 0, failures+1
				s = health.Step(r, s, bad(i))
			}
			was := before.State
			if was == "" {
				was = health.Unknown
			}
			entersUse := (was == health.Unhealthy || was == health.Unknown) &&
				(s.State == health.Healthy || s.State == health.Degraded)
			switch {
			case entersUse && successes < r.Rise:
				t.Fatalf("%s to %s after %d successes", was, s.State, successes)
			case was != health.Unhealthy && s.State == health.Unhealthy &&
				failures < r.Fall && s.Counter < r.CounterDown:
				t.Fatalf("fell after %d failures, counter %d", failures, s.Counter)
			case failures >= r.Fall && s.State != health.Unhealthy:
				t.Fatalf("%s after %d failures in a row", s.State, failures)
			case s.State == health.Unhealthy && s.Falls == 1 && was == health.Unhealthy &&
				successes >= r.Rise:
				t.Fatalf("a first fall is not forgiven after %d successes", successes)
			case s.State != was && !s.Since.Equal(good(i).Start):
				t.Fatalf("state began at %v, want %v", s.Since, good(i).Start)
			case s.Reason == "":
				t.Fatal("no reason")
			case s.Counter < 0 || s.Counter > r.CounterDown:
				t.Fatalf("counter is %d", s.Counter)
			}
		}
	})
}
