package config

import (
	"encoding/base64"
	"net/netip"
)

// leastKey is the shortest key of TSIG, in octets: shorter ones can be guessed.
const leastKey = 16

// checkAddrPort checks the address and port of a nameserver. A name would make a nameserver
// depend on others.
func checkAddrPort(raw string) *complaint {
	a, err := netip.ParseAddrPort(raw)
	switch {
	case err != nil:
		c := complain("%s is not address:port, as in 192.0.2.1:53 or [2001:db8::1]:53", shown(raw))
		if addr, addrErr := netip.ParseAddr(raw); addrErr == nil {
			c.suggestion = netip.AddrPortFrom(addr, 53).String()
		}
		return c
	case a.Port() == 0:
		return complain("%s has no port from 1 to 65535", shown(raw))
	case a.Addr().IsUnspecified() || a.Addr().IsMulticast():
		return complain("%s is not the address of a server", shown(raw))
	case a.Addr().Is4In6():
		return complain("%s is IPv4 in IPv6: say the IPv4 address", shown(raw))
	}
	return nil
}

// keys checks the keys that are shared with other servers.
func (c *checker) keys() {
	keys := c.cfg.TSIGKeys
	c.unique("tsig_keys", "name", len(keys), func(i int) string { return keys[i].Name })
	for i, k := range keys {
		at := element("tsig_keys", i)
		if k.SecretFile == "" && k.SecretEnv == "" {
			c.needs(at, "secret_file", "secret_env", "")
		}
	}
}

// sharedKey checks the secret of a key once it was read.
func (l *loader) sharedKey(at string, k *TSIGKey) {
	if k.Secret.IsZero() {
		return
	}
	raw, err := base64.StdEncoding.DecodeString(k.Secret.Reveal())
	switch {
	case err != nil:
		l.mistake(at, complain("the secret of %s is not base64", shown(k.Name)))
	case len(raw) < leastKey:
		l.mistake(at, complain("the secret of %s has %d octets, and fewer than %d can be guessed",
			shown(k.Name), len(raw), leastKey))
	}
}

// transfer checks who may have a zone.
func (c *checker) transfer(at string, z *Zone) {
	t := z.Transfer
	if t == nil || !c.whole(at) {
		return
	}
	c.distinct(at+".to", t.To)
	c.distinct(at+".keys", t.Keys)
	c.distinct(at+".notify", t.Notify)
	names := c.index("tsig_keys")
	for i, k := range t.Keys {
		c.refer(element(at+".keys", i), "tsig_keys", k, names)
	}
	if len(t.To) == 0 && len(t.Keys) == 0 {
		c.mistake(at, "nobody may transfer the zone: give keys, or networks in to, or both")
	}
	if z.DNSSEC != nil && z.DNSSEC.Mode != SignLocal {
		c.mistake(at, "the zone's serial comes with the signatures of one node for all "+
			"(dnssec.mode), and what is transferred has none: transfer it from a node with mode: local")
	}
	if z.DNSSEC != nil && !t.Unsigned {
		c.mistake(at+".unsigned", "the zone is signed, and what is transferred is not: a secondary "+
			"that answered from it would be bogus; set it to true if nobody asks the secondary")
	}
}

// primary checks where a zone comes from.
func (c *checker) primary(at string, p *Primary) {
	if p == nil {
		return
	}
	for _, key := range []string{"ttl", "soa", "ns", "records", "file"} {
		if path := at + "." + key; c.src.has(path) {
			c.mistake(path, "comes from the primary: take it away, or primary")
		}
	}
	if !c.whole(at + ".primary") {
		return
	}
	c.distinct(at+".primary.servers", p.Servers)
	if p.Key != "" {
		c.refer(at+".primary.key", "tsig_keys", p.Key, c.index("tsig_keys"))
	}
}
