package control_test

import (
	"fmt"
	"math"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"pointsman/steering/control"
)

// settle makes steps until one settles, with traffic that is as answers are, times a pull.
func settle(t *testing.T, in control.LoopInput, signal func(b string, share float64) float64,
	steps int) control.Split {
	t.Helper()
	c := loopConfig()
	c.Floor = 0.1
	in.Since = c.Interval
	for range steps {
		in.Signals = map[string]control.Signal{}
		for b := range in.Weights {
			in.Signals[b] = control.Signal{Value: signal(b, in.Current[b])}
		}
		step := control.Loop(c, in)
		if step.Verdict == control.Settled {
			return in.Current
		}
		in.Current = step.Next
	}
	t.Errorf("it did not settle in %d steps, at %v", steps, in.Current)
	return in.Current
}

func TestTheLoopSettlesAtItsFloors(t *testing.T) {
	same := func(_ string, share float64) float64 { return share }
	many := control.LoopInput{Current: control.Split{}, Weights: control.Split{},
		Goal: control.Split{}}
	for i := range 30 { // whose floors of a tenth would be more than there is
		b := fmt.Sprint("b", i)
		many.Current[b], many.Weights[b], many.Goal[b] = 1, 1, 0.001
	}
	many.Goal["b0"] = 1
	many.Current = many.Current.Normal()
	end := settle(t, many, same, 2_000)
	if rest := 1 - end["b0"]; rest < 0.4 || rest > 0.6 {
		t.Errorf("the floors add up to %v", rest)
	}
	low := control.LoopInput{Current: control.Split{"a": 0.5, "b": 0.5},
		Weights: control.Split{"a": 1, "b": 1}, Goal: control.Split{"a": 0.99, "b": 0.01}}
	if b := settle(t, low, same, 500)["b"]; math.Abs(b-0.1) > 0.011 {
		t.Errorf("b ends at %v, not at its floor", b)
	}
	pulled := func(b string, share float64) float64 { // its floor brings more than it should
		if b == "b" {
			return 1.5 * share
		}
		return share
	}
	if b := settle(t, low, pulled, 500)["b"]; math.Abs(b-0.1) > 1e-9 {
		t.Errorf("b ends at %v, not at its floor", b)
	}
	low.Goal = nil
	slower := func(b string, share float64) float64 {
		if b == "b" {
			return 90
		}
		return 20
	}
	if b := settle(t, low, slower, 500)["b"]; math.Abs(b-0.1) > 1e-9 {
		t.Errorf("the slow one ends at %v, not at its floor", b)
	}
}

func TestOthersShareWhatBackendsAtTheirFloorsLeave(t *testing.T) {
	c := loopConfig()
	step := control.Loop(c, control.LoopInput{Since: c.Interval,
		Current: control.Split{"a": 0.49, "b": 0.49, "c": 0.02},
		Weights: control.Split{"a": 1, "b": 1, "c": 1}, Signals: signals(0, 20, 24, 900)})
	if step.Backend != "a" && step.Backend != "b" || step.Next["c"] != 0.02 ||
		!(step.Next["a"] > 0.49) || !(step.Next["b"] < 0.49) {
		t.Errorf("got %+v", step)
	}
}

func TestACacheThatMakesNoSenseIsRefusedAndNeverGivesNaN(t *testing.T) {
	good := control.Cache{Cold: 0.9, Warm: 0.1, WorkingSet: 1_000, Life: time.Hour}
	if err := good.Validate(); err != nil {
		t.Fatal(err)
	}
	for name, spoil := range map[string]func(*control.Cache){
		"cold": func(c *control.Cache) { c.Cold = math.NaN() },
		"warm": func(c *control.Cache) { c.Warm = 0.95 },
		"set":  func(c *control.Cache) { c.WorkingSet = 0 },
		"life": func(c *control.Cache) { c.Life = 0 },
	} {
		c := good
		spoil(&c)
		if c.Validate() == nil {
			t.Errorf("%s: accepted %+v", name, c)
		}
	}
	var got []float64
	for _, c := range []control.Cache{{Life: time.Hour}, {WorkingSet: 1}, {}} {
		for _, rate := range []float64{0, 10} {
			got = append(got, math.Round(1_000*c.After(0.5, rate, time.Hour)))
		}
	}
	if diff := cmp.Diff([]float64{184, 1_000, 0, 0, 0, 0}, got); diff != "" {
		t.Error(diff)
	}
}

func TestALatencyBoundBeyondAnHourIsRefused(t *testing.T) {
	for bound, ok := range map[control.Bound]bool{
		{Within: time.Hour}: true, {Within: time.Hour + 1}: false, {Within: -1}: false,
	} {
		if _, err := control.Solve(control.Problem{Bound: bound}); (err == nil) != ok {
			t.Errorf("%+v: %v", bound, err)
		}
	}
}
