package health_test

import (
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"pointsman/probes/health"
)

const maxAge = 30 * time.Second

// votes makes one vote of each letter: h, d, x (unhealthy), u (unknown); upper case is stale.
func votes(letters string) (out []health.Vote) {
	states := map[rune]health.State{
		'h': health.Healthy, 'd': health.Degraded, 'x': health.Unhealthy, 'u': health.Unknown,
	}
	for i, c := range letters {
		lower := []rune(strings.ToLower(string(c)))[0]
		v := health.Vote{
			Vantage: string(rune('a' + i)), State: states[lower], At: epoch.Add(-time.Second),
			Reason: "why " + string(rune('a'+i)),
		}
		if c != lower {
			v.At = epoch.Add(-time.Minute)
		}
		out = append(out, v)
	}
	return out
}

func TestTheMajorityOfFreshVotesDecides(t *testing.T) {
	const u, h, d, x = health.Unknown, health.Healthy, health.Degraded, health.Unhealthy
	for _, c := range []struct {
		name   string
		votes  string // the first is the own one
		prev   health.State
		want   health.State
		reason string
	}{
		{"alone", "x", h, x, "why a"},
		{"alone and not measured", "u", h, h, "why a"},
		{"alone and stale keeps the last state", "X", h, h, "kept healthy: no sample for 1m0s"},
		{"alone and stale when it was down", "H", x, x, "kept unhealthy: no sample for 1m0s"},
		{"own of three cannot throw it out", "xhh", h, h, "2 of 3 vantages say healthy: why b"},
		{"two of three can", "hxx", h, x, "2 of 3 vantages say unhealthy: why b"},
		{"two of three bring it back", "xhh", x, h, "2 of 3 vantages say healthy"},
		{"a tie keeps up", "xh", h, h, "kept healthy: 1 of 2 vantages say unhealthy"},
		{"a tie keeps down", "hx", x, x, "kept unhealthy: 1 of 2 vantages say unhealthy"},
		{"a tie keeps degraded", "hxxd", d, d, "kept degraded"},
		{"a tie from nothing: the own vote", "xh", u, x, "1 of 2 vantages say unhealthy: why a"},
		{"a stale vote leaves the count", "xhH", h, h, "kept healthy: 1 of 2"},
		{"stale ones cannot keep it up", "xxHHH", h, x, "2 of 2 vantages say unhealthy"},
		{"an unknown leaves the count", "xxuuu", h, x, "2 of 2"},
		{"the own one stale: others decide", "Xhh", x, h, "2 of 2 vantages say healthy: why b"},
		{"the own one unknown: another decides", "ux", h, x, "vantage b alone: why b"},
		{"all stale", "XXX", h, h, "kept healthy"},
		{"degraded by majority", "ddh", h, d, "2 of 3 vantages say degraded: why a"},
		{"degraded not by minority", "dhh", d, h, "2 of 3 vantages say healthy: why b"},
		{"degraded of the usable", "dxxdd", h, d, "3 of 5 vantages say degraded"},
		{"degraded tie stays", "dh", d, d, "1 of 2"},
		{"degraded tie stays away", "dh", h, h, "1 of 2"},
		{"degraded tie from below: the own vote", "dh", x, d, "1 of 2"},
	} {
		t.Run(c.name, func(t *testing.T) {
			all := votes(c.votes)
			state, reason := health.Decide(all[0], all[1:], c.prev, epoch, maxAge)
			if state != c.want || !strings.HasPrefix(reason, c.reason) {
				t.Errorf("got %s: %q, want %s: %q", state, reason, c.want, c.reason)
			}
		})
	}
}

func TestADecisionHasAMajorityOrKeepsTheState(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		letters := rapid.StringMatching("[hdxuHDXU]{1,9}").Draw(t, "votes")
		prev := rapid.SampledFrom([]health.State{
			health.Unknown, health.Healthy, health.Degraded, health.Unhealthy,
		}).Draw(t, "prev")
		all := votes(letters)
		state, reason := health.Decide(all[0], all[1:], prev, epoch, maxAge)
		down := strings.Count(letters, "x")
		up := strings.Count(letters, "h") + strings.Count(letters, "d")
		switch {
		case down > up && state != health.Unhealthy:
			t.Fatalf("%s although %d of %d say unhealthy", state, down, down+up)
		case up > down && (state == health.Unhealthy || state == health.Unknown):
			t.Fatalf("%s although %d of %d say usable", state, up, down+up)
		case up == down && prev != health.Unknown && prev.Usable() != state.Usable():
			t.Fatalf("a tie made %s of %s", state, prev)
		case up == 0 && down == 0 && state != prev:
			t.Fatalf("no vote made %s of %s", state, prev)
		case reason == "":
			t.Fatal("no reason")
		}
	})
}
