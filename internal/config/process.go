package config

import (
	"net"
	"net/netip"
)

// process checks what concerns the node itself: roles, store, sockets, admin API.
func (c *checker) process() {
	roles := make([]string, len(c.cfg.Roles))
	for i, r := range c.cfg.Roles {
		roles[i] = string(r)
	}
	c.distinct("roles", roles)
	if len(c.cfg.Roles) == 0 {
		c.mistake("roles", "is empty: the node would do nothing")
	}
	if c.cfg.Group != "" && c.cfg.User == "" {
		c.mistake("group", "belongs to user, and there is none")
	}
	c.store()
	c.listeners()
	c.dnsLimits()
	c.dnsAddresses()
	c.admin()
	c.budget()
	c.control()
}

func (c *checker) store() {
	s := c.cfg.Store
	switch {
	case c.bad["store.kind"]:
		return
	case s.Kind == StoreRedis && s.Redis == nil:
		c.mistake("store.redis", "is missing: kind redis needs an address")
	case s.Kind == StoreBolt && s.Redis != nil:
		c.mistake("store.redis", "belongs to kind redis, and kind is bolt")
	}
	if c.cfg.Purge.Durability == DurabilityReplicated && s.Kind == StoreBolt {
		c.mistake("purge.durability", "replicated needs a shared store: store.kind is bolt")
	}
}

// maxSockets is the most addresses that one node listens on.
const maxSockets = 256

// socket is one address that the process listens on.
type socket struct{ path, address string }

// listeners reports two sockets on one address, when this node's roles open both.
func (c *checker) listeners() {
	var all []socket
	add := func(role Role, path string, addresses []string) {
		for i, a := range addresses {
			if c.cfg.HasRole(role) {
				all = append(all, socket{element(path, i), a})
			}
		}
	}
	add(RoleDNS, "dns.listen", c.cfg.DNS.Listen)
	if c.cfg.DNS.TLS != nil {
		add(RoleDNS, "dns.tls.listen", c.cfg.DNS.TLS.Listen)
	}
	add(RoleEdge, "edge.listen", c.cfg.Edge.Listen)
	if c.cfg.HasRole(RoleAdmin) {
		all = append(all, socket{"admin.listen", c.cfg.Admin.Listen})
	}
	if len(all) > maxSockets {
		c.mistake(all[maxSockets].path, "is one address too many: at most %d", maxSockets)
		return
	}
	for i, s := range all {
		for _, before := range all[:i] {
			if overlap(s.address, before.address) {
				c.mistake(s.path, "%s is taken by %s already", shown(s.address), before.path)
				break
			}
		}
	}
}

// overlap reports whether two listen addresses cannot both be bound.
func overlap(a, b string) bool {
	hostA, portA, errA := net.SplitHostPort(a)
	hostB, portB, errB := net.SplitHostPort(b)
	if errA != nil || errB != nil || portA != portB || portA == "0" {
		return false
	}
	ipA, ipB := listenIP(hostA), listenIP(hostB)
	return ipA == ipB || wildcard(ipA, ipB) || wildcard(ipB, ipA)
}

// wildcard reports whether a stands for all addresses, b among them. A socket on :: takes
// IPv4 too, as Go opens it.
func wildcard(a, b netip.Addr) bool {
	return a.IsUnspecified() && (a.Is6() || b.Is4())
}

// listenIP is what a listen address's host binds: all addresses when it is empty.
func listenIP(host string) netip.Addr {
	switch host {
	case "":
		return netip.IPv6Unspecified()
	case "localhost":
		return netip.AddrFrom4([4]byte{127, 0, 0, 1})
	}
	ip, _ := netip.ParseAddr(host)
	return ip.Unmap()
}

// loopback reports whether only this machine can reach a listen address.
func loopback(address string) bool {
	host, _, err := net.SplitHostPort(address)
	return err == nil && listenIP(host).IsLoopback()
}

// dnsLimits warns of limits that can't do what they are for.
func (c *checker) dnsLimits() {
	t, r := c.cfg.DNS.TCP, c.cfg.DNS.RateLimit
	if t.PerClient > t.Max {
		c.warn("dns.tcp.per_client", "%d is more than dns.tcp.max: one client can take them all",
			t.PerClient)
	}
	for _, one := range []struct {
		key  string
		rate int
	}{{"answers", r.Answers}, {"nxdomain", r.NXDomain}, {"nodata", r.NoData}, {"errors", r.Errors}} {
		if r.All > 0 && one.rate > r.All {
			c.warn("dns.rate_limit."+one.key, "%d is more than all, which is %d and counts first",
				one.rate, r.All)
		}
	}
}

func (c *checker) admin() {
	a := c.cfg.Admin
	c.unique("admin.tokens", "name", len(a.Tokens), func(i int) string {
		return a.Tokens[i].Name
	})
	for i, t := range a.Tokens {
		if t.TokenFile == "" && t.TokenEnv == "" {
			c.needs(element("admin.tokens", i), "token_file", "token_env", "")
		}
		c.distinct(element("admin.tokens", i)+".scopes", t.Scopes)
	}
	if !c.cfg.HasRole(RoleAdmin) || a.Listen == "" || loopback(a.Listen) {
		return
	}
	if a.TLS == nil && c.whole("admin.tls") {
		c.mistake("admin.listen", "%s is not loopback: admin.tls is needed", shown(a.Listen))
	}
	if len(a.Tokens) == 0 && c.whole("admin.tokens") {
		c.mistake("admin.listen", "%s is not loopback: admin.tokens are needed",
			shown(a.Listen))
	}
}

// needs reports a missing secret, unless one of its keys was refused.
func (c *checker) needs(path, file, env, why string) {
	if c.bad[child(path, file)] || c.bad[child(path, env)] {
		return
	}
	c.mistake(child(path, file), "is missing: give %s or %s%s", file, env, why)
}

// control reports control targets that are no backends.
func (c *checker) control() {
	names, backends := c.cfg.Probing.Control, c.index("backends")
	c.distinct("probing.control", names)
	for i, n := range names {
		c.refer(element("probing.control", i), "backends", n, backends)
	}
}

// budget reports more probes a second than the node may send.
func (c *checker) budget() {
	if !c.whole("backends") || !c.whole("probing") || !c.cfg.HasRole(RoleProbe) {
		return
	}
	rate := 0.0
	for _, b := range c.cfg.Backends {
		if b.Probe.Interval > 0 && (b.Probe.URL != "" || b.Probe.Address != "") {
			rate += 1 / b.Probe.Interval.Seconds()
		}
	}
	if budget := c.cfg.Probing.Budget; rate > float64(budget) {
		c.mistake("probing.budget", "%d probes a second are too few: the backends need %.1f",
			budget, rate)
	}
}
