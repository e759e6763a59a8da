package dnsserver_test

import (
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/miekg/dns"

	"pointsman/steering"
	"pointsman/steering/dnsserver"
)

// bindings returns a table of backends with addresses and an HTTPS record each, by weight.
func bindings(t testing.TB, version uint64, weights ...uint32) *steering.Table {
	t.Helper()
	spec := &steering.Spec{
		Pools: []steering.Pool{{Name: "edges"}},
		Hosts: []steering.Host{{Name: host, TTL: 20 * time.Second, Pools: []string{"edges"},
			Stickiness: steering.Spread}},
	}
	for i, w := range weights {
		b := steering.Backend{Name: fmt.Sprint("b", i), Addresses: []netip.Addr{
			netip.AddrFrom4([4]byte{192, 0, 2, byte(i)}),
			netip.MustParseAddr(fmt.Sprintf("2001:db8::%x", i+1)),
		}, HTTPS: &steering.HTTPS{Priority: 1, ALPN: []string{"h2", "h3"}, Hints: true}}
		spec.Backends = append(spec.Backends, b)
		spec.Pools[0].Members = append(spec.Pools[0].Members,
			steering.Member{Backend: b.Name, Weight: w})
	}
	table, err := steering.Compile(steering.Inputs{Version: version, Now: time.Now(), Spec: spec})
	if err != nil {
		t.Fatal(err)
	}
	return table
}

// TestHintsAgreeWithTheAddressesOfTheSameLookup asks as browsers do: HTTPS, A and AAAA at once.
func TestHintsAgreeWithTheAddressesOfTheSameLookup(t *testing.T) {
	table := pointer(bindings(t, 1, 50, 30, 20))
	cfg := example(t, table)
	s := start(t, cfg)
	conn, err := dns.Dial("udp", s.Addrs()[0].String())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	counts := map[string]int{}
	for i := range 600 {
		if i == 300 {
			table.Store(bindings(t, 2, 20, 30, 50)) // the memo keeps its answers
		}
		said := map[uint16]string{}
		for _, qtype := range []uint16{dns.TypeHTTPS, dns.TypeA, dns.TypeAAAA} {
			a, err := ask(conn, host, qtype)
			if err != nil || len(a.Answer) != 1 {
				t.Fatalf("answer %v, error %v", a, err)
			}
			_, said[qtype], _ = strings.Cut(a.Answer[0].String(), dns.TypeToString[qtype]+"\t")
		}
		want := fmt.Sprintf(`1 . alpn="h2,h3" ipv4hint="%s" ipv6hint="%s"`, said[dns.TypeA],
			said[dns.TypeAAAA])
		if d := cmp.Diff(want, said[dns.TypeHTTPS]); d != "" {
			t.Fatalf("lookup %d (-from A and AAAA +HTTPS):\n%s", i, d)
		}
		counts[said[dns.TypeA]]++
	}
	if len(counts) != 3 {
		t.Errorf("backends answered %v times, want all three", counts)
	}
}

func TestAnHTTPSRecordBesideABackendsOwnIsRefused(t *testing.T) {
	c := minimal(record{Name: "cdn", Type: "HTTPS", Data: "1 . alpn=h2"})
	z, mistakes := dnsserver.ParseZone(c)
	if mistakes != nil {
		t.Fatal(mistakes)
	}
	steered := dnsserver.SteeredName{Host: "cdn.example.test", Addresses: true}
	compare(t, nil, dnsserver.CheckHosts([]*dnsserver.Zone{z},
		[]dnsserver.SteeredName{steered}))
	steered.HTTPS = true
	compare(t, []mistake{{"hosts[0]", "cdn.example.test. also has a static HTTPS record"}},
		dnsserver.CheckHosts([]*dnsserver.Zone{z}, []dnsserver.SteeredName{steered}))
}
