package control_test

import (
	"fmt"
	"math"
	"net/netip"
	"testing"
	"time"

	"pointsman/steering/control"
)

func TestGuidanceIsOrderedByItsLeaderFirst(t *testing.T) {
	t.Parallel()
	old := control.Guidance{Epoch: 3, Seq: 9}
	for _, c := range []struct {
		epoch, seq uint64
		want       bool
	}{{3, 10, true}, {4, 1, true}, {3, 9, false}, {3, 8, false}, {2, 100, false}} {
		if got := (control.Guidance{Epoch: c.epoch, Seq: c.seq}).Newer(old); got != c.want {
			t.Errorf("epoch %d, seq %d is newer than 3, 9: %v", c.epoch, c.seq, got)
		}
	}
}

func TestGuidanceFadesInElevenStepsOnBothSidesOfItsTime(t *testing.T) {
	t.Parallel()
	g := control.Guidance{At: start}
	for _, sign := range []time.Duration{1, -1} {
		seen, last := map[float64]bool{}, 0.0
		for age := time.Duration(0); age <= 30*time.Minute; age += time.Second {
			f := g.Faded(start.Add(sign*age), 10*time.Minute)
			ideal := min(1, max(0, age.Minutes()/10-1))
			if f < last || math.Abs(f-ideal) > 0.1 || (f == 0) != (age < 10*time.Minute) ||
				(f == 1) != (age >= 20*time.Minute) {
				t.Fatalf("at an age of %s %v has faded, and %v before", sign*age, f, last)
			}
			seen[f], last = true, f
		}
		if len(seen) != 12 {
			t.Errorf("%d steps", len(seen)-1)
		}
	}
	if f := g.Faded(start.Add(1000*time.Hour), 0); f != 0 {
		t.Errorf("%v has faded although it never should", f)
	}
}

func TestMalformedGuidanceIsNamed(t *testing.T) {
	t.Parallel()
	scope := control.Scope{Host: "h.test.", Place: "there"}
	one := func(prefix string, ttl time.Duration, cycle ...string) control.Guidance {
		p, _ := netip.ParsePrefix(prefix)
		return control.Guidance{Traffic: map[control.Scope][]control.Assigned{
			scope: {{Prefix: p, TTL: ttl, Cycle: cycle}}}}
	}
	for want, g := range map[string]control.Guidance{
		"<nil>": one("192.0.2.53/32", time.Second, "a", "b"),
		`h.test. at there: "192.0.2.53/24" is no prefix of resolvers`: one("192.0.2.53/24",
			time.Second, "a"),
		`h.test. at there: "invalid Prefix" is no prefix of resolvers`: one("x", time.Second, "a"),
		"h.test. at there: 192.0.2.53/32 has 0 answers in turn, not 1 to 256": one("192.0.2.53/32",
			time.Second),
		"h.test. at there: 192.0.2.53/32 has a TTL of 0s, not 1s to 1h0m0s": one("192.0.2.53/32", 0,
			"a"),
		"h.test. at there: 1025 resolvers are assigned, at most 1024": {
			Traffic: map[control.Scope][]control.Assigned{scope: make([]control.Assigned, 1025)}},
		"the limit of a is 1, not above 0 and below 1": {Limits: map[string]float64{"a": 1}},
		"h.test. at there: the share of a is NaN, not 0 to 1": {
			Splits: map[control.Scope]control.Split{scope: {"a": math.NaN()}}},
	} {
		if got := fmt.Sprint(g.Check()); got != want {
			t.Errorf("%s, want %s", got, want)
		}
	}
}
