package control_test

import (
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"pointsman/steering/control"
)

var start = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

func at(elapsed time.Duration, prev control.Shares, b control.Backend) control.Shares {
	b.Name, b.Usable, b.UsableSince = "a", true, start
	return control.Step(control.Inputs{
		Now: start.Add(elapsed), Prev: prev, Backends: []control.Backend{b},
	})
}

func TestAReturningBackendClimbsInTenEvenSteps(t *testing.T) {
	var shares control.Shares
	var seen []float64
	for elapsed := time.Duration(0); elapsed <= 31*time.Second; elapsed += 100 * time.Millisecond {
		next := at(elapsed, shares, control.Backend{Ramp: 30 * time.Second})
		if next.Epoch != shares.Epoch {
			seen = append(seen, next.Factor("a"))
		}
		if ideal := 0.1 + 0.9*elapsed.Seconds()/30; next.Factor("a") > ideal+1e-9 ||
			next.Factor("a") < min(ideal, 1)-0.1-1e-9 {
			t.Errorf("after %s the factor is %v, the line is at %.3f",
				elapsed, next.Factor("a"), ideal)
		}
		shares = next
	}
	want := []float64{0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1}
	if diff := cmp.Diff(want, seen); diff != "" {
		t.Error(diff)
	}
	if shares.Epoch != 10 || shares.Factors != nil {
		t.Errorf("after the ramp the shares are %+v", shares)
	}
}

func TestBackendsWithoutARampHaveTheirFullShare(t *testing.T) {
	prev := control.Shares{Epoch: 4}
	for name, b := range map[string]control.Backend{
		"never left": {Name: "a", Usable: true, Ramp: time.Minute},
		"no ramp":    {Name: "a", Usable: true, UsableSince: start},
		"away":       {Name: "a", UsableSince: start, Ramp: time.Minute},
		"back for long": {
			Name: "a", Usable: true, UsableSince: start.Add(-time.Hour), Ramp: time.Minute,
		},
		"returns tomorrow": {
			Name: "a", Usable: true, UsableSince: start.Add(24 * time.Hour), Ramp: time.Minute,
		},
	} {
		got := control.Step(control.Inputs{Now: start, Prev: prev, Backends: []control.Backend{b}})
		if diff := cmp.Diff(prev, got); diff != "" {
			t.Errorf("%s: %s", name, diff)
		}
	}
}

func TestASmallClockSkewStartsTheRamp(t *testing.T) {
	got := at(-time.Second, control.Shares{}, control.Backend{Ramp: time.Minute})
	if got.Factor("a") != 0.1 {
		t.Errorf("factor is %v, want 0.1", got.Factor("a"))
	}
}

func TestTheEpochRisesExactlyWithAFactor(t *testing.T) {
	ramp := control.Backend{Ramp: time.Minute}
	first := at(0, control.Shares{Epoch: 7}, ramp)
	if first.Epoch != 8 {
		t.Fatalf("epoch is %d, want 8", first.Epoch)
	}
	if again := at(time.Second, first, ramp); again.Epoch != 8 {
		t.Errorf("epoch is %d without a change, want 8", again.Epoch)
	}
	gone := control.Step(control.Inputs{Now: start, Prev: first})
	if gone.Epoch != 9 || gone.Factors != nil {
		t.Errorf("with the backend gone the shares are %+v", gone)
	}
}

func TestNoFactorIsEverZeroOrAboveOne(t *testing.T) {
	r := rand.New(rand.NewPCG(2, 2))
	var prev control.Shares
	for range 20_000 {
		var in control.Inputs
		in.Now, in.Prev = start, prev
		for i := range r.IntN(5) {
			in.Backends = append(in.Backends, control.Backend{
				Name: fmt.Sprint(i), Usable: r.IntN(4) > 0,
				UsableSince: start.Add(time.Duration(r.Uint64())), // before and after now
				Ramp:        time.Duration(r.Int64()) >> r.UintN(63),
			})
		}
		next := control.Step(in)
		for name, f := range next.Factors {
			if f <= 0 || f >= 1 {
				t.Fatalf("factor of %s is %v in %+v", name, f, in)
			}
		}
		if next.Epoch < prev.Epoch {
			t.Fatalf("epoch fell from %d to %d", prev.Epoch, next.Epoch)
		}
		prev = next
	}
}
