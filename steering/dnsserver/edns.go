package dnsserver

import (
	"encoding/binary"
	"net/netip"

	"github.com/miekg/dns"

	"pointsman/steering/wire"
)

// edns is what a query's OPT record says (RFC 6891 §6.1.2).
type edns struct {
	present bool
	size    uint16 // the largest UDP answer that the client takes
	version uint8
	do      bool
	subnet  subnet
	cookie  clientCookie
	wants   wire.Wants
}

// clientCookie is the COOKIE option (RFC 7873 §4); the first one counts (§5.2).
type clientCookie struct {
	present bool
	bad     bool   // FORMERR
	raw     []byte // nil when it is bad
}

func (c *clientCookie) read(raw []byte) {
	c.present, c.bad = true, !wire.CookieLength(len(raw))
	if !c.bad {
		c.raw = raw
	}
}

// read takes in an OPT record from its type field on. Unknown options are ignored
// (RFC 6891 §6.1.2); it returns false when the options don't fill the record exactly.
func (e *edns) read(rr []byte) bool {
	e.present = true
	e.size = binary.BigEndian.Uint16(rr[2:])
	e.version = rr[5]
	e.do = rr[6]&0x80 != 0
	for opts := rr[10:]; len(opts) > 0; {
		if len(opts) < 4 {
			return false
		}
		code, n := binary.BigEndian.Uint16(opts), int(binary.BigEndian.Uint16(opts[2:]))
		if len(opts) < 4+n {
			return false
		}
		e.option(code, opts[4:4+n])
		opts = opts[4+n:]
	}
	return true
}

// option takes in one option.
func (e *edns) option(code uint16, data []byte) {
	switch {
	case code == dns.EDNS0SUBNET && !e.subnet.present:
		e.subnet.read(data)
	case code == dns.EDNS0COOKIE && !e.cookie.present:
		e.cookie.read(data)
	case code == dns.EDNS0NSID:
		e.wants.NSID = true
	case code == dns.EDNS0TCPKEEPALIVE:
		e.wants.KeepAlive = true
	case code == dns.EDNS0PADDING:
		e.wants.Padding = true
	}
}

// subnet is the client subnet option (RFC 7871 §6).
type subnet struct {
	present bool
	bad     bool // FORMERR
	raw     []byte
	prefix  netip.Prefix
}

// usable reports whether the option names a client. A source prefix of length 0 says that the
// client doesn't want to be known; the decision is then for the resolver (RFC 7871 §7.1.2).
func (s subnet) usable() bool { return s.present && !s.bad && s.prefix.Bits() > 0 }

// read checks the option as strictly as RFC 7871 §6 and §7.2.1 allow: the scope is 0, the
// address has just the octets that the prefix needs, and no bit is set beyond it.
func (s *subnet) read(raw []byte) {
	s.present, s.bad, s.raw = true, true, raw
	if len(raw) < 4 || raw[3] != 0 {
		return
	}
	bits, octets := int(raw[2]), raw[4:]
	var addr netip.Addr
	switch family := binary.BigEndian.Uint16(raw); family {
	case 0: // what dig sends for "+subnet=0": neither family, no address
		s.bad = bits != 0 || len(octets) != 0
		return
	case 1:
		var a [4]byte
		if bits > 32 || copy(a[:], octets) != len(octets) {
			return
		}
		addr = netip.AddrFrom4(a)
	case 2:
		var a [16]byte
		if bits > 128 || copy(a[:], octets) != len(octets) {
			return
		}
		addr = netip.AddrFrom16(a)
	default:
		return
	}
	if len(octets) != (bits+7)/8 {
		return
	}
	s.prefix = netip.PrefixFrom(addr, bits)
	s.bad = s.prefix.Masked() != s.prefix
}
