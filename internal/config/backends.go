package config

import (
	"net/http"
	"net/url"
	"strings"
)

// backends checks each backend and its probe.
func (c *checker) backends() {
	backends := c.cfg.Backends
	c.unique("backends", "name", len(backends), func(i int) string { return backends[i].Name })
	providers := c.index("providers")
	for i := range backends {
		b, at := &backends[i], element("backends", i)
		c.answer(at, b)
		if b.Provider != "" {
			c.refer(at+".provider", "providers", b.Provider, providers)
		}
		c.probe(i, at+".probe", &b.Probe)
	}
}

// answer checks that a backend has either a CNAME or addresses.
func (c *checker) answer(at string, b *Backend) {
	hasCNAME, hasAddresses := c.src.has(at+".cname"), c.src.has(at+".addresses")
	switch {
	case hasCNAME && hasAddresses:
		c.mistake(at+".addresses", "cname is given too: a backend has one of the two")
	case hasAddresses && len(b.Addresses) == 0:
		c.mistake(at+".addresses", "is empty: at least one is needed")
	case !hasCNAME && !hasAddresses && !c.bad[at+".cname"] && !c.bad[at+".addresses"]:
		c.mistake(at, "has neither cname nor addresses: it needs one of the two")
	}
	c.distinct(at+".addresses", b.Addresses)
	if b.HTTPS == nil {
		return
	}
	c.distinct(at+".https.alpn", b.HTTPS.ALPN)
}

// index maps the names of a top-level list to their first place.
func (c *checker) index(list string) map[string]int {
	if index, ok := c.indices[list]; ok {
		return index
	}
	index := map[string]int{}
	c.indices[list] = index
	add := func(i int, name string) {
		if _, twice := index[name]; !twice && name != "" {
			index[name] = i
		}
	}
	switch list {
	case "backends":
		for i := range c.cfg.Backends {
			add(i, c.cfg.Backends[i].Name)
		}
	case "pools":
		for i := range c.cfg.Pools {
			add(i, c.cfg.Pools[i].Name)
		}
	case "geo.lists":
		for i := range c.cfg.Geo.Lists {
			add(i, c.cfg.Geo.Lists[i].Name)
		}
	case "tsig_keys":
		for i := range c.cfg.TSIGKeys {
			add(i, c.cfg.TSIGKeys[i].Name)
		}
	case "providers":
		for i := range c.cfg.Providers {
			add(i, c.cfg.Providers[i].Name)
		}
	}
	return index
}

func (c *checker) probe(i int, at string, p *Probe) {
	if !c.src.has(at) {
		if up := c.cfg.Backends[i].Up; up == UpAlways || up == UpNever {
			return
		}
		c.mistake(at, "is missing: without a probe nobody knows when to leave the backend")
		return
	}
	c.probeHeaders(at+".headers", p.Headers)
	switch {
	case c.bad[at+".kind"]: // what it needs depends on it
	case p.Kind == ProbeTCP:
		c.tcpProbe(at, p)
	default:
		c.httpProbe(at, p)
	}
}

func (c *checker) tcpProbe(at string, p *Probe) {
	if p.Address == "" {
		c.mistake(at+".address", "is missing: a tcp probe needs host:port to dial")
	}
	for _, key := range []string{"url", "host", "method", "headers", "ca_file", "expect"} {
		if path := at + "." + key; c.src.has(path) {
			c.mistake(path, "belongs to an http probe, and this one is tcp")
		}
	}
}

func (c *checker) httpProbe(at string, p *Probe) {
	if p.URL == "" {
		c.mistake(at+".url", "is missing: an http probe needs something to fetch")
	}
	if p.Method == http.MethodHead && p.Expect.Body != "" {
		c.mistake(at+".expect.body", "a HEAD request has no body to look in")
	}
	if u, err := url.Parse(p.URL); err == nil && u.Scheme == "http" && p.CAFile != "" {
		c.mistake(at+".ca_file", "the probe's URL is http, which has no certificate")
	}
}

// probeHeaders refuses the headers that hold credentials: secrets never stand in the file.
func (c *checker) probeHeaders(at string, headers []Header) {
	seen := map[string]bool{}
	for i, h := range headers {
		path, name := element(at, i)+".name", strings.ToLower(h.Name)
		switch name {
		case "":
		case "authorization", "proxy-authorization", "cookie":
			c.mistake(path, "%s holds a secret, and secrets never stand in the file: probe a "+
				"path that needs none", h.Name)
		case "host":
			c.mistake(path, "the Host header is the probe's host key")
		default:
			if seen[name] {
				c.mistake(path, "%s is given twice", h.Name)
			}
		}
		seen[name] = true
	}
}
