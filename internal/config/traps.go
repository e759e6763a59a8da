package config

import (
	"fmt"
	"net/url"
	"slices"
	"strings"
	"time"
)

// traps warns of configurations that work and that people come to regret.
func (c *checker) traps() {
	c.poolTraps()
	c.policyTraps()
	c.subdivisionTraps()
	c.hostTraps()
	c.probeTraps()
	c.zoneTraps()
	if c.given && c.src.has("roles") && c.cfg.HasRole(RoleEdge) && len(c.cfg.Edge.Sites) == 0 {
		c.warn("edge", "the node has the role edge and no sites: its edge serves nothing")
	}
}

func (c *checker) poolTraps() {
	backends, pools := c.index("backends"), c.index("pools")
	for i, p := range c.cfg.Pools {
		at := element("pools", i)
		var weight, known int
		for _, m := range p.Members {
			_, ok := backends[m.Backend]
			if _, within := pools[m.Pool]; ok || within {
				known++
				weight += m.Weight
			}
		}
		if known > 0 && known == len(p.Members) && weight == 0 {
			c.warn(at+".members", "every weight is 0: the pool is always passed over")
		}
	}
}

func (c *checker) hostTraps() {
	for i := range c.cfg.Hosts {
		h, at := &c.cfg.Hosts[i], element("hosts", i)
		var slowest time.Duration
		for _, p := range c.poolsOf(h) {
			slowest = max(slowest, p.slowest)
		}
		if h.TTL < slowest {
			c.warn(at+".ttl", "%v is under the probing interval of %v: resolvers ask more "+
				"often than anything can have changed", h.TTL, slowest)
		}
		c.lastResort(at, h.Pools)
		for j := range h.Places {
			c.lastResort(element(at+".places", j), h.Places[j].Pools)
		}
	}
	if c.given && len(c.cfg.Hosts)+len(c.cfg.Aliases()) == 0 && c.whole("hosts") {
		c.warn("hosts", "there is no steered host")
	}
}

// lastResort warns when every backend that can answer for a host or place belongs to a
// commercial CDN.
func (c *checker) lastResort(at string, pools []string) {
	usable, own := 0, 0
	for _, p := range c.factsOf(pools) {
		usable, own = usable+p.usable, own+p.own
	}
	if usable > 0 && own == 0 &&
		c.whole("pools") && c.whole("backends") && c.whole("providers") {
		c.warn(at+".pools", "no last resort: every pool holds commercial CDNs alone; add a "+
			"pool with your own edge or the origin at the end")
	}
}

func (c *checker) probeTraps() {
	steered := map[string]bool{}
	for i := range c.cfg.Hosts {
		steered[c.cfg.Hosts[i].Name] = true
	}
	for i := range c.cfg.Backends {
		b := &c.cfg.Backends[i]
		u, err := url.Parse(b.Probe.URL)
		if b.CNAME == "" || b.Probe.Kind != ProbeHTTP || b.Probe.URL == "" || err != nil {
			continue
		}
		if b.Probe.Host == "" && !steered[strings.ToLower(u.Hostname())] {
			c.warn(element("backends", i)+".probe", "has no host: the CDN is asked for %s, "+
				"which may work while your own host name does not", u.Hostname())
		}
	}
}

func (c *checker) zoneTraps() {
	runs := map[string]string{} // the first backend of each company
	for i := range c.cfg.Backends {
		b := &c.cfg.Backends[i]
		if of := company(b.CNAME); b.CNAME != "" && runs[of] == "" {
			runs[of] = b.Name
		}
	}
	for i := range c.cfg.Zones {
		z, at := &c.cfg.Zones[i], element("zones", i)
		if len(z.NS) == 1 {
			c.warn(at+".ns", "a single nameserver: when it is gone, so is the zone (RFC 1034 "+
				"§4.1 asks for two)")
		}
		for j, ns := range z.NS {
			if b := runs[company(ns)]; b != "" && !under(ns, z.Name) {
				c.warn(element(at+".ns", j), "%s belongs to the same company as backend %s: an "+
					"outage of that CDN could take the DNS with it", ns, b)
			}
		}
	}
}

// company is who runs a name: a vendor that we know the domains of, or else the name's last
// two labels, which is a guess (three where the last but one is a registry's, as in co.uk).
func company(name string) string {
	labels := strings.Split(name, ".")
	for _, v := range vendors() {
		for _, domain := range v.domains {
			if under(name, domain) {
				return v.name
			}
		}
	}
	if slices.ContainsFunc(labels, func(l string) bool { return strings.HasPrefix(l, "awsdns-") }) {
		return "amazon"
	}
	n := 2
	if len(labels) > 2 && len(labels[len(labels)-1]) == 2 && len(labels[len(labels)-2]) <= 3 {
		n = 3
	}
	return strings.Join(labels[max(0, len(labels)-n):], ".")
}

type vendor struct {
	name    string
	domains []string
}

// vendors are CDNs that host DNS as well, with the domains of both services, as their
// documentation names them.
func vendors() []vendor {
	return []vendor{
		{"cloudflare", []string{"cloudflare.com", "cloudflare.net", "foundationdns.com",
			"foundationdns.net", "foundationdns.org"}},
		{"akamai", []string{"akam.net", "akamai.net", "akamaiedge.net", "akamaized.net",
			"edgekey.net", "edgesuite.net"}},
		{"amazon", []string{"cloudfront.net", "amazonaws.com"}},
		{"google", []string{"googledomains.com", "google.com", "googleusercontent.com",
			"ghs.googlehosted.com"}},
		{"microsoft", []string{"azure-dns.com", "azure-dns.net", "azure-dns.org",
			"azure-dns.info", "azureedge.net", "azurefd.net"}},
		{"bunny", []string{"bunny.net", "b-cdn.net"}},
		{"gcore", []string{"gcorelabs.net", "gcdn.co", "gcdn.services"}},
		{"cdn77", []string{"cdn77.net", "cdn77.org", "cdn77.com"}},
		{"alibaba", []string{"alidns.com", "kunlunca.com", "kunlunar.com"}},
		{"tencent", []string{"dnspod.net", "dnsv1.com", "cdn.dnsv1.com"}},
	}
}

// unused warns of what nothing refers to: often the trace of a name that was changed in one
// place only.
func (c *checker) unused() {
	used := map[string]bool{}
	for i := range c.cfg.Hosts {
		for _, p := range c.cfg.Hosts[i].allPools() {
			c.reach(p, used)
		}
		for _, p := range c.cfg.Hosts[i].Places {
			for _, l := range p.Lists {
				used["geo.lists "+l] = true
			}
		}
	}
	c.eachAudience(func(_ string, a *Audience) {
		for _, l := range a.Lists {
			used["geo.lists "+l] = true
		}
	})
	for _, p := range c.cfg.Pools {
		for _, m := range p.Members {
			used["backends "+m.Backend] = true
		}
	}
	for i := range c.cfg.Backends {
		used["providers "+c.cfg.Backends[i].Provider] = true
	}
	say := func(list string, i int, name, by string) {
		if name != "" && !used[list+" "+name] && c.whole(list) {
			c.warn(element(list, i), "%s", fmt.Sprintf("%s is used by no %s", shown(name), by))
		}
	}
	for i := range c.cfg.Pools {
		say("pools", i, c.cfg.Pools[i].Name, "host")
	}
	for i := range c.cfg.Geo.Lists {
		say("geo.lists", i, c.cfg.Geo.Lists[i].Name, "place or backend")
	}
	for i := range c.cfg.Backends {
		say("backends", i, c.cfg.Backends[i].Name, "pool")
	}
	for i := range c.cfg.Providers {
		say("providers", i, c.cfg.Providers[i].Name, "backend")
	}
}
