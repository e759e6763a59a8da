package dnsserver

import (
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
	client := a.q.client()
	d, ok := a.st.table.Pick(steering.Query{
		Host:   f.owner,
		Client: client,
		Draw:   a.st.draws.Next(f.owner, client, a.q.qtype, a.now),
	})
	if !ok || d.CNAME == "" && len(d.V4) == 0 && len(d.V6) == 0 {
		a.r.empty = true
		return "", false
	}
	a.r.scope = max(a.r.scope, d.Scope)
	if len(a.r.picks) == 0 {
		a.r.first = d
	}
	a.r.picks = append(a.r.picks, pick{host: f.owner, backend: d.Backend})
	hdr := dns.RR_Header{Name: name, Class: dns.ClassINET, Ttl: d.TTL}
	if d.CNAME != "" {
		hdr.Rrtype = dns.TypeCNAME
		a.r.msg.Answer = append(a.r.msg.Answer, &dns.CNAME{Hdr: hdr, Target: d.CNAME})
		if a.q.qtype == dns.TypeCNAME || a.q.qtype == dns.TypeANY {
			return "", true
		}
		return d.CNAME, true
	}
	if !a.addresses(hdr, d) {
		// A backend of another kind may answer next: this denial lasts no longer than it would.
		a.deny(z, d.TTL)
	}
	return "", true
}

// addressType reports whether a type is answered from a backend's addresses.
func addressType(qtype uint16) bool {
	return qtype == dns.TypeA || qtype == dns.TypeAAAA || qtype == dns.TypeANY
}

// addresses adds the decision's addresses of the family asked for. It returns false when there
// are none.
func (a *answerer) addresses(hdr dns.RR_Header, d steering.Decision) bool {
	v4, v6 := d.V4, d.V6
	switch a.q.qtype {
	case dns.TypeA:
		v6 = nil
	case dns.TypeAAAA:
		v4 = nil
	case dns.TypeANY: // one set (RFC 8482 §4.1)
		if len(v4) > 0 {
			v6 = nil
		}
	default:
		return false
	}
	for _, addr := range v4 {
		a.r.msg.Answer = append(a.r.msg.Answer, addressRR(hdr, addr))
	}
	for _, addr := range v6 {
		a.r.msg.Answer = append(a.r.msg.Answer, addressRR(hdr, addr))
	}
	return len(v4)+len(v6) > 0
}

func addressRR(hdr dns.RR_Header, addr netip.Addr) dns.RR {
	if addr.Is4() {
		hdr.Rrtype = dns.TypeA
		return &dns.A{Hdr: hdr, A: addr.AsSlice()}
	}
	hdr.Rrtype = dns.TypeAAAA
	return &dns.AAAA{Hdr: hdr, AAAA: addr.AsSlice()}
}
