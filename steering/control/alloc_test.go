//go:build !race

package control_test

import (
	"testing"

	"pointsman/steering/control"
)

// The race detector allocates by itself, so this is not built with it.

func TestCountingALoadAllocatesNothing(t *testing.T) {
	s := control.NewSketch(64)
	n := 0
	if got := testing.AllocsPerRun(10_000, func() {
		s.Add(resolver(n), 1)
		n += 7
	}); got != 0 {
		t.Errorf("an Add allocates %v times", got)
	}
}
