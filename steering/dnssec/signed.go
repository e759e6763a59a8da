package dnssec

import (
	"time"

	"github.com/miekg/dns"
)

// Signed is a zone's signatures and proofs, immutable and safe for concurrent use. Its records
// are shared: read only.
type Signed struct {
	apex  string
	sigs  map[place][]dns.RR
	own   [][]dns.RR
	soa   *dns.SOA
	chain *chain
	// expires is when the first signature ends, refresh when the first shall be replaced.
	expires, refresh time.Time
}

// place is where a set stands.
type place struct {
	owner, variant string
	rtype          uint16
}

// Own returns the sets that signing adds at the apex: DNSKEY, CDS, CDNSKEY, NSEC3PARAM. They
// are ordered by type.
func (s *Signed) Own() [][]dns.RR { return s.own }

// SOA returns the zone's SOA record as it was signed: its serial may be another than the zone's.
func (s *Signed) SOA() *dns.SOA { return s.soa }

// Expires returns when the first of the signatures ends.
func (s *Signed) Expires() time.Time { return s.expires }

// Refresh returns when the first of the signatures shall be replaced.
func (s *Signed) Refresh() time.Time { return s.refresh }

// Signatures returns the RRSIG records of a set; nil when it isn't signed. variant is that of
// a steered name's set and empty for a static one. Owner is a wildcard's own name where one
// stands for the name that was asked.
func (s *Signed) Signatures(owner, variant string, rtype uint16) []dns.RR {
	return s.sigs[place{owner, variant, rtype}]
}

// Link returns the NSEC record of a name with its signatures; nil when the name has none or
// the zone denies by NSEC3 records, which have no place at the name itself (RFC 5155 §7.2.8).
func (s *Signed) Link(name string) []dns.RR {
	if s.chain.nsec3 {
		return nil
	}
	if l, own := s.chain.at(s.chain.key(name)); own {
		return l.whole
	}
	return nil
}

// NoName proves that a name doesn't exist, nor a wildcard below its closest encloser.
func (s *Signed) NoName(name, encloser string) []dns.RR {
	var p proofs
	s.noCloser(&p, name, encloser)
	if s.chain.nsec3 {
		p.add(s.matching(encloser, ""))
	}
	p.add(s.covering("*." + encloser))
	return p.records()
}

// NoData proves that a name, or the variant of it that was picked, lacks the type that was
// asked. It also proves that a delegation has no DS.
func (s *Signed) NoData(name, variant string) []dns.RR { return s.matching(name, variant) }

// WildcardNoData proves that a name doesn't exist, and that the wildcard below its closest
// encloser, or the variant of it that was picked, lacks the type that was asked.
func (s *Signed) WildcardNoData(name, encloser, variant string) []dns.RR {
	var p proofs
	s.noCloser(&p, name, encloser)
	if s.chain.nsec3 {
		p.add(s.matching(encloser, ""))
	}
	p.add(s.matching("*."+encloser, variant))
	return p.records()
}

// Expanded proves that a name doesn't exist, so that a wildcard could stand for it.
func (s *Signed) Expanded(name, encloser string) []dns.RR {
	var p proofs
	s.noCloser(&p, name, encloser)
	return p.records()
}

// noCloser proves that nothing exists below the encloser on the way to the name. With NSEC the
// name itself is shown not to exist, which also tells the encloser.
func (s *Signed) noCloser(p *proofs, name, encloser string) {
	if s.chain.nsec3 {
		p.add(s.covering(nextCloser(name, encloser)))
		return
	}
	p.add(s.covering(name))
}

// nextCloser returns the name one label longer than the encloser (RFC 5155 §1.3).
func nextCloser(name, encloser string) string {
	offs := dns.Split(name)
	i := len(offs) - dns.CountLabel(encloser) - 1
	if i < 0 {
		return name
	}
	return name[offs[i]:]
}

func (s *Signed) covering(name string) proof {
	l, _ := s.chain.at(s.chain.key(name))
	return l.whole
}

// matching returns the name's own link; with NSEC an empty name has none and is proved by the
// one before it, whose next name lies below it (RFC 4035 §3.1.3.2 with RFC 4592 §2.2.2).
func (s *Signed) matching(name, variant string) proof {
	l, own := s.chain.at(s.chain.key(name))
	if !own {
		return l.whole
	}
	return l.of(variant)
}

// proofs gathers proofs, one for each link of the chain.
type proofs struct{ list []proof }

// add adds a proof. One of a variant takes the place of the whole one of the same name: two of
// them would look like one set.
func (p *proofs) add(rrs proof) {
	owner := rrs[0].Header().Name
	for i, have := range p.list {
		if have[0].Header().Name == owner {
			p.list[i] = rrs
			return
		}
	}
	p.list = append(p.list, rrs)
}

func (p *proofs) records() []dns.RR {
	var out []dns.RR
	for _, rrs := range p.list {
		out = append(out, rrs...)
	}
	return out
}
