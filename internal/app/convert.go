package app

import (
	"fmt"
	"net/netip"
	"strings"
	"time"

	"pointsman/internal/config"
	"pointsman/probes"
	"pointsman/probes/health"
	"pointsman/steering"
	"pointsman/steering/dnsserver"
)

// This file is the only translator from the config's structs to those of the packages. The
// config was checked before, so what can still go wrong here is a file that vanished.

// fqdn returns the canonical form of a name from the config: lower case with the final dot.
func fqdn(name string) string {
	return strings.ToLower(strings.TrimSuffix(name, ".")) + "."
}

// specOf converts what the operator configured for steering.
func specOf(c *config.Config) (*steering.Spec, error) {
	s := &steering.Spec{}
	for i, b := range c.Backends {
		nb := steering.Backend{Name: b.Name}
		if b.CNAME != "" {
			nb.CNAME = fqdn(b.CNAME)
		}
		for j, a := range b.Addresses {
			addr, err := netip.ParseAddr(a)
			if err != nil {
				return nil, fmt.Errorf("backends[%d].addresses[%d]: %w", i, j, err)
			}
			nb.Addresses = append(nb.Addresses, addr.Unmap())
		}
		s.Backends = append(s.Backends, nb)
	}
	for _, p := range c.Pools {
		np := steering.Pool{Name: p.Name}
		for _, m := range p.Members {
			np.Members = append(np.Members,
				steering.Member{Backend: m.Backend, Weight: uint32(m.Weight)})
		}
		s.Pools = append(s.Pools, np)
	}
	for _, h := range c.Hosts {
		s.Hosts = append(s.Hosts, steering.Host{
			Name: fqdn(h.Name), TTL: h.TTL, Pools: h.Pools,
			Stickiness: steering.Stickiness(h.Stickiness), Ramp: h.Ramp,
		})
	}
	return s, nil
}

// zonesOf parses the zones. Each mistake carries its path in the config.
func zonesOf(c *config.Config, serial uint32) ([]*dnsserver.Zone, []pathMistake) {
	var zones []*dnsserver.Zone
	var bad []pathMistake
	for i, z := range c.Zones {
		zc := dnsserver.ZoneConfig{Name: fqdn(z.Name), TTL: z.TTL, NS: absolute(z.NS, z.Name),
			SOA: dnsserver.SOA{
				MName: absolute(z.NS, z.Name)[0], MBox: fqdn(z.SOA.Mbox), Serial: serial,
				Refresh: z.SOA.Refresh, Retry: z.SOA.Retry, Expire: z.SOA.Expire,
				NegativeTTL: z.SOA.NegativeTTL,
			}}
		for _, r := range z.Records {
			zc.Records = append(zc.Records,
				dnsserver.Record{Name: r.Name, Type: r.Type, TTL: r.TTL, Data: r.Data})
		}
		zone, mistakes := dnsserver.ParseZone(zc)
		for _, m := range mistakes {
			bad = append(bad, pathMistake{fmt.Sprintf("zones[%d].%s", i, m.Path), m.Message})
		}
		zones = append(zones, zone)
	}
	return zones, bad
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

// pathMistake is a package's complaint about a part of the config.
type pathMistake struct{ path, message string }

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
