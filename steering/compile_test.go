package steering_test

import (
	"math/rand/v2"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"pointsman/probes/health"
	"pointsman/steering"
	"pointsman/steering/control"
)

func TestTheLadderIsWalkedDownAndNeverEndsInNothing(t *testing.T) {
	drainAll := []steering.Override{}
	for _, b := range []string{"a", "b", "c", "edge", "origin"} {
		drainAll = append(drainAll, override(steering.Drain, b))
	}
	cdns := []string{"a", "b", "c"}
	all := append(slices.Clone(cdns), "edge", "origin")
	for _, c := range []struct {
		name      string
		down      []string
		overrides []steering.Override
		want      string
		reason    steering.Reason
	}{
		{"all healthy", nil, nil, "a:70 b:20 c:10", steering.ReasonPool},
		{"one down: its share goes in proportion", []string{"a"}, nil,
			"b:66.67 c:33.33", steering.ReasonPool},
		{"no CDN: edge", cdns, nil, "edge:100", steering.ReasonFallback},
		{"no edge either: origin", append(cdns, "edge"), nil,
			"origin:100", steering.ReasonFallback},
		{"all down: as if healthy", all, nil, "a:70 b:20 c:10", steering.ReasonAllDown},
		{"all down honours a drain", all, []steering.Override{override(steering.Drain, "a")},
			"b:66.67 c:33.33", steering.ReasonAllDown},
		{"all down and the first pool drained", all, drainAll[:3],
			"edge:100", steering.ReasonAllDown},
		{"everything drained", nil, drainAll, "a:33.33 b:33.33 c:33.33",
			steering.ReasonDrained},
		{"everything drained, usable ones first", []string{"b"}, drainAll,
			"a:50 c:50", steering.ReasonDrained},
		{"everything drained and down", all, drainAll, "a:33.33 b:33.33 c:33.33",
			steering.ReasonDrained},
		{"a fence acts like a drain", nil,
			[]steering.Override{override(steering.Fence, "b")}, "a:87.5 c:12.5",
			steering.ReasonPool},
		{"the pool drained: edge", nil, drainAll[:3], "edge:100", steering.ReasonFallback},
	} {
		t.Run(c.name, func(t *testing.T) {
			table := compile(t, steering.Inputs{
				Spec: spec(), View: view(1, c.down...), Overrides: c.overrides,
			})
			if got := split(table, host); got != c.want {
				t.Errorf("shares are %q, want %q", got, c.want)
			}
			if got, _ := table.Reason(host); got != c.reason {
				t.Errorf("reason is %q, want %q", got, c.reason)
			}
		})
	}
}

func TestUnknownAndDegradedBackendsKeepTheirWeight(t *testing.T) {
	v := view(1)
	delete(v.Backends, "a")
	b := v.Backends["b"]
	b.State = health.Degraded
	v.Backends["b"] = b
	for _, view := range []*health.View{nil, v} {
		table := compile(t, steering.Inputs{Spec: spec(), View: view})
		if got := split(table, host); got != "a:70 b:20 c:10" {
			t.Errorf("shares are %q", got)
		}
	}
}

func TestAPinTakesAllUnlessItIsForeignExpiredOrDrainedLater(t *testing.T) {
	pin := override(steering.Pin, "b")
	elsewhere := pin
	elsewhere.Host = "other.example.test."
	expired := pin
	expired.Expires = start
	older := override(steering.Drain, "b")
	older.Created = pin.Created.Add(-time.Minute)
	later := override(steering.Drain, "b")
	later.Created = pin.Created.Add(time.Second)
	fence := override(steering.Fence, "b")
	fence.Created = later.Created
	newerPin := override(steering.Pin, "c")
	newerPin.Created = pin.Created.Add(time.Second)
	forHost := override(steering.Pin, "a")
	forHost.Host, forHost.Created = host, pin.Created.Add(-time.Hour)
	for _, c := range []struct {
		name      string
		overrides []steering.Override
		want      string
		reason    steering.Reason
	}{
		{"even unhealthy", []steering.Override{pin}, "b:100", steering.ReasonPinned},
		{"of a later pool", []steering.Override{override(steering.Pin, "origin")},
			"origin:100", steering.ReasonPinned},
		{"drained before", []steering.Override{pin, older}, "b:100", steering.ReasonPinned},
		{"fenced later", []steering.Override{pin, fence}, "b:100", steering.ReasonPinned},
		{"drained later", []steering.Override{pin, later}, "a:87.5 c:12.5", steering.ReasonPool},
		{"newest of two", []steering.Override{pin, newerPin}, "c:100", steering.ReasonPinned},
		{"a host's before all hosts'", []steering.Override{pin, forHost}, "a:100",
			steering.ReasonPinned},
		{"another host's", []steering.Override{elsewhere}, "a:87.5 c:12.5", steering.ReasonPool},
		{"expired", []steering.Override{expired}, "a:87.5 c:12.5", steering.ReasonPool},
		{"not in a pool of the host", []steering.Override{override(steering.Pin, "stray")},
			"a:87.5 c:12.5", steering.ReasonPool},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := spec(func(s *steering.Spec) {
				s.Backends = append(s.Backends,
					steering.Backend{Name: "stray", CNAME: "stray.cdn.test."})
			})
			table := compile(t, steering.Inputs{
				Spec: s, View: view(1, "b"), Overrides: c.overrides,
			})
			if got := split(table, host); got != c.want {
				t.Errorf("shares are %q, want %q", got, c.want)
			}
			if got, _ := table.Reason(host); got != c.reason {
				t.Errorf("reason is %q, want %q", got, c.reason)
			}
		})
	}
}

func TestWeightsAreOverriddenAndRampsApply(t *testing.T) {
	weight := override(steering.Weight, "a")
	weight.Weight = 10
	zero := override(steering.Weight, "b")
	ramp := control.Shares{Epoch: 3, Factors: map[string]float64{"a": 0.1}}
	for _, c := range []struct {
		name string
		in   steering.Inputs
		want string
	}{
		{"weight", steering.Inputs{Spec: spec(), Overrides: []steering.Override{weight}},
			"a:25 b:50 c:25"},
		{"weight 0", steering.Inputs{Spec: spec(), Overrides: []steering.Override{zero}},
			"a:87.5 c:12.5"},
		{"ramp", steering.Inputs{Spec: spec(), Shares: ramp}, "a:18.92 b:54.05 c:27.03"},
		{"a host without a ramp takes a return at once", steering.Inputs{
			Spec: spec(func(s *steering.Spec) { s.Hosts[0].Ramp = 0 }), Shares: ramp,
		}, "a:70 b:20 c:10"},
		{"a factor that is not one never empties", steering.Inputs{
			Spec:   spec(),
			View:   view(1, "b", "c"),
			Shares: control.Shares{Epoch: 1, Factors: map[string]float64{"a": -1}},
		}, "a:100"},
	} {
		t.Run(c.name, func(t *testing.T) {
			if got := split(compile(t, c.in), host); got != c.want {
				t.Errorf("shares are %q, want %q", got, c.want)
			}
		})
	}
}

func TestSharesListEveryBackendOnce(t *testing.T) {
	s := spec(func(s *steering.Spec) {
		s.Pools[1].Members = append(s.Pools[1].Members, steering.Member{Backend: "a", Weight: 1})
	})
	table := compile(t, steering.Inputs{Spec: s, View: view(1, "b", "c")})
	want := []steering.Share{
		{Backend: "a", Pool: "cdns", Share: 1},
		{Backend: "b", Pool: "cdns"},
		{Backend: "c", Pool: "cdns"},
		{Backend: "edge", Pool: "edge"},
		{Backend: "origin", Pool: "origin"},
	}
	if diff := cmp.Diff(want, table.Shares(host)); diff != "" {
		t.Error(diff)
	}
	if table.Shares("x.") != nil || table.Has("x.") || !table.Has(host) {
		t.Error("a name that is not steered is taken for one, or the reverse")
	}
	if diff := cmp.Diff([]string{host}, table.Hosts()); diff != "" {
		t.Error(diff)
	}
}

func TestTheOrderOfInputsDoesNotMatter(t *testing.T) {
	base := func() *steering.Spec {
		return spec(func(s *steering.Spec) {
			s.Hosts = append(s.Hosts, steering.Host{
				Name: "two.example.test.", TTL: time.Minute, Pools: []string{"edge", "cdns"},
			})
			s.Backends[3].Addresses = append(s.Backends[3].Addresses,
				netip.MustParseAddr("192.0.2.45"), netip.MustParseAddr("::ffff:192.0.2.46"))
		})
	}
	overrides := []steering.Override{
		override(steering.Drain, "b"), override(steering.Weight, "a"),
		override(steering.Fence, "edge"), override(steering.Pin, "nobody"),
	}
	overrides[1].Weight = 5
	second := overrides[1]
	second.ID, second.Weight = "ov-another", 9
	overrides = append(overrides, second)
	want := compile(t, steering.Inputs{Spec: base(), View: view(1), Overrides: overrides})

	r := rand.New(rand.NewPCG(1, 2))
	for range 50 {
		s := base()
		shuffle(r, s.Backends)
		shuffle(r, s.Pools)
		shuffle(r, s.Hosts)
		for i := range s.Pools {
			shuffle(r, s.Pools[i].Members)
		}
		for i := range s.Backends {
			shuffle(r, s.Backends[i].Addresses)
		}
		o := slices.Clone(overrides)
		shuffle(r, o)
		got := compile(t, steering.Inputs{
			Version: 77, Now: start.Add(time.Second), Spec: s, View: view(2), Overrides: o,
		})
		if got.Hash != want.Hash {
			t.Fatalf("hash is %s, want %s", got.Hash, want.Hash)
		}
		for range 20 {
			q := steering.Query{Host: host, Draw: r.Uint64()}
			a, _ := got.Pick(q)
			b, _ := want.Pick(q)
			if a.Backend != b.Backend {
				t.Fatalf("draw %d gives %s and %s", q.Draw, a.Backend, b.Backend)
			}
		}
	}
}

func shuffle[T any](r *rand.Rand, list []T) {
	r.Shuffle(len(list), func(i, j int) { list[i], list[j] = list[j], list[i] })
}

func TestTheHashSeesEveryAnswer(t *testing.T) {
	seen := map[string]string{}
	note := func(what string, in steering.Inputs) {
		t.Helper()
		table := compile(t, in)
		if other, ok := seen[table.Hash]; ok {
			t.Errorf("%s has the hash of %s", what, other)
		}
		seen[table.Hash] = what
	}
	edits := map[string]func(*steering.Spec){
		"base":       func(*steering.Spec) {},
		"sticky":     sticky,
		"ttl":        func(s *steering.Spec) { s.Hosts[0].TTL = 21 * time.Second },
		"weight":     func(s *steering.Spec) { s.Pools[0].Members[0].Weight = 71 },
		"name":       func(s *steering.Spec) { s.Hosts[0].Name = "cdn2.example.test." },
		"cname":      func(s *steering.Spec) { s.Backends[0].CNAME = "a2.cdn.test." },
		"edge first": func(s *steering.Spec) { s.Hosts[0].Pools = []string{"edge", "cdns"} },
		"edge first, another address": func(s *steering.Spec) {
			s.Hosts[0].Pools = []string{"edge", "cdns"}
			s.Backends[3].Addresses = s.Backends[3].Addresses[:1]
		},
	}
	for what, edit := range edits {
		note(what, steering.Inputs{Spec: spec(edit)})
	}
	note("all down", steering.Inputs{
		Spec: spec(), View: view(1, "a", "b", "c", "edge", "origin"),
	})
}

func TestEveryMistakeOfASpecIsNamed(t *testing.T) {
	long := strings.Repeat("x", 64)
	for _, c := range []struct {
		want string
		edit func(*steering.Spec)
	}{
		{`spec has no hosts`, func(s *steering.Spec) { s.Hosts = nil }},
		{`host "cdn.example.test.": has no pools`,
			func(s *steering.Spec) { s.Hosts[0].Pools = nil }},
		{`host "cdn.example.test.": unknown pool "cnds"`,
			func(s *steering.Spec) { s.Hosts[0].Pools[0] = "cnds" }},
		{`pool "edge" is listed twice`,
			func(s *steering.Spec) { s.Hosts[0].Pools[0] = "edge" }},
		{`host "cdn.example.test.": name is used twice`,
			func(s *steering.Spec) { s.Hosts = append(s.Hosts, s.Hosts[0]) }},
		{`TTL 500ms is not whole seconds`,
			func(s *steering.Spec) { s.Hosts[0].TTL = 500 * time.Millisecond }},
		{`TTL 1h0m1s is not`, func(s *steering.Spec) { s.Hosts[0].TTL = time.Hour + 1e9 }},
		{`ramp -1s is not`, func(s *steering.Spec) { s.Hosts[0].Ramp = -time.Second }},
		{`unknown stickiness "stikcy"`,
			func(s *steering.Spec) { s.Hosts[0].Stickiness = "stikcy" }},
		{`name has no final dot`, func(s *steering.Spec) { s.Hosts[0].Name = "x" }},
		{`name is not in lower case`, func(s *steering.Spec) { s.Hosts[0].Name = "X." }},
		{`is not 1 to 63 octets`, func(s *steering.Spec) { s.Hosts[0].Name = long + "." }},
		{`longer than 255`, func(s *steering.Spec) {
			s.Hosts[0].Name = strings.Repeat("abcdefg.", 32)
		}},
		{`is not printable ASCII`, func(s *steering.Spec) { s.Hosts[0].Name = "a b." }},
		{`backend "a": has a CNAME and addresses`, func(s *steering.Spec) {
			s.Backends[0].Addresses = s.Backends[3].Addresses
		}},
		{`backend "a": has neither`, func(s *steering.Spec) { s.Backends[0].CNAME = "" }},
		{`backend "a": CNAME "a..": label ""`,
			func(s *steering.Spec) { s.Backends[0].CNAME = "a.." }},
		{`backend "a": name is used twice`,
			func(s *steering.Spec) { s.Backends[1].Name = "a" }},
		{`backend: name is empty`, func(s *steering.Spec) { s.Backends[1].Name = "" }},
		{`address "0.0.0.0" can't be answered`, func(s *steering.Spec) {
			s.Backends[4].Addresses[0] = netip.IPv4Unspecified()
		}},
		{`address ::ffff:192.0.2.44 is listed twice`, func(s *steering.Spec) {
			s.Backends[3].Addresses[1] = netip.MustParseAddr("::ffff:192.0.2.44")
		}},
		{`pool "cdns": unknown backend "z"`,
			func(s *steering.Spec) { s.Pools[0].Members[0].Backend = "z" }},
		{`pool "cdns": backend "b" is a member twice`,
			func(s *steering.Spec) { s.Pools[0].Members[0].Backend = "b" }},
		{`weight 1000001 is above 1000000`,
			func(s *steering.Spec) { s.Pools[0].Members[0].Weight = 1_000_001 }},
		{`pool "edge": has no members`, func(s *steering.Spec) { s.Pools[1].Members = nil }},
		{`pool "edge": name is used twice`, func(s *steering.Spec) { s.Pools[0].Name = "edge" }},
		{`pool: name is empty`, func(s *steering.Spec) { s.Pools[0].Name = "" }},
		{`its CNAME "cdn.example.test." leads back to it`,
			func(s *steering.Spec) { s.Backends[0].CNAME = host }},
		{`leads back to it`, func(s *steering.Spec) {
			s.Backends[0].CNAME = "two.example.test."
			s.Backends = append(s.Backends, steering.Backend{Name: "back", CNAME: host})
			s.Pools = append(s.Pools, steering.Pool{
				Name: "back", Members: []steering.Member{{Backend: "back", Weight: 1}},
			})
			s.Hosts = append(s.Hosts, steering.Host{
				Name: "two.example.test.", TTL: time.Minute, Pools: []string{"back"},
			})
		}},
	} {
		_, err := steering.Compile(steering.Inputs{Spec: spec(c.edit), Now: start})
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("error is %v, want %q in it", err, c.want)
		}
	}
	if _, err := steering.Compile(steering.Inputs{}); err == nil {
		t.Error("no spec compiled")
	}
	_, err := steering.Compile(steering.Inputs{Spec: &steering.Spec{
		Backends: []steering.Backend{{Name: "p"}, {Name: "q"}},
	}})
	if err == nil || strings.Count(err.Error(), "neither") != 2 {
		t.Errorf("not all mistakes are named: %v", err)
	}
}

func TestASteeredNameMayLeadToAnother(t *testing.T) {
	compile(t, steering.Inputs{Spec: spec(func(s *steering.Spec) {
		s.Backends[0].CNAME = "two.example.test."
		s.Hosts = append(s.Hosts, steering.Host{
			Name: "two.example.test.", TTL: time.Minute, Pools: []string{"edge"},
		})
	})})
}
