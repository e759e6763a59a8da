package control_test

import (
	"testing"

	"pointsman/steering/control"
)

func TestGuidanceIsOrderedByItsLeaderFirst(t *testing.T) {
	t.Parallel()
	old := control.Guidance{Epoch: 3, Seq: 9}
	for _, c := range []struct {
		epoch, seq uint64
		want       bool
	}{{3, 10, true}, {4, 1, true}, {3, 9, false}, {3, 8, false}, {2, 100, false}} {
		if got := (control.Guidance{Epoch: c.epoch, Seq: c.seq}).Newer(old); got != c.want {
			t.Errorf("epoch %d, seq %d is newer than 3, 9: %v", c.epoch, c.seq, got)
		}
	}
}
