package tap

import (
	"encoding/binary"
	"encoding/hex"
)

// Numbers of records and options that hold what an answer does not owe to query, table and zone.
const (
	typeSOA      = 6
	typeOPT      = 41
	optionCookie = 10 // RFC 7873 §4
)

// rest is what an answer holds beside what follows from query, table and zones: to make it again,
// it must be told.
type rest struct {
	serial  uint32 // of the SOA of a denial, which tells when the config was loaded
	denied  bool   // there is such an SOA
	cookies []byte // the COOKIE option's data, which follow from a secret and the time
}

// restOf reads an answer of the server's own making; of one that it can't read it returns nothing.
func restOf(answer []byte) (r rest) {
	if len(answer) < 12 {
		return rest{}
	}
	count := func(at int) int { return int(binary.BigEndian.Uint16(answer[at:])) }
	off := 12
	for range count(4) {
		off = afterName(answer, off) + 4
	}
	before := count(6)
	deniers := before + count(8)
	for i := range deniers + count(10) {
		fixed := afterName(answer, off)
		if fixed+10 > len(answer) {
			return rest{}
		}
		off = fixed + 10 + count(fixed+8)
		if off > len(answer) {
			return rest{}
		}
		switch rtype, data := count(fixed), answer[fixed+10:off]; {
		case rtype == typeSOA && i >= before && i < deniers && len(data) >= 20:
			r.serial, r.denied = binary.BigEndian.Uint32(data[len(data)-20:]), true
		case rtype == typeOPT:
			r.cookies = option(data, optionCookie)
		}
	}
	return r
}

// afterName returns the offset behind a name, or one behind the message when it doesn't end.
func afterName(b []byte, off int) int {
	for off < len(b) {
		switch n := int(b[off]); {
		case n == 0:
			return off + 1
		case n >= 0xC0:
			return off + 2
		default:
			off += 1 + n
		}
	}
	return len(b)
}

// option returns the data of an OPT record's option; nil when it has none of that code.
func option(data []byte, code uint16) []byte {
	for len(data) >= 4 {
		n := 4 + int(binary.BigEndian.Uint16(data[2:]))
		if n > len(data) {
			return nil
		}
		if binary.BigEndian.Uint16(data) == code {
			return data[4:n]
		}
		data = data[n:]
	}
	return nil
}

// append adds it to a line.
func (r rest) append(b []byte) []byte {
	if r.denied {
		b = appendUint(b, "serial", uint64(r.serial))
	}
	if len(r.cookies) > 0 {
		b = appendText(b, "cookie", hex.EncodeToString(r.cookies))
	}
	return b
}
