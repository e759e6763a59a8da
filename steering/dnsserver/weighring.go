package dnsserver

import (
	"sync/atomic"

	"pointsman/steering/control"
)

// weighSlots is how many lookups a worker may be ahead of the census: at 72 octets each, and for
// 300,000 a second.
const weighSlots = 1 << 13

// weighRing hands lookups from one UDP goroutine, or from all TCP connections, to the census. Its
// memory is set up once. It is the bounded queue of Vyukov (2010): a slot's turn says whether it
// is to be written or read, and in which round.
type weighRing struct {
	slots []weighSlot
	tail  uint64 // the next slot to be read; the reader's own
	_     [cacheLine]byte
	head  atomic.Uint64 // the next slot to be written
	full  atomic.Uint64 // lookups that found no room
	_     [cacheLine]byte
}

type weighSlot struct {
	turn   atomic.Uint64 // its position: to be written; one more: to be read
	lookup control.Lookup
}

func newWeighRing() *weighRing {
	r := &weighRing{slots: make([]weighSlot, weighSlots)}
	for i := range r.slots {
		r.slots[i].turn.Store(uint64(i))
	}
	return r
}

// put hands over a lookup; one that finds no room is counted. Any number of goroutines may call
// it. It allocates nothing and takes no lock.
func (r *weighRing) put(l *control.Lookup) {
	for {
		at := r.head.Load()
		s := &r.slots[at%weighSlots]
		switch turn := s.turn.Load(); {
		case turn < at:
			r.full.Add(1)
			return
		case turn == at && r.head.CompareAndSwap(at, at+1):
			s.lookup = *l
			s.turn.Store(at + 1)
			return
		}
	}
}

// take appends all lookups to a list. One goroutine may call it at a time.
func (r *weighRing) take(to []control.Lookup) []control.Lookup {
	for {
		s := &r.slots[r.tail%weighSlots]
		if s.turn.Load() != r.tail+1 {
			return to
		}
		to = append(to, s.lookup)
		s.lookup.Host = ""
		s.turn.Store(r.tail + weighSlots)
		r.tail++
	}
}
