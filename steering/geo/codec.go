package geo

import (
	"bytes"
	"compress/gzip"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math"
	"math/bits"
	"time"
)

// magic begins the packed form of a table, inside its gzip member. What follows are the day as
// a Unix time, the origin and the countries, then IPv4 and IPv6: how many segments, and in
// columns for each of them the trailing zero bits of its distance from the one before, the odd
// rest of that distance, and its value. In columns the same things stand together, which is
// what makes gzip effective. Numbers are varints as in encoding/binary, texts have their
// length before them.
const magic = "pointsman geo 1\n"

// magicASN begins a packed table of autonomous systems. It differs in what the values are: places
// in a list of AS numbers, which stands in the place of the countries, each number as its
// distance from the one before.
const magicASN = "pointsman asn 1\n"

// Limits of what is read: many times what the world needs, and no danger to a small machine.
const (
	maxSegments = 8 << 20
	maxText     = 200
)

// Pack writes the table of countries in its packed form, as Read takes it; or if there are none,
// that of autonomous systems.
func (l *Locator) Pack(w io.Writer) error {
	var b []byte
	if l.country.known() {
		b = appendAbout(append(b, magic...), l.country.about)
		b = binary.AppendUvarint(b, uint64(len(l.countries)-1))
		for _, c := range l.countries[1:] {
			b = appendText(b, c)
		}
		b = appendSegments(b, l.country.v4)
		b = appendSegments(b, l.country.v6)
	} else {
		b = appendAbout(append(b, magicASN...), l.asn.about)
		b = binary.AppendUvarint(b, uint64(len(l.asns)-1))
		for i, asn := range l.asns[1:] {
			b = binary.AppendUvarint(b, uint64(asn-l.asns[i]))
		}
		b = appendSegments(b, l.asn.v4)
		b = appendSegments(b, l.asn.v6)
	}
	z, err := gzip.NewWriterLevel(w, gzip.BestCompression)
	if err != nil {
		return err
	}
	if _, err := z.Write(b); err != nil {
		return fmt.Errorf("packing geo data: %w", err)
	}
	if err := z.Close(); err != nil {
		return fmt.Errorf("packing geo data: %w", err)
	}
	return nil
}

func appendAbout(b []byte, a about) []byte {
	return appendText(binary.AppendVarint(b, a.date.Unix()), a.origin)
}

func appendText(b []byte, s string) []byte {
	return append(binary.AppendUvarint(b, uint64(len(s))), s...)
}

// appendSegments writes all starts but the first, which is 0, and all values.
func appendSegments[K key, V value](b []byte, s segments[K, V]) []byte {
	b = binary.AppendUvarint(b, uint64(len(s.starts)-1))
	for i := 1; i < len(s.starts); i++ {
		b = append(b, byte(bits.TrailingZeros64(uint64(s.starts[i]-s.starts[i-1]))))
	}
	for i := 1; i < len(s.starts); i++ {
		step := uint64(s.starts[i] - s.starts[i-1])
		b = binary.AppendUvarint(b, step>>bits.TrailingZeros64(step)>>1)
	}
	for shift := 0; shift < planes[V]()*8; shift += 8 {
		for _, v := range s.values {
			b = append(b, byte(v>>shift))
		}
	}
	return b
}

// planes is how many bytes a value has in a table: first come the lowest of all values.
func planes[V value]() int {
	if ^V(0) > 255 {
		return 4
	}
	return 1
}

// unpacker reads a packed table. The first mistake sticks.
type unpacker struct {
	b   []byte
	err error
}

var errPacked = errors.New("the packed data is damaged")

// unpack reads what Pack wrote, without its gzip.
func unpack(b []byte) (*Locator, error) {
	u := &unpacker{b: b[len(magic):]} // both are as long
	day, n := binary.Varint(u.b)
	u.skip(n)
	a := about{date: time.Unix(day, 0).UTC(), origin: u.text()}
	l := newLocator()
	l.dated = true
	if bytes.HasPrefix(b, []byte(magic)) {
		u.countries(l, a)
	} else {
		u.systems(l, a)
	}
	if u.err == nil && len(u.b) > 0 {
		u.err = errPacked
	}
	if u.err != nil {
		return nil, u.err
	}
	return l.settle(), nil
}

func (u *unpacker) countries(l *Locator, a about) {
	count := u.number(255)
	for range count {
		c := u.text()
		if !IsCode(c) {
			u.err = errPacked
			return
		}
		l.countries = append(l.countries, c)
	}
	l.country = layer[uint8]{a, unpackSegments[uint32](u, uint8(count)),
		unpackSegments[uint64](u, uint8(count))}
}

func (u *unpacker) systems(l *Locator, a about) {
	count := u.number(maxSegments)
	last := uint64(0)
	for range count {
		last += uint64(u.number(math.MaxUint32))
		if last > math.MaxUint32 || uint32(last) <= l.asns[len(l.asns)-1] {
			u.err = errPacked
			return
		}
		l.asns = append(l.asns, uint32(last))
	}
	l.asn = layer[uint32]{a, unpackSegments[uint32](u, uint32(count)),
		unpackSegments[uint64](u, uint32(count))}
}

// skip leaves n bytes behind; n is at most 0 when they were no number.
func (u *unpacker) skip(n int) {
	if n <= 0 || n > len(u.b) {
		u.err, u.b = errPacked, nil
		return
	}
	u.b = u.b[n:]
}

func (u *unpacker) number(limit uint64) int {
	v, n := binary.Uvarint(u.b)
	u.skip(n)
	if v > limit {
		u.err = errPacked
		return 0
	}
	return int(v)
}

// bytes returns the next n bytes, or nil when there are fewer.
func (u *unpacker) bytes(n int) []byte {
	if n > len(u.b) {
		u.err, u.b = errPacked, nil
		return nil
	}
	b := u.b[:n]
	u.b = u.b[n:]
	return b
}

func (u *unpacker) text() string { return string(u.bytes(u.number(maxText))) }

func unpackSegments[K key, V value](u *unpacker, most V) segments[K, V] {
	n := u.number(maxSegments)
	zeros := u.bytes(n)
	if u.err != nil {
		return segments[K, V]{}
	}
	s := segments[K, V]{starts: make([]K, n+1), values: make([]V, n+1)}
	start := K(0)
	rest := u.b
	for i, z := range zeros {
		var odd uint64
		used := 1
		if len(rest) > 0 && rest[0] < 0x80 { // most are this short
			odd = uint64(rest[0])
		} else if odd, used = binary.Uvarint(rest); used <= 0 {
			u.err = errPacked
			return segments[K, V]{}
		}
		rest = rest[used:]
		odd = odd<<1 | 1
		if bits.Len64(odd)+int(z) > size[K]() {
			u.err = errPacked
			return segments[K, V]{}
		}
		next := start + K(odd)<<z
		if next <= start {
			u.err = errPacked
			return segments[K, V]{}
		}
		start = next
		s.starts[i+1] = start
	}
	u.b = rest
	for shift := 0; shift < planes[V]()*8; shift += 8 {
		for i, b := range u.bytes(n + 1) {
			s.values[i] |= V(b) << shift
		}
	}
	for i, v := range s.values {
		if v > most || i > 0 && v == s.values[i-1] {
			u.err = errPacked
		}
	}
	s.finish()
	return s
}

// gunzip unpacks a gzip member, up to a limit.
func gunzip(b []byte, limit int) ([]byte, error) {
	z, err := gzip.NewReader(bytes.NewReader(b))
	if err != nil {
		return nil, err
	}
	// The last 4 bytes are the size (RFC 1952 §2.3.1); if they lie, it costs a few copies.
	hint := int(min(uint64(binary.LittleEndian.Uint32(b[len(b)-4:])), uint64(limit)))
	out := bytes.NewBuffer(make([]byte, 0, min(hint+bytes.MinRead, 16<<20)))
	n, err := out.ReadFrom(io.LimitReader(z, int64(limit)+1))
	if err != nil {
		return nil, err
	}
	if n > int64(limit) {
		return nil, fmt.Errorf("holds more than %d bytes", limit)
	}
	return out.Bytes(), nil
}
