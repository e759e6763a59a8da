//go:build !race

package control_test

import (
	"testing"
	"time"

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

func TestALookupOfAKnownHostAllocatesNothing(t *testing.T) {
	c := control.NewCensus(64)
	n := 0
	if got := testing.AllocsPerRun(10_000, func() {
		c.Add(control.Lookup{Host: "cdn.example.com.", Client: resolver(n % 500),
			At: time.Duration(n) * time.Second, TTL: 20 * time.Second})
		n += 7
	}); got != 0 {
		t.Errorf("an Add allocates %v times", got)
	}
}
