package cookie

import (
	"encoding/binary"
	"math/bits"
)

// sipHash is SipHash-2-4 (Aumasson and Bernstein, "SipHash: a fast short-input PRF"), the only
// algorithm of server cookies of version 1 (RFC 9018 §4.4). The state is in four variables, each
// half of a round in a function small enough to be inlined, so that it stays in registers.
func sipHash(k *[2]uint64, m []byte) uint64 {
	v0, v1 := k[0]^0x736f6d6570736575, k[1]^0x646f72616e646f6d
	v2, v3 := k[0]^0x6c7967656e657261, k[1]^0x7465646279746573
	last := uint64(len(m)) << 56
	for ; len(m) >= 8; m = m[8:] {
		w := binary.LittleEndian.Uint64(m)
		v3 ^= w
		for range 2 {
			v0, v1, v2, v3 = first(v0, v1, v2, v3)
			v0, v1, v2, v3 = second(v0, v1, v2, v3)
		}
		v0 ^= w
	}
	for i, c := range m {
		last |= uint64(c) << (8 * i)
	}
	v3 ^= last
	for i := range 6 {
		if i == 2 {
			v0 ^= last
			v2 ^= 0xff
		}
		v0, v1, v2, v3 = first(v0, v1, v2, v3)
		v0, v1, v2, v3 = second(v0, v1, v2, v3)
	}
	return v0 ^ v1 ^ v2 ^ v3
}

func first(v0, v1, v2, v3 uint64) (uint64, uint64, uint64, uint64) {
	v0 += v1
	v2 += v3
	v1 = bits.RotateLeft64(v1, 13) ^ v0
	v3 = bits.RotateLeft64(v3, 16) ^ v2
	return bits.RotateLeft64(v0, 32), v1, v2, v3
}

func second(v0, v1, v2, v3 uint64) (uint64, uint64, uint64, uint64) {
	v0 += v3
	v2 += v1
	v3 = bits.RotateLeft64(v3, 21) ^ v0
	v1 = bits.RotateLeft64(v1, 17) ^ v2
	return v0, v1, bits.RotateLeft64(v2, 32), v3
}
