package geo

import (
	"math/bits"
	"slices"
)

// key is an address as the tables see it: IPv4 whole, IPv6 by its upper 64 bits. Nothing finer
// than a /64 is told apart.
type key interface{ uint32 | uint64 }

// value is what holds for a range: a class, or the number of a country, an AS and so on in a list.
// 0 is nothing.
type value interface{ uint8 | uint32 }

// The shape of the index: a cell with more than leafSegments is cut once more, into so many
// cells that there are spread segments for each of them, were they spread evenly.
const (
	leafSegments = 8
	spread       = 3 // 2^spread segments for each cell
	leaf         = 255
)

// segments cut the whole space of keys into ranges that have one value each. Segment i reaches
// from starts[i] to starts[i+1]-1; starts[0] is 0, and neighbours have different values.
type segments[K key, V value] struct {
	starts []K
	values []V
	// cells are the index, a tree: those of the root stand first and have 1<<shift keys each,
	// from base on. Addresses in use lie in clumps, IPv6 above all, and it follows them.
	cells []cell
	roots int
	base  K // the second start: nothing in use is near the first, which is 0
	shift uint8
}

// cell is a piece of the space of keys. As a leaf it says which segment holds its first key
// and how many more begin in it; else where its own cells begin and how wide each is.
type cell struct {
	at    uint32
	more  uint8
	shift uint8 // leaf: it has no cells
}

// add appends a segment while a table is made. Starts must not fall; a segment at the last
// one's start replaces it, one with the last one's value lengthens it.
func (s *segments[K, V]) add(start K, value V) {
	if n := len(s.starts); n > 0 && s.starts[n-1] == start {
		s.starts, s.values = s.starts[:n-1], s.values[:n-1]
	}
	if n := len(s.values); n > 0 && s.values[n-1] == value {
		return
	}
	s.starts = append(s.starts, start)
	s.values = append(s.values, value)
}

// finish makes the index.
func (s *segments[K, V]) finish() {
	s.starts, s.values = slices.Clip(s.starts), slices.Clip(s.values)
	if len(s.starts) < 2 {
		return
	}
	s.base = s.starts[1]
	last := len(s.starts) - 1
	width := bits.Len64(uint64(s.starts[last] - s.base))
	s.shift = uint8(max(0, width-bits.Len(uint(last))+spread))
	s.roots = int(uint64(s.starts[last]-s.base)>>s.shift) + 1
	s.cells = make([]cell, 0, s.roots+len(s.starts)/2)
	s.grow(s.base, s.shift, s.roots, 1)
	s.cells = slices.Clip(s.cells)
}

// grow appends n cells of 1<<shift keys from base on, and then the cells of those that hold
// too many segments. Segment at holds the first key.
func (s *segments[K, V]) grow(base K, shift uint8, n, at int) {
	own := len(s.cells)
	s.cells = append(s.cells, make([]cell, n)...)
	for i := range n {
		first := base + K(i)<<shift
		for at+1 < len(s.starts) && s.starts[at+1] <= first {
			at++
		}
		end := at // the segment that holds the cell's last key
		for end+1 < len(s.starts) && s.starts[end+1]-first <= K(1)<<shift-1 {
			end++
		}
		more := end - at
		if more <= leafSegments {
			s.cells[own+i] = cell{at: uint32(at), more: uint8(more), shift: leaf}
			continue
		}
		wide := min(int(shift), max(1, bits.Len(uint(more))-spread))
		s.cells[own+i] = cell{at: uint32(len(s.cells)), shift: shift - uint8(wide)}
		s.grow(first, shift-uint8(wide), 1<<wide, at)
	}
}

// find returns the segment that holds k.
func (s *segments[K, V]) find(k K) int {
	if len(s.cells) == 0 || k < s.base {
		return 0
	}
	rest, shift := uint64(k-s.base), s.shift
	i := rest >> shift
	if i >= uint64(s.roots) {
		return len(s.starts) - 1
	}
	c := s.cells[i]
	for c.shift != leaf {
		rest &= 1<<(shift&63) - 1
		shift = c.shift
		c = s.cells[uint64(c.at)+rest>>(shift&63)]
	}
	at := int(c.at)
	for _, start := range s.starts[at+1 : at+1+int(c.more)] {
		if start > k {
			break
		}
		at++
	}
	return at
}

// scope returns the length of the shortest prefix that holds k and lies whole in segment i: it
// must leave out the last key before the segment and the first one behind it.
func (s *segments[K, V]) scope(k K, i int) uint8 {
	n := 0
	if i > 0 {
		n = common(k, s.starts[i]-1) + 1
	}
	if i+1 < len(s.starts) {
		n = max(n, common(k, s.starts[i+1])+1)
	}
	return uint8(n)
}

// common counts the leading bits that two keys share.
func common[K key](a, b K) int {
	return bits.LeadingZeros64(uint64(a^b)) - (64 - size[K]())
}

// size is how many bits a key has.
func size[K key]() int { return bits.OnesCount64(uint64(^K(0))) }
