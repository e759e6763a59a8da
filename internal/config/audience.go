package config

import (
	"net/netip"
	"slices"
)

// eachAudience calls f for each allow and deny of a backend, with where it stands.
func (c *checker) eachAudience(f func(path string, a *Audience)) {
	for i := range c.cfg.Backends {
		b, at := &c.cfg.Backends[i], element("backends", i)
		if b.Allow != nil {
			f(at+".allow", b.Allow)
		}
		if b.Deny != nil {
			f(at+".deny", b.Deny)
		}
	}
}

// audiences checks whom backends may answer.
func (c *checker) audiences() {
	lists := c.index("geo.lists")
	c.eachAudience(func(path string, a *Audience) {
		if a.empty() && c.whole(path) {
			c.mistake(path, "has no countries, subdivisions, asns, prefixes or lists: it holds nobody")
		}
		c.distinct(path+".countries", a.Countries)
		c.distinct(path+".subdivisions", a.Subdivisions)
		c.distinct(path+".asns", a.ASNs)
		c.distinct(path+".lists", a.Lists)
		var seen covers
		c.cover(&seen, path+".prefixes", a.Prefixes)
		for j, name := range a.Lists {
			here := element(path+".lists", j)
			if c.refer(here, "geo.lists", name, lists) && !slices.Contains(a.Lists[:j], name) {
				seen.list(here, name, c.cfg.Geo.Lists[lists[name]].Prefixes)
			}
		}
		seen.report(c)
	})
	for i := range c.cfg.Backends {
		if b := &c.cfg.Backends[i]; b.Allow != nil && b.Deny != nil {
			c.overlap(element("backends", i)+".deny", b)
		}
	}
}

// empty reports whether nothing says who belongs to an audience.
func (a *Audience) empty() bool {
	return len(a.Countries)+len(a.Subdivisions)+len(a.ASNs)+len(a.Prefixes)+len(a.Lists) == 0
}

// overlap warns of clients whom a backend may answer and must not. An exception within what is
// allowed is what deny is for; the same, or what leaves nothing of it, is a mix-up.
func (c *checker) overlap(at string, b *Backend) {
	for _, code := range b.Deny.Countries {
		if slices.Contains(b.Allow.Countries, code) {
			c.warn(at+".countries", "%s stands in allow too: deny wins", code)
		}
	}
	denied := c.prefixes(b.Deny)
	for _, allowed := range c.prefixes(b.Allow) {
		for _, d := range denied {
			if d.Bits() <= allowed.Bits() && d.Contains(allowed.Addr()) {
				c.warn(at, "%s lies within %s, and allow has it: deny wins", allowed, d)
				break
			}
		}
	}
}

// prefixes are those of an audience and of its lists.
func (c *checker) prefixes(a *Audience) []netip.Prefix {
	texts := slices.Clone(a.Prefixes)
	for _, name := range a.Lists {
		if i, ok := c.index("geo.lists")[name]; ok {
			texts = append(texts, c.cfg.Geo.Lists[i].Prefixes...)
		}
	}
	var out []netip.Prefix
	for _, text := range texts {
		if p, err := netip.ParsePrefix(text); err == nil {
			out = append(out, p)
		}
	}
	return out
}
