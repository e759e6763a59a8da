package steering_test

import (
	"fmt"
	"net/netip"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"pointsman/steering"
)

func TestVariantsAreAllThatAHostCanAnswerWhateverItsHealth(t *testing.T) {
	twice := func(s *steering.Spec) { // a backend in two pools is one variant
		s.Pools[1].Members = append(s.Pools[1].Members, steering.Member{Backend: "origin", Weight: 1})
	}
	want := []string{"a a.cdn.test. [] [] 20", "b b.cdn.test. [] [] 20", "c c.cdn.test. [] [] 20",
		"edge  [192.0.2.44] [2001:db8::44] 20", "origin  [192.0.2.80] [] 20"}
	for about, in := range map[string]steering.Inputs{
		"all well": {Spec: spec(twice)},
		"all down": {Spec: spec(twice), View: view(1, "a", "b", "c", "edge", "origin")},
		"pinned":   {Spec: spec(twice), Overrides: []steering.Override{override(steering.Pin, "b")}},
	} {
		table := compile(t, in)
		var got []string
		for _, d := range table.Variants(host) {
			got = append(got, fmt.Sprint(d.Backend, " ", d.CNAME, " ", d.V4, " ", d.V6, " ", d.TTL))
		}
		if d := cmp.Diff(want, got); d != "" {
			t.Errorf("%s (-want +got):\n%s", about, d)
		}
		if got := table.Variants("other.test."); got != nil {
			t.Errorf("%s: a name that isn't steered has variants: %v", about, got)
		}
	}
}

func TestTablesHaveTheSameVariantsUnlessAnAnswerChanges(t *testing.T) {
	base := spec()
	table := compile(t, steering.Inputs{Spec: base})
	for _, c := range []struct {
		about string
		other *steering.Table
		want  bool
	}{
		{"itself", table, true},
		{"none", nil, false},
		{"other health", compile(t, steering.Inputs{Spec: base, View: view(2, "a")}), true},
		{"an equal spec", compile(t, steering.Inputs{Spec: spec()}), true},
		{"other weights", compile(t, steering.Inputs{Spec: spec(func(s *steering.Spec) {
			s.Pools[0].Members[0].Weight = 1
		})}), true},
		{"another target", compile(t, steering.Inputs{Spec: spec(func(s *steering.Spec) {
			s.Backends[2].CNAME = "d.cdn.test."
		})}), false},
		{"another address", compile(t, steering.Inputs{Spec: spec(func(s *steering.Spec) {
			s.Backends[4].Addresses = []netip.Addr{netip.MustParseAddr("192.0.2.81")}
		})}), false},
		{"a service binding", compile(t, steering.Inputs{Spec: spec(func(s *steering.Spec) {
			s.Backends[4].HTTPS = &steering.HTTPS{Priority: 1}
		})}), false},
		{"another TTL", compile(t, steering.Inputs{Spec: spec(func(s *steering.Spec) {
			s.Hosts[0].TTL = time.Minute
		})}), false},
		{"another host", compile(t, steering.Inputs{Spec: spec(func(s *steering.Spec) {
			s.Hosts[0].Name = "www.example.test."
		})}), false},
		{"one pool less", compile(t, steering.Inputs{Spec: spec(func(s *steering.Spec) {
			s.Hosts[0].Pools = s.Hosts[0].Pools[:2]
		})}), false},
	} {
		if got := table.SameVariants(c.other); got != c.want {
			t.Errorf("%s: %v, want %v", c.about, got, c.want)
		}
	}
	var none *steering.Table
	if !none.SameVariants(nil) || none.SameVariants(table) {
		t.Error("no table has the variants of one")
	}
}
