package dnsserver_test

import (
	"testing"
	"time"

	"github.com/miekg/dns"

	"pointsman/probes/health"
	"pointsman/steering"
	"pointsman/steering/dnssec"
)

func TestAShortenedTTLIsThatOfTheSignatureToo(t *testing.T) {
	s := startSecure(t, dnssec.Policy{})
	in := s.table.Load().Inputs()
	spec := *in.Spec
	spec.Hosts = append([]steering.Host(nil), spec.Hosts...)
	for i := range spec.Hosts {
		spec.Hosts[i].TTLDegraded = 7 * time.Second
	}
	in.Version, in.Spec = 2, &spec
	in.View = &health.View{Version: 1, Backends: map[string]health.Health{
		"edge": {Backend: "edge", State: health.Unhealthy}}}
	table, err := steering.Compile(in)
	if err != nil {
		t.Fatal(err)
	}
	s.table.Store(table)
	var key *dns.DNSKEY
	for _, rr := range asked(t, s, "example.test.", dns.TypeDNSKEY).Answer {
		if k, ok := rr.(*dns.DNSKEY); ok {
			key = k
		}
	}
	m := asked(t, s, "far.down.low.example.test.", dns.TypeA)
	if len(m.Answer) != 2 || m.Answer[0].Header().Ttl != 7 || m.Answer[1].Header().Ttl != 7 {
		t.Fatalf("answered\n%s", m)
	}
	sig := m.Answer[1].(*dns.RRSIG)
	if sig.OrigTtl != 20 || sig.Verify(key, m.Answer[:1]) != nil {
		t.Errorf("the signature was made for a TTL of %d: %v", sig.OrigTtl,
			sig.Verify(key, m.Answer[:1]))
	}
}

// asked asks a signed server for signatures too.
func asked(t *testing.T, s *secure, name string, qtype uint16) *dns.Msg {
	t.Helper()
	q := new(dns.Msg)
	q.SetQuestion(name, qtype)
	q.SetEdns0(1232, true)
	m, _, err := new(dns.Client).Exchange(q, s.Addrs()[0].String())
	if err != nil {
		t.Fatal(err)
	}
	return m
}
