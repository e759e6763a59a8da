package steering_test

import (
	"net/netip"
	"strings"
	"testing"

	"pointsman/steering"
)

func germans() *steering.Audience { return &steering.Audience{Countries: []string{"DE"}} }

// bounded lets a answer Germans alone and keeps b from Austrians.
func bounded(s *steering.Spec) {
	s.Backends[0].Allow = germans()
	s.Backends[1].Deny = &steering.Audience{Countries: []string{"AT"}}
}

func TestConstraintsHoldWhateverElseHappens(t *testing.T) {
	clients := map[string]netip.Prefix{"DE": netip.MustParsePrefix("20.1.0.0/24"),
		"AT": netip.MustParsePrefix("20.2.0.0/24"), "nowhere": netip.MustParsePrefix("9.9.9.9/32")}
	for _, c := range []struct {
		about     string
		edit      func(*steering.Spec)
		down      []string
		overrides []steering.Override
		want      map[string]string
	}{
		{"all is well", bounded, nil, nil, map[string]string{
			"DE": "a:70 b:20 c:10", "AT": "c:100", "nowhere": "b:66.67 c:33.33"}},
		{"the last one allowed is down: the next pool", bounded, []string{"c"}, nil,
			map[string]string{"AT": "edge:100"}},
		{"all are down: as if all were healthy, those allowed", bounded,
			[]string{"a", "b", "c", "edge", "origin"}, nil,
			map[string]string{"DE": "a:70 b:20 c:10", "AT": "c:100"}},
		{"all are drained: those allowed", bounded, nil, []steering.Override{
			override(steering.Drain, "a"), override(steering.Drain, "b"),
			override(steering.Drain, "c"), override(steering.Drain, "edge"),
			override(steering.Drain, "origin")},
			map[string]string{"DE": "a:33.33 b:33.33 c:33.33", "AT": "c:100"}},
		{"a pin holds where it may", bounded, nil,
			[]steering.Override{override(steering.Pin, "a")},
			map[string]string{"DE": "a:100", "AT": "c:100"}},
		{"places and constraints together", func(s *steering.Spec) { placed(s); bounded(s) }, nil,
			nil, map[string]string{"nowhere": "b:66.67 c:33.33"}},
	} {
		t.Run(c.about, func(t *testing.T) {
			table := compile(t, steering.Inputs{Spec: spec(c.edit), View: view(1, c.down...),
				Overrides: c.overrides, Countries: atlas(t)})
			for where, want := range c.want {
				place, _ := table.Place(host, clients[where])
				if got := shareText(table.SharesAt(host, place)); got != want {
					t.Errorf("%s (%q): shares are %q, want %q", where, place, got, want)
				}
			}
		})
	}
}

func TestNoClientGetsABackendThatMayNotAnswerIt(t *testing.T) {
	table := compile(t, steering.Inputs{Spec: spec(bounded), Countries: atlas(t)})
	l := atlas(t)
	for i := range 1 << 16 {
		a := netip.AddrFrom4([4]byte{20, byte(i >> 8), byte(i), 7})
		d, ok := table.Pick(steering.Query{Host: host, Client: netip.PrefixFrom(a, 32),
			Draw: uint64(i) * 0x9e3779b97f4a7c15})
		where, _ := l.Locate(a)
		if !ok || d.Backend == "a" && where.Country != "DE" || d.Backend == "b" && where.Country == "AT" {
			t.Fatalf("%s in %q gets %q", a, where.Country, d.Backend)
		}
		if d.Scope == 0 {
			t.Fatalf("%s: scope 0 while not all get the same", a)
		}
	}
}

func TestConstraintsThatLeaveNobodyAreRefused(t *testing.T) {
	_, err := steering.Compile(steering.Inputs{Version: 1, Countries: atlas(t),
		Spec: spec(func(s *steering.Spec) {
			for i := range s.Backends {
				s.Backends[i].Allow = germans()
			}
		})})
	want := `allow and deny leave no backend for clients at "without a, b, c, edge, origin"`
	if err == nil || !strings.Contains(err.Error(), want) {
		t.Errorf("error is %v, want %s", err, want)
	}
}

// A flattened host with no address yet has no answer for anybody, which is no fault of a constraint.
func TestConstraintsDoNotRefuseATableWhoseNamesAreNotResolved(t *testing.T) {
	table := compile(t, steering.Inputs{Countries: atlas(t), Spec: spec(func(s *steering.Spec) {
		s.Hosts[0].Flatten = true
		for i := range 3 { // the whole first pool
			s.Backends[i].Allow = germans()
		}
		for i := range s.Backends {
			s.Backends[i].CNAME, s.Backends[i].Addresses = s.Backends[i].Name+".invalid.", nil
		}
	})})
	if reason, _ := table.Reason(host); reason != steering.ReasonUnresolved {
		t.Errorf("reason is %q", reason)
	}
}

func TestAnExplanationNamesTheConstraint(t *testing.T) {
	table := compile(t, steering.Inputs{Spec: spec(bounded), Countries: atlas(t)})
	e, ok := steering.Explain(table, host, netip.MustParsePrefix("20.2.0.0/24"), 0, start)
	if !ok || !strings.Contains(strings.Join(details(e), "\n"),
		"constraint: a, b may not answer clients there") {
		t.Errorf("the explanation is\n%s", strings.Join(details(e), "\n"))
	}
}
