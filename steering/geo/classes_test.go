package geo_test

import (
	"fmt"
	"net/netip"
	"testing"

	"pgregory.net/rapid"

	"pointsman/steering/geo"
)

// world is country data and rules, with a second implementation of what they mean.
type world struct {
	ranges []row
	rules  []geo.Rule
	edges  []edge // see survey
}

// edge is an address at which the class may change, with the class from there on.
type edge struct {
	at    netip.Addr
	class uint8
}

type row struct {
	first, last netip.Addr
	country     string
}

// class looks at everything, in the order that the documentation gives.
func (w world) class(a netip.Addr) uint8 {
	for i, r := range w.rules {
		for _, p := range r.Prefixes {
			if p.Contains(a) {
				return uint8(i + 1)
			}
		}
	}
	for _, row := range w.ranges {
		if row.first.BitLen() != a.BitLen() || a.Less(row.first) || row.last.Less(a) {
			continue
		}
		for i, r := range w.rules {
			for _, c := range r.Countries {
				if c == row.country {
					return uint8(i + 1)
				}
			}
		}
	}
	return 0
}

// survey lists all addresses at which the class may change, the first of each family with them.
func (w *world) survey() {
	note := func(a netip.Addr) { w.edges = append(w.edges, edge{a, w.class(a)}) }
	add := func(first, last netip.Addr) {
		note(first)
		if next := last.Next(); next.IsValid() {
			note(next)
		}
	}
	note(addr("0.0.0.0"))
	note(addr("::"))
	for _, r := range w.ranges {
		add(r.first, r.last)
	}
	for _, r := range w.rules {
		for _, p := range r.Prefixes {
			add(p.Addr(), lastOf(p))
		}
	}
}

func lastOf(p netip.Prefix) netip.Addr {
	b := p.Masked().Addr().AsSlice()
	for i := p.Bits(); i < len(b)*8; i++ {
		b[i/8] |= 1 << (7 - i%8)
	}
	a, _ := netip.AddrFromSlice(b)
	return a
}

// uniform reports whether all addresses of a prefix have one class.
func (w world) uniform(p netip.Prefix) bool {
	class := w.class(p.Masked().Addr())
	for _, e := range w.edges {
		if e.class != class && p.Contains(e.at) {
			return false
		}
	}
	return true
}

func (w world) locator(t interface{ Fatalf(string, ...any) }) *geo.Locator {
	var b geo.Builder
	for _, r := range w.ranges {
		if err := b.Add(r.first, r.last, r.country); err != nil {
			t.Fatalf("%v", err)
		}
	}
	l, err := b.Build("test", day, nil)
	if err != nil {
		t.Fatalf("%v", err)
	}
	return l
}

// check holds Find against the second implementation at one address, in its whole scope, and
// in the next wider prefix.
func (w world) check(t interface{ Errorf(string, ...any) }, c *geo.Classes, a netip.Addr) {
	class, scope := c.Find(netip.PrefixFrom(a, a.BitLen()))
	if want := w.class(a); class != want {
		t.Errorf("%s is in class %d, want %d", a, class, want)
		return
	}
	if !w.uniform(netip.PrefixFrom(a, int(scope)).Masked()) {
		t.Errorf("%s: not all of its /%d are in class %d", a, scope, class)
	}
	everywhere := w.uniform(netip.PrefixFrom(addr("0.0.0.0"), 0)) &&
		w.uniform(netip.PrefixFrom(addr("::"), 0)) && w.class(addr("0.0.0.0")) == w.class(addr("::"))
	switch {
	case scope == 0 && !everywhere:
		t.Errorf("%s: scope 0, and not everyone is in class %d", a, class)
	case scope == 1 && everywhere:
		t.Errorf("%s: scope 1 though everyone is in class %d", a, class)
	case scope > 1 && w.uniform(netip.PrefixFrom(a, int(scope)-1).Masked()):
		t.Errorf("%s: scope /%d, and all of /%d are in class %d", a, scope, scope-1, class)
	}
}

// drawWorld makes ranges and prefixes that crowd in few places, so that they touch, nest and
// reach the ends of the address space.
func drawWorld(t *rapid.T) world {
	var w world
	country := rapid.SampledFrom([]string{"DE", "AT", "US", "CN"})
	for _, v6 := range []bool{false, true} {
		at := uint64(0)
		for range rapid.IntRange(0, 12).Draw(t, "ranges") {
			first := at + rapid.Uint64Range(0, 5).Draw(t, "gap")
			last := first + rapid.Uint64Range(0, 70).Draw(t, "length")
			w.ranges = append(w.ranges,
				row{point(first, v6, false), point(last, v6, true), country.Draw(t, "country")})
			at = last + 1
		}
	}
	w.ranges = append(w.ranges, row{addr("255.255.255.0"), addr("255.255.255.255"), "DE"})
	for range rapid.IntRange(0, 5).Draw(t, "rules") {
		r := geo.Rule{Countries: rapid.SliceOfN(country, 0, 2).Draw(t, "countries")}
		for range rapid.IntRange(0, 4).Draw(t, "prefixes") {
			p := netip.PrefixFrom(point(rapid.Uint64Range(0, 500).Draw(t, "at"), false, false),
				rapid.IntRange(0, 32).Draw(t, "bits"))
			if rapid.Bool().Draw(t, "v6") {
				p = netip.PrefixFrom(point(rapid.Uint64Range(0, 500).Draw(t, "at"), true, false),
					rapid.IntRange(0, 64).Draw(t, "bits"))
			}
			r.Prefixes = append(r.Prefixes, p.Masked())
		}
		w.rules = append(w.rules, r)
	}
	w.survey()
	return w
}

// point is the n-th address of a crowded place: a host of 20.0.0.0, or a /64 of 2a00::.
func point(n uint64, v6, last bool) netip.Addr {
	if !v6 {
		return netip.AddrFrom4([4]byte{20, byte(n >> 16), byte(n >> 8), byte(n)})
	}
	b := [16]byte{0x2a, 0, 0, 0, 0, 0, byte(n >> 8), byte(n)}
	if last {
		for i := 8; i < 16; i++ {
			b[i] = 0xff
		}
	}
	return netip.AddrFrom16(b)
}

func TestEveryAddressInAScopeHasItsClassAndNoWiderPrefixHas(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		w := drawWorld(t)
		c := w.locator(t).Classify(w.rules)
		for _, e := range w.edges {
			w.check(t, c, e.at)
			if before := e.at.Prev(); before.IsValid() {
				w.check(t, c, before)
			}
		}
		for range 20 {
			n := rapid.Uint64Range(0, 1<<10).Draw(t, "n")
			w.check(t, c, point(n, false, false))
			w.check(t, c, point(n, true, false))
		}
	})
}

// TestScopesHoldAroundEveryEdgeOfTheBuiltInTable walks all ranges of a real set of classes: the
// classes must be those of the countries, and just outside a scope something else must begin.
func TestScopesHoldAroundEveryEdgeOfTheBuiltInTable(t *testing.T) {
	l := builtin(t)
	rules := europe()
	c := l.Classify(rules)
	byCode := map[string]uint8{}
	for i, r := range rules {
		for _, code := range r.Countries {
			byCode[code] = uint8(i + 1)
		}
	}
	for _, v6 := range []bool{false, true} {
		a, steps := addr("0.0.0.0"), 0
		if v6 {
			a = addr("::")
		}
		for a.IsValid() {
			class, scope := c.Find(netip.PrefixFrom(a, a.BitLen()))
			p := netip.PrefixFrom(a, int(scope))
			if p.Masked().Addr() != a {
				t.Fatalf("%s: scope /%d begins before it, though what is before it was left", a, scope)
			}
			for _, edge := range []netip.Addr{a, lastOf(p)} {
				loc, _ := l.Locate(edge)
				want := byCode[loc.Country]
				if netip.MustParsePrefix("203.0.113.0/24").Contains(edge) {
					want = 4
				}
				if got, s := c.Find(netip.PrefixFrom(edge, edge.BitLen())); got != class || s != scope ||
					got != want {
					t.Fatalf("%s in %s: class %d /%d, want %d /%d", edge, p, got, s, want, scope)
				}
			}
			sibling := netip.PrefixFrom(flip(a, int(scope)), int(scope))
			if got, s := c.Find(sibling); scope > 1 && got == class && s <= scope {
				t.Fatalf("%s: its sibling %s is all of class %d too", p, sibling, class)
			}
			a, steps = lastOf(p).Next(), steps+1
		}
		if steps < 10_000 {
			t.Errorf("%d scopes cover the whole space: too few to be true", steps)
		}
	}
}

// flip turns bit n of an address over, counted from 1.
func flip(a netip.Addr, n int) netip.Addr {
	b := a.AsSlice()
	if n > 0 {
		b[(n-1)/8] ^= 1 << (7 - (n-1)%8)
	}
	out, _ := netip.AddrFromSlice(b)
	return out
}

func TestOfAPrefixTheFirstAddressCounts(t *testing.T) {
	c := read(t, "20.0.0.0,20.0.0.255,DE", "20.0.1.0,20.0.1.255,AT", "2a00::,2a00:0:0:1::,DE").
		Classify([]geo.Rule{{Countries: []string{"DE"}}, {Countries: []string{"AT"}}})
	for client, want := range map[string]string{
		"20.0.0.0/8":          "1 /24", // the answer needs more than it was given: so it says
		"20.0.0.200/32":       "1 /24",
		"20.0.1.0/24":         "2 /24",
		"20.0.1.77/24":        "2 /24", // bits behind the prefix don't count
		"20.0.1.77/23":        "1 /24",
		"::ffff:20.0.1.0/120": "2 /24",
		"0.0.0.0/0":           "0 /4",
		"2a00::1:2:3:4/64":    "1 /64",
		"2a00::1:2:3:4/128":   "1 /64",
		"2a00::/20":           "1 /64",
		"8000::/1":            "0 /1",
	} {
		class, scope := c.Find(netip.MustParsePrefix(client))
		if got := fmt.Sprintf("%d /%d", class, scope); got != want {
			t.Errorf("%s: class and scope %s, want %s", client, got, want)
		}
	}
	if class, scope := c.Find(netip.Prefix{}); class != 0 || scope != 0 {
		t.Errorf("nobody is in class %d /%d", class, scope)
	}
}

func TestScopeZeroIsForEveryoneOfBothFamilies(t *testing.T) {
	v4 := geo.Rule{Prefixes: []netip.Prefix{netip.MustParsePrefix("20.0.0.0/8")}}
	all4 := geo.Rule{Prefixes: []netip.Prefix{netip.MustParsePrefix("0.0.0.0/0")}}
	all6 := geo.Rule{Prefixes: []netip.Prefix{netip.MustParsePrefix("::/0")}}
	both := geo.Rule{Prefixes: append(all4.Prefixes, all6.Prefixes...)}
	for name, c := range map[string]struct {
		rules  []geo.Rule
		v4, v6 uint8
	}{
		"no rules":              {nil, 0, 0},
		"a rule for some IPv4":  {[]geo.Rule{v4}, 1, 1},
		"one for all IPv4":      {[]geo.Rule{all4}, 1, 1},
		"one for each family":   {[]geo.Rule{all4, all6}, 1, 1},
		"one for both families": {[]geo.Rule{both}, 0, 0},
	} {
		var none *geo.Locator
		classes := none.Classify(c.rules)
		_, s4 := classes.Find(netip.MustParsePrefix("200.0.0.1/32"))
		_, s6 := classes.Find(netip.MustParsePrefix("2a00::/56"))
		if s4 != c.v4 || s6 != c.v6 {
			t.Errorf("%s: scopes %d and %d, want %d and %d", name, s4, s6, c.v4, c.v6)
		}
	}
}

func TestClassesWithEqualAnswersHaveEqualDigests(t *testing.T) {
	l := read(t, "20.0.0.0,20.0.0.255,DE", "20.0.1.0,20.0.1.255,AT")
	base := []geo.Rule{{Countries: []string{"DE"}}, {Countries: []string{"AT"}}}
	same := []geo.Rule{{Prefixes: []netip.Prefix{netip.MustParsePrefix("20.0.0.0/24")}},
		{Countries: []string{"AT", "CN", "DE"}}}
	if l.Classify(base).Digest() != l.Classify(same).Digest() {
		t.Error("rules that mean the same have different digests")
	}
	seen := map[[32]byte]int{}
	for i, rules := range [][]geo.Rule{nil, base, base[:1], {base[1], base[0]},
		{{Prefixes: []netip.Prefix{netip.MustParsePrefix("20.0.0.0/25")}}}} {
		d := l.Classify(rules).Digest()
		if j, there := seen[d]; there {
			t.Errorf("rules %d and %d have one digest", i, j)
		}
		seen[d] = i
	}
}

func TestTheMostRulesThereMayBeAreToldApart(t *testing.T) {
	var rules []geo.Rule
	for i := range geo.MostRules + 2 {
		p := netip.PrefixFrom(netip.AddrFrom4([4]byte{20, byte(i >> 8), byte(i), 0}), 24)
		rules = append(rules, geo.Rule{Prefixes: []netip.Prefix{p}})
	}
	var none *geo.Locator
	c := none.Classify(rules)
	for i, r := range rules {
		want := uint8(i + 1)
		if i >= geo.MostRules {
			want = 0
		}
		if class, _ := c.Find(r.Prefixes[0]); class != want {
			t.Errorf("%s is in class %d, want %d", r.Prefixes[0], class, want)
		}
	}
}
