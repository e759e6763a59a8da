package geo_test

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"pointsman/steering/geo"
	"pointsman/steering/geo/geotest"
)

func mmdb(t testing.TB, rows ...geotest.Row) []byte {
	t.Helper()
	raw, err := geotest.Write("Test-City", day, rows...)
	if err != nil {
		t.Fatal(err)
	}
	return raw
}

func readRaw(t testing.TB, raw []byte) *geo.Locator {
	t.Helper()
	l, err := geo.Read(raw, "test.mmdb", time.Time{})
	if err != nil {
		t.Fatal(err)
	}
	return l
}

func TestAnMMDBTellsWhatItKnowsAndTheRestIsUnknown(t *testing.T) {
	l := readRaw(t, mmdb(t,
		geotest.Row{Prefix: "20.0.0.0/16", Country: "US", Subdivision: "CA",
			Place: &[2]float64{37.77, -122.42}},
		geotest.Row{Prefix: "20.0.4.0/24", Country: "US", ASN: 64496},
		geotest.Row{Prefix: "20.1.0.0/16", Country: "de", Flat: true, Place: &[2]float64{50.1, 8.7}},
		geotest.Row{Prefix: "20.2.0.0/16", Odd: true, ASN: 4200000000},
		geotest.Row{Prefix: "2a00::/32", Country: "AT"},
		geotest.Row{Prefix: "2a01::/80", Country: "AT"}))
	for address, want := range map[string]string{
		"20.0.1.1": "US-CA at 38.00, -122.50 ", "20.0.4.1": "US, AS64496 at 39.55, -90.24 US",
		"20.1.1.1": "DE at 50.00, 8.50 ", "20.2.1.1": "AS4200000000 at 0.00, 0.00 ",
		"2a00::1": "AT at 47.64, 14.38 AT", "2a01::1": " at 0.00, 0.00 ", "9.9.9.9": " at 0.00, 0.00 ",
	} {
		at, _ := l.Locate(addr(address))
		got := fmt.Sprintf("%s at %s %s", at, at.Spot.Point, at.Spot.Name)
		if d := cmp.Diff(want, got); d != "" {
			t.Errorf("%s: %s", address, d)
		}
	}
	if !l.Date().Equal(day) {
		t.Errorf("it is of %s, want %s", l.Date(), day)
	}
}

func TestDamagedMMDBsAreRefused(t *testing.T) {
	whole := mmdb(t, geotest.Row{Prefix: "20.0.0.0/16", Country: "US"},
		geotest.Row{Prefix: "20.1.0.0/16", Country: "DE"})
	for n := 0; n < len(whole); n += 7 {
		if _, err := geo.Read(whole[:n], "x", day); err == nil {
			t.Fatalf("the first %d of %d bytes were taken", n, len(whole))
		}
	}
	r := rand.New(rand.NewPCG(1, 2))
	for range 2000 { // whatever is broken, nothing panics
		broken := slices.Clone(whole)
		broken[r.IntN(len(broken))] ^= byte(1 + r.IntN(255))
		if l, err := geo.Read(broken, "x", day); err == nil {
			l.Locate(addr("20.0.0.1"))
		}
	}
	_, err := geo.Read(mmdb(t, geotest.Row{Prefix: "20.0.0.0/16", Odd: true}), "x", day)
	if err == nil || !strings.Contains(err.Error(), "has no countries") {
		t.Errorf("a file of nothing: %v", err)
	}
}

// TestClassesAreThoseOfNaiveMatchingInTheWidestScope holds classes of rules of all kinds against
// rules looked at one by one, at random addresses and in all of their scope.
func TestClassesAreThoseOfNaiveMatchingInTheWidestScope(t *testing.T) {
	r := rand.New(rand.NewPCG(3, 4))
	checked := 0
	for range 60 {
		var rows []geotest.Row
		for i := range 24 {
			bits := 18 + r.IntN(12)
			p, _ := netip.AddrFrom4([4]byte{20, 0, byte(r.IntN(8)), byte(i * 10)}).Prefix(bits)
			rows = append(rows, geotest.Row{Prefix: p.String(), Country: pick(r, "US", "DE", "CA"),
				Subdivision: pick(r, "", "AA", "BB"), ASN: uint32(r.IntN(4))})
		}
		l := readRaw(t, mmdb(t, rows...))
		var rules []geo.Rule
		for range 1 + r.IntN(5) {
			p, _ := netip.AddrFrom4([4]byte{20, 0, byte(r.IntN(8)), byte(r.IntN(256))}).
				Prefix(16 + r.IntN(16))
			rules = append(rules, geo.Rule{Countries: some(r, "US", "DE"),
				Subdivisions: some(r, "US-AA", "DE-BB", "CA-BB"), ASNs: some(r, uint32(1), 2, 3),
				Prefixes: some(r, p)})
		}
		classes := l.Classify(rules)
		for range 200 {
			a := netip.AddrFrom4([4]byte{20, 0, byte(r.IntN(10)), byte(r.IntN(256))})
			class, scope := classes.Find(netip.PrefixFrom(a, 32))
			if want := naive(l, rules, a); class != want {
				t.Fatalf("%s is in class %d, want %d", a, class, want)
			}
			if !uniform(l, rules, a, int(scope)) {
				t.Fatalf("not all of %s/%d are in class %d", a, scope, class)
			}
			if scope > 20 && uniform(l, rules, a, int(scope)-1) {
				t.Fatalf("%s has scope %d, and a wider one is true", a, scope)
			}
			checked++
		}
	}
	t.Logf("%d addresses, each with all of its scope", checked)
}

func pick(r *rand.Rand, list ...string) string { return list[r.IntN(len(list))] }

func some[T any](r *rand.Rand, list ...T) (out []T) {
	for _, v := range list {
		if r.IntN(3) == 0 {
			out = append(out, v)
		}
	}
	return out
}

// naive is the class of an address: prefix before AS before subdivision before country.
func naive(l *geo.Locator, rules []geo.Rule, a netip.Addr) uint8 {
	at, _ := l.Locate(a)
	for _, holds := range []func(geo.Rule) bool{
		func(r geo.Rule) bool {
			return slices.ContainsFunc(r.Prefixes, func(p netip.Prefix) bool { return p.Contains(a) })
		},
		func(r geo.Rule) bool { return at.ASN != 0 && slices.Contains(r.ASNs, at.ASN) },
		func(r geo.Rule) bool { return slices.Contains(r.Subdivisions, at.Subdivision) },
		func(r geo.Rule) bool { return slices.Contains(r.Countries, at.Country) },
	} {
		if i := slices.IndexFunc(rules, holds); i >= 0 {
			return uint8(i + 1)
		}
	}
	return 0
}

// uniform looks at every address of a prefix, or at each 64th of a large one.
func uniform(l *geo.Locator, rules []geo.Rule, a netip.Addr, bits int) bool {
	p, _ := a.Prefix(bits)
	step, want := 1, naive(l, rules, a)
	if bits < 20 {
		step = 1 << (20 - max(bits, 8))
	}
	at := p.Addr().As4()
	first := uint32(at[0])<<24 | uint32(at[1])<<16 | uint32(at[2])<<8 | uint32(at[3])
	for n := 0; n < 1<<(32-bits); n += step {
		v := first + uint32(n)
		b := netip.AddrFrom4([4]byte{byte(v >> 24), byte(v >> 16), byte(v >> 8), byte(v)})
		if naive(l, rules, b) != want {
			return false
		}
	}
	return true
}

func TestFilesFillInForEachOtherAndTheBuiltInDataForBoth(t *testing.T) {
	dir := t.TempDir()
	file := func(name string, rows ...geotest.Row) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, mmdb(t, rows...), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	data, err := geo.Load(geo.Wants{Country: true, ASN: true, Files: []string{
		file("asn", geotest.Row{Prefix: "8.8.8.0/24", ASN: 64499}),
		file("city", geotest.Row{Prefix: "8.8.8.0/24", Country: "CA", Subdivision: "QC", ASN: 1})}})
	if err != nil {
		t.Fatal(err)
	}
	at, _ := data.Locator.Locate(addr("8.8.8.8"))
	if got := fmt.Sprintf("%s %s", at.Country, at); got != "CA CA-QC, AS64499" {
		t.Errorf("8.8.8.8 is in %s", got)
	}
	data, err = geo.Load(geo.Wants{Country: true, ASN: true})
	if err != nil {
		t.Fatal(err)
	}
	if at, _ := data.Locator.Locate(addr("8.8.8.8")); at.String() != "US, AS15169" {
		t.Errorf("by the built-in data 8.8.8.8 is in %s", at)
	}
}

func TestAnOlderMMDBLeavesTheLastGoodOneInForce(t *testing.T) {
	follow(t, func(d *desk) {
		put := func(country string, built time.Time, minute int) {
			raw, err := geotest.Write("Test", built, geotest.Row{Prefix: "192.1.0.0/24", Country: country})
			if err != nil {
				t.Error(err)
			}
			d.write(string(raw), minute)
			d.wait(11 * time.Second)
		}
		put("AT", day, 1)
		if d.country() != "AT" {
			t.Errorf("in force is %q", d.country())
		}
		put("CH", day.Add(-24*time.Hour), 2)
		if d.country() != "AT" || d.log.count("older than what is in force") != 1 {
			t.Errorf("in force is %q after an older file, or nothing is said of it", d.country())
		}
		put("FR", day.Add(24*time.Hour), 3)
		if d.country() != "FR" {
			t.Errorf("in force is %q after a newer file", d.country())
		}
	})
}

func TestDistancesAreThoseOfASphere(t *testing.T) {
	r := geo.NewRuler()
	at := func(lat, lon float64) geo.Point { return geo.Point{Lat: int32(lat * 1e6), Lon: int32(lon * 1e6)} }
	for _, c := range []struct {
		a, b geo.Point
		want uint32
	}{
		{at(50.11, 8.68), at(50.11, 8.68), 0},
		{at(50.11, 8.68), at(51.51, -0.13), 638},      // Frankfurt to London
		{at(40.71, -74.01), at(35.68, 139.69), 10852}, // New York to Tokyo
		{at(0, 179.5), at(0, -179.5), 111},
		{at(90, 0), at(-90, 0), 20015},
	} {
		if got := r.Between(c.a, c.b); max(got, c.want)-min(got, c.want) > 4 {
			t.Errorf("%s to %s: %d km, want about %d", c.a, c.b, got, c.want)
		}
	}
}
