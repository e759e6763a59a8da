package steering

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"

	"pointsman/steering/geo"
)

// Bounds of a spec.
const (
	maxWeight = 1_000_000
	minTTL    = time.Second
	maxTTL    = time.Hour
	maxRamp   = 24 * time.Hour
	maxTree   = 1000 // backends of a pool that holds pools, theirs among them
	maxSpan   = time.Minute
	// maxDistance is how far apart, in km, two places are at most, about.
	maxDistance = 20_000
	maxRate     = 1_000_000_000_000 // of capacities, loads and costs
)

// checker gathers every mistake of a spec, so that the operator sees all at once.
type checker struct {
	errs     []error
	backends map[string]*Backend
	pools    map[string]*Pool
}

func (c *checker) addf(format string, args ...any) {
	c.errs = append(c.errs, fmt.Errorf(format, args...))
}

// validate returns every mistake of a spec, joined, or nil.
func validate(s *Spec) error {
	if s == nil {
		return errors.New("no spec")
	}
	c := &checker{
		backends: make(map[string]*Backend, len(s.Backends)),
		pools:    make(map[string]*Pool, len(s.Pools)),
	}
	for i := range s.Backends {
		c.backend(&s.Backends[i])
	}
	for i := range s.Pools {
		c.pool(&s.Pools[i])
	}
	c.nesting(s.Pools)
	if len(s.Hosts) == 0 {
		c.addf("spec has no hosts")
	}
	hosts := make(map[string]*Host, len(s.Hosts))
	for i := range s.Hosts {
		h := &s.Hosts[i]
		if hosts[h.Name] != nil {
			c.addf("host %q: name is used twice", h.Name)
		}
		hosts[h.Name] = h
		c.host(h)
	}
	if len(c.errs) == 0 {
		c.loops(s.Hosts, hosts)
	}
	return errors.Join(c.errs...)
}

func (c *checker) backend(b *Backend) {
	if b.Name == "" {
		c.addf("backend: name is empty")
	}
	if c.backends[b.Name] != nil {
		c.addf("backend %q: name is used twice", b.Name)
	}
	c.backends[b.Name] = b
	switch {
	case b.CNAME != "" && len(b.Addresses) > 0:
		c.addf("backend %q: has a CNAME and addresses, want one of the two", b.Name)
	case b.CNAME == "" && len(b.Addresses) == 0:
		c.addf("backend %q: has neither a CNAME nor addresses", b.Name)
	case b.CNAME != "":
		if err := checkName(b.CNAME); err != nil {
			c.addf("backend %q: CNAME %q: %w", b.Name, b.CNAME, err)
		}
	}
	switch b.Up {
	case "", UpByProbe, UpAlways, UpNever:
	default:
		c.addf("backend %q: up %q is not true, false or probe", b.Name, b.Up)
	}
	if b.Capacity > maxRate || b.Cost > maxRate {
		c.addf("backend %q: capacity and cost are at most %d", b.Name, uint64(maxRate))
	}
	c.audience(fmt.Sprintf("backend %q: allow", b.Name), b.Allow)
	c.audience(fmt.Sprintf("backend %q: deny", b.Name), b.Deny)
	c.addresses(b)
	c.https(b)
}

// https checks a service binding (RFC 9460 §2.4.1, §7.1.1).
func (c *checker) https(b *Backend) {
	h := b.HTTPS
	if h == nil {
		return
	}
	if h.Priority == 0 {
		c.addf("backend %q: HTTPS priority 0 would make an alias of it", b.Name)
	}
	for i, p := range h.ALPN {
		if p == "" || len(p) > 255 {
			c.addf("backend %q: %q is no protocol of ALPN", b.Name, p)
		}
		if slices.Contains(h.ALPN[:i], p) {
			c.addf("backend %q: ALPN %q is listed twice", b.Name, p)
		}
	}
}

func (c *checker) addresses(b *Backend) {
	seen := make(map[netip.Addr]bool, len(b.Addresses))
	for _, a := range b.Addresses {
		switch {
		case !a.IsValid() || a.IsUnspecified() || a.IsMulticast() || a.Zone() != "":
			c.addf("backend %q: address %q can't be answered to a client", b.Name, a)
		case seen[a.Unmap()]:
			c.addf("backend %q: address %s is listed twice", b.Name, a)
		}
		seen[a.Unmap()] = true
	}
}

func (c *checker) pool(p *Pool) {
	if p.Name == "" {
		c.addf("pool: name is empty")
	}
	if c.pools[p.Name] != nil {
		c.addf("pool %q: name is used twice", p.Name)
	}
	c.pools[p.Name] = p
	if len(p.Members) == 0 {
		c.addf("pool %q: has no members", p.Name)
	}
	switch p.Choose {
	case "", ByWeight, ByOrder, ByLatency, ByCost, Nearest:
	default:
		c.addf("pool %q: unknown choice %q", p.Name, p.Choose)
	}
	if p.Within.Percent > 1000 || p.Within.Span < 0 || p.Within.Span > maxSpan {
		c.addf("pool %q: a tolerance is at most 1000 %% and %s", p.Name, maxSpan)
	}
	if p.Within.Distance > maxDistance {
		c.addf("pool %q: a distance is at most %d km", p.Name, maxDistance)
	}
	seen := make(map[string]bool, len(p.Members))
	for _, m := range p.Members {
		c.member(p, m)
		who := fmt.Sprintf("backend %q", m.Backend)
		if m.Pool != "" {
			who = fmt.Sprintf("pool %q", m.Pool)
		}
		if seen[who] {
			c.addf("pool %q: %s is a member twice", p.Name, who)
		}
		seen[who] = true
	}
}

func (c *checker) member(p *Pool, m Member) {
	switch {
	case (m.Backend == "") == (m.Pool == ""):
		c.addf("pool %q: a member is a backend or a pool, one of the two", p.Name)
	case m.Pool == "" && c.backends[m.Backend] == nil:
		c.addf("pool %q: unknown backend %q", p.Name, m.Backend)
	}
	if m.Weight > maxWeight {
		c.addf("pool %q: backend %q: weight %d is above %d",
			p.Name, m.Backend+m.Pool, m.Weight, maxWeight)
	}
}

// nesting checks that pools within pools exist and come to an end.
func (c *checker) nesting(pools []Pool) {
	sizes := make(map[string]int, len(pools)) // backends of the whole tree; 0: being counted
	var size func(p *Pool) int
	size = func(p *Pool) int {
		if n, known := sizes[p.Name]; known {
			if n == 0 {
				c.addf("pool %q: holds itself, by the pools in it", p.Name)
			}
			return max(n, 1)
		}
		sizes[p.Name] = 0
		n, nested := 0, false
		for _, m := range p.Members {
			switch within := c.pools[m.Pool]; {
			case m.Pool == "":
				n++
			case within == nil:
				c.addf("pool %q: unknown pool %q", p.Name, m.Pool)
			default:
				n, nested = n+size(within), true
			}
		}
		sizes[p.Name] = max(1, min(n, maxTree+1))
		if nested && n > maxTree {
			c.addf("pool %q: has more than %d backends, those of its pools counted", p.Name, maxTree)
		}
		return sizes[p.Name]
	}
	for i := range pools {
		size(&pools[i])
	}
}

func (c *checker) host(h *Host) {
	if err := checkName(h.Name); err != nil {
		c.addf("host %q: %w", h.Name, err)
	}
	if h.TTL < minTTL || h.TTL > maxTTL || h.TTL%time.Second != 0 {
		c.addf("host %q: TTL %s is not whole seconds from %s to %s",
			h.Name, h.TTL, minTTL, maxTTL)
	}
	if d := h.TTLDegraded; d != 0 && (d < minTTL || d > h.TTL || d%time.Second != 0) {
		c.addf("host %q: degraded TTL %s is not whole seconds from %s to its TTL of %s",
			h.Name, d, minTTL, h.TTL)
	}
	if h.Load > maxRate {
		c.addf("host %q: load %d is above %d", h.Name, h.Load, uint64(maxRate))
	}
	if h.Ramp < 0 || h.Ramp > maxRamp {
		c.addf("host %q: ramp %s is not from 0s to %s", h.Name, h.Ramp, maxRamp)
	}
	switch h.Stickiness {
	case "", Spread, Sticky:
	default:
		c.addf("host %q: unknown stickiness %q, want %q or %q",
			h.Name, h.Stickiness, Spread, Sticky)
	}
	c.order(fmt.Sprintf("host %q", h.Name), h.Pools)
	c.places(h)
}

// order checks the pools of a host or place.
func (c *checker) order(of string, pools []string) {
	if len(pools) == 0 {
		c.addf("%s: has no pools", of)
	}
	seen := make(map[string]bool, len(pools))
	for _, name := range pools {
		if c.pools[name] == nil {
			c.addf("%s: unknown pool %q", of, name)
		}
		if seen[name] {
			c.addf("%s: pool %q is listed twice", of, name)
		}
		seen[name] = true
	}
}

func (c *checker) places(h *Host) {
	if len(h.Places) > geo.MostRules {
		c.addf("host %q: has %d places, at most %d", h.Name, len(h.Places), geo.MostRules)
	}
	names := make(map[string]bool, len(h.Places))
	for i := range h.Places {
		p := &h.Places[i]
		of := fmt.Sprintf("host %q: place %q", h.Name, p.Name)
		if p.Name == "" {
			c.addf("%s: name is empty", of)
		}
		if names[p.Name] {
			c.addf("%s: name is used twice", of)
		}
		names[p.Name] = true
		c.order(of, p.Pools)
		c.audience(of, p.audience())
	}
}

// audience checks who is meant by a place or a constraint; nil: it isn't there.
func (c *checker) audience(of string, a *Audience) {
	if a == nil {
		return
	}
	if len(a.Countries)+len(a.Subdivisions)+len(a.ASNs)+len(a.Prefixes) == 0 {
		c.addf("%s: has neither countries nor prefixes", of)
	}
	for _, code := range a.Subdivisions {
		if !geo.IsSubdivision(code) {
			c.addf("%s: %q is not a subdivision's code such as US-CA", of, code)
		}
	}
	if slices.Contains(a.ASNs, 0) {
		c.addf("%s: 0 is no AS", of)
	}
	for _, code := range a.Countries {
		if !geo.IsCode(code) {
			c.addf("%s: %q is not a country code of two upper-case letters", of, code)
		}
	}
	for _, prefix := range a.Prefixes {
		if why := wrongPrefix(prefix); why != "" {
			c.addf("%s: prefix %s %s", of, prefix, why)
		}
	}
}

// wrongPrefix says why a prefix can't be a place's, or "".
func wrongPrefix(p netip.Prefix) string {
	switch {
	case !p.IsValid():
		return "is not a prefix"
	case p.Addr().Is4In6():
		return "is IPv4 in IPv6"
	case p.Masked() != p:
		return "has bits set behind its length"
	case p.Addr().Is6() && p.Bits() > 64:
		return "is longer than /64"
	}
	return ""
}

// loops finds steered names that lead back to themselves through CNAMEs of this spec: any
// pick could close such a circle, so it is refused whatever the weights are.
func (c *checker) loops(order []Host, hosts map[string]*Host) {
	const (
		open = 1
		done = 2
	)
	state := make(map[string]int, len(hosts))
	var visit func(h *Host)
	visit = func(h *Host) {
		state[h.Name] = open
		for _, target := range c.targets(h) {
			next := hosts[target]
			switch {
			case next == nil || state[target] == done:
			case state[target] == open:
				c.addf("host %q: its CNAME %q leads back to it", h.Name, target)
			default:
				visit(next)
			}
		}
		state[h.Name] = done
	}
	for i := range order {
		if h := &order[i]; state[h.Name] == 0 {
			visit(h)
		}
	}
}

// targets are the CNAMEs a host may answer with.
func (c *checker) targets(h *Host) []string {
	var names []string
	var visit func(p *Pool)
	visit = func(p *Pool) {
		for _, m := range p.Members {
			if m.Pool != "" {
				visit(c.pools[m.Pool])
			} else if t := c.backends[m.Backend].CNAME; t != "" {
				names = append(names, t)
			}
		}
	}
	for _, pool := range h.allPools() {
		visit(c.pools[pool])
	}
	return names
}

// checkName reports why a name is not a canonical domain name: lower case, final dot, labels
// of 1 to 63 octets, 255 octets on the wire in all (RFC 1035 §2.3.4).
func checkName(name string) error {
	trimmed, ok := strings.CutSuffix(name, ".")
	switch {
	case !ok:
		return errors.New("name has no final dot")
	case len(name) > 254:
		return errors.New("name is longer than 255 octets")
	case strings.ToLower(name) != name:
		return errors.New("name is not in lower case")
	}
	for label := range strings.SplitSeq(trimmed, ".") {
		if len(label) == 0 || len(label) > 63 {
			return fmt.Errorf("label %q is not 1 to 63 octets", label)
		}
		if strings.ContainsFunc(label, func(r rune) bool { return r <= ' ' || r > '~' }) {
			return fmt.Errorf("label %q is not printable ASCII", label)
		}
	}
	return nil
}
