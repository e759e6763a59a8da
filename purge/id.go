package purge

import (
	"encoding/binary"
	"math/rand/v2"
	"sync"
	"time"
)

// crockford is the alphabet of a ULID: digits and letters without I, L, O, U, in ASCII order,
// so that ids sort as their times do (github.com/ulid/spec).
const crockford = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"

const (
	idLength     = 26
	bucketLength = 6 // leading characters that name 2^20 ms
	bucketSpan   = (1 << 20) * time.Millisecond
)

// ids makes ULIDs that rise strictly within this process, also when the clock goes back.
type ids struct {
	mu   sync.Mutex // guards all below; held over no I/O
	rand *rand.Rand
	ms   uint64 // 48 bits
	high uint16 // the upper 16 of 80 random bits
	low  uint64 // and the lower 64
}

func (g *ids) next(now time.Time) string {
	g.mu.Lock()
	defer g.mu.Unlock()
	if ms := uint64(now.UnixMilli()); ms > g.ms {
		g.ms, g.high, g.low = ms, uint16(g.rand.Uint32()), g.rand.Uint64()
	} else if g.low++; g.low == 0 {
		if g.high++; g.high == 0 {
			g.ms++
		}
	}
	return encodeID(g.ms, g.high, g.low)
}

// float returns a number in [0, 1) for jitter.
func (g *ids) float() float64 {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.rand.Float64()
}

// encodeID writes 128 bits as 26 characters of 5 bits; the first holds the upper 3.
func encodeID(ms uint64, high uint16, low uint64) string {
	upper := ms<<16 | uint64(high)
	var out [idLength]byte
	for i := idLength - 1; i >= 0; i-- {
		out[i] = crockford[low&31]
		low = low>>5 | upper<<59
		upper >>= 5
	}
	return string(out[:])
}

// bucket returns the leading characters that every id of about that time has.
func bucket(t time.Time) string {
	return encodeID(uint64(max(t.UnixMilli(), 0)), 0, 0)[:bucketLength]
}

// validID reports whether s can be an id, so that no caller's text becomes a store key.
func validID(s string) bool {
	if len(s) != idLength || s[0] > '7' {
		return false
	}
	for i := range len(s) {
		c := s[i]
		switch {
		case c >= '0' && c <= '9':
		case c >= 'A' && c <= 'Z' && c != 'I' && c != 'L' && c != 'O' && c != 'U':
		default:
			return false
		}
	}
	return true
}

// newRand returns a generator seeded by the operating system: ids must not collide between
// nodes that started at the same time.
func newRand(read func([]byte) (int, error)) *rand.Rand {
	var seed [32]byte
	if _, err := read(seed[:]); err != nil {
		binary.LittleEndian.PutUint64(seed[:], uint64(time.Now().UnixNano()))
	}
	return rand.New(rand.NewChaCha8(seed))
}
