// Package cookie makes and checks DNS server cookies (RFC 7873, RFC 9018), and says which of the
// secrets that several nodes share is used when.
//
// Options of queries flow in, verdicts and options of answers flow out. It reads no clock, keeps
// nothing and owns no goroutine; what is called for each packet allocates nothing.
package cookie

import (
	"encoding/binary"
	"net/netip"
	"time"
)

// Lengths in octets (RFC 7873 §4, RFC 9018 §4).
const (
	ClientSize = 8               // of a client cookie
	Size       = ClientSize + 16 // of the whole option that Make makes
)

// How a server cookie ages (RFC 9018 §4.3).
const (
	validity = time.Hour
	early    = 5 * time.Minute  // a clock that made it may be ahead by so much
	renewal  = 30 * time.Minute // older ones are replaced
)

const version = 1

// Jar makes cookies with one key, and takes those of several. It is immutable and safe for
// concurrent use.
type Jar struct{ keys []Key }

// NewJar returns a jar that makes cookies with the first of its keys and takes those of all.
func NewJar(current Key, others ...Key) *Jar {
	return &Jar{keys: append([]Key{current}, others...)}
}

// Verdict is what a cookie is worth.
type Verdict uint8

// The verdicts.
const (
	None       Verdict = iota // there was no cookie
	ClientOnly                // no server cookie came along
	Bad                       // not ours, too old, or another client's
	Valid                     // it proves the client's address
)

// Check judges an option of well-formed length that came from an address, and writes into out
// the one to answer with: the same as long as it is young and of the current key, else a new one.
func (j *Jar) Check(option []byte, from netip.Addr, now time.Time, out *[Size]byte) Verdict {
	verdict, age := Bad, time.Duration(0)
	switch {
	case len(option) == ClientSize:
		verdict = ClientOnly
	case len(option) == Size && option[ClientSize] == version:
		made := binary.BigEndian.Uint32(option[12:])
		// In serial number arithmetic (RFC 9018 §4.3).
		age = time.Duration(int32(uint32(now.Unix())-made)) * time.Second
		if age > validity || age < -early {
			break
		}
		for i, k := range j.keys {
			if hash(k, (*[ClientSize + 8]byte)(option), from) != binary.LittleEndian.Uint64(option[16:]) {
				continue
			}
			if i == 0 && age <= renewal {
				copy(out[:], option)
				return Valid
			}
			verdict = Valid
			break
		}
	}
	j.Make(option, from, now, out)
	return verdict
}

// Make writes a new cookie for the client cookie that an option begins with.
func (j *Jar) Make(option []byte, from netip.Addr, now time.Time, out *[Size]byte) {
	copy(out[:ClientSize], option)
	out[8], out[9], out[10], out[11] = version, 0, 0, 0
	binary.BigEndian.PutUint32(out[12:], uint32(now.Unix()))
	binary.LittleEndian.PutUint64(out[16:], hash(j.keys[0], (*[ClientSize + 8]byte)(out[:]), from))
}

// hash is that of client cookie, version, reserved octets (whatever they are) and time, and of
// the client's address (RFC 9018 §4.4).
func hash(k Key, head *[ClientSize + 8]byte, from netip.Addr) uint64 {
	var m [32]byte
	n := copy(m[:], head[:])
	if from.Is4() || from.Is4In6() {
		a := from.As4()
		n += copy(m[n:], a[:])
	} else {
		a := from.As16()
		n += copy(m[n:], a[:])
	}
	return sipHash(*k.words, m[:n])
}
