package dnsserver_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"pointsman/steering/dnsserver"
)

type record = dnsserver.Record

// mistake is a mistake in a config, without a place in a file.
type mistake struct{ Path, Message string }

// minimal returns a zone without mistakes, with records.
func minimal(records ...record) dnsserver.ZoneConfig {
	return dnsserver.ZoneConfig{Name: "example.test", NS: []string{"ns.other.invalid"},
		Records: records}
}

func TestEveryMistakeInARecordHasItsPlace(t *testing.T) {
	a := func(name string) record { return record{Name: name, Type: "A", Data: "192.0.2.1"} }
	alias := func(name, to string) record { return record{Name: name, Type: "CNAME", Data: to} }
	for _, c := range []struct {
		about   string
		records []record
		want    []mistake // messages: a part of each
	}{
		{"bad data", []record{{Name: "a", Type: "A", Data: "192.0.2.256"}},
			[]mistake{{"records[0].data", `not valid for type A: bad A A: "192.0.2.256"`}}},
		{"an address of the other family", []record{{Name: "a", Type: "A", Data: "2001:db8::1"}},
			[]mistake{{"records[0].data", "not valid for type A"}}},
		{"no data", []record{{Name: "a", Type: "A"}}, []mistake{{"records[0].data", "missing"}}},
		{"a comment for data", []record{{Name: "a", Type: "A", Data: "; nothing"}},
			[]mistake{{"records[0].data", "not valid"}}},
		{"data of two records", []record{{Name: "a", Type: "A",
			Data: "192.0.2.1\nb 1 IN A 192.0.2.2"}},
			[]mistake{{"records[0].data", "more than one record"}}},
		{"data that reads a file", []record{{Name: "a", Type: "A",
			Data: "192.0.2.1\n$INCLUDE /etc/hostname"}},
			[]mistake{{"records[0].data", "more than one record"}}},
		{"an unknown type", []record{{Name: "a", Type: "AA", Data: "x"}},
			[]mistake{{"records[0].type", `"AA" is no record type`}}},
		{"no type", []record{{Name: "a", Data: "x"}}, []mistake{{"records[0].type", "missing"}}},
		{"a question type", []record{{Name: "a", Type: "ANY", Data: "x"}},
			[]mistake{{"records[0].type", "ANY is no type of records"}}},
		{"an OPT", []record{{Name: "a", Type: "type41", Data: `\# 0`}},
			[]mistake{{"records[0].type", "TYPE41 is no type of records"}}},
		{"no name", []record{{Type: "A", Data: "192.0.2.1"}},
			[]mistake{{"records[0].name", `missing; "@" is the zone itself`}}},
		{"a name that is none", []record{a("a..b"), a("x y"), a(strings.Repeat("a", 64))},
			[]mistake{{"records[0].name", "not a domain name"}, {"records[1].name",
				"not a domain name"},
				{"records[2].name", "not a domain name"}}},
		{"a name too long with its zone", []record{a(strings.Repeat(strings.Repeat("a", 60)+".",
			4) + "a")},
			[]mistake{{"records[0].name", "not a domain name"}}},
		{"a name outside", []record{a("www.example.org.")},
			[]mistake{{"records[0].name", "www.example.org. is outside the zone example.test."}}},
		{"a TTL below zero", []record{{Name: "a", Type: "A", TTL: -time.Second, Data: "192.0.2.1"}},
			[]mistake{{"records[0].ttl", "-1s is not between 1s and"}}},
		{"a TTL of half a second", []record{{Name: "a", Type: "A", TTL: time.Second / 2,
			Data: "192.0.2.1"}},
			[]mistake{{"records[0].ttl", "500ms is not a whole number of seconds"}}},
		{"two TTLs in one set", []record{a("a"), {Name: "a", Type: "A", TTL: time.Minute,
			Data: "192.0.2.2"}},
			[]mistake{{"records[1].ttl", "share one TTL: records[0] has 5m0s"}}},
		{"a duplicate, however written", []record{{Name: "a", Type: "AAAA", Data: "2001:db8::1"},
			{Name: "A.Example.Test.", Type: "aaaa", Data: "2001:0db8:0::1"}},
			[]mistake{{"records[1]", "the same record is already records[0]"}}},
		{"the zone's NS among the records", []record{{Name: "@", Type: "NS",
			Data: "ns.other.invalid"}},
			[]mistake{{"records[0]", "the zone's own NS stands in ns"}}},
		{"a SOA below the apex", []record{{Name: "a", Type: "SOA", Data: "a.b. c.d. 1 1 1 1 1"}},
			[]mistake{{"records[0].type", "a SOA can't stand below"}}},
		{"a relative name in data", []record{{Name: "a", Type: "MX", Data: "10 mail"}},
			[]mistake{{"records[0].data", "write mail.example.test for mail"}}},
		{"a CNAME at the apex", []record{alias("@", "x.invalid")},
			[]mistake{{"records[0]", "a CNAME can't stand at the zone's apex"}}},
		{"a CNAME beside data", []record{alias("a", "x.invalid"), a("a")},
			[]mistake{{"records[0]", "beside other records of a.example.test.: records[1] is A"}}},
		{"two CNAMEs", []record{alias("a", "x.invalid"), alias("a", "y.invalid")},
			[]mistake{{"records[1]", "already has a CNAME: records[0]"}}},
		{"a CNAME to itself", []record{alias("a", "a.example.test")},
			[]mistake{{"records[0]", "CNAME loop: a.example.test. → a.example.test."}}},
		{"a loop of CNAMEs", []record{alias("a", "b.example.test"), alias("b", "c.example.test"),
			alias("c", "B.example.test."), a("d")},
			[]mistake{{"records[0]", "more than 8 links"}, {"records[1]",
				"CNAME loop: b.example.test. → c"},
				{"records[2]", "CNAME loop: c.example.test. → b"}}},
		{"a loop through a wildcard", []record{alias("*.w", "x.w.example.test")},
			[]mistake{{"records[0]", "more than 8 links"}}},
		{"data below a delegation", []record{{Name: "sub", Type: "NS", Data: "ns.other.invalid"},
			{Name: "x.sub", Type: "TXT", Data: "x"}, a("ns.sub"), {Name: "sub", Type: "MX",
				Data: "1 ."}},
			[]mistake{{"records[1]", "sub.example.test. is delegated"},
				{"records[3]", "sub.example.test. is delegated"}}},
		{"data below a DNAME", []record{{Name: "old", Type: "DNAME", Data: "x.invalid"},
			a("a.old")},
			[]mistake{{"records[1]", "old.example.test. has a DNAME"}}},
		{"two DNAMEs", []record{{Name: "old", Type: "DNAME", Data: "x.invalid"},
			{Name: "old", Type: "DNAME", Data: "y.invalid"}},
			[]mistake{{"records[1]", "two DNAME records"}}},
		{"several at once", []record{a("ok"), {Name: "a", Type: "A", Data: "x"}, a("b.invalid.")},
			[]mistake{{"records[1].data", "not valid"}, {"records[2].name", "outside"}}},
	} {
		t.Run(c.about, func(t *testing.T) {
			z, got := dnsserver.ParseZone(minimal(c.records...))
			if z != nil {
				t.Error("a zone in spite of mistakes")
			}
			compare(t, c.want, got)
		})
	}
}

// compare holds mistakes against the places and the parts of the messages that are wanted.
func compare(t *testing.T, want []mistake, found []dnsserver.Mistake) {
	t.Helper()
	var got []mistake
	for _, m := range found {
		got = append(got, mistake{m.Path, m.Message})
	}
	contains := cmp.Comparer(func(a, b string) bool {
		return a != "" && b != "" && (strings.Contains(a, b) || strings.Contains(b, a))
	})
	onMessage := cmp.FilterPath(func(p cmp.Path) bool {
		return p.Last().String() == ".Message"
	}, contains)
	if d := cmp.Diff(want, got, onMessage, cmpopts.EquateEmpty()); d != "" {
		t.Errorf("mistakes (-want +got):\n%s", d)
	}
}

func TestEveryMistakeInAZoneHasItsPlace(t *testing.T) {
	for _, c := range []struct {
		about  string
		change func(*dnsserver.ZoneConfig)
		want   []mistake
	}{
		{"no name", func(z *dnsserver.ZoneConfig) { z.Name = "" }, []mistake{{"name", "missing"}}},
		{"the root", func(z *dnsserver.ZoneConfig) { z.Name = "." },
			[]mistake{{"name", "the root"}}},
		{"a bad name", func(z *dnsserver.ZoneConfig) { z.Name = "a b" },
			[]mistake{{"name", `"a b" is not a domain name`}}},
		{"no name servers", func(z *dnsserver.ZoneConfig) { z.NS = nil },
			[]mistake{{"ns", "the zone has no name servers"}}},
		{"a name server twice", func(z *dnsserver.ZoneConfig) {
			z.NS = append(z.NS,
				"NS.other.invalid.")
		},
			[]mistake{{"ns[1]", "is already ns[0]"}}},
		{"a relative name server", func(z *dnsserver.ZoneConfig) { z.NS = []string{"ns1"} },
			[]mistake{{"ns[0]", "write ns1.example.test for ns1"}}},
		{"a name server without address",
			func(z *dnsserver.ZoneConfig) { z.NS = []string{"ns1.example.test"} },
			[]mistake{{"ns[0]", "ns1.example.test. lies in the zone but has no A or AAAA"}}},
		{"a name server that is an alias", func(z *dnsserver.ZoneConfig) {
			z.NS = []string{"ns1.example.test"}
			z.Records = []record{{Name: "ns1", Type: "CNAME", Data: "x.invalid"}}
		}, []mistake{{"ns[0]", "is a CNAME"}}},
		{"bad times", func(z *dnsserver.ZoneConfig) {
			z.TTL, z.SOA.Refresh, z.SOA.Retry = -1, time.Millisecond, 1e6*time.Hour
			z.SOA.Expire, z.SOA.NegativeTTL = -time.Hour, 1500*time.Millisecond
		}, []mistake{{"ttl", "not between"}, {"soa.refresh", "whole number"},
			{"soa.retry", "not between"},
			{"soa.expire", "not between"}, {"soa.negative_ttl", "whole number"}}},
		{"a bad mailbox", func(z *dnsserver.ZoneConfig) { z.SOA.MBox = "a@@b" },
			[]mistake{{"soa.mbox", "not a domain name"}}},
		{"a bad primary", func(z *dnsserver.ZoneConfig) { z.SOA.MName = "a..b" },
			[]mistake{{"soa.mname", "not a domain name"}}},
	} {
		t.Run(c.about, func(t *testing.T) {
			z := minimal()
			c.change(&z)
			_, got := dnsserver.ParseZone(z)
			compare(t, c.want, got)
		})
	}
}

func TestHostsAreCheckedAgainstTheZones(t *testing.T) {
	z, mistakes := dnsserver.ParseZone(minimal(
		record{Name: "www", Type: "CNAME", Data: "cdn.example.test"},
		record{Name: "txt", Type: "TXT", Data: "x"},
		record{Name: "taken", Type: "A", Data: "192.0.2.1"},
		record{Name: "sub", Type: "NS", Data: "ns.other.invalid"},
		record{Name: "old", Type: "DNAME", Data: "x.invalid"},
	))
	if mistakes != nil {
		t.Fatal(mistakes)
	}
	type host = dnsserver.SteeredName
	to := func(name string, targets ...string) host { return host{Host: name, Targets: targets} }
	addr := func(name string) host { return host{Host: name, Addresses: true} }
	for _, c := range []struct {
		about string
		hosts []host
		want  []mistake
	}{
		{"fine", []host{to("CDN.example.test", "a.invalid"), addr("example.test"),
			addr("txt.example.test"),
			to("two.example.test.", "cdn.example.test")}, nil},
		{"outside", []host{addr("cdn.example.org")},
			[]mistake{{"hosts[0]", "in none of the zones"}}},
		{"no name", []host{addr("ok.example.test"), addr("a..b")},
			[]mistake{{"hosts[1]", "not a domain name"}}},
		{"a name at the apex", []host{to("example.test", "a.invalid")},
			[]mistake{{"hosts[0]", "use addresses"}}},
		{"a name beside data", []host{to("txt.example.test", "a.invalid")},
			[]mistake{{"hosts[0]", "also has a static TXT record"}}},
		{"addresses beside addresses", []host{addr("taken.example.test")},
			[]mistake{{"hosts[0]", "also has a static A record"}}},
		{"below a delegation", []host{addr("x.sub.example.test")},
			[]mistake{{"hosts[0]", "is delegated"}}},
		{"below a DNAME", []host{addr("x.old.example.test")},
			[]mistake{{"hosts[0]", "has a DNAME"}}},
		{"a loop through static records", []host{to("cdn.example.test", "a.invalid",
			"WWW.example.test")},
			[]mistake{{"hosts[0]", "cdn.example.test. → www.example.test. → cdn.example.test."}}},
		{"a loop of hosts", []host{to("a.example.test", "b.example.test"), to("b.example.test",
			"a.example.test")},
			[]mistake{{"hosts[0]", "CNAME loop"}, {"hosts[1]", "CNAME loop"}}},
	} {
		t.Run(c.about, func(t *testing.T) {
			compare(t, c.want, dnsserver.CheckHosts([]*dnsserver.Zone{z}, c.hosts))
		})
	}
}

func TestTheSerialFollowsTheContent(t *testing.T) {
	serial := func(c dnsserver.ZoneConfig) string {
		z, mistakes := dnsserver.ParseZone(c)
		if mistakes != nil {
			t.Fatal(mistakes)
		}
		s := start(t, dnsserver.Config{Zones: []*dnsserver.Zone{z}})
		return query(t, s, "udp", "example.test.", "SOA").Answer[0].String()
	}
	x, y := record{Name: "a", Type: "A", Data: "192.0.2.1"}, record{Name: "a", Type: "A",
		Data: "192.0.2.2"}
	one, same, other := serial(minimal(x, y)), serial(minimal(y, x)), serial(minimal(x))
	if one != same {
		t.Errorf("equal content, other serial:\n%s\n%s", one, same)
	}
	if one == other {
		t.Errorf("other content, equal serial: %s", one)
	}
	given := minimal()
	given.SOA = dnsserver.SOA{Serial: 42, MBox: "dns.admin@example.test", MName: "primary.invalid"}
	got := strings.Join(strings.Fields(serial(given)), " ")
	want := `example.test. 300 IN SOA primary.invalid. dns\.admin.example.test. 42 3600 600 604800 30`
	if got != want {
		t.Errorf("got %s\nwant %s", got, want)
	}
}

func TestRecordsOfManyTypesComeBackAsWritten(t *testing.T) {
	data := map[string]string{
		"A": "192.0.2.1", "AAAA": "2001:db8::1", "CAA": `0 issue "ca.invalid"`,
		"SRV": "1 2 443 host.invalid.", "TXT": `"a b" "c;d"`, "TLSA": "3 1 1 " +
			strings.Repeat("ab", 32),
		"SSHFP": "4 2 " + strings.Repeat("CD", 32), "NAPTR": `1 1 "u" "sip+E2U" "!^.*$!sip:a@b!" .`,
		"HTTPS": `1 . alpn="h2,h3"`, "SVCB": `2 svc.invalid. port="8443"`, "PTR": "host.invalid.",
		"HINFO": `"cpu" "os"`, "LOC": "52 22 23.000 N 04 53 32.000 E -2m 0.00m 10000m 10m",
		"URI": `10 1 "https://x.invalid/"`, "CDS": "0 0 0 00", "DNSKEY": "257 3 13 " +
			strings.Repeat("A", 86) + "==",
		"RP": "mbox.invalid. txt.invalid.", "DS": "1 13 2 " + strings.Repeat("AB", 32),
		"TYPE65280": `\# 3 0a0b0c`, "MX": "10 mail.invalid.", "EUI48": "00-00-5e-00-53-2a",
	}
	var c dnsserver.ZoneConfig
	names := map[string]string{}
	for rtype, text := range data {
		name := "n" + strings.ToLower(rtype)
		names[rtype] = name + ".example.test."
		c.Records = append(c.Records, record{Name: name, Type: rtype, Data: text})
	}
	c.Name, c.NS = "example.test", []string{"ns.other.invalid"}
	z, mistakes := dnsserver.ParseZone(c)
	if mistakes != nil {
		t.Fatal(mistakes)
	}
	s := start(t, dnsserver.Config{Zones: []*dnsserver.Zone{z}})
	for rtype, text := range data {
		m := query(t, s, "udp", names[rtype], rtype)
		if len(m.Answer) != 1 {
			t.Errorf("%s: %v", rtype, m)
			continue
		}
		got := strings.Join(strings.Fields(m.Answer[0].String())[4:], " ")
		if got != text {
			t.Errorf("%s: got %s, want %s", rtype, got, text)
		}
	}
}

func TestAZoneOfManyRecordsParsesQuickly(t *testing.T) {
	var records []record
	for i := range 20_000 {
		records = append(records, record{Name: fmt.Sprintf("h%d", i), Type: "A",
			Data: fmt.Sprintf("10.0.%d.%d", i>>8&255, i&255)})
	}
	start := time.Now()
	if _, mistakes := dnsserver.ParseZone(minimal(records...)); mistakes != nil {
		t.Fatal(mistakes[0])
	}
	if took := time.Since(start); took > 5*time.Second {
		t.Errorf("20,000 records took %v", took)
	} else {
		t.Logf("20,000 records took %v", took)
	}
}

func FuzzParseZoneNeverPanics(f *testing.F) {
	f.Add("www", "CNAME", "cdn.example.test")
	f.Add("@", "TXT", `"a" "b"`)
	f.Add("*.x", "TYPE65280", `\# 2 abcd`)
	f.Add("a", "HTTPS", `1 . alpn="h2"`)
	f.Add("sub", "NS", "@")
	f.Fuzz(func(t *testing.T, name, rtype, data string) {
		z, mistakes := dnsserver.ParseZone(minimal(record{Name: name, Type: rtype, Data: data}))
		if (z == nil) != (len(mistakes) > 0) {
			t.Fatalf("zone %v with mistakes %v", z, mistakes)
		}
		for _, m := range mistakes {
			if !strings.HasPrefix(m.Path, "records[0]") {
				t.Fatalf("%s: %s", m.Path, m.Message)
			}
		}
	})
}
