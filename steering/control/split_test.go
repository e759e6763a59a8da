package control_test

import (
	"encoding/json"
	"fmt"
	"math"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"pointsman/steering/control"
)

func TestWeightsAddUpExactlyAndDrainedOnesStayDrained(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 6))
	for range 5_000 {
		s := control.Split{}
		for n := range 1 + r.IntN(12) {
			s[fmt.Sprint(n)] = []float64{0, 1e-12, r.Float64(), 1, math.NaN(), -1}[r.IntN(6)]
		}
		norm := s.Normal()
		sum := uint32(0)
		for b, w := range s.Weights() {
			if (w == 0) != !(norm[b] > 0) {
				t.Fatalf("a share of %v has the weight %d", norm[b], w)
			}
			if off := math.Abs(float64(w)/control.WeightTotal - norm[b]); off > 12e-6 {
				t.Fatalf("a share of %v has the weight %d", norm[b], w)
			}
			sum += w
		}
		if norm != nil && sum != control.WeightTotal || norm == nil && sum != 0 {
			t.Fatalf("the weights of %v add up to %d", s, sum)
		}
	}
}

func TestSharesOfHostsAndPlacesSurviveJSON(t *testing.T) {
	want := control.Shares{Epoch: 3, Factors: map[string]float64{"a": 0.5},
		Splits: map[control.Scope]control.Split{
			{Host: "cdn.test."}:              {"a": 0.25, "b": 0.75},
			{Host: "cdn.test.", Place: "at"}: {"a": 1},
		}}
	raw, err := json.Marshal(want)
	if err != nil {
		t.Fatal(err)
	}
	var got control.Shares
	if err := json.Unmarshal(raw, &got); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	if s, ok := got.Split("cdn.test.", "at"); !ok || s["a"] != 1 {
		t.Errorf("the split at a place is %v", s)
	}
	if s, ok := got.Split("cdn.test.", "de"); ok {
		t.Errorf("a place without a split has %v", s)
	}
	if err := json.Unmarshal([]byte(`{"splits": {"cdn.test.": {"a": 1}}}`), &got); err == nil {
		t.Error("a scope without a space was accepted")
	}
}

func TestANewSplitRaisesTheEpochAndAnEqualOneDoesNot(t *testing.T) {
	splits := func(a float64) map[control.Scope]control.Split {
		return map[control.Scope]control.Split{{Host: "cdn.test."}: {"a": a, "b": 1 - a}}
	}
	first := control.Step(control.Inputs{Now: start, Splits: splits(0.5)})
	again := control.Step(control.Inputs{Now: start, Prev: first, Splits: splits(0.5)})
	other := control.Step(control.Inputs{Now: start, Prev: again, Splits: splits(0.4)})
	gone := control.Step(control.Inputs{Now: start, Prev: other})
	for i, s := range []control.Shares{first, again, other, gone} {
		if want := []uint64{1, 1, 2, 3}[i]; s.Epoch != want {
			t.Errorf("the epoch after step %d is %d, want %d", i+1, s.Epoch, want)
		}
	}
	if split, ok := other.Split("cdn.test.", ""); !ok || split["a"] != 0.4 {
		t.Errorf("the split is %v", split)
	}
}

func TestAColdBackendHasNoMoreThanItsLimit(t *testing.T) {
	for limit, want := range map[float64]float64{
		0: 1, 1: 1, 0.99: 0.9, 0.3: 0.3, 0.1: 0.1, 0.07: 0.05, 0.012: 0.01, 1e-9: 0.001,
	} {
		got := control.Step(control.Inputs{Now: start, Backends: []control.Backend{
			{Name: "a", Usable: true, Limit: limit}}}).Factor("a")
		if got != want {
			t.Errorf("with a limit of %v the factor is %v, want %v", limit, got, want)
		}
	}
	// The slow start holds it lower still.
	got := at(30*time.Second, control.Shares{}, control.Backend{Ramp: time.Minute, Limit: 0.8})
	if got.Factor("a") != 0.5 {
		t.Errorf("half way of the ramp the factor is %v, want 0.5", got.Factor("a"))
	}
}
