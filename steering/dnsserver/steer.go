package dnsserver

import (
	"net"
	"net/netip"

	"github.com/miekg/dns"

	"pointsman/steering"
)

// steer answers for a steered name, or for a name that a steered wildcard stands for. It
// returns the target of a CNAME, and false when the table had no answer.
func (a *answerer) steer(z *Zone, name string, f found) (next string, ok bool) {
	if f.node.has(a.q.qtype) && !addressType(a.q.qtype) {
		return a.static(z, name, f.node) // TXT, MX, SOA, NS beside addresses
	}
	d, scope, draw := a.choose(f.owner)
	if d == nil || d.CNAME == "" && len(d.V4) == 0 && len(d.V6) == 0 {
		a.r.empty, a.r.why = true, whyOther("no backend")
		return "", false
	}
	a.r.scope = max(a.r.scope, scope)
	if len(a.r.picks) == 0 {
		a.r.first = d
	}
	a.r.picks = append(a.r.picks, pick{host: f.owner, backend: d.Backend})
	a.r.draws = append(a.r.draws, draw)
	a.at.variant = d.Backend
	hdr := dns.RR_Header{Name: name, Class: dns.ClassINET, Ttl: d.TTL}
	if d.CNAME != "" {
		a.r.msg.Answer = append(a.r.msg.Answer, cnameSet(hdr, d)...)
		if !a.attest(name, f.owner, d.Backend, dns.TypeCNAME) {
			a.r.empty, a.r.why = true, whyMissing()
			return "", false
		}
		if a.q.qtype == dns.TypeCNAME || a.q.qtype == dns.TypeANY {
			return "", true
		}
		return d.CNAME, true
	}
	rtype := a.addresses(hdr, d)
	switch {
	case rtype == dns.TypeNone:
		// A backend of another kind may answer next: this denial lasts no longer than it would.
		a.deny(z, d.TTL)
	case !a.attest(name, f.owner, d.Backend, rtype):
		a.r.empty, a.r.why = true, whyMissing()
		return "", false
	}
	return "", true
}

// choose decides for a steered name, and returns the scope of the decision and the draw, 0 where
// none was needed.
func (a *answerer) choose(host string) (d *steering.Decision, scope uint8, draw uint64) {
	chooser := a.st.table.Chooser(host)
	if chooser == nil {
		return nil, 0, 0
	}
	client := a.q.client()
	at, scope := chooser.At(client)
	if sequence := at.Sequence(); sequence != 0 {
		draw = a.st.draws.Next(sequence, client, a.q.qtype, a.now)
	}
	d, kept := at.Choose(client, draw)
	return d, max(scope, kept), draw
}

// addressType reports whether a type is answered from a backend's addresses alone.
func addressType(qtype uint16) bool {
	return qtype == dns.TypeA || qtype == dns.TypeAAAA || qtype == dns.TypeANY
}

// addresses adds the decision's addresses of the family asked for, or its HTTPS record, and
// returns the type of what it added; none when there is nothing. ANY gets one set (RFC 8482 §4.1).
func (a *answerer) addresses(hdr dns.RR_Header, d *steering.Decision) uint16 {
	set := addressSet(hdr, d.V4)
	switch {
	case a.q.qtype == dns.TypeAAAA, a.q.qtype == dns.TypeANY && len(set) == 0:
		set = addressSet(hdr, d.V6)
	case a.q.qtype == dns.TypeHTTPS:
		set = httpsSet(hdr, d)
	case !addressType(a.q.qtype):
		return dns.TypeNone
	}
	if len(set) == 0 {
		return dns.TypeNone
	}
	a.r.msg.Answer = append(a.r.msg.Answer, set...)
	return set[0].Header().Rrtype
}

// addressSet returns the records of addresses, all of one family.
func addressSet(hdr dns.RR_Header, addrs []netip.Addr) []dns.RR {
	var set []dns.RR
	for _, addr := range addrs {
		set = append(set, addressRR(hdr, addr))
	}
	return set
}

// httpsSet returns the record of a decision's service binding (RFC 9460 §2.1): one in
// ServiceMode for the name itself. Its hints are the addresses that the same decision gives as A
// and AAAA, so that the three agree.
func httpsSet(hdr dns.RR_Header, d *steering.Decision) []dns.RR {
	h := d.HTTPS
	if h == nil {
		return nil
	}
	hdr.Rrtype = dns.TypeHTTPS
	rr := &dns.HTTPS{SVCB: dns.SVCB{Hdr: hdr, Priority: h.Priority, Target: "."}}
	add := func(v dns.SVCBKeyValue) { rr.Value = append(rr.Value, v) }
	if len(h.ALPN) > 0 {
		add(&dns.SVCBAlpn{Alpn: h.ALPN})
	}
	if h.Port > 0 {
		add(&dns.SVCBPort{Port: h.Port})
	}
	if h.Hints && len(d.V4) > 0 {
		add(&dns.SVCBIPv4Hint{Hint: ips(d.V4)})
	}
	if h.Hints && len(d.V6) > 0 {
		add(&dns.SVCBIPv6Hint{Hint: ips(d.V6)})
	}
	return []dns.RR{rr}
}

func ips(addrs []netip.Addr) []net.IP {
	out := make([]net.IP, len(addrs))
	for i, a := range addrs {
		out[i] = a.AsSlice()
	}
	return out
}

func addressRR(hdr dns.RR_Header, addr netip.Addr) dns.RR {
	if addr.Is4() {
		hdr.Rrtype = dns.TypeA
		return &dns.A{Hdr: hdr, A: addr.AsSlice()}
	}
	hdr.Rrtype = dns.TypeAAAA
	return &dns.AAAA{Hdr: hdr, AAAA: addr.AsSlice()}
}
