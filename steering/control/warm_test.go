package control_test

import (
	"math"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"pointsman/steering/control"
)

// realCache warms in two parts, as real ones do: the popular objects within minutes, the long
// tail within hours. The code under test knows only what it measures.
type realCache struct{ hot, tail float64 } // warmth

const hotPart = 0.8 // of the requests

func hotCache() control.Cache {
	return control.Cache{Cold: 0.99, Warm: 0.01, WorkingSet: 300_000, Life: 24 * time.Hour}
}

func tailCache() control.Cache {
	return control.Cache{Cold: 1, Warm: 0.2, WorkingSet: 1_500_000, Life: 24 * time.Hour}
}

func (c realCache) after(rate float64, d time.Duration) realCache {
	return realCache{hotCache().After(c.hot, hotPart*rate, d),
		tailCache().After(c.tail, (1-hotPart)*rate, d)}
}

func (c realCache) miss() float64 {
	return hotPart*hotCache().Miss(c.hot) + (1-hotPart)*tailCache().Miss(c.tail)
}

const warmDemand = 10_000.0 // requests/s

// replay runs CDN a of some for an hour, loses it and its cache for four hours, and takes it
// back by ramp, which gets the shares now, the goal, the miss ratios of a minute ago and the
// time since the return. It returns the origin's peaks relative to the steady load, before and
// after the return, and how long a took to 95 % of its share.
func replay(normal control.Split, ramp func(now, goal control.Split, miss map[string]float64,
	steady float64, back time.Duration) control.Split) (lost, returned float64, took time.Duration) {
	const tick = 10 * time.Second
	caches := map[string]realCache{}
	steady := 0.0
	for b, s := range normal {
		caches[b] = realCache{}.after(s*warmDemand, 1_000*time.Hour)
		steady += s * caches[b].miss()
	}
	without := control.Split{}
	for b, s := range normal {
		if b != "a" {
			without[b] = s
		}
	}
	without = without.Normal()
	without["a"] = 0
	shares := normal
	var history []map[string]float64
	for now := time.Duration(0); now < 24*time.Hour; now += tick {
		miss := map[string]float64{}
		for b, c := range caches {
			miss[b] = c.miss()
		}
		history = append(history, miss)
		back := now - 5*time.Hour
		switch {
		case back >= 0:
			shares = ramp(shares, normal, history[max(0, len(history)-7)], steady, back)
			if took == 0 && shares["a"] >= 0.95*normal["a"] {
				took = back
			}
		case now >= time.Hour:
			shares = without
			caches["a"] = realCache{}
		}
		origin := 0.0
		for b, s := range shares {
			origin += s * miss[b]
			caches[b] = caches[b].after(s*warmDemand, tick)
		}
		if back < 0 {
			lost = max(lost, origin/steady)
		} else {
			returned = max(returned, origin/steady)
		}
	}
	return lost, returned, took
}

func TestTheOriginBearsTheLossAndTheReturnOfACDN(t *testing.T) {
	atOnce := func(_, goal control.Split, _ map[string]float64, _ float64,
		_ time.Duration) control.Split {
		return goal
	}
	slowStart := func(_, goal control.Split, _ map[string]float64, _ float64,
		back time.Duration) control.Split {
		shares := control.Step(control.Inputs{Now: start.Add(back), Backends: []control.Backend{
			{Name: "a", Usable: true, UsableSince: start, Ramp: 10 * time.Minute}}})
		out := control.Split{}
		for b, s := range goal {
			out[b] = s * shares.Factor(b)
		}
		return out.Normal()
	}
	// What is asked of Step, with the factors as the engine would have them.
	warm := func(now, goal control.Split, miss map[string]float64, steady float64,
		back time.Duration) control.Split {
		var list []control.Warming
		for b, s := range goal {
			list = append(list, control.Warming{Backend: b, Now: now[b], Goal: s, Miss: miss[b]})
		}
		limits := control.Warm(control.WarmLimit{Steady: steady, Factor: 1.45, Trickle: 0.002},
			list).Limits(goal)
		shares := control.Step(control.Inputs{Now: start.Add(back), Backends: []control.Backend{
			{Name: "a", Usable: true, UsableSince: start, Ramp: 10 * time.Minute, Limit: limits["a"]}}})
		out := control.Split{}
		for b, s := range goal {
			out[b] = s * shares.Factor(b)
		}
		return out.Normal()
	}
	// The tail decides how much a standby needs. Missing 30 % of it is 0.02 × the demand more.
	const tailDemand = (1 - hotPart) * warmDemand
	standby := tailCache().Standby(tailDemand, 0.3*tailDemand)
	t.Logf("a standby for all of the demand needs %.1f %% of it", 100*standby)
	for name, normal := range map[string]control.Split{
		"60/30/10":         {"a": 0.6, "b": 0.3, "c": 0.1},
		"all of it at one": {"a": 1 - standby, "b": standby},
	} {
		_, once, _ := replay(normal, atOnce)
		_, slow, _ := replay(normal, slowStart)
		lost, peak, took := replay(normal, warm)
		t.Logf("%s: origin peaks at %.2f × steady while a is lost; when it returns cold at %.1f × "+
			"at once, %.1f × by a slow start of 10 min, %.2f × by the warm ramp, which takes %s",
			name, lost, once, slow, peak, took)
		if lost > 1.5 || peak > 1.5 {
			t.Errorf("%s: the origin's peak is above 1.5 × steady", name)
		}
		if slow < 1.5 {
			t.Errorf("%s: the slow start alone would do", name)
		}
		if took == 0 || took > 8*time.Hour {
			t.Errorf("%s: the ramp took %s", name, took)
		}
	}
}

func TestOnlyColdBackendsAreHeld(t *testing.T) {
	limit := control.WarmLimit{Steady: 0.1, Factor: 1.5, Trickle: 0.01}
	for name, c := range map[string]struct {
		list []control.Warming
		want control.WarmStep
	}{
		"a warm one takes over at once": {
			[]control.Warming{{"a", 1, 0, 0.1}, {"b", 0, 1, 0.1}},
			control.WarmStep{Next: control.Split{"a": 0, "b": 1}, Origin: 0.1},
		},
		"a cold one gets what the origin bears": { // 0.1 + x·0.8 = 0.15
			[]control.Warming{{"a", 1, 0.5, 0.1}, {"b", 0, 0.5, 0.9}},
			control.WarmStep{Next: control.Split{"a": 0.9375, "b": 0.0625}, Origin: 0.15,
				Held: []string{"b"}},
		},
		"beside a warm one": { // c takes 0.2 at 0, which gives room for b
			[]control.Warming{{"a", 1, 0.3, 0.1}, {"b", 0, 0.5, 0.9}, {"c", 0, 0.2, 0}},
			control.WarmStep{Next: control.Split{"a": 0.7125, "b": 0.0875, "c": 0.2}, Origin: 0.15,
				Held: []string{"b"}},
		},
		"a trickle always flows, and is flagged": {
			[]control.Warming{{"a", 1, 0.5, 0.2}, {"b", 0, 0.5, 1}},
			control.WarmStep{Next: control.Split{"a": 0.99, "b": 0.01}, Origin: 0.208,
				Held: []string{"b"}, Over: true},
		},
		"everything starts at once": {
			[]control.Warming{{"a", 0, 1, 1}},
			control.WarmStep{Next: control.Split{"a": 1}, Origin: 1, Over: true},
		},
		"there already": {
			[]control.Warming{{"a", 1, 1, 0.1}},
			control.WarmStep{Next: control.Split{"a": 1}, Origin: 0.1},
		},
	} {
		got := control.Warm(limit, c.list)
		if diff := cmp.Diff(c.want, got, cmpopts.EquateApprox(0, 1e-12)); diff != "" {
			t.Errorf("%s: %s", name, diff)
		}
	}
}

func TestNoWarmStepBreaksTheLimitItCouldKeep(t *testing.T) {
	r := rand.New(rand.NewPCG(15, 1))
	for i := range 20_000 {
		limit := control.WarmLimit{Steady: 0.02 + 0.2*r.Float64(), Factor: 1 + r.Float64()}
		var list []control.Warming
		now, goal := control.Split{}, control.Split{}
		for n := range 2 + r.IntN(4) {
			b := string(rune('a' + n))
			w := control.Warming{Backend: b, Now: max(0, r.Float64()-0.3),
				Goal: max(0, r.Float64()-0.3), Miss: math.Pow(r.Float64(), 3)}
			list = append(list, w)
			now[b], goal[b] = w.Now, w.Goal
		}
		now, goal = now.Normal(), goal.Normal()
		if now == nil || goal == nil {
			continue
		}
		before := 0.0
		for _, w := range list {
			before += now[w.Backend] * w.Miss
		}
		s := control.Warm(limit, list)
		if s.Over && s.Origin > before+1e-9 {
			t.Fatalf("%d: the origin gets %v of %v, %v before: %+v", i, s.Origin,
				limit.Factor*limit.Steady, before, list)
		}
		if limits := s.Limits(goal); len(s.Held) > 0 && goal["a"] > 0 && goal["b"] > 0 {
			again := control.Split{}
			for b, g := range goal {
				again[b] = g
				if f, ok := limits[b]; ok {
					again[b] = g * f
				}
			}
			for _, b := range s.Held {
				if again = again.Normal(); len(list) == 2 && math.Abs(again[b]-s.Next[b]) > 1e-6 {
					t.Fatalf("%d: limits make %v of %v", i, again, s.Next)
				}
			}
		}
	}
}

func TestAStandbyIsAsWarmAsItHasToBe(t *testing.T) {
	c := control.Cache{Cold: 0.9, Warm: 0.03, WorkingSet: 200_000, Life: 12 * time.Hour}
	const demand, most = 10_000.0, 450.0
	share := c.Standby(demand, most)
	miss := c.Miss(c.After(0, share*demand, 10_000*time.Hour))
	if math.Abs(miss*demand-most) > 1 || share < 0.001 || share > 0.1 {
		t.Errorf("at %.4f the origin would get %.1f requests/s, want %v", share, miss*demand, most)
	}
	if got := c.Standby(demand, 200); got != 1 {
		t.Errorf("what even a warm cache can't do needs %v", got)
	}
	if got := c.Standby(demand, 9_500); got != 0 {
		t.Errorf("what a cold cache can do needs %v", got)
	}
	if cooled := c.After(0.8, 0, 12*time.Hour); math.Abs(cooled-0.8/math.E) > 1e-9 {
		t.Errorf("without requests the warmth falls to %v", cooled)
	}
}
