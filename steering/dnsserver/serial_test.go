package dnsserver_test

import (
	"strings"
	"testing"

	"pointsman/steering/dnsserver"
)

// zoneText is a zone from a file.
func zoneText(t *testing.T, name, text string, signed bool) *dnsserver.Zone {
	t.Helper()
	z, mistakes := dnsserver.ParseZone(dnsserver.ZoneConfig{Name: name, Signed: signed,
		File: &dnsserver.ZoneFile{Name: "f", Data: []byte(text)}})
	if len(mistakes) > 0 {
		t.Fatal(mistakes)
	}
	return z
}

func TestASerialThatDoesNotRiseWithTheContentIsNoticed(t *testing.T) {
	of := func(serial, more string) *dnsserver.Zone {
		return zoneText(t, "example.test", "@ SOA a.invalid. b.invalid. "+serial+
			" 1 1 1 1\n@ NS ns.invalid.\n"+more, false)
	}
	for _, c := range []struct {
		about         string
		before, after *dnsserver.Zone
		want          string // empty: nothing is wrong
	}{
		{"nothing before", nil, of("1", ""), ""},
		{"nothing changed", of("7", ""), of("7", ""), ""},
		{"raised", of("7", ""), of("8", "a A 192.0.2.1\n"), ""},
		{"raised past the end of the numbers", of("4294967295", ""), of("1", "a A 192.0.2.1\n"), ""},
		{"gone back", of("8", ""), of("7", "a A 192.0.2.1\n"), "went back from 8 to 7"},
		{"gone back with the same content", of("8", ""), of("7", ""), "went back from 8 to 7"},
		{"stayed", of("7", ""), of("7", "a A 192.0.2.1\n"), "stayed 7"},
		{"derived from the content", of("0", ""), of("0", "a A 192.0.2.1\n"), ""},
	} {
		got := dnsserver.SerialTrap(c.before, c.after)
		if (got == "") != (c.want == "") || !strings.Contains(got, c.want) {
			t.Errorf("%s: got %q, want %q", c.about, got, c.want)
		}
	}
}

func TestDelegationsThatLeadNowhereAreNoticed(t *testing.T) {
	const apex = "@ SOA a.invalid. b.invalid. 1 1 1 1 1\n@ NS ns.invalid.\n"
	child := zoneText(t, "sub.example.test", apex, false)
	for _, c := range []struct {
		about, parent string
		signed        bool
		want          []mistake
	}{
		{"delegated", "sub NS ns.invalid.\n", false, nil},
		{"not delegated", "", false, []mistake{{"zones[1]", "example.test., which has no NS records"}}},
		{"not delegated by a signed zone", "", true,
			[]mistake{{"zones[1]", "its signed denial of a DS"}}},
		{"glue", "sub NS ns.sub\nns.sub A 192.0.2.1\n", false, nil},
		{"no glue", "sub NS ns.sub\n", false,
			[]mistake{{"zones[0]", "sub.example.test. is delegated to ns.sub.example.test., which lies"}}},
		{"a server beside the delegation", "sub NS ns1\nns1 A 192.0.2.1\n", false, nil},
		{"a server that isn't there", "sub NS ns1\n", false,
			[]mistake{{"zones[0]", "delegated to ns1.example.test."}}},
		{"a wildcard's server", "sub NS ns1.w\n*.w A 192.0.2.1\n", false, nil},
		{"a steered server", "sub NS cdn\n", false, nil},
	} {
		t.Run(c.about, func(t *testing.T) {
			zones := []*dnsserver.Zone{zoneText(t, "example.test", apex+c.parent, c.signed), child}
			compare(t, c.want, dnsserver.CheckDelegations(zones,
				[]dnsserver.SteeredName{{Host: "cdn.example.test", Addresses: true}}))
		})
	}
}
