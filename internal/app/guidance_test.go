package app_test

import (
	"math"
	"net/netip"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"pointsman/steering/control"
)

func TestARestartGoesOnWithTheGuidanceThatWasFollowed(t *testing.T) {
	s := newSite(t)
	n := s.start()
	eventually(t, "readiness", func() bool { return n.status().Ready })
	scope := control.Scope{Host: "cdn.example.test."}
	g := control.Guidance{Epoch: 4, Seq: 2, At: time.Now().UTC().Round(0),
		Splits: map[control.Scope]control.Split{scope: {"one": 0.9, "two": 0.1}},
		Traffic: map[control.Scope][]control.Assigned{scope: {{
			Prefix: netip.MustParsePrefix("192.0.2.53/32"), Cycle: []string{"two"},
			TTL: 5 * time.Second}}},
		Why: map[control.Scope]string{scope: "two is slower"}}
	if err := n.Follow(g); err != nil {
		t.Fatal(err)
	}
	guided := func(of *node) bool {
		for _, share := range of.Shares(scope.Host) {
			if share.Backend == "one" && math.Abs(share.Share-0.9) < 1e-6 {
				return true
			}
		}
		return false
	}
	eventually(t, "the split in force", func() bool { return guided(n) })
	if err := n.stop(); err != nil {
		t.Fatal(err)
	}
	n = s.start()
	if !guided(n) {
		t.Errorf("the first table after the restart has shares %v", n.Shares(scope.Host))
	}
	if diff := cmp.Diff(g, n.Followed(), cmpopts.EquateComparable(netip.Prefix{})); diff != "" {
		t.Errorf("guidance after the restart (-before +after):\n%s", diff)
	}
	if err := n.Follow(control.Guidance{Epoch: 4, Seq: 1}); err == nil {
		t.Error("what was decided before the restart is followed after it")
	}
}
