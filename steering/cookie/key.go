package cookie

import (
	"crypto/rand"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"

	"pointsman/internal/secret"
)

// Key is a secret of 128 bits. Its zero value is no key. No format verb shows it,
// not even as the unexported field of another struct: of a pointer to a pointer package fmt
// prints the address.
type Key struct{ words **[2]uint64 }

// NewKey returns a random key.
func NewKey() Key {
	var b [16]byte
	_, _ = rand.Read(b[:]) // crypto/rand never fails: it ends the process instead
	return keyOf(b)
}

// ParseKey reads 32 hexadecimal digits. Its error shows none of them.
func ParseKey(s secret.String) (Key, error) {
	var b [16]byte
	if len(s.Reveal()) != hex.EncodedLen(len(b)) {
		return Key{}, errors.New("a cookie secret has 32 hexadecimal digits")
	}
	if _, err := hex.Decode(b[:], []byte(s.Reveal())); err != nil {
		return Key{}, errors.New("a cookie secret has hexadecimal digits alone")
	}
	return keyOf(b), nil
}

func keyOf(b [16]byte) Key {
	words := &[2]uint64{binary.LittleEndian.Uint64(b[:]), binary.LittleEndian.Uint64(b[8:])}
	return Key{&words}
}

// reveal returns what ParseKey reads.
func (k Key) reveal() string {
	var b [16]byte
	binary.LittleEndian.PutUint64(b[:], (*k.words)[0])
	binary.LittleEndian.PutUint64(b[8:], (*k.words)[1])
	return hex.EncodeToString(b[:])
}

// Format implements fmt.Formatter, so that every verb redacts.
func (Key) Format(f fmt.State, _ rune) { _, _ = f.Write([]byte(secret.Redacted)) }

// MarshalText implements encoding.TextMarshaler: JSON redacts too.
func (Key) MarshalText() ([]byte, error) { return []byte(secret.Redacted), nil }
