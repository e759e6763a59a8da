package dnssec

import (
	"slices"

	"github.com/miekg/dns"
)

// Zone is all that a zone can answer. Names are canonical: lower case, with the final dot.
type Zone struct {
	Apex string
	// SOA is the zone's start of authority; it is among the apex's sets too.
	SOA *dns.SOA
	// FreeSerial says that nobody chose the SOA's serial: a signer that publishes puts one there
	// that rises with each change, and its servers follow.
	FreeSerial bool
	contents   string // see summed
	// Names are all names of the zone with authoritative data, those that are delegated, and
	// the empty ones between them and the apex; in any order, each once. Names below a
	// delegation are none of the zone's.
	Names []Name
}

// Name is one name with all that it can answer.
type Name struct {
	Owner string
	// Sets are the static sets: records of one type and TTL each.
	Sets [][]dns.RR
	// Cut says that the name is delegated: of its sets only DS is the zone's own.
	Cut bool
	// Variants are the answers of a steered name, of which each answer gives one, beside Sets.
	Variants []Variant
}

// Variant is one backend's answer for a steered name.
type Variant struct {
	Name string
	Sets [][]dns.RR
}

// signed reports whether a set of the name is signed (RFC 4035 §2.2).
func (n *Name) signed(set []dns.RR) bool {
	return !n.Cut || set[0].Header().Rrtype == dns.TypeDS
}

// types lists the types of the name's static sets and of the given variants.
func (n *Name) types(variants ...Variant) []uint16 {
	var out []uint16
	add := func(sets [][]dns.RR) {
		for _, set := range sets {
			t := set[0].Header().Rrtype
			if t == dns.TypeNS || n.signed(set) { // glue at a cut doesn't count
				out = append(out, t)
			}
		}
	}
	add(n.Sets)
	for _, v := range variants {
		add(v.Sets)
	}
	slices.Sort(out)
	return slices.Compact(out)
}

// empty reports whether there is nothing at the name itself (RFC 4592 §2.2.2).
func (n *Name) empty() bool { return len(n.Sets) == 0 && len(n.Variants) == 0 }

// longestTTL returns the longest TTL of all sets, in seconds.
func (z *Zone) longestTTL() uint32 {
	longest := uint32(0)
	look := func(sets [][]dns.RR) {
		for _, set := range sets {
			longest = max(longest, set[0].Header().Ttl)
		}
	}
	for i := range z.Names {
		look(z.Names[i].Sets)
		for _, v := range z.Names[i].Variants {
			look(v.Sets)
		}
	}
	return longest
}

// negativeTTL is that of proofs (RFC 9077 §3).
func (z *Zone) negativeTTL() uint32 { return min(z.SOA.Hdr.Ttl, z.SOA.Minttl) }
