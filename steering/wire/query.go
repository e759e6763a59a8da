// Package wire reads DNS queries and writes prepared answers on raw bytes.
//
// Packets and prepared messages flow in, verdicts and bytes flow out. It knows no zone and no
// table. Whatever is not a plain query it refuses, so that a caller can hand the packet over
// to a reader that knows the whole protocol. It starts no goroutine, keeps nothing, and
// nothing that is called for each packet allocates.
package wire

import (
	"encoding/binary"
	"math/bits"
	"net/netip"
)

const (
	headerSize = 12
	maxName    = 255 // octets, the root's among them (RFC 1035 §2.3.4)
	maxLabel   = 63

	typeOPT = 41
	classIN = 1

	// MinUDPSize is what every client takes over UDP (RFC 1035 §4.2.1, RFC 6891 §6.2.5).
	MinUDPSize = 512
)

// Query is a plain query: opcode QUERY, one question in class IN, and behind it nothing but,
// perhaps, one OPT record of EDNS version 0, in which a client subnet and a cookie are well-formed.
// Read fills it in; a Query may be used for any number of packets, one after the other.
type Query struct {
	Type uint16
	// Hash is Hash of Name.
	Hash uint64
	EDNS bool
	// The rest is zero without EDNS.
	DO   bool
	Size uint16 // the largest UDP answer that the client says it takes
	// Client is the client subnet, not valid when there is none, or one that doesn't want to be
	// known (RFC 7871 §7.1.2).
	Client netip.Prefix
	// Subnet and Cookie are the data of those options within the packet; nil: no such option.
	Subnet, Cookie []byte
	Wants          Wants

	length int
	name   [maxName + 1]byte
}

// Name is the asked name on the wire, in lower case. It is valid until the next Read.
func (q *Query) Name() []byte { return q.name[:q.length] }

// Read reads a packet, and reports whether it is a plain query. The query refers to the packet.
// After false its fields mean nothing.
func (q *Query) Read(packet []byte) bool {
	if len(packet) < headerSize || packet[2]&0xF8 != 0 {
		return false // too short, a response, or another opcode
	}
	// One question (RFC 9619), no answer, no authority, at most one additional record.
	counts := binary.BigEndian.Uint64(packet[4:])
	if counts&^1 != 1<<48 {
		return false
	}
	end := nameEnd(packet)
	if end == 0 || end+4 > len(packet) {
		return false
	}
	q.Type = binary.BigEndian.Uint16(packet[end:])
	if binary.BigEndian.Uint16(packet[end+2:]) != classIN {
		return false
	}
	if !q.readOPT(packet[end+4:], counts&1 != 0) {
		return false
	}
	q.readName(packet[headerSize:end])
	return true
}

// nameEnd returns the offset behind the question's name; 0 when that is malformed.
func nameEnd(packet []byte) int {
	off := headerSize
	for off < len(packet) {
		n := int(packet[off])
		off += 1 + n
		switch {
		case n == 0:
			if off-headerSize > maxName {
				return 0
			}
			return off
		case n > maxLabel:
			return 0 // nothing stands before the question that it could point to
		}
	}
	return 0
}

// readName copies a name, brings it into lower case and hashes it, in one pass. Octets of length
// are at most 63, below all letters, so that they stay as they are.
func (q *Query) readName(asked []byte) {
	q.length = len(asked)
	h := hashStart(len(asked))
	i := 0
	for ; i+8 <= len(asked); i += 8 {
		w := lower(binary.LittleEndian.Uint64(asked[i:]))
		binary.LittleEndian.PutUint64(q.name[i:], w)
		h = hashStep(h, w)
	}
	if i < len(asked) {
		w := lower(tail(asked[i:]))
		for j := i; j < len(asked); j++ {
			q.name[j] = byte(w >> (8 * (j - i)))
		}
		h = hashStep(h, w)
	}
	q.Hash = h
}

// readOPT reads what follows the question.
func (q *Query) readOPT(rr []byte, announced bool) bool {
	q.EDNS, q.DO, q.Size = announced, false, 0
	q.Client, q.Subnet, q.Cookie, q.Wants = netip.Prefix{}, nil, nil, Wants{}
	if !announced {
		return len(rr) == 0
	}
	// RFC 6891 §6.1.2: root, OPT, size, extended code, version, flags, length of the options.
	if len(rr) < 11 || rr[0] != 0 || binary.BigEndian.Uint16(rr[1:]) != typeOPT || rr[6] != 0 {
		return false
	}
	options := rr[11:]
	if int(binary.BigEndian.Uint16(rr[9:])) != len(options) {
		return false
	}
	q.Size = binary.BigEndian.Uint16(rr[3:])
	q.DO = rr[7]&0x80 != 0
	return len(options) == 0 || q.readOptions(options)
}

// readOptions reads any number of options. Of several of one kind the first counts (RFC 7873
// §5.2); those that we don't know are passed over (RFC 6891 §6.1.2).
func (q *Query) readOptions(options []byte) bool {
	for len(options) > 0 {
		if len(options) < optionHead {
			return false
		}
		code := binary.BigEndian.Uint16(options)
		end := optionHead + int(binary.BigEndian.Uint16(options[2:]))
		if end > len(options) {
			return false
		}
		data := options[optionHead:end]
		options = options[end:]
		switch code {
		case optionSubnet:
			if q.Subnet == nil && !q.readSubnet(data) {
				return false
			}
		case optionCookie:
			if q.Cookie == nil && !CookieLength(len(data)) {
				return false
			}
			if q.Cookie == nil {
				q.Cookie = data
			}
		case optionNSID:
			q.Wants.NSID = true
		case optionKeepAlive:
			q.Wants.KeepAlive = true
		case optionPadding:
			q.Wants.Padding = true
		}
	}
	return true
}

// CookieLength reports whether a COOKIE option may have so many octets: those of the client's,
// or 8 to 32 of the server's behind them (RFC 7873 §4, §5.2.2).
func CookieLength(n int) bool { return n == 8 || n >= 16 && n <= 40 }

// readSubnet reads a client subnet as strictly as RFC 7871 §6 and §7.2.1 allow: the scope is 0,
// the address has just the octets that the prefix needs, and no bit is set beyond it.
func (q *Query) readSubnet(raw []byte) bool {
	if len(raw) < 4 || raw[3] != 0 {
		return false
	}
	length, octets := int(raw[2]), raw[4:]
	if len(octets) != (length+7)/8 {
		return false
	}
	if used := length % 8; used != 0 && octets[len(octets)-1]<<used != 0 {
		return false
	}
	switch binary.BigEndian.Uint16(raw) {
	case 1:
		var a [4]byte
		if length > 32 {
			return false
		}
		copy(a[:], octets)
		q.Client = netip.PrefixFrom(netip.AddrFrom4(a), length)
	case 2:
		var a [16]byte
		if length > 128 {
			return false
		}
		copy(a[:], octets)
		q.Client = netip.PrefixFrom(netip.AddrFrom16(a), length)
	default:
		return false
	}
	q.Subnet = raw
	if length == 0 {
		q.Client = netip.Prefix{}
	}
	return true
}

// Lower brings a name on the wire into lower case, in place.
func Lower(name []byte) {
	for i, c := range name {
		if 'A' <= c && c <= 'Z' {
			name[i] = c + 'a' - 'A'
		}
	}
}

const octets = 0x0101010101010101

// lower brings eight octets into lower case. It adds to each octet's low seven bits what makes
// the top bit say "at least 'A'" and "more than 'Z'"; where only the first is set, and the octet
// is ASCII, it sets the bit 0x20.
func lower(w uint64) uint64 {
	low := w &^ (0x80 * octets)
	fromA := low + (0x80-'A')*octets
	beyondZ := low + (0x7f-'Z')*octets
	return w | (fromA&^beyondZ&^w&(0x80*octets))>>2
}

// tail returns up to seven octets as the low ones of a word.
func tail(b []byte) (w uint64) {
	for i, c := range b {
		w |= uint64(c) << (8 * i)
	}
	return w
}

// Hash hashes a name on the wire, which must be in lower case. It is the same in every process:
// only names that the operator chose are ever stored by it, so nobody else can make them collide.
func Hash(name []byte) uint64 {
	h := hashStart(len(name))
	for ; len(name) >= 8; name = name[8:] {
		h = hashStep(h, binary.LittleEndian.Uint64(name))
	}
	if len(name) > 0 {
		h = hashStep(h, tail(name))
	}
	return h
}

func hashStart(length int) uint64 { return uint64(length) * 0x9e3779b97f4a7c15 }

// hashStep folds the 128-bit product of two words, each of which depends on both h and w.
func hashStep(h, w uint64) uint64 {
	hi, lo := bits.Mul64(h^w^0xa0761d6478bd642f, h^0xe7037ed1a0b428db)
	return hi ^ lo
}
