package steering_test

import (
	"net/netip"
	"testing"

	"pointsman/steering"
)

// TestABackendWithoutAFamilyIsPickedAllTheSame holds that the type of a query moves no client: the
// table hands out one decision, and a family that the backend lacks is empty in it (NODATA).
func TestABackendWithoutAFamilyIsPickedAllTheSame(t *testing.T) {
	s := spec(func(s *steering.Spec) {
		s.Pools[0] = steering.Pool{Name: "cdns", Members: []steering.Member{
			{Backend: "edge", Weight: 1}, {Backend: "origin", Weight: 1}}}
	})
	table, err := steering.Compile(steering.Inputs{Version: 1, Now: start, Spec: s, View: view(1)})
	if err != nil {
		t.Fatal(err)
	}
	picked := map[string]int{}
	for i := range uint64(1024) {
		d, _ := table.Pick(steering.Query{Host: host, Draw: i << 54,
			Client: netip.MustParsePrefix("192.0.2.0/24")})
		picked[d.Backend]++
		if lacks := d.Backend == "origin"; len(d.V4) != 1 || len(d.V6) == 0 != lacks {
			t.Fatalf("%s answers with %v and %v", d.Backend, d.V4, d.V6)
		}
	}
	if picked["edge"] != 512 || picked["origin"] != 512 {
		t.Errorf("picked are %v, want 512 each: no client was moved for its type", picked)
	}
}
