package config

import (
	"cmp"
	"strings"
	"time"
)

// pools checks members.
func (c *checker) pools() {
	pools := c.cfg.Pools
	c.unique("pools", "name", len(pools), func(i int) string { return pools[i].Name })
	for i := range pools {
		c.members(element("pools", i)+".members", pools[i].Members)
		c.within(element("pools", i)+".within", &pools[i])
	}
	c.nesting()
}

// hosts checks the steered names.
func (c *checker) hosts() {
	hosts := c.cfg.Hosts
	c.unique("hosts", "name", len(hosts), func(i int) string { return hosts[i].Name })
	pools := c.index("pools")
	for i := range hosts {
		h, at := &hosts[i], element("hosts", i)
		c.order(at, h.Name, h.Pools, pools)
		c.inZone(at+".name", h.Name)
		c.flatten(at, h)
		if h.TTLDegraded > h.TTL {
			c.mistake(at+".ttl_degraded", "%s is longer than the host's ttl of %s: it is for while "+
				"something is down, and at most as long", h.TTLDegraded, h.TTL)
		}
		c.places(at, h, pools)
		c.requires(at, h)
	}
}

// shortenTTL fills in TTLDegraded. Half a TTL is twice the queries, which no nameserver must fear
// on the day when something is down.
func (h *Host) shortenTTL() {
	const least = 5 * time.Second
	half := (h.TTL / 2).Truncate(time.Second)
	h.TTLDegraded = cmp.Or(h.TTLDegraded, min(h.TTL, max(half, least)))
}

// order checks the pools of a host or place, which stands in the file at a path.
func (c *checker) order(at, name string, order []string, pools map[string]int) {
	seen := map[string]bool{}
	for j, p := range order {
		path := element(at+".pools", j)
		if c.refer(path, "pools", p, pools) && seen[p] {
			c.mistake(path, "%s is given twice", shown(p))
		}
		seen[p] = true
	}
	if c.drained(order) {
		c.mistake(at+".pools", "weight 0 everywhere: every member of every pool of %s is "+
			"drained, so nothing is left to answer with", name)
	}
}

// inZone reports a host that no zone of ours holds.
func (c *checker) inZone(path, host string) {
	if host == "" || !c.whole("zones") {
		return
	}
	names := make([]string, 0, len(c.cfg.Zones))
	for _, z := range c.cfg.Zones {
		if under(host, z.Name) {
			return
		}
		names = append(names, z.Name)
	}
	if len(names) > 0 {
		c.mistake(path, "%s is in none of the zones (%s)", shown(host),
			strings.Join(names, ", "))
	}
}

// poolFacts is what the checks of hosts want to know of a pool. Hosts share pools, so it is
// gathered once: the work stays in proportion to the file.
type poolFacts struct {
	name    string
	leaves  []leaf        // its backends, those of the pools in it included
	members int           // how many those are
	usable  int           // those with a weight, as far up as the pool
	own     int           // usable ones that no commercial CDN runs
	slowest time.Duration // the longest probing interval
	cname   string        // a backend with a CNAME; empty when there is none
	address string        // one with addresses; likewise
	mixed   string        // the pool in it that answers with both at a time; likewise
	bounded string        // a backend with a capacity; likewise
	links   []link        // where CNAMEs lead
}

// poolsOf returns the facts of the pools of a host and of its places, those that exist.
func (c *checker) poolsOf(h *Host) []*poolFacts { return c.factsOf(h.allPools()) }

// factsOf returns the facts of pools, those that exist.
func (c *checker) factsOf(pools []string) []*poolFacts {
	index := c.index("pools")
	facts := make([]*poolFacts, 0, len(pools))
	for _, name := range pools {
		i, ok := index[name]
		if !ok {
			continue
		}
		if c.facts[i] == nil {
			c.facts[i] = c.gather(i)
		}
		facts = append(facts, c.facts[i])
	}
	return facts
}

func (c *checker) gather(pool int) *poolFacts {
	providers := c.index("providers")
	f := &poolFacts{name: c.cfg.Pools[pool].Name, leaves: c.leaves(pool)}
	for _, l := range f.leaves {
		i := l.backend
		b := &c.cfg.Backends[i]
		f.members++
		if b.Capacity > 0 {
			f.bounded = cmp.Or(f.bounded, b.Name)
		}
		f.slowest = max(f.slowest, b.Probe.Interval)
		if b.CNAME != "" {
			f.cname = cmp.Or(f.cname, b.Name)
			f.links = append(f.links, link{b.CNAME, element("backends", i) + ".cname"})
		} else {
			f.address = cmp.Or(f.address, b.Name)
		}
		if !l.usable {
			continue
		}
		f.usable++
		// A backend without a provider is taken for the operator's own.
		if at, ok := providers[b.Provider]; !ok || !commercial(c.cfg.Providers[at].Kind) {
			f.own++
		}
	}
	f.mixed = c.mixed(pool)
	return f
}

// drained reports whether every member of every one of the pools has weight 0.
func (c *checker) drained(pools []string) bool {
	members, usable := 0, 0
	for _, p := range c.factsOf(pools) {
		members, usable = members+p.members, usable+p.usable
	}
	return members > 0 && usable == 0 && c.whole("pools")
}
