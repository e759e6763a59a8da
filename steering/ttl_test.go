package steering_test

import (
	"strings"
	"testing"
	"time"

	"pointsman/steering"
	"pointsman/steering/control"
)

func TestTheTTLIsShortWhileABackendOfTheTreeIsDown(t *testing.T) {
	short := func(s *steering.Spec) { s.Hosts[0].TTLDegraded = 7 * time.Second }
	ramping := control.Shares{Factors: map[string]float64{"c": .3}}
	cold := control.Shares{Factors: map[string]float64{"c": .3}, Limits: map[string]float64{"c": .3}}
	for _, c := range []struct {
		about, why string
		in         steering.Inputs
		want       uint32
	}{
		{"all healthy", "", steering.Inputs{Spec: spec(short), View: view(1)}, 20},
		{"not measured yet", "", steering.Inputs{Spec: spec(short)}, 20},
		{"one is down", "b is unhealthy", steering.Inputs{Spec: spec(short), View: view(1, "b")}, 7},
		{"one of the last pool is down", "origin is unhealthy",
			steering.Inputs{Spec: spec(short), View: view(1, "origin")}, 7},
		{"one is coming back", "c is coming back",
			steering.Inputs{Spec: spec(short), View: view(1), Shares: ramping}, 7},
		{"one has a cold cache", "", steering.Inputs{Spec: spec(short), View: view(1),
			Shares: cold}, 20},
		{"one is fenced", "b is fenced", steering.Inputs{Spec: spec(short), View: view(1),
			Overrides: []steering.Override{override(steering.Fence, "b")}}, 7},
		{"one is drained", "", steering.Inputs{Spec: spec(short), View: view(1, "b"),
			Overrides: []steering.Override{override(steering.Drain, "b")}}, 20},
		{"one that weighs 0 is down", "", steering.Inputs{View: view(1, "b"),
			Spec: spec(short, func(s *steering.Spec) { s.Pools[0].Members[1].Weight = 0 })}, 20},
		{"it isn't set", "", steering.Inputs{Spec: spec(), View: view(1, "b")}, 20},
	} {
		table := compile(t, c.in)
		d, _ := table.Pick(steering.Query{Host: host, Client: resolver(1)})
		want := c.why
		if want != "" {
			want = "7s instead of 20s, because " + want
		}
		if got := notes(t, table, "ttl"); d.TTL != c.want || got != want {
			t.Errorf("%s: TTL %d, %q; want %d, %q", c.about, d.TTL, got, c.want, want)
		}
		for _, v := range table.Variants(host) {
			if v.TTL != 20 {
				t.Errorf("%s: a variant's TTL is %d: it would have to be signed again", c.about, v.TTL)
			}
		}
	}
}

func TestAShorterTTLIsAnotherTable(t *testing.T) {
	// Origin, which takes no part, is all that differs.
	short := func(s *steering.Spec) { s.Hosts[0].TTLDegraded = 7 * time.Second }
	up := compile(t, steering.Inputs{Spec: spec(short), View: view(1)})
	down := compile(t, steering.Inputs{Spec: spec(short), View: view(1, "origin")})
	if up.Hash == down.Hash || !up.SameVariants(down) {
		t.Errorf("equal hashes: %v, the same to be signed: %v", up.Hash == down.Hash,
			up.SameVariants(down))
	}
	for _, bad := range []time.Duration{21 * time.Second, 1500 * time.Millisecond, -1, 1} {
		_, err := steering.Compile(steering.Inputs{Spec: spec(func(s *steering.Spec) {
			s.Hosts[0].TTLDegraded = bad
		})})
		if err == nil || !strings.Contains(err.Error(), "degraded TTL") {
			t.Errorf("a degraded TTL of %s: %v", bad, err)
		}
	}
}
