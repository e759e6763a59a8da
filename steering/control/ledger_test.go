package control_test

import (
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"pointsman/steering/control"
)

func ledger(t *testing.T, c control.Contract, slots int) *control.Ledger {
	t.Helper()
	l, err := control.NewLedger(c, slots)
	if err != nil {
		t.Fatal(err)
	}
	return l
}

func TestThe95thPercentileIsThatOfAllSlotsSorted(t *testing.T) {
	r := rand.New(rand.NewPCG(9, 5))
	for range 200 {
		slots := 1 + r.IntN(600)
		l := ledger(t, control.Contract{Peak: 2}, slots)
		var loads []float64
		for range slots {
			v := math.Floor(r.ExpFloat64() * 100)
			loads = append(loads, v)
			before := l.P95()
			l.Record(v)
			if l.P95() < before {
				t.Fatalf("the percentile fell from %v to %v", before, l.P95())
			}
		}
		slices.Sort(loads)
		want := loads[len(loads)-1-int(0.05*float64(slots))]
		if l.P95() != want || l.Bill() != 2*want {
			t.Fatalf("of %d slots: got %v and a bill of %v, want %v", slots, l.P95(), l.Bill(), want)
		}
	}
}

func TestAMonthSurvivesARestart(t *testing.T) {
	r := rand.New(rand.NewPCG(4, 4))
	contract := control.Contract{Peak: 2, CommitMbps: 10}
	whole, part := ledger(t, contract, 400), ledger(t, contract, 400)
	for slot := range 400 {
		if slot == 5 || slot == 200 {
			next := ledger(t, contract, 400)
			if err := next.Restore(part.State()); err != nil {
				t.Fatal(err)
			}
			part = next
		}
		load := r.ExpFloat64() * 100
		whole.Record(load)
		part.Record(load)
	}
	if diff := cmp.Diff(whole.State(), part.State()); diff != "" || whole.Bill() != part.Bill() {
		t.Error(diff)
	}
	before := part.State()
	for _, bad := range []control.LedgerState{
		{Slots: -1}, {Slots: 3, Top: []float64{1}}, {Slots: 2, Top: []float64{2, 1}},
		{Slots: 1, Top: []float64{math.NaN()}}, {GB: math.Inf(1)},
	} {
		if part.Restore(bad) == nil || cmp.Diff(before, part.State()) != "" {
			t.Errorf("%+v was taken up", bad)
		}
	}
}

func TestBurstsAreFreeWhileSlotsAreLeft(t *testing.T) {
	l := ledger(t, control.Contract{Peak: 3, CommitMbps: 100}, 200)
	for i, want := range []int{10, 9, 8} {
		if got := l.FreeLeft(100); got != want {
			t.Errorf("after %d bursts %d slots are left, want %d", i, got, want)
		}
		l.Record(500)
	}
	l.Record(100) // at the level is not above it
	if got := l.FreeLeft(100); got != 7 {
		t.Errorf("%d slots are left, want 7", got)
	}
	for range 7 {
		l.Record(400)
	}
	if got, bill := l.FreeLeft(100), l.Bill(); got != 0 || bill != 300 {
		t.Errorf("%d slots are left and the bill is %v, want 0 and the commit's 300", got, bill)
	}
	l.Record(300)
	if bill := l.Bill(); bill != 900 {
		t.Errorf("one burst too many makes the bill %v, want 900", bill)
	}
}

func TestThePriceOfABurstIsTheMonthsUnlessItsSlotIsFree(t *testing.T) {
	l := ledger(t, control.Contract{Peak: 2}, 100)
	forecast := make([]float64, 100)
	for i := range forecast {
		forecast[i] = float64(100 * (i + 1)) // 100 to 10,000
	}
	l.Plan(forecast, 2/(20*0.0375)) // 20 slots elsewhere cost as much as the month's Mbit/s
	paid := int64(7_500)            // 5 free slots and 20 that pay are above it
	for total, want := range map[float64][]control.Segment{
		9_000: {{UpTo: paid}, {Price: 2e9}},
		9_900: {{Price: 0}},
	} {
		if diff := cmp.Diff(want, l.Curve(total)); diff != "" {
			t.Errorf("at %v: %s", total, diff)
		}
	}
	for range 5 {
		l.Record(9_900)
	}
	if diff := cmp.Diff([]control.Segment{{UpTo: paid}, {Price: 2e9}}, l.Curve(9_900)); diff != "" {
		t.Errorf("with all free slots used: %s", diff)
	}
}

func TestACommitIsFreeUntilItIsSureToBeUsed(t *testing.T) {
	contract := control.Contract{CommitGB: 1_000,
		Tiers: []control.Tier{{UpTo: 2_000, Price: 0.04}, {Price: 0.03}}}
	pace := 1_000 / 0.0375 / (30 * 288) // Mbit/s that use the commit up exactly
	for factor, want := range map[float64]float64{0.8: 0, 1: 0.02, 1.5: 0.04} {
		l := ledger(t, contract, 30*288)
		for range 10 * 288 {
			l.Record(pace * factor)
		}
		if got := l.Marginal(); math.Abs(got-want) > 1e-9 {
			t.Errorf("at %v of the pace a GB costs %v, want %v", factor, got, want)
		}
		if got := l.Bill(); math.Abs(got-40) > 1e-9 {
			t.Errorf("the bill is %v, want the commit's 40", got)
		}
	}
	l := ledger(t, contract, 30*288)
	l.Record(3_000 / 0.0375)
	if got := l.Marginal(); got != 0.03 {
		t.Errorf("in the second tier a GB costs %v, want 0.03", got)
	}
	if got := l.Bill(); math.Abs(got-110) > 1e-9 {
		t.Errorf("3,000 GB cost %v, want 110", got)
	}
}

func TestAContractThatMakesNoSenseIsRefused(t *testing.T) {
	for want, c := range map[string]control.Contract{
		"numbers":               {CommitGB: -1},
		"not both":              {Peak: 1, Tiers: []control.Tier{{Price: 1}}},
		"needs a price of 95/5": {CommitMbps: 5},
		"tier 1":                {Tiers: []control.Tier{{UpTo: 5, Price: 1}}},
		"tier 2":                {Tiers: []control.Tier{{UpTo: 5, Price: 1}, {Price: math.NaN()}}},
	} {
		if _, err := control.NewLedger(c, 100); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want %q", err, want)
		}
	}
	if _, err := control.NewLedger(control.Contract{}, 0); err == nil {
		t.Error("a month without slots was opened")
	}
}
