package dnsserver

import (
	"encoding/binary"
	"net/netip"

	"github.com/miekg/dns"
)

const headerSize = 12

// Bits of the second 16-bit word of the header (RFC 1035 §4.1.1, RFC 4035 §3.2.2).
const (
	bitQR = 1 << 15
	bitRD = 1 << 8
	bitCD = 1 << 4
)

// verdict is what reading a packet came to.
type verdict uint8

const (
	accepted       verdict = iota
	ignored                // no query at all: silence
	malformed              // FORMERR
	notImplemented         // an opcode whose layout we don't know
)

// query is a packet that was understood.
type query struct {
	id     uint16
	opcode int
	rd, cd bool
	// asked is the question's name on the wire, as the client wrote it; it has no pointers.
	asked  []byte
	name   string // the same name, canonical
	qtype  uint16
	qclass uint16
	// from is the address that the packet came from.
	from netip.Addr
	edns edns
}

// client is the prefix that a decision is for: the client subnet if the query has one, else
// the sender's address (RFC 7871 §7.2.1).
func (q *query) client() netip.Prefix {
	if p := q.subnet(); p.IsValid() {
		return p
	}
	return netip.PrefixFrom(q.from, q.from.BitLen())
}

// subnet is the client subnet, not valid when there is none that names a client.
func (q *query) subnet() netip.Prefix {
	if q.edns.subnet.usable() {
		return q.edns.subnet.prefix
	}
	return netip.Prefix{}
}

// parseQuery reads a packet. It is strict: every section must be whole and nothing may follow.
// The query refers to the packet.
func parseQuery(packet []byte, from netip.Addr) (query, verdict) {
	if len(packet) < headerSize {
		return query{}, ignored
	}
	bits := binary.BigEndian.Uint16(packet[2:])
	if bits&bitQR != 0 {
		return query{}, ignored // answering answers makes loops
	}
	q := query{
		id:     binary.BigEndian.Uint16(packet),
		opcode: int(bits>>11) & 0xF,
		from:   from.Unmap(),
	}
	switch q.opcode {
	case dns.OpcodeQuery:
		q.rd, q.cd = bits&bitRD != 0, bits&bitCD != 0
	case dns.OpcodeNotify, dns.OpcodeUpdate:
	default:
		return q, notImplemented
	}
	if binary.BigEndian.Uint16(packet[4:]) != 1 { // RFC 9619
		return q, malformed
	}
	off, ok := q.readQuestion(packet)
	if !ok || !q.plausible(packet) {
		return q, malformed
	}
	if !q.readRecords(packet, off) {
		return q, malformed
	}
	return q, accepted
}

// readQuestion reads the question and returns the offset behind it.
func (q *query) readQuestion(packet []byte) (int, bool) {
	off := headerSize
	for {
		if off >= len(packet) {
			return 0, false
		}
		n := int(packet[off])
		if n > 63 { // nothing stands before the question that it could point to
			return 0, false
		}
		off += 1 + n
		if n == 0 {
			break
		}
	}
	if off-headerSize > 255 || off+4 > len(packet) {
		return 0, false
	}
	q.asked = packet[headerSize:off]
	name, _, err := dns.UnpackDomainName(q.asked, 0)
	if err != nil {
		return 0, false
	}
	q.name = dns.CanonicalName(name)
	q.qtype = binary.BigEndian.Uint16(packet[off:])
	q.qclass = binary.BigEndian.Uint16(packet[off+2:])
	return off + 4, true
}

// plausible refuses a query that brings answers. IXFR brings its SOA (RFC 1995 §3).
func (q *query) plausible(packet []byte) bool {
	if q.opcode != dns.OpcodeQuery {
		return true
	}
	answers := binary.BigEndian.Uint16(packet[6:])
	authorities := binary.BigEndian.Uint16(packet[8:])
	return answers == 0 && (authorities == 0 || q.qtype == dns.TypeIXFR && authorities == 1)
}

// readRecords walks the records behind the question and reads OPT.
func (q *query) readRecords(packet []byte, off int) bool {
	before := int(binary.BigEndian.Uint16(packet[6:])) + int(binary.BigEndian.Uint16(packet[8:]))
	all := before + int(binary.BigEndian.Uint16(packet[10:]))
	for i := range all {
		fixed, ok := skipName(packet, off)
		if !ok || fixed+10 > len(packet) {
			return false
		}
		end := fixed + 10 + int(binary.BigEndian.Uint16(packet[fixed+8:]))
		if end > len(packet) {
			return false
		}
		if binary.BigEndian.Uint16(packet[fixed:]) == dns.TypeOPT {
			// RFC 6891 §6.1.1: one, in the additional section, owned by the root.
			if i < before || q.edns.present || fixed != off+1 || packet[off] != 0 {
				return false
			}
			if !q.edns.read(packet[fixed:end]) {
				return false
			}
		}
		off = end
	}
	return off == len(packet)
}

// skipName returns the offset behind a name, which may end in a pointer.
func skipName(packet []byte, off int) (int, bool) {
	for off < len(packet) {
		switch n := int(packet[off]); {
		case n == 0:
			return off + 1, true
		case n >= 0xC0:
			return off + 2, true
		case n > 63:
			return 0, false
		default:
			off += 1 + n
		}
	}
	return 0, false
}
