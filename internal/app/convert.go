package app

import (
	"cmp"
	"crypto/tls"
	"errors"
	"fmt"
	"net/netip"
	"net/url"
	"slices"
	"strings"
	"time"

	"pointsman/edge"
	"pointsman/internal/config"
	"pointsman/probes"
	"pointsman/probes/health"
	"pointsman/purge"
	"pointsman/steering"
	"pointsman/steering/dnsserver"
	"pointsman/steering/feed"
	"pointsman/steering/geo"
	"pointsman/steering/slow"
	"pointsman/steering/tsig"
)

// This file is the only translator from the config's structs to those of the packages. The
// config was checked before, so what can still go wrong here is a file that vanished.

// inputs are the config in the packages' own terms: all that a start or a reload hands over.
type inputs struct {
	spec      *steering.Spec
	slow      slow.Config
	geo       geo.Data // see loadGeo
	zones     []*dnsserver.Zone
	keys      tsig.Ring
	received  received
	serials   []config.Finding // warnings of serial numbers, which are in the report too
	targets   []probes.Target
	backends  []string
	rules     map[string]health.Rules
	sites     []edge.Site
	purges    []purge.Target
	limits    *dnsserver.RateLimit // nil: none
	dnsTLS    *tls.Config
	feeds     []feed.Feed
	resolvers []netip.AddrPort // that names behind flattened hosts are asked of
}

// steers reports whether the config has steered names. An edge or a static zone needs none.
func (in *inputs) steers() bool { return len(in.spec.Hosts) > 0 }

// convert translates a checked config. What the packages refuse comes back as an ErrConfig
// whose lines carry the place in the file.
func convert(c *config.Config, r *config.Report) (*inputs, error) {
	return convertAfter(c, r, onDisk(c))
}

// convertAfter is convert for a config that follows on zones in force.
func convertAfter(c *config.Config, r *config.Report, from sources) (*inputs, error) {
	in := &inputs{sites: sitesOf(c)}
	var bad []pathMistake
	in.zones, in.received, bad = zonesOf(c, r.Source, serialOf(time.Now()), from)
	var wrong []pathMistake
	in.keys, wrong = keysOf(c)
	bad = append(bad, wrong...)
	bad = append(bad, hostMistakes(c, in.zones)...)
	in.slow = slowOf(c)
	bad = append(bad, slowMistakes(c, in.slow)...)
	bad = append(bad, unlocated(c)...)
	var err error
	if in.spec, err = specOf(c); err != nil {
		return nil, errors.Join(ErrConfig, err)
	}
	if in.resolvers, err = resolversOf(c); err != nil {
		return nil, errors.Join(ErrConfig, err)
	}
	if in.feeds, err = feedsOf(c); err != nil {
		return nil, errors.Join(ErrConfig, err)
	}
	if in.targets, err = targetsOf(c); err != nil {
		return nil, errors.Join(ErrConfig, err)
	}
	for _, t := range in.targets {
		for _, m := range t.Check() {
			bad = append(bad, complaint(backendPath(c, t.Backend)+".probe", m.Path+": "+m.Message))
		}
	}
	if in.limits, err = limitsOf(c.DNS.RateLimit); err != nil {
		return nil, errors.Join(ErrConfig, err)
	}
	if in.dnsTLS, err = dnsTLS(c); err != nil {
		return nil, errors.Join(ErrConfig, err)
	}
	in.backends, in.rules = rulesOf(c)
	delegations, serials := zoneTraps(c, r.Source, in.zones, from)
	r.Warnings, in.serials = append(append(r.Warnings, delegations...), serials...), serials
	var refused []pathMistake
	in.purges, refused = purgesOf(c)
	if bad = append(bad, refused...); len(bad) > 0 {
		return nil, errors.Join(ErrConfig, located(r, bad))
	}
	return in, nil
}

// located turns the packages' complaints into findings with file, line and column, in
// the order of the file.
func located(r *config.Report, bad []pathMistake) error {
	e := &config.Error{}
	for _, m := range bad {
		f := config.Finding{File: m.file, Line: m.line, Message: m.message}
		if m.file == "" {
			f = r.Source.Finding(m.path, m.message)
		}
		e.Mistakes = append(e.Mistakes, f)
	}
	slices.SortStableFunc(e.Mistakes, func(a, b config.Finding) int {
		return cmp.Or(cmp.Compare(inZoneFile(a), inZoneFile(b)), cmp.Compare(a.File, b.File),
			cmp.Compare(a.Line, b.Line), cmp.Compare(a.Col, b.Col))
	})
	return e
}

// inZoneFile is 1 for findings in zone files, so that they sort behind those of the config.
func inZoneFile(f config.Finding) int {
	if f.Line > 0 && f.Col == 0 {
		return 1
	}
	return 0
}

func backendPath(c *config.Config, name string) string {
	for i, b := range c.Backends {
		if b.Name == name {
			return fmt.Sprintf("backends[%d]", i)
		}
	}
	return "backends"
}

// hostMistakes asks the nameserver whether the steered names fit into the zones.
func hostMistakes(c *config.Config, zones []*dnsserver.Zone) []pathMistake {
	for _, z := range zones {
		if z == nil {
			return nil // the zone's own mistakes come first
		}
	}
	var bad []pathMistake
	for _, m := range dnsserver.CheckHosts(zones, steeredNames(c)) {
		bad = append(bad, complaint(aliasPath(c, m.Path), m.Message))
	}
	return bad
}

// steeredNames lists the steered names as the nameserver needs to know them.
func steeredNames(c *config.Config) []dnsserver.SteeredName {
	var names []dnsserver.SteeredName
	for _, h := range c.Hosts {
		n := dnsserver.SteeredName{Host: fqdn(h.Name), Flattened: h.Flattened}
		for _, b := range backendsOfHost(c, h) {
			if b.CNAME != "" {
				n.Targets = append(n.Targets, fqdn(b.CNAME))
			}
			n.Addresses = n.Addresses || len(b.Addresses) > 0
			n.HTTPS = n.HTTPS || b.HTTPS != nil
		}
		names = append(names, n)
	}
	return append(names, aliasNames(c)...)
}

// serialOf makes the zones' serial from the time of loading, so that it rises (RFC 1982 keeps
// the order until 2106).
func serialOf(t time.Time) uint32 { return uint32(t.Unix()) }

// limitsOf converts the limits of answers; nil when there are none.
func limitsOf(r config.RateLimit) (*dnsserver.RateLimit, error) {
	if r.Mode == config.LimitOff {
		return nil, nil
	}
	l := &dnsserver.RateLimit{Answers: r.Answers, NXDomain: r.NXDomain, NoData: r.NoData,
		Errors: r.Errors, All: r.All, Slip: r.Slip, IPv4Prefix: r.IPv4Prefix,
		IPv6Prefix: r.IPv6Prefix, Observe: r.Mode == config.LimitObserve}
	for i, e := range r.Exempt {
		p, err := netip.ParsePrefix(e)
		if err != nil {
			return nil, fmt.Errorf("dns.rate_limit.exempt[%d]: %w", i, err)
		}
		l.Exempt = append(l.Exempt, p)
	}
	return l, nil
}

// sitesOf converts what the edge serves.
func sitesOf(c *config.Config) []edge.Site {
	var out []edge.Site
	for _, s := range c.Edge.Sites {
		out = append(out, edge.Site{Hosts: s.Hosts, Origin: s.Origin, StaleIfError: s.StaleIfError})
	}
	return out
}

// originMark stands for the origin in a purge's fetches; the fetcher finds its address by the
// URL's host.
const originMark = "origin"

// purgesOf builds the providers, and says through which backends each is verified.
func purgesOf(c *config.Config) ([]purge.Target, []pathMistake) {
	var out []purge.Target
	var bad []pathMistake
	for i, pc := range c.Providers {
		p, err := newProvider(pc)
		if err != nil {
			bad = append(bad, complaint(fmt.Sprintf("providers[%d]", i), err.Error()))
			continue
		}
		t := purge.Target{Provider: p, AllowWiden: pc.AllowWiden, SoftFallback: pc.SoftFallback}
		if len(c.Edge.Sites) > 0 {
			t.Origin = purge.FetchVia{Backend: originMark, Address: originMark}
		}
		for _, b := range c.Backends {
			if via, ok := viaOf(b); ok && b.Provider == pc.Name {
				t.Backends = append(t.Backends, via)
			}
		}
		out = append(out, t)
	}
	return out, bad
}

// viaOf says how to fetch through a backend: where its http probe goes. Without such a probe
// it cannot be verified.
func viaOf(b config.Backend) (purge.FetchVia, bool) {
	u, err := url.Parse(b.Probe.URL)
	if err != nil || u.Host == "" || b.Probe.Kind == config.ProbeTCP {
		return purge.FetchVia{}, false
	}
	address := b.Probe.Address
	if address == "" {
		address = u.Host
	}
	return purge.FetchVia{Backend: b.Name, Address: address, Scheme: u.Scheme}, true
}

// fqdn returns the canonical form of a name from the config: lower case with the final dot.
func fqdn(name string) string {
	return strings.ToLower(strings.TrimSuffix(name, ".")) + "."
}

// specOf converts what the operator configured for steering.
func specOf(c *config.Config) (*steering.Spec, error) {
	s := &steering.Spec{}
	for i, b := range c.Backends {
		nb := steering.Backend{Name: b.Name, Up: steering.Up(b.Up), Drain: b.Drain}
		if b.CNAME != "" {
			nb.CNAME = fqdn(b.CNAME)
		}
		if h := b.HTTPS; h != nil {
			nb.HTTPS = &steering.HTTPS{Priority: uint16(h.Priority), ALPN: h.ALPN,
				Port: uint16(h.Port), Hints: h.Hints == config.HintsAuto}
		}
		for j, a := range b.Addresses {
			addr, err := netip.ParseAddr(a)
			if err != nil {
				return nil, fmt.Errorf("backends[%d].addresses[%d]: %w", i, j, err)
			}
			nb.Addresses = append(nb.Addresses, addr.Unmap())
		}
		if err := limitsTo(&nb, c, b); err != nil {
			return nil, fmt.Errorf("backends[%d]: %w", i, err)
		}
		s.Backends = append(s.Backends, nb)
	}
	s.Pools = poolsOf(c)
	for i, h := range c.Hosts {
		places, err := placesOf(c, h)
		if err != nil {
			return nil, fmt.Errorf("hosts[%d]: %w", i, err)
		}
		s.Hosts = append(s.Hosts, steering.Host{
			Name: fqdn(h.Name), TTL: h.TTL, TTLDegraded: h.TTLDegraded, Pools: h.Pools, Places: places,
			Stickiness: steering.Stickiness(h.Stickiness), Ramp: h.Ramp, Flatten: h.Flattened,
			Load: uint64(h.Load),
		})
	}
	addAliases(s, c)
	return s, nil
}

// absolute makes relative nameserver names absolute.
func absolute(names []string, zone string) []string {
	out := make([]string, len(names))
	for i, n := range names {
		if !strings.Contains(strings.TrimSuffix(n, "."), ".") && !strings.HasSuffix(n, ".") {
			n += "." + zone
		}
		out[i] = fqdn(n)
	}
	return out
}

// pathMistake is a package's complaint about a part of the config, or with a file, about a line
// of that.
type pathMistake struct {
	path, message string
	file          string
	line          int
}

// complaint is a pathMistake about the config itself.
func complaint(path, message string) pathMistake {
	return pathMistake{path: path, message: message}
}

// targetsOf converts the probes of all backends. An address backend without an address of its
// own in the probe is probed where its URL says.
func targetsOf(c *config.Config) ([]probes.Target, error) {
	var out []probes.Target
	for i, b := range c.Backends {
		p := b.Probe
		if p.URL == "" && p.Address == "" {
			continue
		}
		roots, err := certPool(p.CAFile)
		if err != nil {
			return nil, fmt.Errorf("backends[%d].probe.ca_file: %w", i, err)
		}
		out = append(out, probes.Target{
			Name: b.Name, Backend: b.Name, Kind: probes.Kind(p.Kind), URL: p.URL,
			Address: p.Address, Host: p.Host, Method: p.Method, Headers: headerMap(p.Headers),
			Interval: p.Interval, Timeout: p.Timeout, RootCAs: roots,
			Expect: probes.Expect{Status: p.Expect.Status, Body: p.Expect.Body,
				Headers: headerMap(p.Expect.Headers)},
		})
	}
	return out, nil
}

func headerMap(hs []config.Header) map[string]string {
	if len(hs) == 0 {
		return nil
	}
	m := make(map[string]string, len(hs))
	for _, h := range hs {
		m[h.Name] = h.Value
	}
	return m
}

// rulesOf returns the health rules of each backend that has a probe.
func rulesOf(c *config.Config) (names []string, rules map[string]health.Rules) {
	rules = map[string]health.Rules{}
	for _, b := range c.Backends {
		r := health.DefaultRules()
		r.Rise, r.Fall = b.Probe.Rise, b.Probe.Fall
		r.StaleAfter = staleAfter(b.Probe.Interval, b.Probe.Timeout)
		names = append(names, b.Name)
		rules[b.Name] = r
	}
	return names, rules
}

// staleAfter is when a vantage's own samples are too old to speak: five missed probes.
func staleAfter(interval, timeout time.Duration) time.Duration {
	return max(5*(interval+timeout), 15*time.Second)
}
