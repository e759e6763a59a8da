package geo_test

import (
	"bytes"
	"compress/gzip"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"pointsman/steering/geo"
)

var day = time.Date(2026, 6, 17, 0, 0, 0, 0, time.UTC)

func addr(s string) netip.Addr { return netip.MustParseAddr(s) }

func where(l *geo.Locator, s string) string {
	loc, _ := l.Locate(addr(s))
	return loc.Country
}

// read makes a locator of lines of text.
func read(t testing.TB, lines ...string) *geo.Locator {
	t.Helper()
	l, err := geo.Read([]byte(strings.Join(lines, "\n")), "test", day)
	if err != nil {
		t.Fatal(err)
	}
	return l
}

func TestTheBuiltInTableKnowsWhereWellKnownNetworksAre(t *testing.T) {
	l := builtin(t)
	got := map[string]string{}
	want := map[string]string{
		"8.8.8.8":              "US", // Google's resolver
		"193.0.6.139":          "NL", // RIPE NCC
		"::ffff:193.0.6.139":   "NL",
		"2001:67c:2e8:22::1":   "NL",
		"202.12.29.175":        "AU", // APNIC
		"200.3.14.10":          "UY", // LACNIC
		"131.188.3.1":          "DE", // University of Erlangen
		"2001:638:a000::1":     "DE", // the same
		"130.59.31.80":         "CH", // Switch
		"133.11.0.1":           "JP", // University of Tokyo
		"2001:4860:4860::8888": "US",
		"2a01:e0a::1":          "FR", // Free
		"203.0.113.9":          "",
		"198.18.0.1":           "",
		"2001:db8::1":          "",
		"255.255.255.255":      "",
		"ffff::1":              "",
		"::1":                  "",
		"0.0.0.0":              "",
	}
	for a := range want {
		got[a] = where(l, a)
	}
	if d := cmp.Diff(want, got); d != "" {
		t.Error(d)
	}
	if v4, v6 := l.Ranges(); v4 < 300_000 || v6 < 200_000 {
		t.Errorf("%d IPv4 and %d IPv6 ranges only", v4, v6)
	}
	if l.Date() != day || !strings.Contains(l.Origin(), "Number Resource Organization") {
		t.Errorf("the data is of %v, from %q", l.Date(), l.Origin())
	}
}

func TestNoSpecialPurposeAddressHasACountry(t *testing.T) {
	l := builtin(t)
	for _, p := range geo.SpecialPurpose() {
		loc, scope := l.Locate(p.Addr())
		if loc.Country != "" || int(scope) > p.Bits() {
			t.Errorf("%s is in %q as far as /%d", p, loc.Country, scope)
		}
	}
}

func TestThereIsNoCountryWithoutDataOrAddress(t *testing.T) {
	var none *geo.Locator
	if loc, scope := none.Locate(addr("8.8.8.8")); loc.Country != "" || scope != 0 {
		t.Errorf("no data says %v, /%d", loc, scope)
	}
	if loc, scope := builtin(t).Locate(netip.Addr{}); loc.Country != "" || scope != 0 {
		t.Errorf("no address is in %v, /%d", loc, scope)
	}
	if v4, v6 := none.Ranges(); v4+v6 != 0 || none.Countries() != nil || !none.Date().IsZero() ||
		none.Origin() != "no country data" {
		t.Error("no data says something of itself")
	}
}

func TestTheScopeOfALocationIsTheWidestOfWhichItIsTrue(t *testing.T) {
	l := read(t, "10.0.0.0,10.0.3.255,DE", "10.0.4.0,10.0.4.255,AT",
		"2a00::,2a00:3:ffff:ffff:ffff:ffff:ffff:ffff,DE", "128.0.0.0,255.255.255.255,US")
	for a, want := range map[string]uint8{
		"10.0.1.9": 22, "10.0.4.9": 24, "10.0.5.0": 24, "10.0.6.0": 23, "11.0.0.0": 8,
		"64.0.0.0": 2, "200.0.0.0": 1, "255.255.255.255": 1, "2a00:2::": 30, "8000::": 1,
	} {
		if _, got := l.Locate(addr(a)); got != want {
			t.Errorf("%s: /%d, want /%d", a, got, want)
		}
	}
}

func TestPackedDataIsReadBackAsItWas(t *testing.T) {
	for name, l := range map[string]*geo.Locator{
		"built in": builtin(t),
		"to both ends": read(t, "0.0.0.0,0.0.0.0,DE", "255.255.255.255,255.255.255.255,AT",
			"::,::ffff:ffff:ffff:ffff,CH",
			"ffff:ffff:ffff:ffff::,ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff,DE"),
		"all of one": read(t, "0.0.0.0,255.255.255.255,US"),
	} {
		var b bytes.Buffer
		if err := l.Pack(&b); err != nil {
			t.Fatal(err)
		}
		back, err := geo.Read(b.Bytes(), "unused", time.Time{})
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if l.Origin() != back.Origin() || !l.Date().Equal(back.Date()) ||
			l.Classify(codes(l)).Digest() != back.Classify(codes(l)).Digest() {
			t.Errorf("%s: came back otherwise", name)
		}
		for cut := 0; cut < b.Len(); cut += 1 + b.Len()/10 {
			if _, err := geo.Read(b.Bytes()[:cut], "x", day); err == nil {
				t.Errorf("%s: %d of %d bytes are taken for the whole", name, cut, b.Len())
			}
		}
	}
}

// codes has a rule for each of the first countries of a table.
func codes(l *geo.Locator) []geo.Rule {
	var rules []geo.Rule
	for _, c := range l.Countries()[:min(geo.MostRules, len(l.Countries()))] {
		rules = append(rules, geo.Rule{Countries: []string{c}})
	}
	return rules
}

func TestTextIsReadInItsForms(t *testing.T) {
	zipped := func(s string) string {
		var b bytes.Buffer
		z := gzip.NewWriter(&b)
		_, _ = z.Write([]byte(s))
		_ = z.Close()
		return b.String()
	}
	for name, text := range map[string]string{
		"commas":      "192.1.0.0,192.1.0.255,DE\n192.1.1.0,192.1.1.255,\n2a00::,2a00:ff::,FR\n",
		"quoted":      `"192.1.0.0","192.1.0.255","DE"` + "\r\n" + `"2a00::","2a00:ff::","FR"`,
		"tabs":        "# all\n192.1.0.0\t192.1.0.255\tDE\n\n2a00::\t2a00:ff::\tFR\n",
		"AS numbers":  "192.1.0.0\t192.1.0.255\t64500\tDE\tEX\n192.1.1.0\t192.1.1.9\t0\tNone\tx\n2a00::\t2a00:ff::\t1\tFR\tY",
		"gzip":        zipped("192.1.0.0,192.1.0.255,DE\n2a00::,2a00:ff::,FR\n"),
		"any order":   "2a00::,2a00:ff::,FR\n192.1.0.128,192.1.0.255,DE\n192.1.0.0,192.1.0.127,DE",
		"overlapping": "192.1.0.0,192.1.0.255,DE\n2a00::,2a00:ff::,US\n2a00::,2a00:ff::,FR\n192.1.0.0,192.1.0.9,DE",
	} {
		l, err := geo.Read([]byte(text), "test", day)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		got := []string{where(l, "192.1.0.0"), where(l, "192.1.0.255"), where(l, "192.1.1.0"),
			where(l, "2a00:1::"), where(l, "2a00:fe:ffff::"), where(l, "2a01::")}
		if d := cmp.Diff([]string{"DE", "DE", "", "FR", "FR", ""}, got); d != "" {
			t.Errorf("%s: %s", name, d)
		}
		if v4, _ := l.Ranges(); v4 != 3 {
			t.Errorf("%s: %d IPv4 ranges, want 3: neighbours of one country are one", name, v4)
		}
	}
}

func TestWhatIsNoCountryDataIsRefusedWithTheReason(t *testing.T) {
	for text, want := range map[string]string{
		"":                                     "no ranges",
		"# nothing\n":                          "no ranges",
		"192.1.0.0,192.1.0.255":                "line 1: has no first address",
		"192.1.0.0,192.1.0.255,DE\nx,1.1.1.1,": "line 2: ParseAddr",
		"1.1.1.1,x,DE":                         "ParseAddr",
		"1.1.1.1,::1,DE":                       "not two addresses of one family",
		"1.1.1.2,1.1.1.1,DE":                   "its end comes before its start",
		"1.1.1.1,1.1.1.2,Germany":              `"Germany" is not a two-letter country code`,
		"1.1.1.1,1.1.1.2,de":                   `"de" is not a two-letter country code`,
		"\x1f\x8bnonsense":                     "unpacking",
		"pointsman geo 1\n":                    "damaged",
		"\x00\x01\xab\xcd\xefMaxMind.com\x00":  "MMDB",
	} {
		_, err := geo.Read([]byte(text), "test", day)
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v, want %q", text, err, want)
		}
	}
}

func TestOfOverlappingRangesTheInnerOneWins(t *testing.T) {
	l := read(t, "10.0.0.0,10.0.0.255,DE", "10.0.0.100,10.0.0.199,AT", "10.0.0.120,10.0.0.129,CH",
		"20.0.0.0,20.0.0.99,DE", "20.0.0.50,20.0.0.149,AT", "20.0.0.60,20.0.0.99,CH")
	got := ""
	for _, a := range []string{"10.0.0.99", "10.0.0.100", "10.0.0.119", "10.0.0.120", "10.0.0.129",
		"10.0.0.130", "10.0.0.199", "10.0.0.200", "10.0.0.255", "10.0.1.0", "20.0.0.49",
		"20.0.0.50", "20.0.0.60", "20.0.0.99", "20.0.0.100", "20.0.0.149", "20.0.0.150"} {
		got += " " + where(l, a)
	}
	if d := cmp.Diff(" DE AT AT CH CH AT AT DE DE  DE AT CH CH AT AT ", got); d != "" {
		t.Error(d)
	}
}

func TestIPv6IsToldApartByWhole64s(t *testing.T) {
	l := read(t, "2a00:0:0:1::1,2a00:0:0:4::,DE", "2a00:0:0:9::1,2a00:0:0:9::2,AT",
		"2a00:0:0:a::,2a00:0:0:a:ffff:ffff:ffff:ffff,CH")
	got := ""
	for _, a := range []string{"1", "2", "3", "4", "9", "a"} {
		got += " " + where(l, "2a00:0:0:"+a+"::1")
	}
	if d := cmp.Diff("  DE DE   CH", got); d != "" {
		t.Error(d)
	}
}

func FuzzRead(f *testing.F) {
	f.Add([]byte("192.1.0.0,192.1.0.255,DE\n2a00::,2a00:ff::,FR\n"))
	f.Add([]byte("1.0.0.0\t1.0.0.255\t13335\tUS\tX"))
	var b bytes.Buffer
	if err := read(f, "1.0.0.0,1.0.0.9,DE", "2a00::,2a00:9::,AT").Pack(&b); err != nil {
		f.Fatal(err)
	}
	z, err := gzip.NewReader(&b)
	if err != nil {
		f.Fatal(err)
	}
	var raw bytes.Buffer
	if _, err := raw.ReadFrom(z); err != nil {
		f.Fatal(err)
	}
	f.Add(raw.Bytes())
	f.Fuzz(func(t *testing.T, data []byte) {
		l, err := geo.Read(data, "fuzz", day)
		if err != nil {
			return
		}
		var again bytes.Buffer
		if err := l.Pack(&again); err != nil {
			t.Fatal(err)
		}
		back, err := geo.Read(again.Bytes(), "", day)
		if err != nil {
			t.Fatalf("what was read can't be read again: %v", err)
		}
		for _, a := range []string{"0.0.0.0", "1.0.0.5", "255.255.255.255", "::", "2a00::", "ffff::"} {
			if where(l, a) != where(back, a) {
				t.Errorf("%s moved from %q to %q", a, where(l, a), where(back, a))
			}
		}
		if !slices.Equal(l.Countries(), back.Countries()) {
			t.Errorf("%v became %v", l.Countries(), back.Countries())
		}
	})
}
