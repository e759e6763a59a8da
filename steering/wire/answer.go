package wire

import "encoding/binary"

const (
	bitsRD, bitsCD = 1 << 8, 1 << 4
	typeSOA        = 6
	pointer        = 0xC000 // a name's last two octets, pointing backward (RFC 1035 §4.1.4)
)

// Answer is a message ready to be sent to whoever asks its question: all of it but the question,
// the identity, RD, CD and OPT. It is immutable; any number of goroutines may write it.
type Answer struct {
	header [headerSize]byte
	body   []byte
	links  []link
	why    *Error
}

// link is a compression pointer that depends on the length of the asked name.
type link struct {
	at     uint16 // its place in the body
	target int16  // where it points, counted from the end of the asked name
}

// NewAnswer prepares a packed message, which has one question and no OPT record. The answer
// holds for the name in that question, whatever its case, and for no other.
func NewAnswer(message []byte) (*Answer, bool) {
	if len(message) < headerSize {
		return nil, false
	}
	end := nameEnd(message)
	if end == 0 || end+4 > len(message) || binary.BigEndian.Uint16(message[4:]) != 1 {
		return nil, false
	}
	a := &Answer{body: append([]byte(nil), message[end+4:]...)}
	copy(a.header[:], message)
	bits := binary.BigEndian.Uint16(message[2:])
	binary.BigEndian.PutUint16(a.header[:], 0)
	binary.BigEndian.PutUint16(a.header[2:], bits&^(bitsRD|bitsCD))
	return a, true
}

// NewDenial prepares a packed message without any record but, perhaps, one SOA in the authority
// section. The answer holds for all names that end as the one in the question does, from so many
// octets before its end, as long as they have no more in common with the names in the SOA than
// that one has. It reports false if there is something else in the message, or a pointer to what
// stands before those octets.
func NewDenial(message []byte, common int) (*Answer, bool) {
	a, ok := NewAnswer(message)
	if !ok {
		return nil, false
	}
	switch binary.BigEndian.Uint64(a.header[4:]) {
	case 1 << 48:
		return a, len(a.body) == 0
	case 1<<48 | 1<<16:
	default:
		return nil, false
	}
	nameLen := len(message) - len(a.body) - 4 - headerSize
	owner, ok := a.relocate(0, nameLen, common)
	if !ok || owner+10 > len(a.body) || binary.BigEndian.Uint16(a.body[owner:]) != typeSOA {
		return nil, false
	}
	off := owner + 10
	for range 2 { // MNAME and RNAME
		if off, ok = a.relocate(off, nameLen, common); !ok {
			return nil, false
		}
	}
	return a, off+20 == len(a.body)
}

// relocate notes the pointer at the end of a name of the body, and returns the offset behind it.
func (a *Answer) relocate(off, nameLen, common int) (int, bool) {
	for off < len(a.body) {
		n := int(a.body[off])
		switch {
		case n == 0:
			return off + 1, true
		case n >= pointer>>8:
			if off+2 > len(a.body) {
				return 0, false
			}
			to := int(binary.BigEndian.Uint16(a.body[off:])) &^ pointer
			target := to - headerSize - nameLen
			a.links = append(a.links, link{at: uint16(off), target: int16(target)})
			binary.BigEndian.PutUint16(a.body[off:], 0) // equal denials look equal
			return off + 2, target >= -common && to >= headerSize
		}
		off += 1 + n
	}
	return 0, false
}

// Explain makes an Extended DNS Error part of the answer; nil: of none. It may be called only
// before the answer is shared.
func (a *Answer) Explain(why *Error) { a.why = why }

// Why returns the answer's Extended DNS Error; nil when it has none.
func (a *Answer) Why() *Error { return a.why }

// Key returns a text that is equal for answers that are equal.
func (a *Answer) Key() string {
	key := append(a.header[:headerSize:headerSize], a.body...)
	for _, l := range a.links {
		key = binary.BigEndian.AppendUint16(key, l.at)
		key = binary.BigEndian.AppendUint16(key, uint16(l.target))
	}
	if a.why != nil {
		key = append(binary.BigEndian.AppendUint16(key, a.why.Code), a.why.Text...)
	}
	return string(key)
}

// Rcode returns the response code.
func (a *Answer) Rcode() int { return int(a.header[3] & 0xF) }

// Len returns the number of octets of the answer to a question whose name has so many octets,
// without OPT.
func (a *Answer) Len(nameLen int) int { return headerSize + nameLen + 4 + len(a.body) }

// Limit returns the most octets that an answer over UDP may have, when the server sends at most
// so many.
func (q *Query) Limit(udpSize uint16) int {
	if !q.EDNS {
		return MinUDPSize
	}
	return int(max(MinUDPSize, min(q.Size, udpSize)))
}

// Write writes the answer to a query, read from a packet, into out, with an OPT record if the
// query had one. It returns its length, or 0 when it has no room in out or in the limit.
func (a *Answer) Write(out, packet []byte, q *Query, limit int, o *OPT) int {
	end := headerSize + q.length // of the name
	size := end + 4 + len(a.body)
	total := size
	if q.EDNS {
		total = o.Fit(size, limit)
	}
	if total > limit || total > len(out) {
		return 0
	}
	copy(out[headerSize:], packet[headerSize:end+4])
	copy(out[end+4:], a.body)
	copy(out, a.header[:])
	out[0], out[1] = packet[0], packet[1]
	out[2] |= packet[2] & (bitsRD >> 8)
	out[3] |= packet[3] & bitsCD
	for _, l := range a.links {
		to := pointer | uint16(end+int(l.target))
		binary.BigEndian.PutUint16(out[end+4+int(l.at):], to)
	}
	if q.EDNS {
		o.Write(out[:total], size)
	}
	return total
}
