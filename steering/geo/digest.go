package geo

import (
	"crypto/sha256"
	"encoding/binary"
)

// Digest is a hash of all that Locate can answer: equal digests answer alike, wherever the data
// came from and whatever its day. It reads the whole table, some milliseconds for the world; it
// is zero for a nil Locator.
func (l *Locator) Digest() [sha256.Size]byte {
	if l == nil {
		return [sha256.Size]byte{}
	}
	b := binary.AppendUvarint(nil, uint64(len(l.countries)))
	for _, c := range l.countries {
		b = appendText(b, c)
	}
	b = appendSegments(b, l.country.v4)
	b = appendSegments(b, l.country.v6)
	if l.subdivision.known() {
		b = append(b, "subdivision"...)
		for _, s := range l.subdivisions {
			b = appendText(b, s)
		}
		b = appendSegments(appendSegments(b, l.subdivision.v4), l.subdivision.v6)
	}
	if l.asn.known() {
		b = append(b, "asn"...)
		for _, asn := range l.asns {
			b = binary.AppendUvarint(b, uint64(asn))
		}
		b = appendSegments(appendSegments(b, l.asn.v4), l.asn.v6)
	}
	if l.point.known() {
		b = append(b, "point"...)
		for _, p := range l.points {
			b = binary.AppendVarint(binary.AppendVarint(b, int64(p.Lat)), int64(p.Lon))
		}
		b = appendSegments(appendSegments(b, l.point.v4), l.point.v6)
	}
	return sha256.Sum256(b)
}
