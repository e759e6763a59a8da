package app

import (
	"context"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"

	"pointsman/internal/config"
	"pointsman/steering"
	"pointsman/steering/alias"
	"pointsman/steering/dnsserver"
)

// firstLookUps bounds how long a reload waits for names that were never resolved before.
const firstLookUps = 3 * time.Second

// aliasMark begins the names of the backends and pools that ALIAS records become. No name in a
// config can begin so.
const aliasMark = "alias:"

// addAliases makes of each ALIAS record a flattened host with one backend, which is not probed
// and so counts as usable. All else, signatures included, is the same as for other hosts.
func addAliases(s *steering.Spec, c *config.Config) {
	made := map[string]bool{}
	for _, a := range c.Aliases() {
		name := aliasMark + a.Target
		if !made[name] {
			made[name] = true
			s.Backends = append(s.Backends, steering.Backend{Name: name, CNAME: fqdn(a.Target)})
			s.Pools = append(s.Pools, steering.Pool{Name: name,
				Members: []steering.Member{{Backend: name, Weight: 1}}})
		}
		s.Hosts = append(s.Hosts, steering.Host{Name: fqdn(a.Name), TTL: a.TTL, Flatten: true,
			Pools: []string{name}, Stickiness: steering.Spread})
	}
}

// aliasNames are ALIAS records as steered names.
func aliasNames(c *config.Config) (names []dnsserver.SteeredName) {
	for _, a := range c.Aliases() {
		names = append(names, dnsserver.SteeredName{Host: fqdn(a.Name), Flattened: true,
			Targets: []string{fqdn(a.Target)}})
	}
	return names
}

// aliasPath is where the config has what CheckHosts knows as a path of its names, which are the
// hosts with the ALIAS records behind them.
func aliasPath(c *config.Config, path string) string {
	var i int
	if n, _ := fmt.Sscanf(path, "hosts[%d]", &i); n == 1 && i >= len(c.Hosts) {
		return c.Aliases()[i-len(c.Hosts)].Path
	}
	return path
}

// recordsOf converts the static records of a zone, and returns the place in the config of each.
func recordsOf(z config.Zone) (out []dnsserver.Record, at []int) {
	for i := range z.Records {
		r := &z.Records[i]
		if r.IsAlias() {
			continue
		}
		at = append(at, i)
		out = append(out, dnsserver.Record{Name: r.Name, Type: r.Type, TTL: r.TTL, Data: r.Data})
	}
	return out, at
}

// recordPath corrects the index in a path below records for the ALIAS records that were left out.
func recordPath(path string, at []int) string {
	var i int
	rest, found := strings.CutPrefix(path, "records[")
	if n, _ := fmt.Sscanf(rest, "%d]", &i); !found || n != 1 || i >= len(at) {
		return path
	}
	_, rest, _ = strings.Cut(rest, "]")
	return fmt.Sprintf("records[%d]%s", at[i], rest)
}

// resolversOf converts dns.resolvers.
func resolversOf(c *config.Config) ([]netip.AddrPort, error) {
	var out []netip.AddrPort
	for i, text := range c.DNS.Resolvers {
		server, err := netip.ParseAddrPort(text)
		if err != nil {
			return nil, fmt.Errorf("dns.resolvers[%d]: %w", i, err)
		}
		out = append(out, server)
	}
	return out, nil
}

// takeAddresses hands the addresses behind names to the engine.
func (p *parts) takeAddresses(s alias.Snapshot) {
	out := make(steering.Addresses, len(s))
	for name, a := range s {
		out[name] = steering.Resolved(a)
	}
	p.engine.SetAddresses(out)
}

// findAddresses resolves the names that a config is about to need and nobody has resolved yet,
// so that its hosts don't begin without an answer. It gives up after a moment.
func (p *parts) findAddresses(ctx context.Context, in *inputs) {
	limited, cancel := context.WithTimeout(ctx, firstLookUps)
	defer cancel()
	p.alias.Add(limited, in.spec.Targets())
}

// resolves puts the names and resolvers of a config in force.
func (p *parts) resolves(in *inputs) {
	p.alias.SetServers(in.resolvers)
	p.alias.SetTargets(in.spec.Targets())
	p.given.Store(&given{targets: in.spec.Targets(), only: onlyFlattened(in.spec)})
}

// forget forgets the names that findAddresses has added for a config that was refused.
func (p *parts) forget() { p.alias.SetTargets(p.given.Load().targets) }

// given is what clients are given of names by the config in force.
type given struct {
	targets []string        // the names that are resolved
	only    map[string]bool // those that no client ever gets: only the addresses behind them
}

func onlyFlattened(s *steering.Spec) map[string]bool {
	only := map[string]bool{}
	names := s.Names()
	for _, target := range s.Targets() {
		if _, named := slices.BinarySearch(names, target); !named {
			only[target] = true
		}
	}
	return only
}

// unresolved says which names have no addresses yet.
func (p *parts) unresolved() []string {
	g := p.given.Load()
	if g == nil {
		return nil
	}
	var out []string
	known := p.alias.Snapshot()
	for _, target := range g.targets {
		if _, ok := known[target]; !ok {
			out = append(out, "name "+target+" was never resolved: what needs it answers SERVFAIL")
		}
	}
	return out
}

// addressesOf returns what clients are given for a name, for the prober to measure; nil when
// they are given the name itself, or when it isn't resolved yet.
func (p *parts) addressesOf(host string) []netip.Addr {
	g, name := p.given.Load(), fqdn(host)
	if g == nil || !g.only[name] {
		return nil
	}
	a := p.alias.Snapshot()[name]
	return slices.Concat(a.V4, a.V6)
}
