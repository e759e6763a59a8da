package dnsserver

import (
	"encoding/binary"
	"net/netip"

	"github.com/miekg/dns"
)

// edns is what a query's OPT record says (RFC 6891 §6.1.2).
type edns struct {
	present bool
	size    uint16 // the largest UDP answer that the client takes
	version uint8
	do      bool
	subnet  subnet
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
		if code == dns.EDNS0SUBNET && !e.subnet.present {
			e.subnet.read(opts[4 : 4+n])
		}
		opts = opts[4+n:]
	}
	return true
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

// opt builds the OPT record of an answer. The client subnet comes back with the scope for which
// the answer holds (RFC 7871 §7.2.1); DO comes back as it was (RFC 3225 §3).
func (e *edns) opt(udpSize uint16, scope uint8, withSubnet bool) *dns.OPT {
	opt := &dns.OPT{Hdr: dns.RR_Header{Name: ".", Rrtype: dns.TypeOPT, Class: udpSize}}
	opt.SetDo(e.do)
	if withSubnet && e.subnet.present {
		raw := append([]byte(nil), e.subnet.raw...)
		raw[3] = 0
		if e.subnet.usable() {
			raw[3] = scope
		}
		opt.Option = []dns.EDNS0{&dns.EDNS0_LOCAL{Code: dns.EDNS0SUBNET, Data: raw}}
	}
	return opt
}
