package dnsserver

import (
	"slices"

	"github.com/miekg/dns"
)

// standing is where an answerer stands on its way.
type standing struct {
	name string // as asked, or as an alias led to
	f    found
	// variant is the backend that was picked for a steered name; "" for what doesn't depend on
	// a pick.
	variant string
	sz      *signedZone // nil when the zone isn't signed
}

// stand takes note of where the search for a name ended. In a signed zone the apex has more
// records than the zone's own.
func (a *answerer) stand(z *Zone, name string, f found) found {
	sz := a.st.signed[z.name]
	if sz != nil && f.owner == z.name && (f.kind == foundName || f.kind == foundDNAME) {
		f.node = sz.apex
	}
	a.at = standing{name: name, f: f, sz: sz}
	return f
}

// proving returns the zone's signatures if the client wants them (RFC 3225 §3), or nil.
func (a *answerer) proving() *signedZone {
	if !a.q.edns.do {
		return nil
	}
	return a.at.sz
}

// attest adds the signatures of a set that stands in the answer under a name. Where a wildcard
// stands for the name, it also proves that nothing closer does (RFC 4035 §3.1.3.3). It returns
// false when the set has no signatures though it should.
func (a *answerer) attest(name, owner, variant string, rtype uint16) bool {
	sz := a.proving()
	if sz == nil {
		return true
	}
	sigs := sz.Signatures(owner, variant, rtype)
	if len(sigs) == 0 {
		return false
	}
	// A steered name's TTL may be shorter than the one that was signed; its signature's is the same
	// (RFC 4034 §3), and validators take the shorter (RFC 4035 §5.3.3).
	if n := len(a.r.msg.Answer); n > 0 {
		sigs = capped(sigs, a.r.msg.Answer[n-1].Header().Ttl)
	}
	a.r.msg.Answer = append(a.r.msg.Answer, renamed(name, sigs)...)
	a.expanded(sz, name, owner)
	return true
}

// expanded proves that a wildcard may stand for a name.
func (a *answerer) expanded(sz *signedZone, name, owner string) {
	if name != owner {
		a.prove(sz.Expanded(name, owner[len("*."):]), maxTTLSeconds)
	}
}

// renamed returns records under another owner.
func renamed(owner string, rrs []dns.RR) []dns.RR {
	if len(rrs) == 0 || rrs[0].Header().Name == owner {
		return rrs
	}
	out := make([]dns.RR, len(rrs))
	for i, rr := range rrs {
		out[i] = dns.Copy(rr)
		out[i].Header().Name = owner
	}
	return out
}

// capped returns records with TTLs of at most ttl seconds.
func capped(rrs []dns.RR, ttl uint32) []dns.RR {
	out := slices.Clone(rrs)
	for i, rr := range out {
		if rr.Header().Ttl > ttl {
			out[i] = dns.Copy(rr)
			out[i].Header().Ttl = ttl
		}
	}
	return out
}

// prove adds NSEC or NSEC3 records with their signatures to the authority section. Of one name
// only one such record may be there, or they would look like one set: a later one, which is
// about the end of the way, takes the place of an earlier one.
func (a *answerer) prove(rrs []dns.RR, ttl uint32) {
	for _, rr := range rrs {
		h := rr.Header()
		if h.Rrtype != dns.TypeRRSIG {
			a.r.msg.Ns = slices.DeleteFunc(a.r.msg.Ns, func(old dns.RR) bool {
				return old.Header().Name == h.Name && covers(old, h.Rrtype)
			})
		}
	}
	a.r.msg.Ns = append(a.r.msg.Ns, capped(rrs, ttl)...)
}

// covers reports whether a record is of a type, or a signature over it.
func covers(rr dns.RR, rtype uint16) bool {
	if sig, ok := rr.(*dns.RRSIG); ok {
		return sig.TypeCovered == rtype
	}
	return rr.Header().Rrtype == rtype
}

// disprove proves a negative answer: first its SOA, whose TTL is ttl, then what it denies.
func (a *answerer) disprove(z *Zone, ttl uint32) {
	sz := a.proving()
	if sz == nil {
		return
	}
	a.r.msg.Ns = append(a.r.msg.Ns, capped(sz.Signatures(z.name, "", dns.TypeSOA), ttl)...)
	name, f := a.at.name, a.at.f
	switch {
	case f.kind == foundNone:
		a.prove(sz.NoName(name, f.owner), ttl)
	case f.owner != name:
		a.prove(sz.WildcardNoData(name, f.owner[len("*."):], a.at.variant), ttl)
	default:
		a.prove(sz.NoData(name, a.at.variant), ttl)
	}
}

// delegate adds the DS records of a delegation, or proves that it has none (RFC 4035 §3.1.4).
func (a *answerer) delegate(f found) {
	sz := a.proving()
	if sz == nil {
		return
	}
	if ds := f.node.get(dns.TypeDS); len(ds) > 0 {
		a.r.msg.Ns = append(a.r.msg.Ns, ds...)
		a.r.msg.Ns = append(a.r.msg.Ns, sz.Signatures(f.owner, "", dns.TypeDS)...)
		return
	}
	a.prove(sz.NoData(f.owner, ""), maxTTLSeconds)
}

// chained answers for the types that exist in a signed zone alone and stand at every name: NSEC
// itself, and one set's signatures for RRSIG, as minimal as for ANY (RFC 8482 §7). It returns
// false when there is nothing of them at the name.
func (a *answerer) chained(name string, f found) bool {
	sz := a.at.sz
	if sz == nil || f.kind != foundName {
		return false
	}
	link := sz.Link(f.owner)
	switch a.q.qtype {
	case dns.TypeNSEC:
		if len(link) == 0 {
			return false
		}
		a.r.msg.Answer = append(a.r.msg.Answer, renamed(name, link[:1])...)
		if a.proving() != nil {
			a.r.msg.Answer = append(a.r.msg.Answer, renamed(name, link[1:])...)
			a.expanded(sz, name, f.owner)
		}
		return true
	case dns.TypeRRSIG:
		sigs := firstSigned(sz, f)
		if len(sigs) == 0 && len(link) > 0 {
			sigs = link[1:]
		}
		a.r.msg.Answer = append(a.r.msg.Answer, renamed(name, sigs)...)
		return len(sigs) > 0
	}
	return false
}

// firstSigned returns the signatures of the first of a name's static sets that has any.
func firstSigned(sz *signedZone, f found) []dns.RR {
	if f.node == nil {
		return nil
	}
	for _, set := range f.node.sets {
		if sigs := sz.Signatures(f.owner, "", set.rtype); len(sigs) > 0 {
			return sigs
		}
	}
	return nil
}
