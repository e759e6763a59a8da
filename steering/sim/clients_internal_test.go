package sim

import (
	"math"
	"testing"
	"time"

	"pointsman/steering/control"
)

func TestClientsLeaveAsTheyWereMeasuredTo(t *testing.T) {
	for _, ttl := range []time.Duration{5 * time.Second, 20 * time.Second, 5 * time.Minute} {
		c := newClients(ttl, []float64{1, 0})
		left := []float64{0, 1}
		for after := tick; after <= time.Hour; after += tick {
			got := c.step(left)
			if sum := got[0] + got[1]; math.Abs(sum-1) > 1e-9 {
				t.Fatalf("TTL %v, after %v: shares add up to %v", ttl, after, sum)
			}
			if want := control.Residual(ttl, after); math.Abs(got[0]-want) > 0.001 {
				t.Fatalf("TTL %v, after %v: %.4f are still there, want %.4f", ttl, after,
					got[0], want)
			}
		}
	}
}

func TestAProbeThatTakesLongerThanItsIntervalLeavesSlotsOut(t *testing.T) {
	const s = time.Second
	for _, c := range []struct{ slot, done, want time.Duration }{
		{5 * s, 5*s + 50*time.Millisecond, 6 * s},
		{5 * s, 6 * s, 6 * s},
		{5 * s, 7 * s, 7 * s},
		{5 * s, 7*s + 900*time.Millisecond, 7 * s},
	} {
		if got := next(c.slot, c.done, s); got != c.want {
			t.Errorf("after slot %v, done at %v, comes %v, want %v", c.slot, c.done, got, c.want)
		}
	}
}

func TestTheJudgesStepAsDocumented(t *testing.T) {
	play := func(judge func(*verdict, bool), line string) string {
		var j verdict
		out := ""
		for _, c := range line {
			judge(&j, c == '+')
			if j.down {
				out += "x"
			} else {
				out += "."
			}
		}
		return out
	}
	for _, c := range []struct {
		name  string
		judge func(*verdict, bool)
		line  string
		want  string
	}{
		{"three in a row", inARow(3, 3), "--+---++-+++", ".....xxxxxx."},
		{"back after one", inARow(4, 1), "----+-", "...x.."},
		{"gdnsd counts failures through 9 successes", leaky,
			"-----+++++++++-----", "..................x"},
		{"and forgets them after 10", leaky,
			"-----++++++++++-----", "...................."},
		{"and is back after 20 in a row", leaky,
			"----------" + "+++++++++++++++++++-" + "++++++++++++++++++++",
			".........x" + "xxxxxxxxxxxxxxxxxxxx" + "xxxxxxxxxxxxxxxxxxx."},
	} {
		if got := play(c.judge, c.line); got != c.want {
			t.Errorf("%s: %s\n got %s\nwant %s", c.name, c.line, got, c.want)
		}
	}
}

func TestAnswersWhenNothingIsUp(t *testing.T) {
	w := &weights{weight: []float64{40, 35, 25, 1}, tier: []int{0, 0, 0, 1}}
	for _, c := range []struct {
		name   string
		answer func(*weights, []bool, []float64)
		up     []bool
		want   [4]float64
	}{
		{"all as healthy", allAsHealthy, []bool{false, false, false, false}, [4]float64{40, 35, 25, 0}},
		{"the next tier", allAsHealthy, []bool{false, false, false, true}, [4]float64{0, 0, 0, 1}},
		{"the fallback pool", lastResort, []bool{false, false, false, false}, [4]float64{0, 0, 0, 1}},
		{"any", anyOf, []bool{false, false, false, false}, [4]float64{1, 1, 1, 1}},
		{"half of the weight is enough", halfUp, []bool{false, true, true, true}, [4]float64{0, 35, 25, 0}},
		{"less is not", halfUp, []bool{true, false, false, true}, [4]float64{0, 0, 0, 1}},
		{"and then all", halfUp, []bool{true, false, false, false}, [4]float64{40, 35, 25, 0}},
	} {
		var got [4]float64
		c.answer(w, c.up, got[:])
		if got != c.want {
			t.Errorf("%s: got %v, want %v", c.name, got, c.want)
		}
	}
}
