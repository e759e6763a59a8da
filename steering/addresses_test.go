package steering_test

import (
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"pointsman/steering"
)

// flat makes the host of spec one that is flattened.
func flat(s *steering.Spec) { s.Hosts[0].Flatten = true }

// behind are addresses of the CDNs named, confirmed half a minute before start.
func behind(ttl time.Duration, names ...string) steering.Addresses {
	out := steering.Addresses{}
	for _, name := range names {
		out[name+".cdn.test."] = steering.Resolved{
			V4: []netip.Addr{netip.AddrFrom4([4]byte{198, 51, 100, name[0]})},
			V6: []netip.Addr{netip.MustParseAddr("2001:db8::" + name)}, TTL: ttl,
			At: start.Add(-30 * time.Second),
		}
	}
	return out
}

func decide(t testing.TB, table *steering.Table, draw uint64) steering.Decision {
	t.Helper()
	d, ok := table.Pick(steering.Query{Host: host, Draw: draw})
	if !ok {
		t.Fatal("not steered")
	}
	return d
}

func said(d steering.Decision) string {
	return fmt.Sprint(d.Backend, " ", d.CNAME, d.V4, d.V6, " ", d.TTL)
}

func TestAFlattenedHostAnswersWithTheAddressesBehindItsNames(t *testing.T) {
	for name, c := range map[string]struct {
		edit  []func(*steering.Spec)
		known steering.Addresses
		down  []string
		over  []steering.Override
		split string
		why   steering.Reason
		first string // the answer to a draw of 0
	}{
		"all resolved": {nil, behind(time.Minute, "a", "b", "c"), nil, nil, "a:70 b:20 c:10",
			steering.ReasonPool, "a [198.51.100.97] [2001:db8::a] 20"},
		"a TTL below the host's": {nil, behind(7*time.Second, "a", "b", "c"), nil, nil, "a:70 b:20 c:10",
			steering.ReasonPool, "a [198.51.100.97] [2001:db8::a] 7"},
		"one was never resolved": {nil, behind(time.Minute, "b", "c"), nil, nil, "b:66.67 c:33.33",
			steering.ReasonPool, "b [198.51.100.98] [2001:db8::b] 20"},
		"none was: the ladder goes on": {nil, nil, nil, nil, "edge:100", steering.ReasonFallback,
			"edge [192.0.2.44] [2001:db8::44] 20"},
		"a pin to one that never was is ignored": {nil, behind(time.Minute, "b", "c"), nil,
			[]steering.Override{override(steering.Pin, "a")}, "b:66.67 c:33.33", steering.ReasonPool,
			"b [198.51.100.98] [2001:db8::b] 20"},
		"all are down": {nil, behind(time.Minute, "c"), []string{"a", "b", "c", "edge", "origin"}, nil,
			"c:100", steering.ReasonAllDown, "c [198.51.100.99] [2001:db8::c] 20"},
		"all are down and none resolved": {nil, nil, []string{"a", "b", "c", "edge", "origin"}, nil,
			"edge:100", steering.ReasonAllDown, "edge [192.0.2.44] [2001:db8::44] 20"},
		"all else is drained": {nil, nil, nil, []steering.Override{override(steering.Drain, "edge"),
			override(steering.Drain, "origin")}, "edge:100", steering.ReasonDrained,
			"edge [192.0.2.44] [2001:db8::44] 20"},
		"there is nothing else": {[]func(*steering.Spec){onlyCDNs}, nil, nil, nil, "a:33.33 b:33.33 c:33.33",
			steering.ReasonUnresolved, "a [] [] 20"},
	} {
		t.Run(name, func(t *testing.T) {
			table := compile(t, steering.Inputs{Spec: spec(append(c.edit, flat)...), View: view(1, c.down...),
				Addresses: c.known, Overrides: c.over})
			reason, _ := table.Reason(host)
			if got := split(table, host); got != c.split || reason != c.why {
				t.Errorf("%s by %s, want %s by %s", got, reason, c.split, c.why)
			}
			if diff := cmp.Diff(c.first, said(decide(t, table, 0))); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

func onlyCDNs(s *steering.Spec) { s.Hosts[0].Pools = []string{"cdns"} }

func TestAddressesDoNotConcernAHostThatIsNotFlattened(t *testing.T) {
	plain := compile(t, steering.Inputs{Spec: spec()})
	known := compile(t, steering.Inputs{Spec: spec(), Addresses: behind(time.Second, "a", "b", "c")})
	if plain.Hash != known.Hash || decide(t, known, 0).CNAME != "a.cdn.test." {
		t.Errorf("got %s", said(decide(t, known, 0)))
	}
}

func TestTheBindingOfANameCountsWhereItsAddressesAreAnswered(t *testing.T) {
	bind := func(s *steering.Spec) { s.Backends[0].HTTPS = &steering.HTTPS{Priority: 1, Hints: true} }
	in := steering.Inputs{Spec: spec(bind), Addresses: behind(time.Minute, "a")}
	if d := decide(t, compile(t, in), 0); d.HTTPS != nil {
		t.Errorf("with a CNAME: %+v", d.HTTPS)
	}
	in.Spec = spec(bind, flat)
	if d := decide(t, compile(t, in), 0); d.HTTPS == nil || len(d.V4) != 1 {
		t.Errorf("with addresses: %s %+v", said(d), d.HTTPS)
	}
}

func TestVariantsAndHashFollowTheAddressesAndNotTheirAge(t *testing.T) {
	s := spec(flat)
	old := behind(time.Minute, "a", "b", "c")
	confirmed, moved, shorter := behind(time.Minute, "a", "b", "c"), behind(time.Minute, "a", "b", "c"),
		behind(9*time.Second, "a", "b", "c")
	for name, r := range confirmed {
		r.At = start
		confirmed[name] = r
	}
	r := moved["b.cdn.test."]
	r.V4 = []netip.Addr{netip.MustParseAddr("203.0.113.7")}
	moved["b.cdn.test."] = r
	before := compile(t, steering.Inputs{Spec: s, Addresses: old})
	for name, c := range map[string]struct {
		known steering.Addresses
		same  bool
	}{"confirmed": {confirmed, true}, "moved": {moved, false}, "shorter": {shorter, false},
		"lost": {nil, false}} {
		after := compile(t, steering.Inputs{Spec: s, Addresses: c.known})
		if before.SameVariants(after) != c.same || (before.Hash == after.Hash) != c.same {
			t.Errorf("%s: variants are the same: %v, hashes: %v, want %v", name,
				before.SameVariants(after), before.Hash == after.Hash, c.same)
		}
	}
	if got := said(before.Variants(host)[1]); got != "b [198.51.100.98] [2001:db8::b] 20" {
		t.Errorf("got %s", got)
	}
	none := compile(t, steering.Inputs{Spec: s}).Variants(host)
	if got := said(none[1]); len(none) != 5 || got != "b [] [] 20" {
		t.Errorf("unresolved: %s of %d", got, len(none))
	}
}

func TestTheTargetsAreThoseOfFlattenedHostsAndTheirPlaces(t *testing.T) {
	s := spec(flat)
	s.Pools = append(s.Pools, steering.Pool{Name: "far", Members: []steering.Member{{Backend: "c"}}})
	s.Pools[0].Members = s.Pools[0].Members[:1]
	s.Hosts[0].Places = []steering.Place{{Name: "p", Countries: []string{"DE"}, Pools: []string{"far"}}}
	s.Hosts = append(s.Hosts, steering.Host{Name: "other.test.", Pools: []string{"cdns"}})
	if diff := cmp.Diff([]string{"a.cdn.test.", "c.cdn.test."}, s.Targets()); diff != "" {
		t.Errorf("targets (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff([]string{"a.cdn.test."}, s.Names()); diff != "" {
		t.Errorf("names (-want +got):\n%s", diff)
	}
}

func TestAnExplanationSaysWhereAddressesComeFromAndWhatIsMissing(t *testing.T) {
	table := compile(t, steering.Inputs{Spec: spec(flat), View: view(1), Addresses: behind(7*time.Second, "a", "b")})
	e, _ := steering.Explain(table, host, netip.Prefix{}, 0, start)
	var text strings.Builder
	for _, s := range e.Steps {
		fmt.Fprintln(&text, s.What, s.Detail)
		for _, in := range s.Inputs {
			if in.Kind == "addresses" {
				age := -1.0
				if in.AgeSeconds != nil {
					age = *in.AgeSeconds
				}
				fmt.Fprintln(&text, in.Backend, in.Value, in.Source, age)
			}
		}
	}
	for _, want := range []string{"flattened: addresses instead of CNAMEs",
		"a 198.51.100.97 2001:db8::a look-up of a.cdn.test 30", "c none look-up of c.cdn.test -1",
		"c is out: its name is not resolved yet", "2 of 3 members can answer"} {
		if !strings.Contains(text.String(), want) {
			t.Errorf("no %q in\n%s", want, text.String())
		}
	}
}

func TestTheEngineCompilesWhenAddressesMoveAndNotWhenTheyAreConfirmed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := started(t, steering.EngineConfig{})
		e.SetAddresses(behind(time.Minute, "a", "b", "c"))
		setSpec(t, e, spec(flat))
		if got := said(decide(t, e.Table(), 0)); got != "a [198.51.100.97] [2001:db8::a] 20" {
			t.Errorf("at once: %s", got)
		}
		settle := func() *steering.Table {
			time.Sleep(100 * time.Millisecond)
			synctest.Wait()
			return e.Table()
		}
		first := settle()
		confirmed := behind(time.Minute, "a", "b", "c")
		for name, r := range confirmed {
			r.At = start
			confirmed[name] = r
		}
		e.SetAddresses(confirmed)
		if settle() != first {
			t.Error("what was merely confirmed has made a table")
		}
		ex, _ := e.Explain(host, netip.Prefix{}, 0)
		for _, in := range ex.Steps[1].Inputs {
			if in.Kind == "addresses" && !in.Seen.Equal(start) {
				t.Errorf("the explanation shows %v, not the newest", in.Seen)
			}
		}
		e.SetAddresses(behind(time.Second, "a", "b", "c"))
		if after := settle(); after.Version != first.Version+1 ||
			said(decide(t, after, 0)) != "a [198.51.100.97] [2001:db8::a] 1" {
			t.Errorf("table %d after %d says %s", after.Version, first.Version, said(decide(t, after, 0)))
		}
	})
}
