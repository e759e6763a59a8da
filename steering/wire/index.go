package wire

import "math/bits"

// Index numbers names from 0 in the order in which they were added. Once filled it is read-only,
// and then any number of goroutines may read it.
type Index struct {
	// slots is an open-addressing table with a power of two of slots, at most half of them
	// taken. A slot holds the high half of a name's hash, and its number plus one; 0 is free.
	slots []uint64
	names []byte // each with its length before it
	at    []uint32
}

// NewIndex returns an empty index with room for so many names; it can't grow beyond them.
func NewIndex(names int) *Index {
	size := 1 << bits.Len(uint(2*max(names, 1)-1))
	return &Index{slots: make([]uint64, size), at: make([]uint32, 0, names)}
}

// Len returns the number of names.
func (x *Index) Len() int { return len(x.at) }

// Add adds a name on the wire, in lower case. Adding it again changes nothing.
func (x *Index) Add(name []byte) {
	hash := Hash(name)
	slot, found := x.slot(hash, name)
	if found {
		return
	}
	x.at = append(x.at, uint32(len(x.names)))
	x.names = append(append(x.names, byte(len(name))), name...)
	x.slots[slot] = hash&^0xFFFFFFFF | uint64(len(x.at))
}

// Find returns the number of a name on the wire, in lower case, whose Hash is given; −1 when it
// was not added.
func (x *Index) Find(hash uint64, name []byte) int {
	slot, found := x.slot(hash, name)
	if !found {
		return -1
	}
	return int(uint32(x.slots[slot])) - 1
}

// slot returns where a name is, or the free slot where it belongs.
func (x *Index) slot(hash uint64, name []byte) (int, bool) {
	mask := uint64(len(x.slots) - 1)
	for i := hash & mask; ; i = (i + 1) & mask {
		s := x.slots[i]
		if s == 0 {
			return int(i), false
		}
		if s>>32 != hash>>32 {
			continue
		}
		at := x.at[uint32(s)-1]
		length := uint32(x.names[at])
		if string(x.names[at+1:at+1+length]) == string(name) {
			return int(i), true
		}
	}
}
