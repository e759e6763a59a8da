package config

import "strings"

// zones checks the zones and their static records. The nameserver parses the data.
func (c *checker) zones() {
	zones := c.cfg.Zones
	if len(zones) == 0 && c.given && c.cfg.HasRole(RoleDNS) {
		c.mistake("zones", "is missing: a node with the role dns needs at least one")
	}
	c.unique("zones", "name", len(zones), func(i int) string { return zones[i].Name })
	for i := range zones {
		at := element("zones", i)
		c.transfer(at+".transfer", &zones[i])
		c.primary(at, zones[i].Primary)
		if len(zones[i].NS) == 0 && zones[i].File == "" && zones[i].Primary == nil &&
			c.whole(at+".ns") {
			c.mistake(at+".ns", "is missing: at least one is needed")
		}
		c.soa(at, &zones[i])
		c.distinct(at+".ns", zones[i].NS)
		c.records(at, &zones[i])
		c.dnssec(at+".dnssec", zones[i].DNSSEC)
	}
}

func (c *checker) soa(at string, z *Zone) {
	s := z.SOA
	if c.whole(at+".soa") && s.Expire < s.Refresh+s.Retry {
		c.mistake(at+".soa.expire", "%v is less than refresh and retry together: secondaries "+
			"would give up before they have tried twice", s.Expire)
	}
}

// dnssec checks how a zone is signed; nil: it isn't.
func (c *checker) dnssec(at string, d *DNSSEC) {
	if d == nil || !c.whole(at) {
		return
	}
	if d.Refresh >= d.Validity/2 {
		c.mistake(at+".refresh", "%v is not below half of validity, which is %v", d.Refresh,
			d.Validity)
	}
	if d.KeyLifetime > 0 && len(d.Parent) == 0 {
		c.mistake(at+".key_lifetime", "needs parent: the old key may go only when the parent "+
			"has been seen to name the new one")
	}
	c.distinct(at+".parent", d.Parent)
	if d.Mode == SignKeyless {
		c.keyless(at, d)
	}
	if c.cfg.Store.Kind != StoreRedis || d.Mode != SignLocal {
		return
	}
	if d.KeyDir == "" {
		c.mistake(at+".key_dir", "is missing: nodes that share a store must have the same keys, "+
			"so put copies of them into a folder on each; or set mode: signer on one, and "+
			"mode: keyless on the others")
	}
	if d.KeyLifetime > 0 || d.Keys == TwoKeys && d.ZoneKeyLifetime > 0 {
		c.mistake(at, "keys that are replaced (key_lifetime, zone_key_lifetime) would differ "+
			"between the nodes that share a store: set 0s; or set mode: signer on one, and "+
			"mode: keyless on the others")
	}
}

// keyless checks a zone whose signatures come from another node.
func (c *checker) keyless(at string, d *DNSSEC) {
	if c.cfg.Store.Kind != StoreRedis {
		c.mistake(at+".mode", "keyless needs store.kind redis: a signer publishes the signatures "+
			"there")
	}
	if d.KeyDir != "" {
		c.mistake(at+".key_dir", "has no use with mode keyless: this node must not have keys")
	}
}

// owner returns the full name of a record, lower case without a final dot, and whether the
// name is one in the zone. A name that ends in the zone's, or in a dot, is full; another one
// is relative to the zone.
func owner(z *Zone, r *Record) (string, bool) {
	name := strings.ToLower(r.Name)
	if name == "@" {
		return z.Name, true
	}
	full, absolute := strings.CutSuffix(name, ".")
	if !absolute && !under(full, z.Name) {
		full = name + "." + z.Name
	}
	star := strings.TrimPrefix(full, "*.")
	normal, wrong := parseHostname(star)
	return full, wrong == nil && normal == star && under(full, z.Name)
}

func (c *checker) records(at string, z *Zone) {
	seen := map[string]int{}
	hosts := map[string]int{}
	for i, h := range c.cfg.Hosts {
		hosts[h.Name] = i
	}
	cnames, aliases := firstOf(z, "CNAME"), firstOf(z, typeAlias)
	for i := range z.Records {
		r, path := &z.Records[i], element(at+".records", i)
		name, ok := owner(z, r)
		if r.Name == "" || z.Name == "" {
			continue
		}
		c.recordName(path, z, r, name, ok)
		same := name + " " + r.Type + " " + r.Data
		j, twice := seen[same]
		if twice {
			c.mistake(path, "is the same as %s", element(at+".records", j))
			continue
		}
		seen[same] = i
		if j, steered := hosts[name]; steered && (name != z.Name || isAddress(r.Type)) {
			c.mistake(path+".name", "%s is steered by %s: it can't have records too",
				shown(name), element("hosts", j))
		}
		if j, ok := cnames[name]; ok && j != i {
			c.mistake(path+".name", "%s has a CNAME, %s: nothing else may stand beside it "+
				"(RFC 1034 §3.6.2)", shown(name), element(at+".records", j))
		}
		if j, ok := aliases[name]; ok && j != i && isAddress(r.Type) {
			c.mistake(path+".name", "%s has an ALIAS, %s: its addresses come from there",
				shown(name), element(at+".records", j))
		}
		if r.IsAlias() {
			c.alias(path, z, r)
		}
	}
}

func isAddress(rrtype string) bool {
	return rrtype == "A" || rrtype == "AAAA" || rrtype == typeAlias
}

func (c *checker) recordName(path string, z *Zone, r *Record, name string, ok bool) {
	switch {
	case !ok && strings.HasSuffix(r.Name, ".") && !under(name, z.Name):
		c.mistake(path+".name", "%s is not in the zone %s", shown(r.Name), z.Name)
	case !ok:
		c.mistake(path+".name", "%s is not a name: labels of letters, digits, - and _, or @ "+
			"for the zone itself", shown(r.Name))
	case r.Type == "CNAME" && name == z.Name:
		c.mistake(path+".type", "CNAME may not stand at the zone itself, which has SOA and NS "+
			"(RFC 1034 §3.6.2): use ALIAS")
	case r.Type == "SOA":
		c.mistake(path+".type", "SOA comes from the zone's soa")
	case r.Type == "NS" && name == z.Name:
		c.mistake(path+".type", "NS of the zone itself come from the zone's ns")
	}
}

// firstOf returns the index of the first record of a type of each name that has one.
func firstOf(z *Zone, rrtype string) map[string]int {
	found := map[string]int{}
	for i := range z.Records {
		name, ok := owner(z, &z.Records[i])
		if _, twice := found[name]; ok && !twice && z.Records[i].Type == rrtype {
			found[name] = i
		}
	}
	return found
}
