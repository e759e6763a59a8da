package dnsserver

import (
	"strings"
	"testing"

	"github.com/miekg/dns"

	"pointsman/steering"
	"pointsman/steering/dnssec"
)

func TestAServiceBindingIsOfTheBackendThatWasPicked(t *testing.T) {
	for draw, want := range []string{
		`bound.example.test. 9 IN HTTPS 1 . alpn="h2,h3" ipv4hint="192.0.2.1" ` +
			`ipv6hint="2001:db8::1"`,
		"", // no data
		"bound.example.test. 20 IN CNAME site.one.invalid.",
	} {
		m := ask1(t, exampleState(t, constant(draw)), false, "bound.example.test.", "HTTPS", nil)
		got := ""
		for _, rr := range m.Answer {
			got += strings.Join(strings.Fields(rr.String()), " ")
		}
		if got != want || m.Rcode != dns.RcodeSuccess {
			t.Errorf("draw %d: %q, %s, want %q", draw, got, dns.RcodeToString[m.Rcode], want)
		}
		if want == "" && (len(m.Ns) != 1 || m.Ns[0].Header().Ttl != 9) {
			t.Errorf("draw %d: authority %v, want the SOA for 9 s", draw, m.Ns)
		}
	}
}

func TestAServiceBindingIsSigned(t *testing.T) {
	st := signedState(t, dnssec.Policy{}, constant(0))
	m := ask1(t, st, true, "bound.example.test.", "HTTPS", func(m *dns.Msg) {
		m.SetEdns0(4096, true)
	})
	if len(m.Answer) != 2 {
		t.Fatalf("answer %v, want the record and its signature", m.Answer)
	}
	sig, ok := m.Answer[1].(*dns.RRSIG)
	if !ok || sig.TypeCovered != dns.TypeHTTPS {
		t.Fatalf("signature %v", m.Answer[1])
	}
	for _, set := range st.signed["example.test."].Own() {
		if key, ok := set[0].(*dns.DNSKEY); ok {
			if err := sig.Verify(key, m.Answer[:1]); err != nil {
				t.Error(err)
			}
			return
		}
	}
	t.Error("the zone has no key")
}

func TestPortAndHintsOfAServiceBindingAreGivenAsConfigured(t *testing.T) {
	d := &steering.Decision{V6: addrs("2001:db8::1", "2001:db8::2"),
		HTTPS: &steering.HTTPS{Priority: 3, Port: 8443}}
	hdr := dns.RR_Header{Name: "x.", Class: dns.ClassINET, Ttl: 1}
	bare := httpsSet(hdr, d)[0].String()
	d.HTTPS = &steering.HTTPS{Priority: 3, Port: 8443, Hints: true}
	hinted := httpsSet(hdr, d)[0].String()
	for got, want := range map[string]string{bare: `3 . port="8443"`,
		hinted: `3 . port="8443" ipv6hint="2001:db8::1,2001:db8::2"`} {
		if !strings.HasSuffix(got, "HTTPS\t"+want) {
			t.Errorf("got %q, want %q", got, want)
		}
	}
}
