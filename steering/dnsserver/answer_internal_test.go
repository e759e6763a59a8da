package dnsserver

import (
	"encoding/hex"
	"fmt"
	"hash/fnv"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/miekg/dns"

	"pointsman/steering"
)

// fixed is a table whose pick is the draw's remainder, and that knows its hosts only.
type fixed map[string][]steering.Decision

func (f fixed) Hosts() []string { return sortedKeys(f) }

func (f fixed) Chooser(host string) steering.Chooser {
	if list, ok := f[host]; ok {
		return fixedHost{host, list}
	}
	return nil
}

// fixedHost is what a fixed table knows of one host.
type fixedHost struct {
	name string
	list []steering.Decision
}

func (f fixedHost) At(netip.Prefix) (steering.Chooser, uint8) { return f, 0 }

func (f fixedHost) Sequence() uint64 { return sequenceOf(f.name) }

func (f fixedHost) Choose(_ netip.Prefix, draw uint64) (*steering.Decision, uint8) {
	if len(f.list) == 0 {
		return nil, 0
	}
	d := &f.list[draw%uint64(len(f.list))]
	return d, d.Scope
}

// sequenceOf is the sequence of a name's draws in a fixed table.
func sequenceOf(host string) uint64 {
	h := fnv.New64a()
	_, _ = h.Write([]byte(host))
	return h.Sum64()
}

// constant is a draw.
type constant uint64

func (c constant) Next(uint64, netip.Prefix, uint16, time.Time) uint64 { return uint64(c) }

// seen remembers what was asked of it.
type seen struct{ got *[]string }

func (s seen) Next(sequence uint64, client netip.Prefix, qtype uint16, now time.Time) uint64 {
	*s.got = append(*s.got, fmt.Sprint(sequence == sequenceOf("cdn.example.test."), " ", client, " ", dns.Type(qtype), " ", now.Unix()))
	return 0
}

func exampleConfig() ZoneConfig {
	return ZoneConfig{
		Name: "Example.TEST",
		TTL:  5 * time.Minute,
		SOA:  SOA{Serial: 7, NegativeTTL: 30 * time.Second},
		NS:   []string{"ns1.example.test", "ns2.example.test."},
		Records: []Record{
			{Name: "@", Type: "MX", Data: "10 mail.example.test"},
			{Name: "@", Type: "TXT", Data: `"v=spf1 -all"`},
			{Name: "ns1", Type: "A", Data: "192.0.2.53"},
			{Name: "ns2.example.test", Type: "A", Data: "198.51.100.53"},
			{Name: "mail", Type: "A", TTL: time.Minute, Data: "192.0.2.25"},
			{Name: "mail", Type: "AAAA", TTL: time.Minute, Data: "2001:db8::25"},
			{Name: "www", Type: "CNAME", Data: "cdn.example.test"},
			{Name: "alias", Type: "CNAME", Data: "www.example.test."},
			{Name: "out", Type: "CNAME", Data: "elsewhere.invalid"},
			{Name: "dangling", Type: "CNAME", Data: "gone.example.test"},
			{Name: "tomail", Type: "CNAME", Data: "mail.example.test"},
			{Name: "a.deep", Type: "A", Data: "192.0.2.7"},
			{Name: "*.wild", Type: "A", Data: "192.0.2.8"},
			{Name: "*.wild", Type: "TXT", Data: "any"},
			{Name: "there.wild", Type: "TXT", Data: "here"},
			{Name: "*.wildalias", Type: "CNAME", Data: "mail.example.test"},
			{Name: "sub", Type: "NS", Data: "ns.sub.example.test"},
			{Name: "sub", Type: "NS", Data: "ns1.example.test"},
			{Name: "sub", Type: "NS", Data: "ns.other.invalid"},
			{Name: "sub", Type: "DS", Data: "1 13 2 " + strings.Repeat("ab", 32)},
			{Name: "ns.sub", Type: "A", Data: "192.0.2.99"},
			{Name: "old", Type: "DNAME", Data: "deep.example.test"},
			{Name: "tosub", Type: "CNAME", Data: "x.sub.example.test"},
			{Name: "unknown", Type: "TYPE65400", Data: `\# 3 0a0b0c`},
			{Name: "svc", Type: "HTTPS", Data: `1 . alpn="h2" ipv4hint="192.0.2.1"`},
		},
	}
}

func addrs(list ...string) []netip.Addr {
	out := make([]netip.Addr, len(list))
	for i, s := range list {
		out[i] = netip.MustParseAddr(s)
	}
	return out
}

func cnameTo(host, backend, target string, scope uint8) steering.Decision {
	return steering.Decision{Host: host, Backend: backend, CNAME: target, TTL: 20, Scope: scope}
}

// exampleTable steers names of exampleConfig's zone.
func exampleTable() fixed {
	const e = ".example.test."
	chain := fixed{
		"cdn" + e: {
			cnameTo("cdn"+e, "one", "site.one.invalid.", 24),
			cnameTo("cdn"+e, "two", "site.two.test.", 24),
			{Backend: "edge", V4: addrs("192.0.2.44", "192.0.2.45"), TTL: 20},
		},
		"v4" + e: {{Backend: "edge", V4: addrs("192.0.2.44"), TTL: 20}},
		"v6" + e: {{Backend: "edge6", V6: addrs("2001:db8::44"), TTL: 60}},
		"both" + e: {{Backend: "b", V4: addrs("192.0.2.1"), V6: addrs("2001:db8::1"),
			TTL: 9}},
		"example.test.":      {{Backend: "edge", V4: addrs("192.0.2.80"), TTL: 20}},
		"twice" + e:          {cnameTo("twice"+e, "first", "v4"+e, 16)},
		"tostatic" + e:       {cnameTo("tostatic"+e, "s", "tomail"+e, 0)},
		"ping" + e:           {cnameTo("ping"+e, "p", "pong"+e, 0)},
		"pong" + e:           {cnameTo("pong"+e, "p", "ping"+e, 0)},
		"self" + e:           {cnameTo("self"+e, "p", "self"+e, 0)},
		"broken" + e:         {},
		"hollow" + e:         {{Backend: "hollow", TTL: 20}},
		"*.tenants" + e:      {cnameTo("*.tenants"+e, "one", "site.one.invalid.", 0)},
		"far.down.low.x" + e: {{Backend: "edge", V4: addrs("192.0.2.44"), TTL: 20}},
		"togone" + e:         {cnameTo("togone"+e, "g", "gone"+e, 0)},
		"bound" + e: {
			{Backend: "b", V4: addrs("192.0.2.1"), V6: addrs("2001:db8::1"), TTL: 9,
				HTTPS: &steering.HTTPS{Priority: 1, ALPN: []string{"h2", "h3"}, Hints: true}},
			{Backend: "unbound", V4: addrs("192.0.2.2"), TTL: 9},
			cnameTo("bound"+e, "one", "site.one.invalid.", 0),
		},
	}
	for i := range 12 {
		name := fmt.Sprintf("l%d%s", i, e)
		chain[name] = []steering.Decision{cnameTo(name, "l", fmt.Sprintf("l%d%s", i+1, e), 0)}
	}
	return chain
}

func mustZone(t testing.TB, c ZoneConfig) *Zone {
	t.Helper()
	z, mistakes := ParseZone(c)
	if mistakes != nil {
		t.Fatalf("mistakes: %v", mistakes)
	}
	return z
}

func exampleState(t testing.TB, draw Drawer) *state {
	other := mustZone(t, ZoneConfig{
		Name: "two.test", NS: []string{"ns1.example.test"}, TTL: time.Minute, SOA: SOA{Serial: 1},
		Records: []Record{{Name: "site", Type: "A", Data: "203.0.113.2"}},
	})
	child := mustZone(t, ZoneConfig{
		Name: "child.two.test", NS: []string{"ns1.example.test"}, SOA: SOA{Serial: 1},
	})
	return newState([]*Zone{mustZone(t, exampleConfig()), other, child}, exampleTable(), draw)
}

// ask1 packs a question, changes it, and returns the unpacked answer; nil for silence.
func ask1(t *testing.T, st *state, tcp bool, name, qtype string, change func(*dns.Msg)) *dns.Msg {
	t.Helper()
	m := new(dns.Msg)
	m.SetQuestion(name, dns.StringToType[qtype])
	if change != nil {
		change(m)
	}
	packet, err := m.Pack()
	if err != nil {
		t.Fatal(err)
	}
	return exchange(t, st, tcp, packet)
}

func exchange(t *testing.T, st *state, tcp bool, packet []byte) *dns.Msg {
	t.Helper()
	in := ask{packet: packet, from: netip.MustParseAddr("::ffff:203.0.113.9"), tcp: tcp}
	out, _, err := reply(in, 1232, st, time.Unix(1e9, 0))
	if err != nil {
		t.Fatal(err)
	}
	if out == nil {
		return nil
	}
	a := new(dns.Msg)
	if err := a.Unpack(out); err != nil {
		t.Fatalf("the answer can't be read: %v", err)
	}
	return a
}

// show writes what matters of an answer on a few lines.
func show(m *dns.Msg) string {
	var b strings.Builder
	b.WriteString(dns.RcodeToString[m.Rcode])
	for _, f := range []struct {
		name string
		set  bool
	}{{"aa", m.Authoritative}, {"tc", m.Truncated}, {"ra", m.RecursionAvailable},
		{"rd", m.RecursionDesired}, {"ad", m.AuthenticatedData}, {"cd", m.CheckingDisabled},
		{"z", m.Zero}} {
		if f.set {
			b.WriteString(" " + f.name)
		}
	}
	for _, s := range []struct {
		name string
		rrs  []dns.RR
	}{{"", m.Answer}, {"auth: ", m.Ns}, {"add: ", m.Extra}} {
		for _, rr := range s.rrs {
			if rr.Header().Rrtype != dns.TypeOPT {
				b.WriteString("\n" + s.name + strings.Join(strings.Fields(rr.String()), " "))
			}
		}
	}
	return b.String()
}

// links shows the answers along exampleTable's chain.
func links(from int) string {
	var b strings.Builder
	for i := from; i < 12; i++ {
		fmt.Fprintf(&b, "\nl%d.example.test. 20 IN CNAME l%d.example.test.", i, i+1)
	}
	return b.String()
}

// The authority section of denials, by the TTL of its SOA.
const (
	soaData   = " IN SOA ns1.example.test. hostmaster.example.test. 7 3600 600 604800 30"
	soaLine   = "\nauth: example.test. 30" + soaData
	soaLine20 = "\nauth: example.test. 20" + soaData
	soaLine9  = "\nauth: example.test. 9" + soaData
)

func TestAnswersFollowTheRules(t *testing.T) {
	referral := "NOERROR rd" +
		"\nauth: sub.example.test. 300 IN NS ns.sub.example.test." +
		"\nauth: sub.example.test. 300 IN NS ns1.example.test." +
		"\nauth: sub.example.test. 300 IN NS ns.other.invalid." +
		"\nadd: ns.sub.example.test. 300 IN A 192.0.2.99" +
		"\nadd: ns1.example.test. 300 IN A 192.0.2.53"
	st := exampleState(t, constant(0))
	for _, c := range []struct{ about, name, qtype, want string }{
		{"a static record", "mail.example.test.", "A",
			"NOERROR aa rd\nmail.example.test. 60 IN A 192.0.2.25"},
		{"SOA", "example.test.", "SOA", "NOERROR aa rd\nexample.test. 300 IN SOA " +
			"ns1.example.test. hostmaster.example.test. 7 3600 600 604800 30"},
		{"NS at the apex", "example.test.", "NS", "NOERROR aa rd\n" +
			"example.test. 300 IN NS ns1.example.test.\nexample.test. 300 IN NS ns2.example.test."},
		{"no data has the SOA with the negative TTL", "mail.example.test.", "MX",
			"NOERROR aa rd" + soaLine},
		{"no such name", "gone.example.test.", "A", "NXDOMAIN aa rd" + soaLine},
		{"below a leaf", "x.mail.example.test.", "A", "NXDOMAIN aa rd" + soaLine},
		{"an empty non-terminal exists", "deep.example.test.", "A", "NOERROR aa rd" + soaLine},
		{"an empty non-terminal above a steered name", "low.x.example.test.", "A",
			"NOERROR aa rd" + soaLine},
		{"beside it there is nothing", "other.low.x.example.test.", "A",
			"NXDOMAIN aa rd" + soaLine},
		{"another zone", "example.org.", "A", "REFUSED rd"},
		{"the zone's parent", "test.", "A", "REFUSED rd"},
		{"the root", ".", "NS", "REFUSED rd"},
		{"a name that only ends like the zone", "myexample.test.", "A", "REFUSED rd"},
		{"an alias within the zone", "tomail.example.test.", "AAAA", "NOERROR aa rd\n" +
			"tomail.example.test. 300 IN CNAME mail.example.test.\n" +
			"mail.example.test. 60 IN AAAA 2001:db8::25"},
		{"an alias, asked for itself", "tomail.example.test.", "CNAME",
			"NOERROR aa rd\ntomail.example.test. 300 IN CNAME mail.example.test."},
		{"an alias to no data", "tomail.example.test.", "MX", "NOERROR aa rd\n" +
			"tomail.example.test. 300 IN CNAME mail.example.test." + soaLine},
		{"an alias to nothing (RFC 6604)", "dangling.example.test.", "A", "NXDOMAIN aa rd\n" +
			"dangling.example.test. 300 IN CNAME gone.example.test." + soaLine},
		{"an alias that leaves", "out.example.test.", "A",
			"NOERROR aa rd\nout.example.test. 300 IN CNAME elsewhere.invalid."},
		{"an alias into a delegation", "tosub.example.test.", "A", strings.Replace(referral,
			"NOERROR rd", "NOERROR aa rd\ntosub.example.test. 300 IN CNAME x.sub.example.test.",
			1)},
		{"aliases that end at a steered name", "alias.example.test.", "A", "NOERROR aa rd\n" +
			"alias.example.test. 300 IN CNAME www.example.test.\n" +
			"www.example.test. 300 IN CNAME cdn.example.test.\n" +
			"cdn.example.test. 20 IN CNAME site.one.invalid."},
		{"a wildcard", "x.y.wild.example.test.", "A",
			"NOERROR aa rd\nx.y.wild.example.test. 300 IN A 192.0.2.8"},
		{"a wildcard without the type", "x.wild.example.test.", "MX", "NOERROR aa rd" + soaLine},
		{"a wildcard doesn't cover what exists", "there.wild.example.test.", "A",
			"NOERROR aa rd" + soaLine},
		{"nor what is below that", "x.there.wild.example.test.", "A", "NXDOMAIN aa rd" + soaLine},
		{"nor the name it hangs from", "wild.example.test.", "A", "NOERROR aa rd" + soaLine},
		{"the wildcard itself", "*.wild.example.test.", "TXT",
			"NOERROR aa rd\n*.wild.example.test. 300 IN TXT \"any\""},
		{"a wildcard alias", "x.wildalias.example.test.", "A", "NOERROR aa rd\n" +
			"x.wildalias.example.test. 300 IN CNAME mail.example.test.\n" +
			"mail.example.test. 60 IN A 192.0.2.25"},
		{"a delegation", "x.y.sub.example.test.", "A", referral},
		{"a delegation, asked for itself", "sub.example.test.", "NS", referral},
		{"glue is no answer", "ns.sub.example.test.", "A", referral},
		{"DS is the parent's", "sub.example.test.", "DS", "NOERROR aa rd\n" +
			"sub.example.test. 300 IN DS 1 13 2 " + strings.Repeat("AB", 32)},
		{"DS below the cut is not", "x.sub.example.test.", "DS", referral},
		{"DS of a zone that is here, too", "child.two.test.", "DS", "NXDOMAIN aa rd\nauth: " +
			"two.test. 30 IN SOA ns1.example.test. hostmaster.two.test. 1 3600 600 604800 30"},
		{"DS of a zone without its parent", "two.test.", "DS", "NOERROR aa rd\nauth: " +
			"two.test. 30 IN SOA ns1.example.test. hostmaster.two.test. 1 3600 600 604800 30"},
		{"below a DNAME", "a.old.example.test.", "A", "NOERROR aa rd\n" +
			"old.example.test. 300 IN DNAME deep.example.test.\n" +
			"a.old.example.test. 300 IN CNAME a.deep.example.test.\n" +
			"a.deep.example.test. 300 IN A 192.0.2.7"},
		{"the DNAME itself", "old.example.test.", "A", "NOERROR aa rd" + soaLine},
		{"ANY gives one set", "mail.example.test.", "ANY",
			"NOERROR aa rd\nmail.example.test. 60 IN A 192.0.2.25"},
		{"ANY of an alias", "tomail.example.test.", "ANY",
			"NOERROR aa rd\ntomail.example.test. 300 IN CNAME mail.example.test."},
		{"ANY of an empty non-terminal", "deep.example.test.", "ANY", "NOERROR aa rd" + soaLine},
		{"HTTPS", "svc.example.test.", "HTTPS", "NOERROR aa rd\nsvc.example.test. 300 IN HTTPS " +
			`1 . alpn="h2" ipv4hint="192.0.2.1"`},
		{"a zone transfer", "example.test.", "AXFR", "REFUSED rd"},
		{"a mail agent", "example.test.", "MAILB", "NOTIMP rd"},
		{"a type that is no type", "example.test.", "TSIG", "FORMERR rd"},

		{"a name backend", "cdn.example.test.", "A",
			"NOERROR aa rd\ncdn.example.test. 20 IN CNAME site.one.invalid."},
		{"any type of it", "cdn.example.test.", "TXT",
			"NOERROR aa rd\ncdn.example.test. 20 IN CNAME site.one.invalid."},
		{"its CNAME", "cdn.example.test.", "CNAME",
			"NOERROR aa rd\ncdn.example.test. 20 IN CNAME site.one.invalid."},
		{"ANY of it", "cdn.example.test.", "ANY",
			"NOERROR aa rd\ncdn.example.test. 20 IN CNAME site.one.invalid."},
		{"below a steered name", "x.cdn.example.test.", "A", "NXDOMAIN aa rd" + soaLine},
		{"an address backend", "both.example.test.", "AAAA",
			"NOERROR aa rd\nboth.example.test. 9 IN AAAA 2001:db8::1"},
		{"a family that it lacks: denied no longer than the answer would last",
			"v4.example.test.", "AAAA", "NOERROR aa rd" + soaLine20},
		{"and the other way, by the zone's negative TTL", "v6.example.test.", "A",
			"NOERROR aa rd" + soaLine},
		{"CNAME of an address backend", "v4.example.test.", "CNAME", "NOERROR aa rd" + soaLine20},
		{"HTTPS of an address backend", "both.example.test.", "HTTPS", "NOERROR aa rd" + soaLine9},
		{"ANY of an address backend", "both.example.test.", "ANY",
			"NOERROR aa rd\nboth.example.test. 9 IN A 192.0.2.1"},
		{"a steered apex", "example.test.", "A",
			"NOERROR aa rd\nexample.test. 20 IN A 192.0.2.80"},
		{"its static records stay", "example.test.", "TXT",
			"NOERROR aa rd\nexample.test. 300 IN TXT \"v=spf1 -all\""},
		{"what it has neither way", "example.test.", "CAA", "NOERROR aa rd" + soaLine20},
		{"a steered name that leads to another", "twice.example.test.", "A", "NOERROR aa rd\n" +
			"twice.example.test. 20 IN CNAME v4.example.test.\n" +
			"v4.example.test. 20 IN A 192.0.2.44"},
		{"a steered name that leads to static ones", "tostatic.example.test.", "A",
			"NOERROR aa rd\ntostatic.example.test. 20 IN CNAME tomail.example.test.\n" +
				"tomail.example.test. 300 IN CNAME mail.example.test.\n" +
				"mail.example.test. 60 IN A 192.0.2.25"},
		{"a steered name that leads nowhere", "togone.example.test.", "A", "NXDOMAIN aa rd\n" +
			"togone.example.test. 20 IN CNAME gone.example.test." + soaLine},
		{"a steered wildcard", "acme.tenants.example.test.", "A",
			"NOERROR aa rd\nacme.tenants.example.test. 20 IN CNAME site.one.invalid."},
		{"a loop of two", "ping.example.test.", "A", "SERVFAIL rd"},
		{"its alias alone is fine", "ping.example.test.", "CNAME",
			"NOERROR aa rd\nping.example.test. 20 IN CNAME pong.example.test."},
		{"a loop of one", "self.example.test.", "A", "SERVFAIL rd"},
		{"the longest chain there may be", "l4.example.test.", "A", "NXDOMAIN aa rd" + links(4) +
			soaLine},
		{"a chain with one link more", "l3.example.test.", "A", "SERVFAIL rd"},
		{"a chain that is much too long", "l0.example.test.", "A", "SERVFAIL rd"},
		{"a table that breaks its promise", "broken.example.test.", "A", "SERVFAIL rd"},
		{"a decision without an answer", "hollow.example.test.", "A", "SERVFAIL rd"},
	} {
		t.Run(c.about, func(t *testing.T) {
			got := show(ask1(t, st, true, c.name, c.qtype, nil))
			if d := cmp.Diff(c.want, got); d != "" {
				t.Errorf("%s %s (-want +got):\n%s", c.name, c.qtype, d)
			}
		})
	}
}

func TestTheDrawDecides(t *testing.T) {
	for draw, want := range map[constant]string{
		1: "NOERROR aa rd\ncdn.example.test. 20 IN CNAME site.two.test.\n" +
			"site.two.test. 60 IN A 203.0.113.2", // chased into the other zone
		2: "NOERROR aa rd\ncdn.example.test. 20 IN A 192.0.2.44\n" +
			"cdn.example.test. 20 IN A 192.0.2.45",
	} {
		got := show(ask1(t, exampleState(t, draw), false, "cdn.example.test.", "A", nil))
		if d := cmp.Diff(want, got); d != "" {
			t.Errorf("draw %d (-want +got):\n%s", draw, d)
		}
	}
}

func TestDrawsAreToldWhoAsksForWhatAndWhen(t *testing.T) {
	var got []string
	st := exampleState(t, seen{&got})
	ask1(t, st, false, "WWW.example.test.", "AAAA", nil)
	ask1(t, st, false, "cdn.EXAMPLE.test.", "A", func(m *dns.Msg) {
		setSubnet(m, "00011800c0a801")
	})
	want := []string{
		"true 203.0.113.9/32 AAAA 1000000000",
		"true 192.168.1.0/24 A 1000000000",
	}
	if d := cmp.Diff(want, got); d != "" {
		t.Errorf("draws (-want +got):\n%s", d)
	}
}

// setSubnet adds OPT with a client subnet option in hex: family, source, scope, address.
func setSubnet(m *dns.Msg, raw string) {
	data, err := hex.DecodeString(raw)
	if err != nil {
		panic(err)
	}
	m.SetEdns0(1232, false)
	opt := m.IsEdns0()
	opt.Option = append(opt.Option, &dns.EDNS0_LOCAL{Code: dns.EDNS0SUBNET, Data: data})
}

func TestPicksAreReportedOnlyWhenAnswered(t *testing.T) {
	st := exampleState(t, constant(0))
	for name, want := range map[string][]pick{
		"twice.example.test.": {
			{"twice.example.test.", "first"}, {"v4.example.test.", "edge"},
		},
		"ping.example.test.": nil,
		"mail.example.test.": nil,
	} {
		m := new(dns.Msg)
		m.SetQuestion(name, dns.TypeA)
		packet, _ := m.Pack()
		_, o, err := reply(ask{packet: packet, from: netip.IPv4Unspecified()}, 1232, st,
			time.Time{})
		if err != nil || !slices.Equal(o.picks, want) {
			t.Errorf("%s: picks %v, error %v, want %v", name, o.picks, err, want)
		}
	}
}

func TestWithoutATableNothingIsDenied(t *testing.T) {
	st := newState([]*Zone{mustZone(t, exampleConfig())}, nil, nil)
	st.pending = true
	for _, c := range []struct{ name, qtype, want string }{
		{"mail.example.test.", "A", "NOERROR aa rd\nmail.example.test. 60 IN A 192.0.2.25"},
		{"mail.example.test.", "MX", "SERVFAIL rd"},
		{"cdn.example.test.", "A", "SERVFAIL rd"},
		{"www.example.test.", "A", "SERVFAIL rd"},
		{"x.wild.example.test.", "A", "SERVFAIL rd"},
		{"x.example.org.", "A", "REFUSED rd"},
	} {
		if d := cmp.Diff(c.want, show(ask1(t, st, false, c.name, c.qtype, nil))); d != "" {
			t.Errorf("%s %s (-want +got):\n%s", c.name, c.qtype, d)
		}
	}
}

func TestTypesWithoutANameAreServed(t *testing.T) {
	got := show(ask1(t, exampleState(t, constant(0)), false, "unknown.example.test.", "",
		func(m *dns.Msg) { m.Question[0].Qtype = 65400 }))
	want := "NOERROR aa rd\nunknown.example.test. 300 CLASS1 TYPE65400 \\# 3 0a0b0c"
	if d := cmp.Diff(want, got); d != "" {
		t.Errorf("(-want +got):\n%s", d)
	}
}
