package config

import (
	"slices"
	"strings"
)

// link is an alias: a name leads to a target, by the value at path.
type link struct{ target, path string }

// loops reports chains of CNAMEs that come back to where they began: static records, and
// steered hosts by way of their backends. Only names that we answer for can be followed.
func (c *checker) loops() {
	links := c.links()
	done := map[string]bool{}
	for _, start := range sorted(links) {
		c.follow(links, start, nil, done)
	}
}

// links gathers where each name may lead, as far as the targets are names that lead on.
func (c *checker) links() map[string][]link {
	links := map[string][]link{}
	for i := range c.cfg.Hosts {
		links[c.cfg.Hosts[i].Name] = nil
	}
	for i := range c.cfg.Zones {
		z := &c.cfg.Zones[i]
		for j := range z.Records {
			r := &z.Records[j]
			if name, ok := owner(z, r); ok && (r.Type == "CNAME" || r.IsAlias()) {
				at := element(element("zones", i)+".records", j) + ".data"
				links[name] = append(links[name], link{target(z, r.Data), at})
			}
		}
	}
	trimmed := map[*poolFacts]bool{}
	for i := range c.cfg.Hosts {
		h := &c.cfg.Hosts[i]
		for _, p := range c.poolsOf(h) {
			if !trimmed[p] {
				trimmed[p] = true
				p.links = slices.DeleteFunc(p.links, func(l link) bool {
					_, leadsOn := links[l.target]
					return !leadsOn
				})
			}
			links[h.Name] = append(links[h.Name], p.links...)
		}
	}
	return links
}

// target is the full name that a CNAME record's data stands for: names in data are full with
// or without the final dot, and @ is the zone.
func target(z *Zone, data string) string {
	name := strings.ToLower(strings.TrimSpace(data))
	if name == "@" {
		return z.Name
	}
	return strings.TrimSuffix(name, ".")
}

// follow walks the links from name, reports each loop once at the link that closes it, and
// marks what it has seen. The trail is as long as the chain, which the file's size bounds.
func (c *checker) follow(links map[string][]link, name string, trail []string,
	done map[string]bool,
) {
	if done[name] || len(trail) > 1000 {
		return
	}
	trail = append(trail, name)
	for _, l := range links[name] {
		if at := slices.Index(trail, l.target); at >= 0 {
			c.loop(l.path, append(trail[at:len(trail):len(trail)], l.target))
			continue
		}
		c.follow(links, l.target, trail, done)
	}
	done[name] = true
}

func (c *checker) loop(path string, chain []string) {
	if len(chain) == 2 {
		c.mistake(path, "a CNAME loop: %s points at itself", chain[0])
		return
	}
	if len(chain) > 6 {
		chain = append(append([]string{}, chain[:5]...), "…", chain[len(chain)-1])
	}
	c.mistake(path, "a CNAME loop: %s", strings.Join(chain, " → "))
}
