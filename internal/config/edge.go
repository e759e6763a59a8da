package config

import (
	"net"
	"net/netip"
	"net/url"
	"slices"
)

// edge checks the sites of this node's cache.
func (c *checker) edge() {
	seen := map[string]string{}
	for i := range c.cfg.Edge.Sites {
		s, at := &c.cfg.Edge.Sites[i], element("edge.sites", i)
		for j, h := range s.Hosts {
			path := element(at+".hosts", j)
			if first, twice := seen[h]; twice && h != "" {
				c.mistake(path, "%s is served by %s already", shown(h), first)
				continue
			}
			seen[h] = at
		}
		c.origin(at+".origin", s)
	}
}

// origin refuses an origin from which a miss would come back to an edge: this one, by its own
// socket, or any, by a steered name.
func (c *checker) origin(path string, s *Site) {
	u, err := url.Parse(s.Origin)
	if err != nil || u.Host == "" {
		return
	}
	if u.Path != "" && u.Path != "/" || u.RawQuery != "" {
		c.mistake(path, "%s has a path: scheme, host and port alone are wanted",
			shown(s.Origin))
		return
	}
	host, c0 := parseHostname(u.Hostname())
	if c0 == nil {
		for i := range c.cfg.Hosts {
			if c.cfg.Hosts[i].Name == host {
				c.mistake(path, "%s is steered, so a miss could come back to this edge: name "+
					"the origin itself", shown(host))
				return
			}
		}
		if slices.Contains(s.Hosts, host) {
			c.mistake(path, "%s is served by this very site, so a miss would come back: name "+
				"the origin itself", shown(host))
			return
		}
	}
	if listen := c.ownSocket(u); listen != "" {
		c.mistake(path, "%s is this edge itself (edge.listen %s)", shown(s.Origin), listen)
	}
}

// ownSocket returns the listen address that a URL leads to, or "". Behind a wildcard only
// loopback is known to be ours.
func (c *checker) ownSocket(u *url.URL) string {
	port := u.Port()
	if port == "" {
		port = map[string]string{"http": "80", "https": "443"}[u.Scheme]
	}
	ip, err := netip.ParseAddr(u.Hostname())
	if u.Hostname() == "localhost" {
		ip, err = listenIP("localhost"), nil
	}
	if err != nil {
		return ""
	}
	for _, listen := range c.cfg.Edge.Listen {
		host, listenPort, err := net.SplitHostPort(listen)
		if err != nil || listenPort != port || port == "0" {
			continue
		}
		own := listenIP(host)
		if own == ip.Unmap() || wildcard(own, ip.Unmap()) && ip.IsLoopback() {
			return listen
		}
	}
	return ""
}
