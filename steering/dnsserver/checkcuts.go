package dnsserver

import (
	"fmt"

	"github.com/miekg/dns"
)

// CheckDelegations finds delegations that lead nowhere: a zone in another one that doesn't
// delegate it, and name servers of a delegation that lie in the zone and have no address there.
// Nothing of it keeps a zone from being served. Paths are "zones[i]", i being the index in zones.
func CheckDelegations(zones []*Zone, hosts []SteeredName) []Mistake {
	st := newState(zones, nil, nil)
	steered := make(map[string]bool, len(hosts))
	for _, h := range hosts {
		if name, err := canonical(h.Host); err == nil {
			steered[name] = true
		}
	}
	var out []Mistake
	for i, z := range zones {
		path := fmt.Sprintf("zones[%d]", i)
		if above := st.zone(parent(z.name)); above != nil && !above.absent &&
			above.cutAbove(z.name) == "" {
			out = append(out, Mistake{Path: path, Message: undelegated(z, above)})
		}
		for _, name := range sortedKeys(z.nodes) { // no name of the bulk is a delegation
			if name == z.name {
				continue
			}
			for _, rr := range z.nodes[name].get(dns.TypeNS) {
				if server := dns.CanonicalName(rr.(*dns.NS).Ns); !z.leads(server, steered) {
					out = append(out, Mistake{Path: path, Message: fmt.Sprintf("%s is delegated to %s, "+
						"which lies in the zone but has no A or AAAA record there", name, server)})
				}
			}
		}
	}
	return out
}

func undelegated(z, above *Zone) string {
	message := fmt.Sprintf("%s lies in %s, which has no NS records for it", z.name, above.name)
	if above.toSign {
		return message + ": its signed denial of a DS makes validating resolvers take all of " +
			z.name + " for forged or non-existent"
	}
	return message + ": resolvers that ask other servers of " + above.name + " don't find it"
}

// leads reports whether a zone gives a name server's address, if that is the zone's to give.
func (z *Zone) leads(server string, steered map[string]bool) bool {
	if !under(server, z.name) || steered[server] || z.node(server).addressed() {
		return true // of another zone, steered, or glue
	}
	f := z.find(server, dns.TypeA, nil)
	return f.kind == foundName && f.node.addressed()
}
