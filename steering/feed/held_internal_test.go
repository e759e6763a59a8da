package feed

import (
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"pointsman/steering"
)

// at is a moment after the start.
func at(seconds float64) time.Time {
	return start.Add(time.Duration(seconds * float64(time.Second)))
}

// hears tells a feed's values at moments and returns what is in force after each.
func hears(f *Feed, field steering.Field, h Held, list ...float64) (Held, string) {
	out := ""
	for i := 0; i < len(list); i += 2 {
		now := at(list[i])
		h = h.hear(f, field, said{value: uint64(list[i+1]), at: now}, now)
		out += fmt.Sprintf(" %s", text(field, h.Value, h.None))
	}
	return h, out
}

func TestAFlappingFeedChangesNoMoreThanOncePerHold(t *testing.T) {
	f, h := noc(), Held{}
	changes, last := 0, ""
	for s := range 600 { // ten minutes of up and down, once a second
		h = h.hear(f, steering.FieldUp, said{value: uint64(s % 2), at: at(float64(s))}, at(float64(s)))
		if is := text(steering.FieldUp, h.Value, h.None); is != last {
			changes, last = changes+1, is
		}
	}
	if changes > 61 || changes < 20 {
		t.Errorf("%d changes in 600 s with a hold of 10 s", changes)
	}
	// Withdrawing and saying again is no way around it.
	h, changes, last = Held{}, 0, ""
	for s := range 600 {
		h = h.hear(f, steering.FieldUp, said{withdrawn: s%2 == 1, at: at(float64(s))}, at(float64(s)))
		if is := text(steering.FieldUp, h.Value, h.None); is != last {
			changes, last = changes+1, is
		}
	}
	if changes > 61 || changes < 20 {
		t.Errorf("%d changes in 600 s by withdrawing", changes)
	}
}

func TestTheFirstValueCountsAtOnceAndTheNextWaitsForHold(t *testing.T) {
	f := noc()
	h, got := hears(f, steering.FieldUp, Held{}, 0, 1, 100, 0, 103, 1)
	if got != " true false false" {
		t.Errorf("in force were%s", got)
	}
	if was := h.settle(f, steering.FieldUp, at(109)); was.Value != 0 {
		t.Error("the change came before hold")
	}
	is := h.settle(f, steering.FieldUp, at(200))
	if is.Value != 1 || !is.Since.Equal(at(110)) {
		t.Errorf("after hold %d is in force since %s", is.Value, is.Since)
	}
}

func TestSmallMovesOfWeightsCapacitiesAndCostsAreNone(t *testing.T) {
	f := noc()
	for _, field := range []steering.Field{steering.FieldWeight, steering.FieldCapacity,
		steering.FieldCost} {
		h, _ := hears(f, field, Held{}, 0, 100, 20, 102, 40, 99)
		if h.Value != 100 {
			t.Errorf("%s: %d", field, h.Value)
		}
		// It doesn't creep: the distance is that from what is in force.
		if h, _ = hears(f, field, h, 60, 103); h.Value != 103 {
			t.Errorf("%s: %d after 3 %%", field, h.Value)
		}
	}
	if h, _ := hears(noc(), steering.FieldWeight, Held{}, 0, 0, 20, 1, 40, 0); h.Value != 0 {
		t.Errorf("to 0: %d", h.Value)
	}
}

func TestValuesEndAfterKeepAndTheNextCountsAtOnce(t *testing.T) {
	f := noc()
	h, _ := hears(f, steering.FieldWeight, Held{}, 0, 50)
	b := book{key{"a", steering.FieldWeight, ""}: h}
	for when, want := range map[float64]int{0: 1, 299: 1, 300: 0} {
		held := 0
		for _, v := range values(f, b, at(when)) {
			if v.Active(at(when)) {
				held++
			}
		}
		if held != want {
			t.Errorf("after %gs %d hold", when, held)
		}
	}
	if n := len(values(f, b, at(300+86400+1))); n != 0 {
		t.Errorf("%d are shown after a day", n)
	}
	h, _ = hears(f, steering.FieldWeight, h, 1000, 51)
	if h.Value != 51 || h.None {
		t.Errorf("after a silence %d is in force", h.Value)
	}
}

func TestAClockThatJumpsBackHoldsNothingUp(t *testing.T) {
	f := noc()
	h, _ := hears(f, steering.FieldUp, Held{}, 86400, 1)
	if (said{at: at(0)}).older(h, at(0)) {
		t.Error("a value from the future keeps newer ones out")
	}
	h, _ = hears(f, steering.FieldUp, h, 0, 0, 11, 0)
	if h.Value != 0 {
		t.Error("a change waits for the day to pass")
	}
	honest, _ := hears(f, steering.FieldUp, Held{}, 0, 0)
	ahead, _ := hears(f, steering.FieldUp, Held{}, 86400, 1)
	if ahead.newer(honest, at(0)) || !honest.newer(ahead, at(0)) {
		t.Error("a record from the future wins")
	}
}

func TestNodesChooseTheSameRecordInWhateverOrderTheyMeet(t *testing.T) {
	rng := rand.New(rand.NewPCG(4, 4))
	random := func() Held {
		return Held{Value: rng.Uint64N(2), None: rng.IntN(2) == 0, Since: at(float64(rng.IntN(3))),
			Latest: rng.Uint64N(2), Withdrawn: rng.IntN(2) == 0, At: at(float64(rng.IntN(3))),
			Heard: at(float64(rng.IntN(2)))}
	}
	for range 2000 {
		a, b, c := random(), random(), random()
		best := func(list ...Held) Held {
			best := list[0]
			for _, h := range list[1:] {
				if h.newer(best, at(10)) {
					best = h
				}
			}
			return best
		}
		if one, two := best(a, b, c), best(c, b, a); one != two {
			t.Fatalf("%+v or %+v", one, two)
		}
	}
}

func TestLoadsAreToldAsMeasuredWithTheirAge(t *testing.T) {
	f := noc()
	d, err := decode(f, []byte(`{"backends": {"a": {"load": 1234.5, "at": "2026-03-01T11:59:00Z",
		"hosts": {"cdn.example.test": {"load": 900}}}}}`), start)
	if err != nil {
		t.Fatal(err)
	}
	b := book{}
	for at, s := range d.said {
		b[at] = Held{}.hear(f, at.Field, s, start)
	}
	into := map[string]Load{}
	loads(f, b, start, into)
	l := into["a"]
	if l.PerSecond != 1234.5 || !l.At.Equal(at(-60)) || l.Feed != "noc" ||
		l.Hosts["cdn.example.test"].PerSecond != 900 {
		t.Errorf("%+v", l)
	}
	into = map[string]Load{}
	if loads(f, b, at(300), into); len(into) != 0 {
		t.Errorf("after keep: %+v", into)
	}
}
