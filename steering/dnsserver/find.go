package dnsserver

import "github.com/miekg/dns"

// foundKind says how the search for a name ended.
type foundKind uint8

const (
	foundName  foundKind = iota // the name, or the wildcard that stands for it
	foundCut                    // a delegation at or above the name
	foundDNAME                  // a DNAME above the name
	foundNone                   // the name doesn't exist
)

// found is the result of a search.
type found struct {
	kind foundKind
	// owner is the name at which the search ended: the name, a wildcard, a cut, a DNAME.
	owner string
	// node holds owner's static records; nil when it has none.
	node *node
	// steered is true when owner is a steered name.
	steered bool
}

// find searches a name of the zone as RFC 1034 §4.3.2 and RFC 4592 §3.3.1 say, from the apex
// down. st adds the steered names to the zone's own; nil: none. The parent's side of a cut
// answers for DS (RFC 4035 §3.1.4.1).
func (z *Zone) find(name string, qtype uint16, st *state) found {
	offs := dns.Split(name)
	encloser := z.name
	for i := len(offs) - dns.CountLabel(z.name); i >= 0; i-- {
		at := name[offs[i]:]
		n := z.node(at)
		if n == nil && !st.exists(at) {
			return z.wildcard(encloser, st)
		}
		encloser = at
		last := i == 0
		switch {
		case at != z.name && n.has(dns.TypeNS) && !(last && qtype == dns.TypeDS):
			return found{kind: foundCut, owner: at, node: n}
		case !last && n.has(dns.TypeDNAME):
			return found{kind: foundDNAME, owner: at, node: n}
		}
	}
	return found{kind: foundName, owner: name, node: z.node(name), steered: st.steers(name)}
}

// wildcard returns the source of synthesis below the closest encloser, if there is one.
func (z *Zone) wildcard(encloser string, st *state) found {
	owner := "*." + encloser
	n := z.node(owner)
	if n == nil && !st.exists(owner) {
		return found{kind: foundNone, owner: encloser}
	}
	return found{kind: foundName, owner: owner, node: n, steered: st.steers(owner)}
}
