//go:build !race

package geo_test

import "testing"

func TestLookingUpAllocatesNothing(t *testing.T) {
	l := builtin(t)
	c := l.Classify(europe())
	v4, v6 := visitors(100, false), visitors(100, true)
	i := 0
	if n := testing.AllocsPerRun(1000, func() {
		i = (i + 1) % 100
		c.Find(v4[i])
		c.Find(v6[i])
		l.Locate(v4[i].Addr())
		l.Locate(v6[i].Addr())
	}); n != 0 {
		t.Errorf("%v allocations, want none", n)
	}
}
