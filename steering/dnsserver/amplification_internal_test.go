package dnsserver

import (
	"context"
	"fmt"
	"net/netip"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/miekg/dns"
	"go.yaml.in/yaml/v4"

	"pointsman/steering"
	"pointsman/steering/dnssec"
)

// loadState is the config of the load test, test/load/pointsman.yaml, with one of its hundred
// plain hosts. A nil policy signs nothing.
func loadState(t testing.TB, policy *dnssec.Policy, d Drawer) *state {
	t.Helper()
	var c struct {
		Zones []struct {
			Name string
		}
		Backends []struct {
			Name, CNAME string
			Addresses   []netip.Addr
		}
		Pools []steering.Pool
		Hosts []struct {
			Name  string
			Pools []string
		}
	}
	raw, err := os.ReadFile("../../test/load/pointsman.yaml")
	if err != nil {
		t.Fatal(err)
	}
	if err := yaml.Unmarshal(timesAway(raw), &c); err != nil {
		t.Fatal(err)
	}
	spec := &steering.Spec{Pools: c.Pools}
	for _, b := range c.Backends {
		nb := steering.Backend{Name: b.Name, Addresses: b.Addresses}
		if b.CNAME != "" {
			nb.CNAME = b.CNAME + "."
		}
		spec.Backends = append(spec.Backends, nb)
	}
	for _, h := range c.Hosts {
		spec.Hosts = append(spec.Hosts, steering.Host{Name: h.Name + ".", TTL: 30 * time.Second,
			Pools: h.Pools})
	}
	table, err := steering.Compile(steering.Inputs{Version: 1, Now: time.Unix(1, 0), Spec: spec})
	if err != nil {
		t.Fatal(err)
	}
	static, err := os.ReadFile("../../test/load/zone")
	if err != nil {
		t.Fatal(err)
	}
	static = append(static, "\nh1 IN A 198.51.100.2\nh1 IN AAAA 2001:db8:0::2\n"...)
	zone := mustZone(t, ZoneConfig{Name: c.Zones[0].Name, File: &ZoneFile{Name: "zone",
		Data: static}})
	if policy != nil {
		s, err := dnssec.New(dnssec.Config{Zone: zone.name, Policy: *policy, Folder: t.TempDir()})
		if err != nil {
			t.Fatal(err)
		}
		zone, _ = zone.SignedBy(s)
	}
	st := newState([]*Zone{zone}, table, d)
	if err := st.sign(context.Background(), (*published)(nil).serves); err != nil {
		t.Fatal(err)
	}
	return st
}

// timesAway takes out the TTLs, which have the form of the config's.
func timesAway(raw []byte) []byte {
	s := string(raw)
	for _, ttl := range []string{"1h", "30s"} {
		s = strings.ReplaceAll(s, "ttl: "+ttl+", ", "")
	}
	return []byte(s)
}

// loadPolicies are how the zone of the load test is signed; nil: not at all.
func loadPolicies() map[string]*dnssec.Policy {
	return map[string]*dnssec.Policy{"unsigned": nil, "NSEC": {}, "NSEC3": {NSEC3: true},
		"NSEC3, two keys": {NSEC3: true, Split: true}}
}

// Whatever is asked, an answer to an address that is not proven has at most 4 times the octets of
// its query, and 12 times with DO; and the two paths cut alike. Only proofs by NSEC3, which are
// larger, and what is asked for the sake of its size are cut.
func TestNoAnswerOfTheLoadTestAmplifies(t *testing.T) {
	for about, policy := range loadPolicies() {
		t.Run(about, func(t *testing.T) {
			w := newTwin(t, func(d Drawer) *state { return loadState(t, policy, d) })
			w.fast.s.terms.most = Amplification{Unsigned: 4, Signed: 12}
			q := newQuestions(w.oracle, 1)
			names := slices.Clone(q.names)
			for _, n := range q.names {
				names = append(names, "x."+strings.TrimPrefix(n, "."))
			}
			ordinary := []uint16{dns.TypeA, dns.TypeAAAA, dns.TypeCNAME, dns.TypeHTTPS, dns.TypeNS,
				dns.TypeSOA, dns.TypeTXT, dns.TypeMX, dns.TypeSRV, dns.TypeCAA, dns.TypePTR}
			answers, cut := 0, 0
			for _, name := range names {
				for _, qtype := range append(askedTypes, 50, 51, 59, 60) {
					for _, edns := range []string{"none", "plain", "DO"} {
						m := new(dns.Msg)
						m.SetQuestion(name, qtype)
						if edns != "none" {
							m.SetEdns0(4096, edns == "DO")
						}
						packet, err := m.Pack()
						if err != nil {
							t.Fatal(err)
						}
						out := w.ask(t, ask{packet: packet, from: clients[0]})
						most := 4
						if edns == "DO" {
							most = 12
						}
						if len(out) > most*len(packet) {
							t.Errorf("%s %s, EDNS %s: %d octets for %d", name, dns.Type(qtype), edns,
								len(out), len(packet))
						}
						answers++
						if out[2]&2 == 0 {
							continue
						}
						cut++
						chain := strings.HasPrefix(name, "alias") // of up to three signed names
						if policy == nil || slices.Contains(ordinary, qtype) &&
							(edns != "DO" || !policy.NSEC3 && !chain) {
							t.Errorf("%s %s, EDNS %s: cut", name, dns.Type(qtype), edns)
						}
					}
				}
			}
			t.Logf("%d of %d answers were cut", cut, answers)
		})
	}
}

func TestAProvenAddressGetsWholeAnswers(t *testing.T) {
	w := newTwin(t, func(d Drawer) *state { return loadState(t, &dnssec.Policy{NSEC3: true}, d) })
	w.fast.s.terms.most = Amplification{Unsigned: 4, Signed: 6}
	w.fast.s.SetCookies(testJar())
	nothing := func(o *dns.OPT) {}
	valid := serverCookie(t, clients[0], 0)
	for _, c := range []struct {
		about string
		in    ask
		tc    bool
	}{
		{"nothing proven", ask{packet: asked(t, "x.y.z.example.test.", nothing)}, true},
		{"TCP", ask{packet: asked(t, "x.y.z.example.test.", nothing), tcp: true}, false},
		{"a valid cookie", ask{packet: asked(t, "x.y.z.example.test.", withCookie(valid))}, false},
		{"another client's cookie",
			ask{packet: asked(t, "x.y.z.example.test.", withCookie(serverCookie(t, clients[1], 0)))},
			true},
		{"no server cookie", ask{packet: asked(t, "x.y.z.example.test.", withCookie(valid[:8]))}, true},
	} {
		c.in.from = clients[0]
		out := w.ask(t, c.in)
		if got := out[2]&2 != 0; got != c.tc {
			t.Errorf("%s: TC %t in %d octets", c.about, got, len(out))
		}
	}
}

// Eight addresses of either family come whole, however short the name.
func TestSmallAnswersAreNotCut(t *testing.T) {
	c := ZoneConfig{Name: "example.test", NS: []string{"ns.other.invalid"}}
	for i := range 10 {
		c.Records = append(c.Records,
			Record{Name: "w", Type: "AAAA", Data: fmt.Sprintf("2001:db8::%x", i+1)},
			Record{Name: "w", Type: "A", Data: fmt.Sprintf("192.0.2.%d", i+1)})
		if i < 8 {
			c.Records = append(c.Records,
				Record{Name: "e", Type: "AAAA", Data: fmt.Sprintf("2001:db8::%x", i+1)},
				Record{Name: "e", Type: "A", Data: fmt.Sprintf("192.0.2.%d", i+1)})
		}
	}
	all := terms{udpSize: 1232, most: Amplification{Unsigned: 4, Signed: 12}}
	st := newState([]*Zone{mustZone(t, c)}, nil, nil)
	for _, q := range []struct {
		name  string
		qtype uint16
		tc    bool
	}{{"e", dns.TypeA, false}, {"e", dns.TypeAAAA, false}, {"w", dns.TypeA, false},
		{"w", dns.TypeAAAA, true}, {"w", dns.TypeANY, true}, {"none", dns.TypeA, false}} {
		for _, edns := range []bool{false, true} {
			m := new(dns.Msg)
			m.SetQuestion(q.name+".example.test.", q.qtype)
			if edns {
				m.SetEdns0(1232, false)
			}
			packet, _ := m.Pack()
			in := ask{packet: packet, from: clients[0]}
			asked, v := parseQuery(in.packet, in.from)
			out, o, err := all.respond(func(*query, *response) {}, &asked, v, in, proof{}, st,
				time.Unix(1, 0))
			if err != nil || o.truncated != q.tc || o.bounded != q.tc {
				t.Errorf("%s %s, EDNS %t: %d octets, %+v, %v", q.name, dns.Type(q.qtype), edns,
					len(out), o, err)
			}
		}
	}
}
