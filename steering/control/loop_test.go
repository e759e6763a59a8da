package control_test

import (
	"fmt"
	"math"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"pointsman/steering/control"
)

func loopConfig() control.LoopConfig {
	return control.LoopConfig{
		Gain: 0.2, DeadBand: 0.01, Rate: 0.06, Interval: 10 * time.Second, Fresh: time.Minute,
		Hold: 10 * time.Minute, Decay: 10 * time.Minute, Floor: 0.02,
	}
}

func signals(age time.Duration, values ...float64) map[string]control.Signal {
	out := map[string]control.Signal{}
	for i, v := range values {
		out[string(rune('a'+i))] = control.Signal{Value: v, Age: age}
	}
	return out
}

func TestAStepDoesWhatItsVerdictSays(t *testing.T) {
	even := control.Split{"a": 0.5, "b": 0.5}
	for name, c := range map[string]struct {
		in   control.LoopInput
		next control.Split
		says string
	}{
		"the slower one loses": {
			control.LoopInput{Signals: signals(0, 20, 22)}, // 0.5·(1 − 20/21), a fifth of it
			control.Split{"a": 0.5 + 0.1/21, "b": 0.5 - 0.1/21}, "moved: a has 2.4 points to gain",
		},
		"no faster than the rate": {
			control.LoopInput{Signals: signals(0, 20, 80)},
			control.Split{"a": 0.51, "b": 0.49}, "limited: a has 30.0 points to gain",
		},
		"small errors are let be": {
			control.LoopInput{Signals: signals(0, 20, 20.5)},
			even, "settled: a has 0.6 points to gain",
		},
		"half an interval is half a step": {
			control.LoopInput{Signals: signals(0, 20, 22), Since: 5 * time.Second},
			control.Split{"a": 0.5 + 0.05/21, "b": 0.5 - 0.05/21}, "moved: a has 2.4 points to gain",
		},
		"a long pause is one step": {
			control.LoopInput{Signals: signals(0, 20, 22), Since: time.Hour},
			control.Split{"a": 0.5 + 0.1/21, "b": 0.5 - 0.1/21}, "moved: a has 2.4 points to gain",
		},
		"a clock that went back moves nothing": {
			control.LoopInput{Signals: signals(0, 20, 22), Since: -time.Hour},
			even, "waiting: a has 2.4 points to gain",
		},
		"traffic follows the goal, not the answers": {
			control.LoopInput{Goal: control.Split{"a": 0.5, "b": 0.5}, Signals: signals(0, 46, 54)},
			control.Split{"a": 0.508, "b": 0.492}, "moved: a has 4.0 points to gain",
		},
		"stale freezes": {
			control.LoopInput{Signals: signals(5*time.Minute, 20, 80)},
			even, "frozen: the signal of a is 5m0s old",
		},
		"long stale decays to the weights": {
			control.LoopInput{Signals: signals(time.Hour, 20, 80),
				Current: control.Split{"a": 0.9, "b": 0.1}},
			control.Split{"a": 0.9 - 0.4*(1-math.Exp(-1.0/60)), "b": 0.1 + 0.4*(1-math.Exp(-1.0/60))},
			"decayed: the signal of a is 1h0m0s old",
		},
		"missing freezes": {
			control.LoopInput{Signals: signals(0, 20), Current: control.Split{"a": 0.9, "b": 0.1}},
			control.Split{"a": 0.9, "b": 0.1}, "frozen: the signal of b is missing",
		},
		"long missing decays to the weights": {
			control.LoopInput{Signals: signals(0, 20), Current: control.Split{"a": 0.9, "b": 0.1},
				Blind: 10 * time.Minute},
			control.Split{"a": 0.9 - 0.4*(1-math.Exp(-1.0/60)), "b": 0.1 + 0.4*(1-math.Exp(-1.0/60))},
			"decayed: the signal of b is missing",
		},
		"what is no number is missing": {
			control.LoopInput{Signals: signals(0, 20, math.NaN())},
			even, "frozen: the signal of b is missing",
		},
		"one that came back starts at the floor": {
			control.LoopInput{Signals: signals(0, 20, 20), Current: control.Split{"a": 1, "b": 0}},
			control.Split{"a": 0.98, "b": 0.02}, "moved: a has 0.0 points to gain",
		},
		"drained stays drained": {
			control.LoopInput{Signals: signals(0, 20, 80), Weights: control.Split{"a": 0, "b": 1},
				Current: control.Split{"a": 0.4, "b": 0.6}},
			control.Split{"a": 0, "b": 1}, "settled: b has 0.0 points to gain",
		},
		"nothing left goes by the weights": {
			control.LoopInput{Signals: signals(0, 20, 80), Current: control.Split{"z": 1}},
			even, "decayed: no backend with a weight has a share or a goal",
		},
		"a goal for nobody freezes": {
			control.LoopInput{Goal: control.Split{"z": 1}, Signals: signals(0, 1, 1)},
			even, "frozen: no backend with a weight has a share or a goal",
		},
		"no traffic is no error": {
			control.LoopInput{Goal: even, Signals: signals(0, 0, 0)},
			even, "settled: a has 0.0 points to gain",
		},
	} {
		if c.in.Current == nil {
			c.in.Current = even
		}
		if c.in.Weights == nil {
			c.in.Weights = control.Split{"a": 10, "b": 10}
		}
		if c.in.Since == 0 {
			c.in.Since = 10 * time.Second
		}
		got := control.Loop(loopConfig(), c.in)
		if diff := cmp.Diff(c.next, got.Next, cmpopts.EquateApprox(0, 1e-12)); diff != "" {
			t.Errorf("%s: %s", name, diff)
		}
		if got.String() != c.says {
			t.Errorf("%s: says %q, want %q", name, got, c.says)
		}
	}
}

func TestTheLoopsSharesAreAlwaysADivisionOfTheWeighted(t *testing.T) {
	r := rand.New(rand.NewPCG(3, 14))
	odd := []float64{math.NaN(), math.Inf(1), -1, 0, 1e300, 5e-324}
	value := func() float64 {
		if r.IntN(5) == 0 {
			return odd[r.IntN(len(odd))]
		}
		return r.ExpFloat64() * 50
	}
	for i := range 20_000 {
		in := control.LoopInput{Current: control.Split{}, Weights: control.Split{},
			Signals: map[string]control.Signal{}, Since: time.Duration(r.Int64N(2e10) - 1e9)}
		if r.IntN(2) == 0 {
			in.Goal = control.Split{}
		}
		able := false
		for n := range 1 + r.IntN(5) {
			b := fmt.Sprint(n)
			in.Weights[b], in.Current[b] = float64(r.IntN(3)), value()
			able = able || in.Weights[b] > 0
			in.Signals[b] = control.Signal{Value: value(), Age: time.Duration(r.Int64N(2e12))}
			if in.Goal != nil {
				in.Goal[b] = value()
			}
		}
		step := control.Loop(loopConfig(), in)
		if !able {
			if step.Next != nil {
				t.Fatalf("%d: %+v without any weight", i, step)
			}
			continue
		}
		sum := 0.0
		for b, v := range step.Next {
			if !(v >= 0 && v <= 1+1e-9) || in.Weights[b] == 0 && v != 0 {
				t.Fatalf("%d: %s has %v of %+v after %+v", i, b, v, step, in)
			}
			sum += v
		}
		if math.Abs(sum-1) > 1e-9 {
			t.Fatalf("%d: the shares add up to %v after %+v", i, sum, in)
		}
	}
}

func TestBlindnessAddsUpUntilTheSignalIsBack(t *testing.T) {
	c := loopConfig()
	in := control.LoopInput{Current: control.Split{"a": 0.9, "b": 0.1},
		Weights: control.Split{"a": 1, "b": 1}, Signals: signals(0, 20), Since: c.Interval}
	for n := range 70 {
		step := control.Loop(c, in)
		want := control.Frozen
		if time.Duration(n+1)*c.Interval > c.Hold {
			want = control.Decayed
		}
		if step.Verdict != want {
			t.Fatalf("step %d: %s", n+1, step)
		}
		in.Blind, in.Current = step.Blind, step.Next
	}
	if a := in.Current["a"]; a > 0.85 || a < 0.5 {
		t.Errorf("after ten steps of decay a has %v", a)
	}
	in.Signals = signals(0, 20, 20)
	if step := control.Loop(c, in); step.Blind != 0 || step.Verdict != control.Settled {
		t.Errorf("with the signal back: %+v", step)
	}
}

func TestTrackingMakesTheTrafficTrueWhereTheAnswersAreNot(t *testing.T) {
	c := loopConfig()
	c.DeadBand, c.Rate = 0.002, 1
	goal := control.Split{"a": 0.6, "b": 0.3, "c": 0.1}
	pull := control.Split{"a": 0.5, "b": 1.5, "c": 1} // resolvers behind b's answers are larger
	shares := goal
	for range 100 {
		traffic := control.Split{}
		for b, s := range shares {
			traffic[b] = s * pull[b]
		}
		traffic = traffic.Normal()
		sig := map[string]control.Signal{}
		for b, v := range traffic {
			sig[b] = control.Signal{Value: v * 1e6}
		}
		step := control.Loop(c, control.LoopInput{Current: shares, Weights: goal, Goal: goal,
			Signals: sig, Since: c.Interval})
		if step.Verdict == control.Settled {
			for b := range goal {
				if math.Abs(traffic[b]-goal[b]) > c.DeadBand {
					t.Errorf("%s settled at %.3f of the traffic, want %v", b, traffic[b], goal[b])
				}
			}
			return
		}
		shares = step.Next
	}
	t.Error("the loop did not settle in 100 steps")
}

func TestABackendWithoutAGoalEndsAtZeroAndOneWithAWeightKeepsAFloor(t *testing.T) {
	c := loopConfig()
	c.Rate = 1
	goal := control.Split{"a": 0.995, "b": 0.005, "c": 0}
	shares, weights := control.Split{"a": 1, "b": 1, "c": 1}, control.Split{"a": 1, "b": 1, "c": 1}
	for range 60 {
		shares = shares.Normal()
		sig := map[string]control.Signal{}
		for b, v := range shares {
			sig[b] = control.Signal{Value: v}
		}
		shares = control.Loop(c, control.LoopInput{Current: shares, Weights: weights, Goal: goal,
			Signals: sig, Since: c.Interval}).Next
	}
	if shares["c"] > 0.011 || shares["b"] < 0.0195 {
		t.Errorf("the shares end at %v", shares)
	}
}

func TestLowestLatencyWinsCyclesWhereTheLoopRests(t *testing.T) {
	plant := control.Plant{TTL: 30 * time.Second, Delay: 12 * time.Second,
		Interval: 10 * time.Second, Slope: 1}
	w := plantWorld{plant: plant, names: []string{"a", "b"}, base: []float64{20, 20.5},
		a: []float64{4, 4}, exponent: 1, start: control.Split{"a": 0.5, "b": 0.5},
		weights: control.Split{"a": 1, "b": 1}, factor: 1, config: loopConfig()}
	const steps = 720
	loop := w.path(plant.LargestGain(), steps, true)[steps/2:]

	a, b := newLagged(plant, 0.5, steps), newLagged(plant, 0.5, steps)
	var wins [][]float64
	for range steps {
		seenA, seenB := a.seen(), b.seen()
		share := 0.0
		if w.base[0]*(1+4*seenA) < w.base[1]*(1+4*seenB) {
			share = 1
		}
		a.add(share)
		b.add(1 - share)
		wins = append(wins, []float64{seenA})
	}
	t.Logf("swing of a's traffic in the last hour: %.1f points where the lowest latency wins, "+
		"%.1f points with the loop", 100*swing(wins[steps/2:]), 100*swing(loop))
	if swing(wins[steps/2:]) < 0.1 || swing(loop) > 0.02 {
		t.Error("the loop is no better")
	}
}

func TestALoopConfigThatMakesNoSenseIsRefused(t *testing.T) {
	if err := loopConfig().Validate(); err != nil {
		t.Fatal(err)
	}
	for name, spoil := range map[string]func(*control.LoopConfig){
		"gain":      func(c *control.LoopConfig) { c.Gain = math.NaN() },
		"dead band": func(c *control.LoopConfig) { c.DeadBand = 1 },
		"rate":      func(c *control.LoopConfig) { c.Rate = 0 },
		"floor":     func(c *control.LoopConfig) { c.Floor = 0.5 },
		"interval":  func(c *control.LoopConfig) { c.Interval = 0 },
	} {
		c := loopConfig()
		spoil(&c)
		if c.Validate() == nil {
			t.Errorf("%s: accepted %+v", name, c)
		}
	}
}
