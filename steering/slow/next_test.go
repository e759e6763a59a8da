package slow_test

import (
	"encoding/json"
	"math"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"pointsman/steering/control"
	"pointsman/steering/slow"
)

var scope = control.Scope{Host: simHost}

// play makes steps of ten seconds each and returns the last guidance and state. Each state goes
// through JSON, as in a store.
func play(t *testing.T, c slow.Config, s slow.State, from time.Time, steps int,
	in func(k int, split control.Split) slow.Inputs) (slow.State, control.Guidance) {
	t.Helper()
	g := s.Last
	for k := range steps {
		next := in(k, g.Splits[scope])
		next.Now = from.Add(time.Duration(k) * 10 * time.Second)
		s, g = c.Next(s, next)
		raw, err := json.Marshal(s)
		if err != nil {
			t.Fatal(err)
		}
		s = slow.State{}
		if err := json.Unmarshal(raw, &s); err != nil {
			t.Fatal(err)
		}
		s.Last = g
	}
	return s, g
}

func TestABackendThatCannotAnswerHasNothingAndComesBackToWhatItHad(t *testing.T) {
	c := defaults(slow.Traffic, 20*time.Second, "a", "b", "c")
	pull := map[string]float64{"a": 0.8, "b": 1.2, "c": 1}
	weights := control.Split{"a": 0.5, "b": 0.3, "c": 0.2}
	world := newLag(c.Plant(c.Hosts[simHost]), weights)
	var traffic []control.Split
	in := func(weights control.Split) func(int, control.Split) slow.Inputs {
		return func(_ int, split control.Split) slow.Inputs {
			if split != nil {
				world.past = append(world.past, split)
			}
			seen := world.seen(pull)
			traffic = append(traffic, seen.Normal())
			loads := map[string]slow.Measured{}
			for b, v := range seen {
				loads[b] = slow.Measured{Value: 1_000 * v}
			}
			return slow.Inputs{Policies: policy(weights), Loads: loads}
		}
	}
	s, before := play(t, c, slow.State{}, start, 360, in(weights))
	if a := traffic[len(traffic)-1]["a"]; math.Abs(a-0.5) > 0.011 {
		t.Errorf("a has %.3f of the traffic", a)
	}
	out := control.Split{"a": 0, "b": 0.6, "c": 0.4}
	s, during := play(t, c, s, start.Add(time.Hour), 90, in(out))
	if during.Splits[scope]["a"] != 0 {
		t.Errorf("a is out and has %v", during.Splits[scope])
	}
	traffic = nil
	_, after := play(t, c, s, start.Add(75*time.Minute), 360, in(weights))
	approx := cmpopts.EquateApprox(0, 0.03)
	if diff := cmp.Diff(before.Splits[scope], after.Splits[scope], approx); diff != "" {
		t.Errorf("after its return: %s", diff)
	}
	turns, over := path(traffic)
	t.Logf("after the return traffic turns %d times and overshoots by %.1f points", turns, over)
	if turns > 3 || over > 5 {
		t.Errorf("traffic turns %d times and overshoots by %.1f points", turns, over)
	}
}

func TestBlindInputsFreezeSharesAndThenLetThemDecay(t *testing.T) {
	c := defaults(slow.Traffic, 20*time.Second, "a", "b")
	weights := control.Split{"a": 0.5, "b": 0.5}
	seen := func(int, control.Split) slow.Inputs {
		return slow.Inputs{Policies: policy(weights), Loads: map[string]slow.Measured{
			"a": {Value: 300}, "b": {Value: 700}}}
	}
	blind := func(int, control.Split) slow.Inputs { return slow.Inputs{Policies: policy(weights)} }
	s, moved := play(t, c, slow.State{}, start, 120, seen)
	s, held := play(t, c, s, start.Add(20*time.Minute), 30, blind)
	if diff := cmp.Diff(moved.Splits, held.Splits); diff != "" || moved.Splits[scope]["a"] < 0.6 {
		t.Errorf("%v did not freeze: %s", moved.Splits, diff)
	}
	if why := held.Why[scope]; !strings.Contains(why, "frozen: the signal of a is missing") {
		t.Errorf("why: %s", why)
	}
	_, gone := play(t, c, s, start.Add(25*time.Minute), 400, blind)
	if a := gone.Splits[scope]["a"]; math.Abs(a-0.5) > 0.02 {
		t.Errorf("long after, a has %v", a)
	}
	if why := gone.Why[scope]; !strings.Contains(why, "decayed") {
		t.Errorf("why: %s", why)
	}
}

func TestCostMovesToTheCheapestWithinCapacityAndLatency(t *testing.T) {
	c := defaults(slow.Cost, 20*time.Second, "cheap", "dear", "far")
	price := func(p float64) control.Contract {
		return control.Contract{Tiers: []control.Tier{{Price: p}}}
	}
	c.Backends["cheap"] = slow.Backend{Contract: price(0.01), Capacity: 4_600}
	c.Backends["dear"] = slow.Backend{Contract: price(0.05)}
	c.Backends["far"] = slow.Backend{Contract: price(0.001)}
	weights := control.Split{"cheap": 1, "dear": 1, "far": 1}
	s, g := play(t, c, slow.State{}, start, 720, func(_ int, split control.Split) slow.Inputs {
		in := slow.Inputs{Policies: policy(weights), Loads: map[string]slow.Measured{},
			Latencies: map[string]slow.Measured{"cheap": {Value: 0.030}, "dear": {Value: 0.028},
				"far": {Value: 0.200}}}
		if split == nil {
			split = weights.Normal()
		}
		for b, v := range split {
			in.Loads[b] = slow.Measured{Value: 10_000 * v}
		}
		return in
	})
	want := control.Split{"cheap": 0.4, "dear": 0.6, "far": 0}
	if diff := cmp.Diff(want, g.Splits[scope], cmpopts.EquateApprox(0, 0.021)); diff != "" {
		t.Errorf("%s\n%s", diff, g.Why[scope])
	}
	if !strings.Contains(g.Why[scope], "the cheapest for 10000 requests/s") {
		t.Errorf("why: %s", g.Why[scope])
	}
	// Two hours of 10,000 requests/s of 64 KiB, most of it at dear in the end.
	gb := 0.0
	for _, m := range s.Months {
		gb += m.Ledger.GB
	}
	if whole := 7_200 * 10_000 * 65_536 / 1e9; math.Abs(gb/whole-1) > 0.06 {
		t.Errorf("the ledgers have %.0f GB of %.0f", gb, whole)
	}
}

func TestACommitThatIsNotReachedYetDrawsTraffic(t *testing.T) {
	c := defaults(slow.Cost, 20*time.Second, "commit", "plain")
	c.Backends["commit"] = slow.Backend{Contract: control.Contract{CommitGB: 1e9,
		Tiers: []control.Tier{{Price: 0.05}}}}
	c.Backends["plain"] = slow.Backend{Contract: control.Contract{
		Tiers: []control.Tier{{Price: 0.01}}}}
	weights := control.Split{"commit": 1, "plain": 1}
	_, g := play(t, c, slow.State{}, start, 2_000, func(_ int, split control.Split) slow.Inputs {
		if split == nil {
			split = weights.Normal()
		}
		return slow.Inputs{Policies: policy(weights), Loads: map[string]slow.Measured{
			"commit": {Value: 1_000 * split["commit"]}, "plain": {Value: 1_000 * split["plain"]}}}
	})
	if s := g.Splits[scope]; s["commit"] < 0.95 {
		t.Errorf("what is paid already has %v\n%s", s, g.Why[scope])
	}
}

func TestACacheThatComesBackColdIsHeldBackAsLongAsTheOriginNeeds(t *testing.T) {
	c := defaults(slow.Queries, 20*time.Second, "a", "b")
	h := c.Hosts[simHost]
	h.Load = 10_000
	c.Hosts[simHost] = h
	cache := control.Cache{Cold: 1, Warm: 0.05, WorkingSet: 1_000_000, Life: 24 * time.Hour}
	c.Backends["a"], c.Backends["b"] = slow.Backend{Cache: &cache}, slow.Backend{Cache: &cache}
	both := control.Split{"a": 0.6, "b": 0.4}
	with := func(w control.Split) func(int, control.Split) slow.Inputs {
		return func(int, control.Split) slow.Inputs { return slow.Inputs{Policies: policy(w)} }
	}
	s, g := play(t, c, slow.State{}, start, 10, with(both))
	if len(g.Limits) > 0 {
		t.Errorf("a start of the node limits %v", g.Limits)
	}
	s, g = play(t, c, s, start.Add(2*time.Minute), 60, with(control.Split{"a": 0, "b": 1}))
	if g.Limits["a"] == 0 || g.Limits["b"] != 0 {
		t.Errorf("while a is out the limits are %v", g.Limits)
	}
	from, last, took := start.Add(12*time.Minute), 0.0, 0
	for k := range 2_000 {
		s, g = play(t, c, s, from.Add(time.Duration(k)*10*time.Second), 1, with(both))
		limit, held := g.Limits["a"]
		if !held {
			took = k
			break
		}
		if limit < last-1e-9 {
			t.Fatalf("step %d: the limit falls from %v to %v", k, last, limit)
		}
		// The origin gets no more than half more than usual, or what the trickle costs.
		share := 0.6 * limit / (0.6*limit + 0.4)
		origin := share*cache.Miss(s.Warmth["a"]) + (1-share)*cache.Miss(s.Warmth["b"])
		usual := 0.6*cache.Miss(cache.After(1, 6_000, 1e6*time.Hour)) +
			0.4*cache.Miss(cache.After(1, 4_000, 1e6*time.Hour))
		if share > 0.003 && origin > 1.55*usual {
			t.Fatalf("step %d: the origin gets %.2f times the usual", k, origin/usual)
		}
		last = limit
	}
	t.Logf("the limit goes after %s", time.Duration(took)*10*time.Second)
	if took < 30 {
		t.Errorf("it was held back for %d steps", took)
	}
}

func TestWhatAPolicyHoldsIsLeftAlone(t *testing.T) {
	c := defaults(slow.Traffic, 20*time.Second, "a", "b")
	p := policy(control.Split{"a": 1, "b": 0})
	p[0].Held = "its reason is pinned"
	_, g := c.Next(slow.State{}, slow.Inputs{Now: start, Policies: p})
	if len(g.Splits) > 0 || g.Why[scope] != "left to the policy: its reason is pinned" {
		t.Errorf("got %+v", g)
	}
	_, g = c.Next(slow.State{}, slow.Inputs{Now: start, Policies: policy(control.Split{"a": 1,
		"b": 0})})
	if len(g.Splits) > 0 || g.Why[scope] != "nothing to divide: only a can answer" {
		t.Errorf("got %+v", g)
	}
}

func TestLatencyAndLoadBecomeEqual(t *testing.T) {
	for _, balance := range []slow.Balance{slow.Latency, slow.Load} {
		c := defaults(balance, 20*time.Second, "a", "b")
		c.Backends["a"], c.Backends["b"] = slow.Backend{Capacity: 3_000}, slow.Backend{Capacity: 1_000}
		weights := control.Split{"a": 1, "b": 1}
		_, g := play(t, c, slow.State{}, start, 3_000, func(_ int, s control.Split) slow.Inputs {
			if s == nil {
				s = weights.Normal()
			}
			return slow.Inputs{Policies: policy(weights),
				Loads: map[string]slow.Measured{"a": {Value: 900 * s["a"]}, "b": {Value: 900 * s["b"]}},
				Latencies: map[string]slow.Measured{"a": {Value: 0.02 * (1 + s["a"])},
					"b": {Value: 0.02 * (1 + 3*s["b"])}}}
		})
		if a := g.Splits[scope]["a"]; math.Abs(a-0.75) > 0.04 { // of the dead band's width
			t.Errorf("%s: a has %v\n%s", balance, a, g.Why[scope])
		}
	}
}

func TestEveryTTLHasASafeGainAndALargerOneIsRefused(t *testing.T) {
	for ttl := 5 * time.Second; ttl <= 300*time.Second; ttl += 5 * time.Second {
		for _, balance := range []slow.Balance{slow.Traffic, slow.Latency, slow.Load, slow.Cost} {
			c := defaults(balance, ttl, "a")
			if bad := c.Check(); bad != nil {
				t.Fatalf("the defaults with a TTL of %s: %v", ttl, bad)
			}
			c.Loop.Gain = 2 * c.Plant(c.Hosts[simHost]).LargestGain()
			bad := c.Check()
			if len(bad) != 1 || bad[0].Key != "gain" || !strings.Contains(bad[0].Message, "use at most") {
				t.Fatalf("twice the largest gain with a TTL of %s: %v", ttl, bad)
			}
		}
	}
}

func TestLoadsOfSeveralHostsAreToldApartByWhatEachShouldGetOrByTheirOwnFigures(t *testing.T) {
	c := defaults(slow.Traffic, 20*time.Second, "a", "b")
	one, two := c.Hosts[simHost], c.Hosts[simHost]
	one.Load, two.Load = 1_000, 3_000
	two.Balance = slow.Queries
	c.Hosts = map[string]slow.Host{simHost: one, "other.example.test.": two}
	in := slow.Inputs{Now: start, Policies: append(policy(control.Split{"a": 1, "b": 1}),
		slow.Policy{Scope: control.Scope{Host: "other.example.test."},
			Weights: control.Split{"a": 1, "b": 2}}),
		// What is expected is 500 and 1,000 at a, 500 and 2,000 at b; a gets a fifth more.
		Loads: map[string]slow.Measured{"a": {Value: 1_800}, "b": {Value: 2_500}}}
	_, g := c.Next(slow.State{}, in)
	if why := g.Why[scope]; !strings.Contains(why, "a has 4.5 points to lose") {
		t.Errorf("by what each should get: %s", why)
	}
	in.HostLoads = map[string]map[string]slow.Measured{simHost: {"a": {Value: 400}, "b": {Value: 600}}}
	_, g = c.Next(slow.State{}, in)
	if why := g.Why[scope]; !strings.Contains(why, "a has 10.0 points to gain") ||
		!strings.Contains(why, "measured a 400/s, b 600/s") {
		t.Errorf("by its own figures: %s", why)
	}
	if _, moved := g.Splits[control.Scope{Host: "other.example.test."}]; moved {
		t.Error("a host that goes by queries was moved")
	}
}
