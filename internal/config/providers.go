package config

import (
	"net/netip"
	"net/url"
	"slices"
	"strings"

	"pointsman/internal/nearest"
)

// providerKinds are the kinds that there is code for.
func providerKinds() []string {
	return []string{ProviderEdge, ProviderFastly, ProviderCloudflare}
}

// commercial reports whether a kind of provider is somebody else's CDN.
func commercial(kind string) bool {
	return kind == ProviderFastly || kind == ProviderCloudflare
}

// gone says what became of CDNs that people still have in their files.
func gone(kind string) string {
	switch strings.ToLower(kind) {
	case "edgio", "limelight", "edgecast", "verizon":
		return "Edgio's CDN (Limelight, Edgecast) was shut down in January 2025: move its " +
			"traffic and take it out"
	case "stackpath", "lumen":
		return "this CDN was shut down: move its traffic and take it out"
	}
	return ""
}

// providers checks each provider against what its kind needs.
func (c *checker) providers() {
	providers := c.cfg.Providers
	c.unique("providers", "name", len(providers), func(i int) string {
		return providers[i].Name
	})
	for i := range providers {
		p, at := &providers[i], element("providers", i)
		switch {
		case p.Kind == "":
		case gone(p.Kind) != "":
			c.mistake(at+".kind", "%s", gone(p.Kind))
		case !slices.Contains(providerKinds(), p.Kind):
			c.suggest(at+".kind", nearest.Name(p.Kind, providerKinds()),
				"unknown provider kind %s: there are %s", shown(p.Kind),
				strings.Join(providerKinds(), ", "))
		default:
			c.ofKind(at, p)
		}
	}
}

func (c *checker) ofKind(at string, p *Provider) {
	only := func(key, kind string) {
		if path := at + "." + key; p.Kind != kind && c.src.has(path) {
			c.mistake(path, "belongs to kind %s, and this provider is %s", kind, p.Kind)
		}
	}
	only("service_id", ProviderFastly)
	only("zone_id", ProviderCloudflare)
	only("nodes", ProviderEdge)
	switch p.Kind {
	case ProviderFastly:
		c.fastly(at, p)
	case ProviderCloudflare:
		c.cloudflare(at, p)
	case ProviderEdge:
		c.edgeProvider(at, p)
	}
	if c.src.has(at+".base_url") && p.Kind == ProviderEdge {
		c.mistake(at+".base_url", "kind edge has nodes instead")
	}
	if u, err := url.Parse(p.BaseURL); err == nil && u.Scheme == "http" && !local(u) {
		c.mistake(at+".base_url", "%s would carry the token unencrypted: use https",
			shown(p.BaseURL))
	}
}

// local reports whether a URL leads to this machine.
func local(u *url.URL) bool {
	ip, err := netip.ParseAddr(u.Hostname())
	return u.Hostname() == "localhost" || err == nil && ip.IsLoopback()
}

func (c *checker) tokenOf(at string, p *Provider, why string) {
	if p.TokenFile == "" && p.TokenEnv == "" {
		c.needs(at, "token_file", "token_env", why)
	}
}

func (c *checker) fastly(at string, p *Provider) {
	c.tokenOf(at, p, ": Fastly's API takes no call without one")
	id := p.ServiceID
	switch {
	case id == "" && !c.bad[at+".service_id"]:
		c.mistake(at+".service_id", "is missing: kind fastly needs the service's identifier")
	case id != "" && strings.ContainsFunc(id, func(r rune) bool {
		return r > 0x7f || !isAlnum(byte(r))
	}):
		c.mistake(at+".service_id", "%s is not a service's identifier, which is letters and "+
			"digits as in SU1Z0isxPaozGVKXdv0eY", shown(id))
	}
}

func (c *checker) cloudflare(at string, p *Provider) {
	c.tokenOf(at, p, ": Cloudflare's API takes no call without one")
	id := p.ZoneID
	isHex := len(id) == 32 && !strings.ContainsFunc(id, func(r rune) bool {
		return !strings.ContainsRune("0123456789abcdef", r)
	})
	switch {
	case id == "" && !c.bad[at+".zone_id"]:
		c.mistake(at+".zone_id", "is missing: kind cloudflare needs the zone's identifier")
	case id != "" && !isHex && strings.Contains(id, "."):
		c.mistake(at+".zone_id", "%s is a zone's name; its identifier is 32 hex digits, on the "+
			"zone's overview page in the dashboard", shown(id))
	case id != "" && !isHex:
		c.mistake(at+".zone_id", "%s is not a zone's identifier, which is 32 hex digits in "+
			"lower case", shown(id))
	}
}

func (c *checker) edgeProvider(at string, p *Provider) {
	if len(p.Nodes) == 0 && !c.bad[at+".nodes"] {
		c.mistake(at+".nodes", "is missing: kind edge needs the admin API's URL of every node "+
			"that has an edge")
	}
	seen, remote := map[string]bool{}, false
	for i, raw := range p.Nodes {
		path := element(at+".nodes", i)
		u, err := url.Parse(raw)
		if err != nil || raw == "" {
			continue
		}
		key := u.Scheme + "://" + strings.ToLower(u.Host)
		if seen[key] {
			c.mistake(path, "%s is given twice", shown(raw))
		}
		seen[key] = true
		remote = remote || !local(u)
		c.node(path, raw, u)
	}
	if remote {
		c.tokenOf(at, p, ": a node beyond this machine takes no call without one")
	}
}

func (c *checker) node(path, raw string, u *url.URL) {
	switch {
	case strings.Trim(u.Path, "/") != "" || u.RawQuery != "":
		c.mistake(path, "%s has a path: scheme, host and port alone are wanted", shown(raw))
	case u.Scheme == "http" && !local(u):
		c.mistake(path, "%s would carry the token unencrypted: use https", shown(raw))
	}
}
