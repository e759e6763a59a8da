package dnsserver

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/miekg/dns"

	"pointsman/steering"
	"pointsman/steering/dnssec"
)

// ZoneSigner signs a zone; *dnssec.Signer satisfies it.
type ZoneSigner interface {
	// Sign signs all that a zone can answer. The error is a dnssec.ErrUnpublished when another
	// node signs and has not done so yet.
	Sign(ctx context.Context, z *dnssec.Zone) (*dnssec.Signed, error)
	// Advance takes the keys' next step and reports whether the zone must be signed again.
	Advance(ctx context.Context) (bool, error)
}

// SignedBy returns the zone as one whose answers are signed. It reports records that only the
// signer may add; with any, the zone is nil.
func (z *Zone) SignedBy(s ZoneSigner) (*Zone, []Mistake) {
	if mistakes := z.CheckSigned(); len(mistakes) > 0 {
		return nil, mistakes
	}
	return z.signedBy(s), nil
}

func (z *Zone) signedBy(s ZoneSigner) *Zone {
	signed := *z
	signed.signer = s
	return &signed
}

// CheckSigned finds static records that a signed zone can't have: those that signing adds.
func (z *Zone) CheckSigned() []Mistake {
	var mistakes []Mistake
	for _, name := range sortedKeys(z.nodes) { // the bulk has addresses alone
		for _, set := range z.nodes[name].sets {
			if addedBySigning(set.rtype) {
				mistakes = append(mistakes, Mistake{Path: "records",
					Message: fmt.Sprintf(addedForm, name, dns.Type(set.rtype))})
			}
		}
	}
	return mistakes
}

// addedForm is the message about a record that signing adds.
const addedForm = "%s has a %s record: in a signed zone signing adds those"

func addedBySigning(rtype uint16) bool {
	switch rtype {
	case dns.TypeDNSKEY, dns.TypeRRSIG, dns.TypeNSEC, dns.TypeNSEC3, dns.TypeNSEC3PARAM,
		dns.TypeCDS, dns.TypeCDNSKEY:
		return true
	}
	return false
}

// checkSigned is CheckSigned with the place of each record.
func (p *parser) checkSigned() {
	if !p.c.Signed {
		return
	}
	p.eachRecord(func(at spot, rr dns.RR) {
		if h := rr.Header(); addedBySigning(h.Rrtype) {
			p.mistakeAt(at, "", addedForm, h.Name, dns.Type(h.Rrtype))
		}
	})
}

// signedZone is a zone's signatures, and its apex with the records that signing adds.
type signedZone struct {
	*dnssec.Signed
	apex *node
	// negative is the SOA as it stands in negative answers; see Zone.
	negative *dns.SOA
}

// signs reports whether any zone of the state is signed.
func (st *state) signs() bool { return len(st.signed) > 0 }

// sign signs the zones of a state that was not published yet. A zone whose signatures another
// node has not published yet is withheld, unless it is served already: then that goes on, and the
// error is a dnssec.ErrUnpublished.
func (st *state) sign(ctx context.Context, serves func(zone string) bool) error {
	for _, z := range st.zones {
		if z.signer == nil {
			continue
		}
		signed, err := z.signer.Sign(ctx, st.contents(z))
		if errors.Is(err, dnssec.ErrUnpublished) && !serves(z.name) {
			st.withhold(z.name, err)
			continue
		}
		if err != nil {
			return fmt.Errorf("signing zone %s: %w", z.name, err)
		}
		if st.signed == nil {
			st.signed = make(map[string]*signedZone)
		}
		st.signed[z.name] = newSignedZone(z, signed)
	}
	return nil
}

// serves reports whether a zone is answered for. It accepts a nil state.
func (p *published) serves(zone string) bool {
	return p != nil && p.state.zones[zone] != nil && p.withheld[zone] == nil
}

func newSignedZone(z *Zone, signed *dnssec.Signed) *signedZone {
	soa := signed.SOA()
	apex := &node{sets: slices.Clone(z.nodes[z.name].sets)}
	for i, set := range apex.sets {
		if set.rtype == dns.TypeSOA {
			apex.sets[i].rrs = []dns.RR{soa}
		}
	}
	for _, set := range signed.Own() {
		for _, rr := range set {
			apex.add(rr)
		}
	}
	negative := *soa
	negative.Hdr.Ttl = min(negative.Hdr.Ttl, negative.Minttl)
	return &signedZone{signed, apex, &negative}
}

// contents lists all that a zone can answer in this state.
func (st *state) contents(z *Zone) *dnssec.Zone {
	out := &dnssec.Zone{
		Apex: z.name, FreeSerial: z.freeSerial,
		SOA:   z.nodes[z.name].get(dns.TypeSOA)[0].(*dns.SOA),
		Names: make([]dnssec.Name, 0, z.size()),
	}
	steered := make(map[string]bool) // the names that steering adds; true: a steered one itself
	for _, h := range st.names.hosts {
		if st.zone(h) != z || z.hides(h) {
			continue
		}
		steered[h] = true
		for up := h; up != z.name; up = parent(up) {
			if _, known := steered[up]; !known {
				steered[up] = false
			}
		}
	}
	add := func(name string, n *node) {
		entry := dnssec.Name{Owner: name, Cut: name != z.name && n.has(dns.TypeNS)}
		if n != nil {
			for _, set := range n.sets {
				entry.Sets = append(entry.Sets, set.rrs)
			}
		}
		if steered[name] {
			entry.Variants = st.variants(name)
		}
		out.Names = append(out.Names, entry)
	}
	for name, n := range z.all() {
		if !z.hides(name) {
			add(name, n)
		}
	}
	for name := range steered {
		if !z.has(name) {
			add(name, nil)
		}
	}
	return out
}

// hides reports whether a delegation or a DNAME above a name of the zone hides it.
func (z *Zone) hides(name string) bool {
	for name != z.name {
		name = parent(name)
		n := z.nodes[name]
		if n.has(dns.TypeDNAME) || name != z.name && n.has(dns.TypeNS) {
			return true
		}
	}
	return false
}

// variants returns the answers of a steered name, one for each backend.
func (st *state) variants(host string) []dnssec.Variant {
	var out []dnssec.Variant
	for _, variant := range st.table.Variants(host) {
		d := &variant
		v := dnssec.Variant{Name: d.Backend}
		hdr := dns.RR_Header{Name: host, Class: dns.ClassINET, Ttl: d.TTL}
		for _, set := range [][]dns.RR{cnameSet(hdr, d), addressSet(hdr, d.V4),
			addressSet(hdr, d.V6), httpsSet(hdr, d)} {
			if len(set) > 0 {
				v.Sets = append(v.Sets, set)
			}
		}
		out = append(out, v)
	}
	return out
}

func cnameSet(hdr dns.RR_Header, d *steering.Decision) []dns.RR {
	if d.CNAME == "" {
		return nil
	}
	hdr.Rrtype = dns.TypeCNAME
	return []dns.RR{&dns.CNAME{Hdr: hdr, Target: d.CNAME}}
}

// refresh returns when the first of the zones must be signed again; zero when none is signed.
func (st *state) refresh() time.Time {
	var first time.Time
	for _, sz := range st.signed {
		if at := sz.Refresh(); first.IsZero() || at.Before(first) {
			first = at
		}
	}
	return first
}
