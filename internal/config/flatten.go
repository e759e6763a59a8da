package config

import (
	"cmp"
	"time"
)

// typeAlias is the type of records that stand for the addresses behind a name. DNS has none
// such: what is answered are A and AAAA records.
const typeAlias = "ALIAS"

// longestAlias is the longest TTL of an ALIAS record, the same as that of a steered host.
const longestAlias = time.Hour

// Alias is an ALIAS record of a zone. Names are full, lower case, without a final dot.
type Alias struct {
	Path   string        // of the record, as in zones[0].records[2]
	Name   string        // answered with the addresses behind
	Target string        // this one
	TTL    time.Duration // at most 1 h
}

// Aliases returns the ALIAS records of all zones in their order.
func (c *Config) Aliases() []Alias {
	var out []Alias
	for i := range c.Zones {
		z := &c.Zones[i]
		for j := range z.Records {
			r := &z.Records[j]
			if r.Type != typeAlias {
				continue
			}
			name, _ := owner(z, r)
			ttl := r.TTL
			if ttl == 0 {
				ttl = z.TTL
			}
			out = append(out, Alias{Path: element(element("zones", i)+".records", j), Name: name,
				Target: target(z, r.Data), TTL: min(ttl, longestAlias)})
		}
	}
	return out
}

// IsAlias reports whether a record is an ALIAS, which is none for the nameserver's zones.
func (r *Record) IsAlias() bool { return r.Type == typeAlias }

// flatten decides whether a host answers with the addresses behind its CNAME backends, and
// reports one that must and may not. At a zone itself no CNAME may stand (RFC 1034 §3.6.2). In a
// pool with addresses, resolvers that have cached a CNAME go on to use it for all types, so that
// shares come out wrong.
func (c *checker) flatten(at string, h *Host) {
	cname, mixed := c.answers(h)
	apex := c.isZone(h.Name)
	if cname == "" {
		return
	}
	h.Flattened = h.Flatten != FlattenNever &&
		(h.Flatten == FlattenAlways || apex || mixed != "")
	if h.Flattened {
		c.signedHere(at+".flatten", h.Name)
	}
	switch {
	case h.Flatten == FlattenNever && apex:
		c.mistake(at+".flatten", "%s is a zone itself, where no CNAME may stand, and backend %s has "+
			"one: leave flatten out, or use addresses", shown(h.Name), shown(cname))
	case h.Flatten == FlattenNever && mixed != "":
		c.mistake(at+".flatten", "%s CNAME and address backends: a resolver that has "+
			"cached the CNAME keeps all types of query on it, so the weights come out wrong; leave "+
			"flatten out, or part the pool", mixed)
	case h.Flatten == FlattenAuto && mixed != "" && !apex:
		c.warn(at+".pools", "%s CNAME and address backends, so that the host answers "+
			"with the addresses behind the CNAMEs, as this node's resolvers see them: say flatten: "+
			"always if that is meant, or part the pool", mixed)
	}
}

// signedHere reports a name that is answered with resolved addresses in a zone that one node signs
// for others: each node resolves for itself, and what another one has not signed can't be answered.
func (c *checker) signedHere(path, name string) {
	for i := range c.cfg.Zones {
		z := &c.cfg.Zones[i]
		if under(name, z.Name) && z.DNSSEC != nil && z.DNSSEC.Mode != SignLocal {
			c.mistake(path, "%s is answered with addresses that each node resolves for itself, and in "+
				"the zone %s one node signs for all (dnssec.mode): use addresses, or mode: local with "+
				"the same keys on each node", shown(name), z.Name)
			return
		}
	}
}

// answers returns a backend of the host that has a CNAME, and in words what makes it answer with
// CNAMEs and addresses at the same time; empty when there is none, and when nothing does.
func (c *checker) answers(h *Host) (cname, mixed string) {
	address, bounded := "", ""
	for _, p := range c.poolsOf(h) {
		cname, address = cmp.Or(cname, p.cname), cmp.Or(address, p.address)
		bounded = cmp.Or(bounded, p.bounded)
		if mixed == "" && p.mixed != "" {
			mixed = "pool " + p.mixed + " mixes"
		}
	}
	if mixed == "" && h.Load > 0 && bounded != "" && cname != "" && address != "" {
		mixed = "what is above the capacity of backend " + bounded + " goes to the next pool, and mixes"
	}
	return cname, mixed
}

func (c *checker) isZone(name string) bool {
	for i := range c.cfg.Zones {
		if c.cfg.Zones[i].Name == name && name != "" {
			return true
		}
	}
	return false
}

// bindings reports HTTPS records of CNAME backends that no flattened host has.
func (c *checker) bindings() {
	flat := map[string]bool{}
	seen := map[*poolFacts]bool{}
	for i := range c.cfg.Hosts {
		h := &c.cfg.Hosts[i]
		if !h.Flattened {
			continue
		}
		for _, p := range c.poolsOf(h) {
			if seen[p] {
				continue
			}
			seen[p] = true
			for _, l := range p.leaves {
				flat[c.cfg.Backends[l.backend].Name] = true
			}
		}
	}
	for i := range c.cfg.Backends {
		b := &c.cfg.Backends[i]
		if b.HTTPS != nil && b.CNAME != "" && !flat[b.Name] {
			c.mistake(element("backends", i)+".https", "the backend has a cname, and no host that "+
				"is flattened: its HTTPS record stands at %s, where the CDN has it", shown(b.CNAME))
		}
	}
}

// alias checks an ALIAS record at a path.
func (c *checker) alias(path string, z *Zone, r *Record) {
	name, _ := owner(z, r)
	c.signedHere(path, name)
	if _, wrong := parseHostname(target(z, r.Data)); wrong != nil {
		c.mistake(path+".data", "%s", wrong.message)
	}
}
