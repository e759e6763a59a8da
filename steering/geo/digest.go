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
	b = appendSegments(b, l.v4)
	b = appendSegments(b, l.v6)
	return sha256.Sum256(b)
}
