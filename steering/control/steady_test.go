package control_test

import (
	"math/rand/v2"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"pointsman/steering/control"
)

func TestALatencyStaysUntilItMovesFarEnough(t *testing.T) {
	const ms = time.Millisecond
	for _, c := range []struct {
		about          string
		was, now, want time.Duration
	}{
		{"the first", 0, 40 * ms, 40 * ms},
		{"a tenth more", 40 * ms, 44 * ms, 40 * ms},
		{"above a tenth", 40 * ms, 44*ms + 1, 44*ms + 1},
		{"a tenth less", 40 * ms, 36 * ms, 40 * ms},
		{"below that", 40 * ms, 36*ms - 1, 36*ms - 1},
		{"2 ms of little", 3 * ms, 5 * ms, 3 * ms},
		{"more than 2 ms of little", 3 * ms, 5*ms + 1, 5*ms + 1},
		{"not measured any more", 40 * ms, 0, 0},
		{"less than nothing", 40 * ms, -1, 0},
	} {
		prev, want := map[string]time.Duration{}, map[string]time.Duration{}
		if c.was > 0 {
			prev["a"] = c.was
		}
		if c.want > 0 {
			want["a"] = c.want
		}
		got := control.Steady(prev, map[string]time.Duration{"a": c.now})
		if d := cmp.Diff(want, got); d != "" {
			t.Errorf("%s (-want +got):\n%s", c.about, d)
		}
	}
}

func TestOneThatMovesLeavesTheOthersAsTheyWere(t *testing.T) {
	prev := map[string]time.Duration{"a": 40e6, "b": 50e6, "gone": 60e6}
	got := control.Steady(prev, map[string]time.Duration{"a": 41e6, "b": 70e6, "new": 1e6})
	want := map[string]time.Duration{"a": 40e6, "b": 70e6, "new": 1e6}
	if d := cmp.Diff(want, got); d != "" {
		t.Errorf("latencies (-want +got):\n%s", d)
	}
	if len(prev) != 3 {
		t.Error("what was before changed")
	}
}

func TestNoiseNeverMovesALatency(t *testing.T) {
	r := rand.New(rand.NewPCG(4, 2))
	held := control.Steady(nil, map[string]time.Duration{"a": 40 * time.Millisecond})
	for range 10_000 {
		noise := time.Duration(r.Int64N(int64(8 * time.Millisecond)))
		held = control.Steady(held, map[string]time.Duration{"a": 36*time.Millisecond + noise})
	}
	if held["a"] != 40*time.Millisecond {
		t.Errorf("held is %s", held["a"])
	}
}
