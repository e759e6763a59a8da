package steering_test

import (
	"encoding/binary"
	"fmt"
	"math"
	"math/rand/v2"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"
	"pgregory.net/rapid"

	"pointsman/steering"
	"pointsman/steering/geo"
)

// atlas is country data: 20.x.0.0/16 is in the x-th country, IPv6 in 2a0x::/16 likewise.
func atlas(t testing.TB) *geo.Locator {
	t.Helper()
	l, err := geo.Read([]byte(strings.Join([]string{
		"20.1.0.0,20.1.255.255,DE", "20.2.0.0,20.2.255.255,AT", "20.3.0.0,20.3.255.255,US",
		"2a01::,2a01:ffff:ffff:ffff:ffff:ffff:ffff:ffff,DE",
		"2a02::,2a02:ffff:ffff:ffff:ffff:ffff:ffff:ffff,AT",
	}, "\n")), "test data", time.Date(2026, 2, 1, 0, 0, 0, 0, time.UTC))
	if err != nil {
		t.Fatal(err)
	}
	return l
}

func prefixes(list ...string) []netip.Prefix {
	var out []netip.Prefix
	for _, s := range list {
		out = append(out, netip.MustParsePrefix(s))
	}
	return out
}

// placed gives the host places: the office by prefix, the German-speaking countries, the US.
func placed(s *steering.Spec) {
	s.Pools = append(s.Pools,
		steering.Pool{Name: "dach", Members: []steering.Member{
			{Backend: "a", Weight: 50}, {Backend: "b", Weight: 50},
		}},
		steering.Pool{Name: "only-c", Members: []steering.Member{{Backend: "c", Weight: 1}}},
	)
	s.Hosts[0].Places = []steering.Place{
		{Name: "dach", Countries: []string{"DE", "AT"}, Pools: []string{"dach", "edge"}},
		{Name: "us", Countries: []string{"US"}, Prefixes: prefixes("192.0.2.0/25"),
			Pools: []string{"only-c", "origin"}},
		{Name: "office", Prefixes: prefixes("20.1.128.0/24", "2a02:db8::/32"),
			Pools: []string{"origin"}},
	}
}

// placedDecision is a decision with the place where it fell.
type placedDecision struct {
	steering.Decision
	Place string
}

// pickAt picks, and says at which place.
func pickAt(table *steering.Table, q steering.Query) (placedDecision, bool) {
	d, ok := table.Pick(q)
	place, _ := table.Place(q.Host, q.Client)
	return placedDecision{d, place}, ok
}

func pick(t testing.TB, table *steering.Table, client string, draw uint64) placedDecision {
	t.Helper()
	q := steering.Query{Host: host, Client: netip.MustParsePrefix(client), Draw: draw}
	d, ok := pickAt(table, q)
	if !ok {
		t.Fatalf("%s: no answer", client)
	}
	return d
}

func TestTheFirstPlaceOfAClientAnswersFromItsOwnPools(t *testing.T) {
	table := compile(t, steering.Inputs{Spec: spec(placed), Countries: atlas(t)})
	for client, want := range map[string]string{
		"20.1.0.0/24":         "dach a pool /17",
		"20.1.200.0/24":       "dach a pool /18",
		"20.2.7.9/32":         "dach a pool /16",
		"::ffff:20.2.7.0/120": "dach a pool /16",
		"20.1.128.0/24":       "office origin pool /24", // the prefix wins over the country
		"20.1.129.0/24":       "dach a pool /24",
		"20.3.1.1/32":         "us c pool /16",
		"192.0.2.1/32":        "us c pool /25",
		"192.0.2.128/32":      " a pool /25",
		"8.8.8.8/32":          " a pool /4",
		"2a01:1::/56":         "dach a pool /16",
		"2a02:db8::/56":       "office origin pool /32",
		"2a02:db9::/56":       "dach a pool /32",
		"2001:db8::/56":       " a pool /5",
		"8000::/56":           " a pool /1",
		"20.0.0.0/8":          " a pool /16", // too wide to know: the scope asks for more
	} {
		d := pick(t, table, client, 0)
		if got := fmt.Sprintf("%s %s %s /%d", d.Place, d.Backend, d.Reason, d.Scope); got != want {
			t.Errorf("%s: %s, want %s", client, got, want)
		}
	}
	if d, _ := pickAt(table, steering.Query{Host: host}); d.Place != "" || d.Scope != 0 {
		t.Errorf("an unknown client is at %q, scope %d", d.Place, d.Scope)
	}
}

func TestEachPlaceFallsThroughItsOwnPoolsForItsOwnReasons(t *testing.T) {
	l := atlas(t)
	at := func(table *steering.Table) string {
		text := ""
		for _, place := range append([]string{""}, table.Places(host)...) {
			reason, ok := table.ReasonAt(host, place)
			text += fmt.Sprintf("%s:%s %v %s; ", place, shareText(table.SharesAt(host, place)), ok, reason)
		}
		return text
	}
	both := override(steering.Weight, "a")
	both.Weight = 150
	for _, c := range []struct {
		about string
		in    steering.Inputs
		want  string
	}{
		{"all well", steering.Inputs{},
			":a:70 b:20 c:10 true pool; dach:a:50 b:50 true pool; us:c:100 true pool; office:origin:100 true pool; "},
		{"c is down", steering.Inputs{View: view(1, "c")},
			":a:77.78 b:22.22 true pool; dach:a:50 b:50 true pool; us:origin:100 true fallback; office:origin:100 true pool; "},
		{"a, b and edge are down", steering.Inputs{View: view(1, "a", "b", "edge")},
			":c:100 true pool; dach:a:50 b:50 true all-down; us:c:100 true pool; office:origin:100 true pool; "},
		{"another weight", steering.Inputs{Overrides: []steering.Override{both}},
			":a:83.33 b:11.11 c:5.56 true pool; dach:a:75 b:25 true pool; us:c:100 true pool; office:origin:100 true pool; "},
		{"origin is drained", steering.Inputs{Overrides: []steering.Override{override(steering.Drain, "origin")}},
			":a:70 b:20 c:10 true pool; dach:a:50 b:50 true pool; us:c:100 true pool; office:origin:100 true all-drained; "},
		{"c is pinned", steering.Inputs{Overrides: []steering.Override{override(steering.Pin, "c")}},
			":c:100 true pinned; dach:a:50 b:50 true pool; us:c:100 true pinned; office:origin:100 true pool; "},
	} {
		c.in.Spec, c.in.Countries = spec(placed), l
		if d := cmp.Diff(c.want, at(compile(t, c.in))); d != "" {
			t.Errorf("%s: %s", c.about, d)
		}
	}
}

func TestWithoutCountryDataPrefixesStillCountAndNobodyIsLeftOut(t *testing.T) {
	table := compile(t, steering.Inputs{Spec: spec(placed)})
	for client, want := range map[string]string{
		"20.1.0.0/24": "", "20.1.128.0/24": "office", "192.0.2.0/24": "us", "2a01::/56": "",
	} {
		if d := pick(t, table, client, 0); d.Place != want || d.Backend == "" {
			t.Errorf("%s is at %q and gets %q, want %q", client, d.Place, d.Backend, want)
		}
	}
}

func TestAHostsSharesListThoseThatOnlyPlacesUse(t *testing.T) {
	edit := func(s *steering.Spec) {
		placed(s)
		s.Hosts[0].Pools = []string{"edge"}
	}
	table := compile(t, steering.Inputs{Spec: spec(edit)})
	var got []string
	for _, s := range table.Shares(host) {
		got = append(got, fmt.Sprintf("%s/%s %v", s.Pool, s.Backend, s.Share))
	}
	want := []string{"edge/edge 1", "dach/a 0", "dach/b 0", "only-c/c 0", "origin/origin 0"}
	if d := cmp.Diff(want, got); d != "" {
		t.Error(d)
	}
	if table.SharesAt(host, "nowhere") != nil || table.SharesAt("x.", "dach") != nil ||
		table.Places("x.") != nil {
		t.Error("a place that isn't there has shares")
	}
	if _, ok := table.ReasonAt(host, "nowhere"); ok {
		t.Error("a place that isn't there has a reason")
	}
	if _, ok := table.TraceAt(host, "nowhere"); ok {
		t.Error("a place that isn't there has a trace")
	}
	variants := ""
	for _, v := range table.Variants(host) {
		variants += " " + v.Backend
	}
	if variants != " a b c edge origin" {
		t.Errorf("the host can answer with%s", variants)
	}
}

// drawPlaces makes a host with places in a small part of the address space.
func drawPlaces(t *rapid.T) *steering.Spec {
	s := spec(placed)
	if rapid.Bool().Draw(t, "sticky") {
		sticky(s)
	}
	codes := rapid.SampledFrom([]string{"DE", "AT", "US", "CN"})
	pool := rapid.SampledFrom([]string{"cdns", "edge", "origin", "dach", "only-c"})
	s.Hosts[0].Places = nil
	for i := range rapid.IntRange(0, 5).Draw(t, "places") {
		p := steering.Place{Name: fmt.Sprint("place", i), Pools: []string{pool.Draw(t, "pool")},
			Countries: rapid.SliceOfN(codes, 0, 2).Draw(t, "countries")}
		for range rapid.IntRange(0, 3).Draw(t, "prefixes") {
			p.Prefixes = append(p.Prefixes, drawClient(t).Masked())
		}
		if len(p.Countries)+len(p.Prefixes) > 0 {
			s.Hosts[0].Places = append(s.Hosts[0].Places, p)
		}
	}
	return s
}

// drawClient makes a prefix near the countries of the atlas.
func drawClient(t *rapid.T) netip.Prefix {
	if rapid.Bool().Draw(t, "v6") {
		var a [16]byte
		binary.BigEndian.PutUint64(a[:], 0x2a00_0000_0000_0000|rapid.Uint64Max(1<<50).Draw(t, "high"))
		return netip.PrefixFrom(netip.AddrFrom16(a), rapid.IntRange(0, 64).Draw(t, "bits"))
	}
	var a [4]byte
	binary.BigEndian.PutUint32(a[:], 20<<24|rapid.Uint32Max(1<<18).Draw(t, "low"))
	return netip.PrefixFrom(netip.AddrFrom4(a), rapid.IntRange(0, 32).Draw(t, "bits"))
}

// TestEveryAddressInAScopeGetsTheSameAnswer takes any client, and then others of the scope that
// came with its answer: both ends and some between.
func TestEveryAddressInAScopeGetsTheSameAnswer(t *testing.T) {
	l := atlas(t)
	rapid.Check(t, func(t *rapid.T) {
		table, err := steering.Compile(steering.Inputs{Version: 1, Now: start, Spec: drawPlaces(t),
			Countries: l})
		if err != nil {
			t.Skip("not a spec")
		}
		client := drawClient(t)
		client = netip.PrefixFrom(client.Addr(), client.Addr().BitLen())
		q := steering.Query{Host: host, Client: client, Draw: rapid.Uint64().Draw(t, "draw")}
		want, _ := pickAt(table, q)
		scope := netip.PrefixFrom(client.Addr(), int(want.Scope)).Masked()
		for _, fill := range []byte{0x00, 0xff, 0x55, byte(rapid.IntRange(0, 255).Draw(t, "fill"))} {
			q.Client = netip.PrefixFrom(within(scope, fill), client.Bits())
			if got, _ := pickAt(table, q); !same(want, got) {
				t.Fatalf("%s gets %+v, and %s of its scope %s gets %+v",
					client, want, q.Client, scope, got)
			}
		}
		if q.Client = (netip.Prefix{}); want.Scope == 0 {
			// Caches give it to everyone, of the other family as well.
			for _, other := range []string{"8.8.8.8/32", "20.1.0.0/24", "2a01::/56", "8000::/32"} {
				q.Client = netip.MustParsePrefix(other)
				if got, _ := pickAt(table, q); !same(want, got) {
					t.Fatalf("%s gets %+v for everyone, and %s gets %+v", client, want, other, got)
				}
			}
		}
	})
}

func same(a, b placedDecision) bool {
	return a.Place == b.Place && a.Backend == b.Backend && a.Scope == b.Scope
}

// within is an address of a prefix whose other bits repeat a byte.
func within(p netip.Prefix, fill byte) netip.Addr {
	b := p.Addr().AsSlice()
	for i := p.Bits(); i < len(b)*8; i++ {
		b[i/8] |= fill & (1 << (7 - i%8))
	}
	a, _ := netip.AddrFromSlice(b)
	return a
}

func TestAStickyHostHasTheNarrowerOfBothScopes(t *testing.T) {
	table := compile(t, steering.Inputs{Spec: spec(placed, sticky), Countries: atlas(t)})
	for client, want := range map[string]uint8{
		"20.2.0.0/24":    24, // two candidates: sticky by /24
		"20.3.0.0/24":    16, // one candidate: the place's
		"192.0.2.1/32":   25, // the place is narrower than /24
		"192.0.2.128/32": 25,
		"2a01::/56":      56,
		"2a02:db8::/56":  32,
	} {
		if d := pick(t, table, client, 0); d.Scope != want {
			t.Errorf("%s: scope /%d, want /%d", client, d.Scope, want)
		}
	}
}

func TestTheHashSeesPlacesAndCountryData(t *testing.T) {
	l := atlas(t)
	moved, err := geo.Read([]byte("20.1.0.0,20.1.255.255,AT"), "x", start)
	if err != nil {
		t.Fatal(err)
	}
	edit := func(f func(p []steering.Place) []steering.Place) func(*steering.Spec) {
		return func(s *steering.Spec) { placed(s); s.Hosts[0].Places = f(s.Hosts[0].Places) }
	}
	base := compile(t, steering.Inputs{Spec: spec(placed), Countries: l})
	for about, in := range map[string]steering.Inputs{
		"no places":       {Spec: spec(), Countries: l},
		"no country data": {Spec: spec(placed)},
		"other data":      {Spec: spec(placed), Countries: moved},
		"another order": {Countries: l, Spec: spec(edit(func(p []steering.Place) []steering.Place {
			slices.Reverse(p)
			return p
		}))},
		"another name": {Countries: l, Spec: spec(edit(func(p []steering.Place) []steering.Place {
			p[0].Name = "x"
			return p
		}))},
		"other pools": {Countries: l, Spec: spec(edit(func(p []steering.Place) []steering.Place {
			p[0].Pools = []string{"edge"}
			return p
		}))},
		"another prefix": {Countries: l, Spec: spec(edit(func(p []steering.Place) []steering.Place {
			p[2].Prefixes = prefixes("20.1.129.0/24")
			return p
		}))},
	} {
		if compile(t, in).Hash == base.Hash {
			t.Errorf("%s: the hash is the same", about)
		}
	}
	shuffled := edit(func(p []steering.Place) []steering.Place {
		p[0].Countries = []string{"AT", "DE"}
		slices.Reverse(p[2].Prefixes)
		return p
	})
	again := compile(t, steering.Inputs{Spec: spec(shuffled), Countries: atlas(t), Prior: base})
	if again.Hash != base.Hash {
		t.Error("the order of countries and prefixes changes the hash")
	}
	if p := compile(t, steering.Inputs{Spec: spec(placed), Countries: l, Prior: again}); p.Hash != base.Hash {
		t.Error("what was compiled before changes the hash")
	}
}

func TestThePartsOfEachPlaceAreExact(t *testing.T) {
	const n = 10_000 // queries at each place
	table := compile(t, steering.Inputs{Spec: spec(placed), Countries: atlas(t)})
	random := rand.New(rand.NewPCG(4, 2))
	for name, follow := range map[string]bool{"by place": true, "by host alone": false} {
		draws := steering.NewDraws(7)
		sequence := func(netip.Prefix) uint64 { return steering.Sequence(host, "") }
		if follow {
			sequence = func(c netip.Prefix) uint64 { return sequenceAt(table, c) }
		}
		counts := map[string]map[string]int{"": {}, "dach": {}}
		sum := map[string]int{}
		for sum[""] < n || sum["dach"] < n {
			client := netip.PrefixFrom(netip.AddrFrom4([4]byte{
				20, byte(random.IntN(2) + 1), byte(random.IntN(256)), byte(random.IntN(256))}), 32)
			if random.IntN(3) > 0 {
				client = resolver(random.IntN(1 << 16))
			}
			d, _ := pickAt(table, steering.Query{Host: host, Client: client,
				Draw: draws.Next(sequence(client), client, typeA, start)})
			if counts[d.Place] == nil || sum[d.Place] == n {
				continue
			}
			counts[d.Place][d.Backend]++
			sum[d.Place]++
		}
		worst := 0.0
		for place, by := range counts {
			for _, s := range table.SharesAt(host, place) {
				worst = max(worst, math.Abs(float64(by[s.Backend])/n-s.Share))
			}
		}
		t.Logf("%s: the worst share is off by %.4f points: %v", name, 100*worst, counts)
		if follow && worst > 0.001 {
			t.Errorf("%s: off by %.3f points, want at most 0.1", name, 100*worst)
		}
	}
}

func TestBothAddressTypesAgreeAtAPlace(t *testing.T) {
	table := compile(t, steering.Inputs{Spec: spec(placed), Countries: atlas(t)})
	draws := steering.NewDraws(3)
	for i := range 1000 {
		client := netip.PrefixFrom(netip.AddrFrom4([4]byte{20, byte(i % 5), byte(i), 1}), 32)
		sequence := sequenceAt(table, client)
		a := draws.Next(sequence, client, typeA, start)
		if draws.Next(sequence, client, 28, start) != a {
			t.Fatalf("%s: A and AAAA have different draws", client)
		}
	}
}

// sequenceAt returns the sequence of a client's place.
func sequenceAt(t *steering.Table, client netip.Prefix) uint64 {
	at, _ := t.Chooser(host).At(client)
	return at.Sequence()
}

func TestAnExplanationSaysThePlaceAndTheDataBehindIt(t *testing.T) {
	table := compile(t, steering.Inputs{Spec: spec(placed), Countries: atlas(t)})
	for client, want := range map[string]string{
		"20.2.7.9/32": "place: 20.2.7.9 is in AT by data of 2026-02-01, which place dach lists; " +
			"so is all of 20.2.0.0/16",
		"20.1.128.0/24": "place: 20.1.128.0 is in 20.1.128.0/24, a prefix of place office; " +
			"so is all of 20.1.128.0/24",
		"9.9.9.9/32": "place: the country of 9.9.9.9 is not known by data of 2026-02-01, and no " +
			"prefix holds it: the host's own pools; so is all of 0.0.0.0/4",
		"": "place: the client is not known, so it is at no place",
	} {
		var c netip.Prefix
		if client != "" {
			c = netip.MustParsePrefix(client)
		}
		e, ok := steering.Explain(table, host, c, 0, start)
		if !ok || details(e)[1] != want {
			t.Errorf("%s: %q, want %q", client, details(e)[1], want)
		}
	}
	e, _ := steering.Explain(table, host, netip.MustParsePrefix("20.2.7.9/32"), 0, start)
	age := start.Sub(time.Date(2026, 2, 1, 0, 0, 0, 0, time.UTC)).Seconds()
	want := steering.Input{Kind: "country", Value: "AT", Source: "test data",
		Since: time.Date(2026, 2, 1, 0, 0, 0, 0, time.UTC), AgeSeconds: &age}
	if d := cmp.Diff(want, inputOf(e, "country", "")); d != "" {
		t.Error(d)
	}
	if e.Decision.Place != "dach" || shareText(e.Shares) != "a:50 b:50" ||
		details(e)[0] != "host: pools dach, edge in this order, spread, TTL 20s, ramp 30s" {
		t.Errorf("explained is %q with %s by %s", e.Decision.Place, shareText(e.Shares), details(e)[0])
	}
	e, _ = steering.Explain(compile(t, steering.Inputs{Spec: spec(placed, sticky),
		Countries: atlas(t)}), host, netip.MustParsePrefix("20.2.7.9/32"), 0, start)
	last := details(e)[len(e.Steps)-1]
	if !strings.HasSuffix(last, "ranks first of 2 candidates for clients in 20.2.7.0/24") {
		t.Errorf("the pick of a sticky host is explained as %q", last)
	}
}

func TestMistakesOfPlacesAreNamed(t *testing.T) {
	place := func(p steering.Place) func(*steering.Spec) {
		return func(s *steering.Spec) { s.Hosts[0].Places = []steering.Place{p} }
	}
	ok := steering.Place{Name: "x", Countries: []string{"DE"}, Pools: []string{"edge"}}
	with := func(f func(p *steering.Place)) func(*steering.Spec) { p := ok; f(&p); return place(p) }
	for want, edit := range map[string]func(*steering.Spec){
		"name is empty":                   with(func(p *steering.Place) { p.Name = "" }),
		"name is used twice":              func(s *steering.Spec) { s.Hosts[0].Places = []steering.Place{ok, ok} },
		"has no pools":                    with(func(p *steering.Place) { p.Pools = nil }),
		`unknown pool "nope"`:             with(func(p *steering.Place) { p.Pools = []string{"nope"} }),
		`pool "edge" is listed twice`:     with(func(p *steering.Place) { p.Pools = []string{"edge", "edge"} }),
		"neither countries nor prefixes":  with(func(p *steering.Place) { p.Countries = nil }),
		`"Germany" is not a country code`: with(func(p *steering.Place) { p.Countries = []string{"Germany"} }),
		"bits set behind its length":      with(func(p *steering.Place) { p.Prefixes = prefixes("20.1.1.1/24") }),
		"is longer than /64":              with(func(p *steering.Place) { p.Prefixes = prefixes("2a01::/65") }),
		"is IPv4 in IPv6":                 with(func(p *steering.Place) { p.Prefixes = prefixes("::ffff:20.1.1.0/120") }),
		"is not a prefix":                 with(func(p *steering.Place) { p.Prefixes = make([]netip.Prefix, 1) }),
		"has 251 places, at most 250":     func(s *steering.Spec) { s.Hosts[0].Places = make([]steering.Place, 251) },
		"leads back to it":                with(func(p *steering.Place) { p.Pools = []string{"loop"} }),
	} {
		s := spec(edit, func(s *steering.Spec) {
			s.Backends = append(s.Backends, steering.Backend{Name: "self", CNAME: host})
			s.Pools = append(s.Pools, steering.Pool{Name: "loop",
				Members: []steering.Member{{Backend: "self", Weight: 1}}})
		})
		_, err := steering.Compile(steering.Inputs{Version: 1, Now: start, Spec: s})
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want %q", err, want)
		}
	}
}

func TestNewCountryDataMovesClientsAtOnceAndIsAChange(t *testing.T) {
	registry := prometheus.NewRegistry()
	var changes []steering.Change
	e := steering.NewEngine(steering.EngineConfig{Now: func() time.Time { return start },
		Registerer: registry, OnChange: func(c steering.Change) { changes = append(changes, c) }})
	e.SetCountries(atlas(t))
	if err := e.SetSpec(spec(placed)); err != nil {
		t.Fatal(err)
	}
	names := ""
	for _, c := range changes {
		names += fmt.Sprintf("%s/%s ", c.Host, c.Place)
	}
	if want := host + "/ " + host + "/dach " + host + "/us " + host + "/office "; names != want {
		t.Errorf("changes of %q, want %q", names, want)
	}
	if d := pick(t, e.Table(), "20.1.0.0/24", 0); d.Place != "dach" {
		t.Errorf("the client is at %q", d.Place)
	}
	if got := series(t, registry, "pointsman_steering_place_share_ratio"); got != 6 {
		t.Errorf("%d series of shares at places, want 6", got)
	}
	moved, err := geo.Read([]byte("20.1.0.0,20.1.255.255,US"), "x", start)
	if err != nil {
		t.Fatal(err)
	}
	before := e.Table()
	e.SetCountries(moved)
	if err := e.SetSpec(spec(placed)); err != nil {
		t.Fatal(err)
	}
	if d := pick(t, e.Table(), "20.1.0.0/24", 0); d.Place != "us" || e.Table().Hash == before.Hash {
		t.Errorf("the client is at %q", d.Place)
	}
	x, _ := e.Explain(host, netip.MustParsePrefix("20.1.0.0/24"), 0)
	if x.Decision.Place != "us" {
		t.Errorf("explained is %q", x.Decision.Place)
	}
	changes = nil
	if err := e.SetSpec(spec()); err != nil {
		t.Fatal(err)
	}
	names = ""
	for _, c := range changes {
		names += fmt.Sprintf("%s gone %v ", c.Place, c.After == nil)
	}
	if want := "dach gone true us gone true office gone true "; names != want {
		t.Errorf("changes %q, want %q", names, want)
	}
	if got := series(t, registry, "pointsman_steering_place_share_ratio") +
		series(t, registry, "pointsman_steering_place_reason"); got != 0 {
		t.Errorf("%d series of places that are gone", got)
	}
}

// series counts the series of a metric.
func series(t *testing.T, r *prometheus.Registry, name string) int {
	t.Helper()
	families, err := r.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range families {
		if f.GetName() == name {
			return len(f.GetMetric())
		}
	}
	return 0
}
