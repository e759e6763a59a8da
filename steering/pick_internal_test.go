package steering

import (
	"math"
	"math/rand/v2"
	"testing"
)

func TestTheIntegerLogarithmIsCloseToTheRealOne(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 1))
	values := []uint64{0, 1, 2, 3, 1 << 31, 1<<63 - 1, 1 << 63, math.MaxUint64}
	for range 100_000 {
		values = append(values, r.Uint64()>>r.UintN(64))
	}
	for _, u := range values {
		want := 64 - math.Log2(float64(max(u, 1)))
		got := float64(negLog2(u)) / (1 << 32)
		if math.Abs(got-want) > 3e-6 {
			t.Fatalf("negLog2(%d) is %.9f, want %.9f", u, got, want)
		}
	}
}

func TestThresholdsCoverTheWholeRange(t *testing.T) {
	for _, c := range []struct{ sum, total, want uint64 }{
		{1, 2, 1<<63 - 1},
		{1, 1, math.MaxUint64},
		{1, 1 << 40, 1<<24 - 1},
		{3, 4, 3<<62 - 1},
	} {
		if got := threshold(c.sum, c.total); got != c.want {
			t.Errorf("threshold(%d, %d) is %d, want %d", c.sum, c.total, got, c.want)
		}
	}
}
