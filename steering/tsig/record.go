package tsig

import (
	"bytes"
	"encoding/binary"
)

// record is a TSIG record (RFC 8945 §4.2).
type record struct {
	owner, algorithm []byte // names on the wire, in lower case
	time             uint64 // seconds since 1970
	fudge            uint16
	mac              []byte
	id               uint16 // the message's as it was signed
	fault            Fault
	other            []byte
}

// split takes the TSIG record off a message and gives that the ID under which it was signed.
// Without one, the record is nil and the message comes back as it is. TSIG must be the very
// last record, and the only one (RFC 8945 §5.2).
func split(packet []byte) ([]byte, *record, error) {
	if len(packet) < headerSize {
		return nil, nil, ErrFormat
	}
	off := headerSize
	for range binary.BigEndian.Uint16(packet[4:]) {
		end, ok := skipName(packet, off)
		if !ok || end+4 > len(packet) {
			return nil, nil, ErrFormat
		}
		off = end + 4
	}
	extra := int(binary.BigEndian.Uint16(packet[10:]))
	all := extra + int(binary.BigEndian.Uint16(packet[6:])) + int(binary.BigEndian.Uint16(packet[8:]))
	for i := range all {
		end, ok := skipName(packet, off)
		if !ok || end+10 > len(packet) {
			return nil, nil, ErrFormat
		}
		next := end + 10 + int(binary.BigEndian.Uint16(packet[end+8:]))
		if next > len(packet) {
			return nil, nil, ErrFormat
		}
		if binary.BigEndian.Uint16(packet[end:]) != typeTSIG {
			off = next
			continue
		}
		r, ok := readRecord(packet, off, end, next)
		if !ok || i != all-1 || extra == 0 || next != len(packet) {
			return nil, nil, ErrFormat
		}
		body := bytes.Clone(packet[:off])
		binary.BigEndian.PutUint16(body, r.id)
		binary.BigEndian.PutUint16(body[10:], uint16(extra-1))
		return body, r, nil
	}
	return packet, nil, nil
}

// readRecord reads the record that begins at one offset, whose type stands at the second and
// which ends at the third.
func readRecord(packet []byte, off, fixed, end int) (*record, bool) {
	r := &record{}
	var ok bool
	if r.owner, ok = readName(packet, off); !ok {
		return nil, false
	}
	if binary.BigEndian.Uint16(packet[fixed+2:]) != classANY {
		return nil, false
	}
	data := packet[fixed+10 : end]
	algoEnd, ok := skipName(data, 0)
	if !ok || algoEnd+10 > len(data) {
		return nil, false
	}
	if r.algorithm, ok = readName(data[:algoEnd], 0); !ok { // never compressed
		return nil, false
	}
	d := data[algoEnd:]
	r.time = uint64(binary.BigEndian.Uint16(d))<<32 | uint64(binary.BigEndian.Uint32(d[2:]))
	r.fudge = binary.BigEndian.Uint16(d[6:])
	n := int(binary.BigEndian.Uint16(d[8:]))
	if d = d[10:]; n+6 > len(d) {
		return nil, false
	}
	r.mac, d = bytes.Clone(d[:n]), d[n:]
	r.id = binary.BigEndian.Uint16(d)
	r.fault = Fault(binary.BigEndian.Uint16(d[2:]))
	n = int(binary.BigEndian.Uint16(d[4:]))
	if d = d[6:]; n != len(d) {
		return nil, false
	}
	r.other = bytes.Clone(d)
	return r, true
}

// append adds the record to a message.
func (r *record) append(message []byte) []byte {
	n := len(r.algorithm) + 16 + len(r.mac) + len(r.other)
	out := make([]byte, 0, len(message)+len(r.owner)+10+n)
	out = append(append(out, message...), r.owner...)
	out = append(out, 0, typeTSIG, 0, classANY, 0, 0, 0, 0)
	out = binary.BigEndian.AppendUint16(out, uint16(n))
	out = appendTime(append(out, r.algorithm...), r.time)
	out = binary.BigEndian.AppendUint16(out, r.fudge)
	out = binary.BigEndian.AppendUint16(out, uint16(len(r.mac)))
	out = append(out, r.mac...)
	out = binary.BigEndian.AppendUint16(out, r.id)
	out = binary.BigEndian.AppendUint16(out, uint16(r.fault))
	out = binary.BigEndian.AppendUint16(out, uint16(len(r.other)))
	out = append(out, r.other...)
	binary.BigEndian.PutUint16(out[10:], binary.BigEndian.Uint16(out[10:])+1)
	return out
}

// skipName returns the offset behind a name, which may end in a pointer.
func skipName(packet []byte, off int) (int, bool) {
	for off < len(packet) {
		switch n := int(packet[off]); {
		case n == 0:
			return off + 1, true
		case n >= 0xC0:
			return off + 2, off+2 <= len(packet)
		case n > 63:
			return 0, false
		default:
			off += 1 + n
		}
	}
	return 0, false
}

// readName reads a name, in lower case. Pointers must lead back.
func readName(packet []byte, off int) ([]byte, bool) {
	var name []byte
	for before := len(packet); off < len(packet); {
		n := int(packet[off])
		switch {
		case n == 0:
			return append(name, 0), true
		case n >= 0xC0:
			if off+2 > len(packet) {
				return nil, false
			}
			to := int(binary.BigEndian.Uint16(packet[off:]) & 0x3FFF)
			if to >= off || to >= before {
				return nil, false
			}
			before, off = to, to
		case n > 63 || off+1+n > len(packet) || len(name)+1+n > 254:
			return nil, false
		default:
			name = append(append(name, byte(n)), bytes.ToLower(packet[off+1:off+1+n])...)
			off += 1 + n
		}
	}
	return nil, false
}
