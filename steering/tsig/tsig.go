// Package tsig signs and checks DNS messages by keys that two servers share (RFC 8945).
//
// Messages on the wire flow in and out, with their signature (TSIG) as the last record or
// without it. A Session is one exchange: a request, and the one answer or the many to it. It
// reads no clock and owns no goroutine.
package tsig

import (
	"bytes"
	"crypto/hmac"
	"crypto/sha256"
	"crypto/sha512"
	"encoding/binary"
	"errors"
	"fmt"
	"hash"
	"strings"
)

// Fault is a TSIG error code (RFC 8945 §3); 0 is none.
type Fault uint16

// The faults.
const (
	BadSig   Fault = 16
	BadKey   Fault = 17
	BadTime  Fault = 18
	BadTrunc Fault = 22
)

func (f Fault) String() string {
	switch f {
	case 0:
		return "none"
	case BadSig:
		return "BADSIG"
	case BadKey:
		return "BADKEY"
	case BadTime:
		return "BADTIME"
	case BadTrunc:
		return "BADTRUNC"
	}
	return fmt.Sprintf("error %d", uint16(f))
}

// ErrFormat says that a message or its TSIG record can't be read: FORMERR.
var ErrFormat = errors.New("not a DNS message with a proper TSIG record")

const (
	typeTSIG   = 250
	classANY   = 255
	headerSize = 12
	// fudge is how far clocks may differ, in seconds (RFC 8945 §10).
	fudge = 300
	// maxUnsigned is how many messages in a row may come without a signature (RFC 8945 §5.3.1).
	maxUnsigned = 99
	// minMAC is the least length of a shortened signature, in octets (RFC 8945 §5.2.2.1).
	minMAC = 10
)

// algorithm is a way to sign.
type algorithm struct {
	name string
	new  func() hash.Hash
}

func algorithmOf(name string) (algorithm, bool) {
	switch name {
	case "hmac-sha256":
		return algorithm{name, sha256.New}, true
	case "hmac-sha384":
		return algorithm{name, sha512.New384}, true
	case "hmac-sha512":
		return algorithm{name, sha512.New}, true
	}
	return algorithm{}, false
}

// Key is a shared key. It is immutable and safe for concurrent use.
type Key struct {
	name      string
	owner     []byte // the name on the wire, in lower case
	algorithm []byte // likewise
	new       func() hash.Hash
	secret    []byte
}

// New makes a key. The algorithm is hmac-sha256, hmac-sha384 or hmac-sha512; the secret is what
// the base64 in other servers' configs stands for, at least 16 octets.
func New(name, algo string, secret []byte) (*Key, error) {
	a, ok := algorithmOf(algo)
	if !ok {
		return nil, fmt.Errorf("%q is none of hmac-sha256, hmac-sha384, hmac-sha512", algo)
	}
	owner, err := wireName(name)
	if err != nil {
		return nil, err
	}
	if len(secret) < 16 {
		return nil, fmt.Errorf("the secret has %d octets, and fewer than 16 can be guessed",
			len(secret))
	}
	suffix, err := wireName(a.name)
	if err != nil {
		return nil, err
	}
	return &Key{name: strings.ToLower(strings.TrimSuffix(name, ".")), owner: owner,
		algorithm: suffix, new: a.new, secret: bytes.Clone(secret)}, nil
}

// Name returns the key's name in lower case, without a final dot. A nil key has none.
func (k *Key) Name() string {
	if k == nil {
		return ""
	}
	return k.name
}

// wireName packs a name of plain labels, in lower case.
func wireName(name string) ([]byte, error) {
	var out []byte
	for label := range strings.SplitSeq(strings.ToLower(strings.TrimSuffix(name, ".")), ".") {
		if label == "" || len(label) > 63 || strings.ContainsAny(label, `\`) {
			return nil, fmt.Errorf("%q is no name of a key", name)
		}
		out = append(append(out, byte(len(label))), label...)
	}
	if len(out) > 254 {
		return nil, fmt.Errorf("%q is no name of a key", name)
	}
	return append(out, 0), nil
}

// Ring is the keys that a server knows, by Key.Name. It must not change once in use.
type Ring map[string]*Key

// find returns the key of a name on the wire and an algorithm; nil when there is none.
func (r Ring) find(owner, algo []byte) *Key {
	for _, k := range r { // few: a scan costs less than to build the name
		if bytes.Equal(k.owner, owner) && bytes.Equal(k.algorithm, algo) {
			return k
		}
	}
	return nil
}

// mac begins a signature that follows on an earlier one, if there is one (RFC 8945 §4.3.1).
func (k *Key) mac(prior []byte) hash.Hash {
	h := hmac.New(k.new, k.secret)
	if len(prior) > 0 {
		h.Write(binary.BigEndian.AppendUint16(nil, uint16(len(prior))))
		h.Write(prior)
	}
	return h
}

// finish ends a signature: all variables of the record, or only its times in all but the first
// answer of several (RFC 8945 §4.3.3, §5.3.1).
func (r *record) finish(h hash.Hash, timersOnly bool) []byte {
	var b []byte
	if !timersOnly {
		b = append(b, r.owner...)
		b = append(b, 0, classANY, 0, 0, 0, 0)
		b = append(b, r.algorithm...)
	}
	b = appendTime(b, r.time)
	b = binary.BigEndian.AppendUint16(b, r.fudge)
	if !timersOnly {
		b = binary.BigEndian.AppendUint16(b, uint16(r.fault))
		b = binary.BigEndian.AppendUint16(b, uint16(len(r.other)))
		b = append(b, r.other...)
	}
	h.Write(b)
	return h.Sum(nil)
}

// appendTime appends seconds since 1970 in 48 bits.
func appendTime(b []byte, seconds uint64) []byte {
	b = binary.BigEndian.AppendUint16(b, uint16(seconds>>32))
	return binary.BigEndian.AppendUint32(b, uint32(seconds))
}
