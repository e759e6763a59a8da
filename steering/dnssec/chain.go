package dnssec

import (
	"slices"
	"sort"
	"strings"

	"github.com/miekg/dns"
)

// link is one name of a zone's chain of denial.
type link struct {
	key   string // its place in the chain's order
	whole proof  // with the types of all variants
	// variants have the types of one variant each; nil when the name isn't steered. Only they
	// may deny a type: the whole one is no proof that a variant lacks a type, nor must it be,
	// or a resolver that keeps it could deny what another variant has (RFC 8198 §5.4).
	variants map[string]proof
}

// proof is an NSEC or NSEC3 record with its signatures behind it.
type proof []dns.RR

// chain is a zone's chain of NSEC (RFC 4034 §4) or NSEC3 records (RFC 5155).
type chain struct {
	nsec3 bool
	links []link // in order
}

// newChain builds the chain of a zone, unsigned. Names must contain the records that signing
// adds at the apex.
func newChain(z *Zone, names []Name, nsec3 bool) *chain {
	c := &chain{nsec3: nsec3}
	type place struct {
		key  string
		name *Name
	}
	places := make([]place, 0, len(names))
	for i := range names {
		if n := &names[i]; nsec3 || !n.empty() {
			places = append(places, place{c.key(n.Owner), n})
		}
	}
	slices.SortFunc(places, func(a, b place) int { return strings.Compare(a.key, b.key) })
	c.links = make([]link, len(places))
	for i, p := range places {
		next := places[(i+1)%len(places)]
		l := &c.links[i]
		l.key = p.key
		record := func(variants ...Variant) proof {
			return proof{c.record(z, p.name, p.key, next.name.Owner, next.key, variants)}
		}
		l.whole = record(p.name.Variants...)
		if len(p.name.Variants) > 0 {
			l.variants = make(map[string]proof, len(p.name.Variants))
		}
		for _, v := range p.name.Variants {
			l.variants[v.Name] = record(v)
		}
	}
	return c
}

// record builds one record of the chain.
func (c *chain) record(z *Zone, n *Name, key, next, nextKey string, variants []Variant) dns.RR {
	types := n.types(variants...)
	hdr := dns.RR_Header{Name: n.Owner, Class: dns.ClassINET, Ttl: z.negativeTTL()}
	if !c.nsec3 {
		hdr.Rrtype = dns.TypeNSEC
		types = append(types, dns.TypeRRSIG, dns.TypeNSEC)
		slices.Sort(types)
		return &dns.NSEC{Hdr: hdr, NextDomain: next, TypeBitMap: types}
	}
	hdr.Rrtype = dns.TypeNSEC3
	hdr.Name = strings.ToLower(key) + "." + z.Apex
	if len(types) > 0 && (!n.Cut || slices.Contains(types, dns.TypeDS)) {
		types = append(types, dns.TypeRRSIG)
		slices.Sort(types)
	}
	return &dns.NSEC3{Hdr: hdr, Hash: dns.SHA1, HashLength: 20, NextDomain: nextKey,
		TypeBitMap: types}
}

// key is a name's place in the chain's order.
func (c *chain) key(name string) string {
	if c.nsec3 {
		return dns.HashName(name, dns.SHA1, 0, "")
	}
	return canonicalKey(name)
}

// canonicalKey turns a name into bytes that sort as RFC 4034 §6.1 wants names to: by labels
// from the right, an absent octet before a zero one.
func canonicalKey(name string) string {
	var wire [256]byte
	n, err := dns.PackDomainName(name, wire[:], 0, nil, false)
	if err != nil {
		return "" // no name of a query or a zone: those have been on the wire
	}
	var starts [128]int
	labels := 0
	for off := 0; off < n && wire[off] != 0; off += 1 + int(wire[off]) {
		starts[labels] = off
		labels++
	}
	key := make([]byte, 0, n+4)
	for i := labels - 1; i >= 0; i-- {
		label := wire[starts[i]+1 : starts[i]+1+int(wire[starts[i]])]
		for _, b := range label {
			switch {
			case b <= 1:
				key = append(key, 1, b+1)
			case b >= 'A' && b <= 'Z':
				key = append(key, b+'a'-'A')
			default:
				key = append(key, b)
			}
		}
		key = append(key, 0)
	}
	return string(key)
}

// at returns the link at a place, or the last one before it, and whether it is that place's
// own. Before the first is the last: the chain is a ring.
func (c *chain) at(key string) (*link, bool) {
	i := sort.Search(len(c.links), func(i int) bool { return c.links[i].key > key }) - 1
	if i < 0 {
		i = len(c.links) - 1
	}
	return &c.links[i], c.links[i].key == key
}

// of returns the proof for one variant; "" is none.
func (l *link) of(variant string) proof {
	if p := l.variants[variant]; p != nil {
		return p
	}
	return l.whole
}

// each visits the chain's proofs in a fixed order.
func (c *chain) each(visit func(*proof)) {
	for i := range c.links {
		l := &c.links[i]
		visit(&l.whole)
		for _, name := range sortedNames(l.variants) {
			p := l.variants[name]
			visit(&p)
			l.variants[name] = p
		}
	}
}

// attach puts signatures behind the chain's records, in the order of each.
func (c *chain) attach(jobs []job) {
	i := 0
	c.each(func(p *proof) {
		*p = append((*p)[:1:1], signatures(&jobs[i])...)
		i++
	})
}

func sortedNames(m map[string]proof) []string {
	names := make([]string, 0, len(m))
	for name := range m {
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}
