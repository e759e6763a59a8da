package control

import (
	"cmp"
	"encoding/binary"
	"errors"
	"math"
	"math/bits"
	"net/netip"
	"slices"
)

// ways is how many prefixes one set of a sketch holds.
const ways = 8

// Sketch finds the prefixes with the most load in fixed memory, about 48 bytes for an entry. It
// is the space-saving algorithm of Metwally, Agrawal and El Abbadi (2005), weighted, in sets of
// 8: a prefix belongs to one set by its hash, and a new one takes the place of the lightest
// there, whose load it inherits as its possible error. So no load is ever underestimated, and
// none is off by more than an eighth of its set's load.
//
// A sketch is for one goroutine, such as one core's; Merge adds up those of all cores.
type Sketch struct {
	sets  []set
	total float64 // in units of scale, as all loads in here
	// scale is what a load of 1 counts now. It grows with time instead of all loads falling.
	scale float64
}

// set keeps its fields in arrays: looking for a key reads one line of the processor's cache. The
// heaviest comes first, so that it is found first, and the lightest last.
type set struct {
	keys   [ways]uint64 // hash; 0: free
	loads  [ways]float64
	errs   [ways]float64 // how much of the load may be others'
	owners [ways]owner
}

// owner is a prefix without pointers.
type owner struct {
	addr [16]byte
	bits uint8
	v4   bool
}

// NewSketch returns a sketch for so many prefixes, rounded up to a power of two from 8 to
// 65,536. Four times as many as are wanted at the end keep the errors small.
func NewSketch(prefixes int) *Sketch {
	sets := (max(1, min(prefixes, 1<<16)) + ways - 1) / ways
	return &Sketch{sets: make([]set, 1<<bits.Len(uint(sets-1))), scale: 1}
}

// Add counts a load of a prefix. It allocates nothing. A load of no valid prefix counts in
// Total only; one that is not above 0, or no number, not at all.
func (s *Sketch) Add(p netip.Prefix, load float64) {
	if !(load > 0) || load > math.MaxFloat32 {
		return
	}
	load *= s.scale
	s.total += load
	if !p.IsValid() {
		return
	}
	addr, length := p.Addr().As16(), p.Bits()
	key := hashPrefix(addr, length)
	in := &s.sets[key>>32&uint64(len(s.sets)-1)]
	at := ways - 1 // the lightest, or free
	for i := range &in.keys {
		if in.keys[i] == key {
			at = i
			break
		}
	}
	if in.keys[at] != key {
		in.keys[at], in.errs[at] = key, in.loads[at]
		in.owners[at] = owner{addr, uint8(length), p.Addr().Is4()}
	}
	in.loads[at] += load
	for ; at > 0 && in.loads[at] > in.loads[at-1]; at-- {
		in.swap(at, at-1)
	}
}

func (s *set) swap(i, j int) {
	s.keys[i], s.keys[j] = s.keys[j], s.keys[i]
	s.loads[i], s.loads[j] = s.loads[j], s.loads[i]
	s.errs[i], s.errs[j] = s.errs[j], s.errs[i]
	s.owners[i], s.owners[j] = s.owners[j], s.owners[i]
}

// hashPrefix mixes an address and a length; never 0. Prefixes that agree in all 64 bits count
// as one.
func hashPrefix(addr [16]byte, length int) uint64 {
	a := binary.BigEndian.Uint64(addr[:8]) ^ uint64(length)<<56 ^ 0x9e3779b97f4a7c15
	b := binary.BigEndian.Uint64(addr[8:]) ^ 0xd1b54a32d192ed03
	high, low := bits.Mul64(a, b)
	return max(1, high^low^a)
}

// Age lets everything counted so far fall by part, from 0 to 1: with 0.5 an old load counts
// half of a new one. It takes no longer than an Add, except once in very many calls.
func (s *Sketch) Age(part float64) {
	keep := 1 - min(1, max(0, part))
	if keep == 0 {
		clear(s.sets)
		s.total, s.scale = 0, 1
		return
	}
	if s.scale /= keep; s.scale < 1e100 {
		return
	}
	for i := range s.sets {
		for j := range ways {
			s.sets[i].loads[j] /= s.scale
			s.sets[i].errs[j] /= s.scale
		}
	}
	s.total /= s.scale
	s.scale = 1
}

// Total returns the load of all prefixes, also of those that are not kept.
func (s *Sketch) Total() float64 { return s.total / s.scale }

// Merge adds what o holds, and leaves o as it is. Both must be of one size. The merged sketch
// keeps the promise of each: a prefix that one of them has dropped is taken to have had the
// most there that it can have had.
func (s *Sketch) Merge(o *Sketch) error {
	if len(s.sets) != len(o.sets) {
		return errors.New("merging sketches of different sizes")
	}
	for i := range s.sets {
		s.sets[i] = mergeSets(s.sets[i], o.sets[i], s.scale/o.scale)
	}
	s.total += o.total * (s.scale / o.scale)
	return nil
}

// entry is one way of a set.
type entry struct {
	key       uint64
	load, err float64
	owner     owner
}

func mergeSets(a, b set, scale float64) set {
	for i := range ways {
		b.loads[i] *= scale
		b.errs[i] *= scale
	}
	all := make([]entry, 0, 2*ways)
	for i, k := range a.keys {
		if k != 0 {
			e := entry{k, a.loads[i], a.errs[i], a.owners[i]}
			all = append(all, e.plus(&b))
		}
	}
	for i, k := range b.keys {
		if k != 0 && !slices.Contains(a.keys[:], k) {
			e := entry{k, b.loads[i], b.errs[i], b.owners[i]}
			all = append(all, e.plus(&a))
		}
	}
	slices.SortFunc(all, func(x, y entry) int {
		return cmp.Or(cmp.Compare(y.load, x.load), cmp.Compare(x.key, y.key))
	})
	var out set
	for i, e := range all[:min(len(all), ways)] {
		out.keys[i], out.loads[i], out.errs[i], out.owners[i] = e.key, e.load, e.err, e.owner
	}
	return out
}

// plus adds what another set knows of the entry, or the most that it may have dropped.
func (e entry) plus(o *set) entry {
	if i := slices.Index(o.keys[:], e.key); i >= 0 {
		e.load += o.loads[i]
		e.err += o.errs[i]
		return e
	}
	least := slices.Min(o.loads[:]) // 0 while the set has room: nothing was dropped
	e.load += least
	e.err += least
	return e
}

// Heaviest returns up to most prefixes with the largest loads, largest first. A load is in the
// middle of what it can be, and its Error says how far to both sides.
func (s *Sketch) Heaviest(most int) []Resolver {
	var out []Resolver
	for i := range s.sets {
		in := &s.sets[i]
		for j, k := range in.keys {
			if k == 0 {
				continue
			}
			load := in.loads[j] - in.errs[j]/2
			out = append(out, Resolver{
				Prefix: in.owners[j].prefix(), Load: load / s.scale, Error: in.errs[j] / 2 / load,
			})
		}
	}
	sortResolvers(out)
	return out[:min(len(out), max(0, most))]
}

func (o owner) prefix() netip.Prefix {
	addr := netip.AddrFrom16(o.addr)
	if o.v4 {
		addr = addr.Unmap()
	}
	return netip.PrefixFrom(addr, int(o.bits))
}
