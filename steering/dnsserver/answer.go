package dnsserver

import (
	"cmp"
	"time"

	"github.com/miekg/dns"

	"pointsman/steering"
	"pointsman/steering/wire"
)

// response is an answer before it is packed. Every name in it is canonical; packing puts the
// question as it was asked in place, so that the answer doesn't depend on the case of a name.
type response struct {
	msg dns.Msg
	// optional is the number of records at the end of msg.Extra that the answer can do without.
	optional int
	scope    uint8
	picks    []pick
	draws    []uint64           // of the picks
	first    *steering.Decision // of the first of picks
	// empty is true when a steered name had no answer, which the table must never let happen.
	empty bool
	// why is the Extended DNS Error of the answer; nil: none.
	why *wire.Error
	// subject is what the response counts for when responses are limited: the zone for a denied
	// name, else the name, the wildcard, the cut or the DNAME where the first search ended.
	subject string
}

// pick is a backend that an answer names.
type pick struct{ host, backend string }

// answer decides what to say. It reads no clock, takes no lock and does no I/O; the state's
// draws are its only source of randomness.
func answer(q *query, st *state, now time.Time) *response {
	r := &response{}
	r.msg.Rcode, r.why = refusal(q)
	if r.msg.Rcode != dns.RcodeSuccess {
		return r
	}
	a := answerer{q: q, st: st, now: now, r: r}
	if !a.resolve() {
		*r = response{empty: r.empty, why: r.why}
		r.msg.Rcode = dns.RcodeServerFailure
	}
	return r
}

// typeNXNAME stands in NSEC records alone (RFC 9824 §3.4).
const typeNXNAME = 128

// refusal returns the code with which a query is turned away before any zone is looked at, or
// success, and why.
func refusal(q *query) (int, *wire.Error) {
	switch {
	case q.edns.present && q.edns.version > 0:
		return dns.RcodeBadVers, nil // RFC 6891 §6.1.3
	case q.edns.subnet.bad, q.edns.cookie.bad:
		return dns.RcodeFormatError, nil // RFC 7871 §7.2.1, RFC 7873 §5.2.2
	case q.opcode != dns.OpcodeQuery, q.qclass != dns.ClassINET:
		return dns.RcodeRefused, whyUnsupported()
	}
	switch q.qtype {
	case dns.TypeAXFR, dns.TypeIXFR:
		return dns.RcodeRefused, whyUnsupported()
	case dns.TypeMAILA, dns.TypeMAILB:
		return dns.RcodeNotImplemented, whyUnsupported()
	case dns.TypeOPT, dns.TypeTSIG, dns.TypeTKEY, typeNXNAME:
		return dns.RcodeFormatError, whyNoType()
	}
	return dns.RcodeSuccess, nil
}

// answerer builds one response.
type answerer struct {
	q   *query
	st  *state
	now time.Time
	r   *response
	at  standing
}

// resolve follows aliases from the asked name to an end. It returns false when there is none,
// or when a steered name has no answer.
func (a *answerer) resolve() bool {
	name := a.q.name
	for range maxChain + 1 {
		z := a.st.zoneFor(name, a.q.qtype)
		if z == nil {
			if len(a.r.msg.Answer) == 0 {
				a.r.msg.Rcode, a.r.why = dns.RcodeRefused, whyForeign()
			}
			return true
		}
		next, ok := a.step(z, name)
		if !ok {
			return false
		}
		if next == "" {
			return true
		}
		name = next
	}
	a.r.why = whyOther("alias chain")
	return false
}

// step answers for one name. It returns the next name if that one is an alias.
func (a *answerer) step(z *Zone, name string) (next string, ok bool) {
	if a.st.withheld[z.name] != nil {
		a.r.why = whyNotReady()
		return "", false
	}
	f := a.stand(z, name, z.find(name, a.q.qtype, a.st))
	if f.kind == foundNone {
		a.r.subject = z.name
	} else if a.r.subject == "" {
		a.r.subject = f.owner
	}
	if f.kind == foundCut {
		a.refer(z, f)
		return "", true
	}
	a.r.msg.Authoritative = true
	switch {
	case z.absent:
		if next, ok = a.steerAlone(z, name, f); !ok {
			a.r.empty = false // no fault of the table's
			a.r.why = cmp.Or(a.r.why, whyNotReady())
		}
		return next, ok
	case a.st.pending && (f.kind == foundNone || f.owner != name && f.kind == foundName):
		a.r.empty, a.r.why = true, whyNotReady() // the name may be a steered one
		return "", false
	case f.kind == foundDNAME:
		return a.rename(name, f), true
	case f.kind == foundNone:
		a.r.msg.Rcode = dns.RcodeNameError // also behind an alias (RFC 6604 §3)
		a.deny(z, maxTTLSeconds)
		return "", true
	case a.chained(name, f):
		return "", true
	case f.steered:
		return a.steer(z, name, f)
	}
	return a.static(z, name, f.node)
}

// steerAlone answers for a name of a zone whose other content is not there: what is no answer of
// a steered name isn't known.
func (a *answerer) steerAlone(z *Zone, name string, f found) (next string, ok bool) {
	if !f.steered || f.kind != foundName {
		return "", false
	}
	before := len(a.r.msg.Answer)
	next, ok = a.steer(z, name, f)
	return next, ok && len(a.r.msg.Answer) > before
}

// static answers from a node's records, and returns an alias's target. It returns false when
// it has nothing, while the name may be a steered one.
func (a *answerer) static(z *Zone, name string, n *node) (next string, ok bool) {
	if n.has(dns.TypeCNAME) && !besideCNAME(a.q.qtype) {
		rrs := n.get(dns.TypeCNAME)
		a.add(name, rrs)
		if a.q.qtype == dns.TypeCNAME || a.q.qtype == dns.TypeANY {
			return "", true
		}
		return dns.CanonicalName(rrs[0].(*dns.CNAME).Target), true
	}
	rrs := n.get(a.q.qtype)
	if a.q.qtype == dns.TypeANY && n != nil && len(n.sets) > 0 {
		rrs = n.sets[0].rrs // one set is enough of an answer (RFC 8482 §4.1)
	}
	if len(rrs) == 0 {
		if a.st.pending {
			a.r.empty, a.r.why = true, whyNotReady()
			return "", false
		}
		a.deny(z, maxTTLSeconds)
		return "", true
	}
	a.add(name, rrs)
	return "", true
}

// besideCNAME reports whether records of a type may stand beside a CNAME (RFC 4034 §3, §4).
func besideCNAME(qtype uint16) bool {
	return qtype == dns.TypeRRSIG || qtype == dns.TypeNSEC || qtype == dns.TypeKEY
}

// add appends records to the answer under an owner, which differs from their own when a
// wildcard stands for it.
func (a *answerer) add(owner string, rrs []dns.RR) {
	for _, rr := range rrs {
		if rr.Header().Name != owner {
			rr = dns.Copy(rr)
			rr.Header().Name = owner
		}
		a.r.msg.Answer = append(a.r.msg.Answer, rr)
	}
	h := rrs[0].Header()
	a.attest(owner, h.Name, "", h.Rrtype)
}

const maxTTLSeconds = uint32(maxTTL / time.Second)

// deny adds the SOA of a negative answer (RFC 2308 §3), to be kept no longer than ttl seconds.
func (a *answerer) deny(z *Zone, ttl uint32) {
	soa := z.negative
	if a.at.sz != nil {
		soa = a.at.sz.negative
	}
	if ttl < soa.Hdr.Ttl {
		shorter := *soa
		shorter.Hdr.Ttl = ttl
		soa = &shorter
	}
	a.r.msg.Ns = append(a.r.msg.Ns, soa)
	a.disprove(z, soa.Hdr.Ttl)
}

// refer points to the servers of a delegated zone. Glue of servers within the delegated zone
// must come along (RFC 9471 §2); addresses of its other servers in our zone may.
func (a *answerer) refer(z *Zone, f found) {
	servers := f.node.get(dns.TypeNS)
	a.r.msg.Ns = append(a.r.msg.Ns, servers...)
	a.delegate(f)
	var optional []dns.RR
	for _, rr := range servers {
		name := dns.CanonicalName(rr.(*dns.NS).Ns)
		if !under(name, z.name) {
			continue
		}
		n := z.node(name)
		glue := append(append([]dns.RR(nil), n.get(dns.TypeA)...), n.get(dns.TypeAAAA)...)
		if under(name, f.owner) {
			a.r.msg.Extra = append(a.r.msg.Extra, glue...)
		} else {
			optional = append(optional, glue...)
		}
	}
	a.r.msg.Extra = append(a.r.msg.Extra, optional...)
	a.r.optional = len(optional)
}

// rename answers for a name below a DNAME with the record and the CNAME that follows from it
// (RFC 6672 §3.1), and returns the new name; "" when that would be too long.
func (a *answerer) rename(name string, f found) string {
	rr := f.node.get(dns.TypeDNAME)[0].(*dns.DNAME)
	a.add(f.owner, []dns.RR{rr})
	target := name[:len(name)-len(f.owner)] + rr.Target
	if rr.Target == "." {
		target = name[:len(name)-len(f.owner)]
	}
	to, err := normal(target)
	if err != nil {
		a.r.msg.Rcode = dns.RcodeYXDomain
		return ""
	}
	a.r.msg.Answer = append(a.r.msg.Answer, &dns.CNAME{
		Hdr: dns.RR_Header{
			Name: name, Rrtype: dns.TypeCNAME, Class: dns.ClassINET, Ttl: rr.Hdr.Ttl,
		},
		Target: to,
	})
	if a.q.qtype == dns.TypeCNAME || a.q.qtype == dns.TypeANY {
		return ""
	}
	return to
}
