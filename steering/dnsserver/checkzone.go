package dnsserver

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/miekg/dns"
)

// maxChain is the number of aliases that one answer follows.
const maxChain = 8

// eachRecord visits the records of the config and of its files in their order, without those
// of the bulk.
func (p *parser) eachRecord(visit func(at spot, rr dns.RR)) {
	for _, rr := range p.order {
		visit(p.places[rr], rr)
	}
}

// checkNodes finds records that can't stand where they stand.
func (p *parser) checkNodes() {
	p.eachRecord(func(at spot, rr dns.RR) {
		name, rtype := rr.Header().Name, rr.Header().Rrtype
		if rtype == dns.TypeCNAME {
			p.checkCNAME(at, rr)
		}
		if rtype == dns.TypeDNAME && p.z.nodes[name].get(rtype)[0] != rr {
			p.mistakeAt(at, "", "%s has two DNAME records (RFC 6672 §2.4)", name)
		}
		if name == p.z.name {
			return
		}
		if cut := p.z.cutAbove(name); cut != "" && occluded(cut, name, rtype) {
			p.mistakeAt(at, "", "%s is delegated by its NS records: this %s is never served", cut,
				dns.Type(rtype))
		}
		p.checkBelowDNAME(at, name)
	})
	p.checkBulk()
}

// checkBulk finds names of the bulk that are never served. Addresses below a delegation are.
func (p *parser) checkBulk() {
	renames := func(n *node) bool { return n.has(dns.TypeDNAME) }
	if !slices.ContainsFunc(slices.Collect(maps.Values(p.z.nodes)), renames) {
		return
	}
	for name, i := range p.z.bulk.all() {
		r := &p.z.bulk.recs[p.z.bulk.names[i].first-1]
		p.checkBelowDNAME(spot{file: r.file, line: int(r.line)}, name)
	}
}

func (p *parser) checkBelowDNAME(at spot, name string) {
	for up := parent(name); under(up, p.z.name); up = parent(up) {
		if p.z.nodes[up].has(dns.TypeDNAME) {
			p.mistakeAt(at, "", "%s has a DNAME: nothing below it is served", up)
		}
	}
}

// checkCNAME finds a CNAME beside other data (RFC 1034 §3.6.2); signatures may stand there.
func (p *parser) checkCNAME(at spot, rr dns.RR) {
	name := rr.Header().Name
	if name == p.z.name {
		p.mistakeAt(at, "", "a CNAME can't stand at the zone's apex, beside SOA and NS")
		return
	}
	for _, s := range p.z.nodes[name].sets {
		switch s.rtype {
		case dns.TypeRRSIG, dns.TypeNSEC, dns.TypeKEY:
		case dns.TypeCNAME:
			if s.rrs[0] != rr {
				p.mistakeAt(at, "", "%s already has a CNAME: %s", name, p.where(p.places[s.rrs[0]]))
			}
		default:
			p.mistakeAt(at, "", "a CNAME can't stand beside other records of %s: %s is %s", name,
				p.where(p.places[s.rrs[0]]), dns.Type(s.rtype))
		}
	}
}

// occluded reports whether a zone cut hides a record: at the cut all but NS and DS, below it
// all but glue.
func occluded(cut, name string, rtype uint16) bool {
	switch rtype {
	case dns.TypeA, dns.TypeAAAA:
		return false
	case dns.TypeNS, dns.TypeDS, dns.TypeNSEC, dns.TypeRRSIG:
		return name != cut
	}
	return true
}

// checkChains finds CNAMEs that come back to themselves, or never end.
func (p *parser) checkChains() {
	p.eachRecord(func(at spot, rr dns.RR) {
		if rr.Header().Rrtype != dns.TypeCNAME {
			return
		}
		start, name := rr.Header().Name, rr.Header().Name
		trail := []string{start}
		for range maxChain + 1 {
			next, ok := p.z.alias(name)
			if !ok {
				return
			}
			trail = append(trail, next)
			if next == start {
				p.mistakeAt(at, "", "CNAME loop: %s", strings.Join(trail, " → "))
				return
			}
			name = next
		}
		p.mistakeAt(at, "", "the chain of CNAMEs has more than %d links: %s", maxChain,
			strings.Join(trail, " → "))
	})
}

// alias returns the canonical target of a name's static CNAME, wildcards included.
func (z *Zone) alias(name string) (string, bool) {
	if !under(name, z.name) {
		return "", false
	}
	f := z.find(name, dns.TypeCNAME, nil)
	if f.kind != foundName {
		return "", false
	}
	rrs := f.node.get(dns.TypeCNAME)
	if len(rrs) == 0 {
		return "", false
	}
	return dns.CanonicalName(rrs[0].(*dns.CNAME).Target), true
}

// checkServers finds name servers of the zone itself that nobody could reach.
func (p *parser) checkServers() {
	for _, rr := range p.z.nodes[p.z.name].get(dns.TypeNS) {
		name := dns.CanonicalName(rr.(*dns.NS).Ns)
		if !under(name, p.z.name) {
			continue
		}
		n := p.z.node(name)
		switch {
		case n.has(dns.TypeCNAME):
			p.mistakeAt(p.places[rr], "",
				"%s is a CNAME, which a name server must not be (RFC 2181 §10.3)", name)
		case !n.addressed():
			p.mistakeAt(p.places[rr], "",
				"%s lies in the zone but has no A or AAAA record", name)
		}
	}
}

// SteeredName is what CheckHosts needs to know of a steered name.
type SteeredName struct {
	Host string // any case, with or without the final dot
	// Targets are the CNAME targets of its backends.
	Targets []string
	// Addresses is true when a backend has addresses.
	Addresses bool
	// HTTPS is true when a backend has an HTTPS record.
	HTTPS bool
	// Flattened is true when the addresses behind Targets are answered instead of them.
	Flattened bool
}

// CheckHosts finds steered names that the zones can't hold: outside of every zone, with a
// CNAME backend at the apex or beside static records, below a delegation, or in a loop of
// CNAMEs. Paths are "hosts[i]", i being the index in hosts. It does no I/O.
func CheckHosts(zones []*Zone, hosts []SteeredName) []Mistake {
	c := hostChecker{st: newState(zones, nil, nil), hosts: make(map[string]SteeredName)}
	for _, h := range hosts {
		if name, err := canonical(h.Host); err == nil {
			c.hosts[name] = h
		}
	}
	for i, h := range hosts {
		path := fmt.Sprintf("hosts[%d]", i)
		name, err := canonical(h.Host)
		if err != nil {
			c.mistake(path, "%v", err)
			continue
		}
		c.place(path, name, h)
		c.depth = make(map[string]int)
		if trail := c.loop(name, []string{name}); trail != nil {
			c.mistake(path, "CNAME loop: %s", strings.Join(trail, " → "))
		}
	}
	return c.mistakes
}

// hostChecker holds what CheckHosts knows.
type hostChecker struct {
	st       *state
	hosts    map[string]SteeredName
	depth    map[string]int // the longest trail on which loop came to a name
	mistakes []Mistake
}

func (c *hostChecker) mistake(path, format string, args ...any) {
	c.mistakes = append(c.mistakes, Mistake{Path: path, Message: fmt.Sprintf(format, args...)})
}

// place checks a steered name against the zone it lies in.
func (c *hostChecker) place(path, name string, h SteeredName) {
	z := c.st.zone(name)
	if z == nil {
		c.mistake(path, "%s lies in none of the zones", name)
		return
	}
	if cut := z.cutAbove(name); cut != "" {
		c.mistake(path, "%s is delegated by its NS records: %s is never answered", cut, name)
	}
	for up := parent(name); under(up, z.name); up = parent(up) {
		if z.nodes[up].has(dns.TypeDNAME) {
			c.mistake(path, "%s has a DNAME: %s is never answered", up, name)
		}
	}
	named := len(h.Targets) > 0 && !h.Flattened
	if named && name == z.name {
		c.mistake(path, "a backend with a CNAME can't stand at the zone's apex: use addresses, or flatten it")
		return
	}
	n := z.node(name)
	if n == nil {
		return
	}
	for _, s := range n.sets {
		clash := s.rtype == dns.TypeCNAME || s.rtype == dns.TypeA || s.rtype == dns.TypeAAAA ||
			s.rtype == dns.TypeHTTPS && h.HTTPS
		if clash || named {
			c.mistake(path, "%s also has a static %s record, which would never be served", name,
				dns.Type(s.rtype))
		}
	}
}

// loop follows every way out of the last name of a trail and returns the first that comes
// back to its start, or that is longer than an answer may be.
func (c *hostChecker) loop(name string, trail []string) []string {
	var targets []string
	if h, ok := c.hosts[name]; ok {
		targets = h.Targets
	} else if z := c.st.zone(name); z != nil {
		if next, ok := z.alias(name); ok {
			targets = []string{next}
		}
	}
	for _, t := range targets {
		next, err := canonical(t)
		if err != nil {
			continue // reported where backends are checked
		}
		longer := append(trail[:len(trail):len(trail)], next)
		if next == trail[0] || len(longer) > maxChain+1 {
			return longer
		}
		if len(longer) <= c.depth[next] {
			continue // it was found harmless from further away
		}
		c.depth[next] = len(longer)
		if found := c.loop(next, longer); found != nil {
			return found
		}
	}
	return nil
}
