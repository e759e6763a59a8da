package tap

import (
	"sync/atomic"
)

// Sizes of a ring: what a worker may be ahead of its sink. At 200,000 events a second they last
// for the time between two looks of the sink.
const (
	ringSlots = 1 << 11
	ringBytes = 1 << 20
)

// cacheLine keeps what the two sides write apart.
const cacheLine = 64

// ring hands events from one goroutine to another. Its memory is set up once. The octets of
// queries and answers lie in one buffer, each event's in one piece, in the order of the slots.
type ring struct {
	slots []slot
	bytes []byte
	at    uint64 // octets given out ever, those skipped at the end included; the producer's own
	_     [cacheLine]byte
	head  atomic.Uint64 // the next slot to be written
	_     [cacheLine]byte
	tail  atomic.Uint64 // the next slot to be read
	_     [cacheLine]byte
}

type slot struct {
	event Event
	picks [MaxPicks]Pick
	start uint64 // of its octets, counted as ring.at is; the consumer leaves it alone
}

func newRing(slots, size int) *ring {
	return &ring{slots: make([]slot, slots), bytes: make([]byte, size)}
}

// put copies an event into the ring, and reports false if there is no room. It allocates nothing
// and takes no lock. Only one goroutine may call it at a time.
func (r *ring) put(e *Event) bool {
	head, tail := r.head.Load(), r.tail.Load()
	need := uint64(len(e.Query) + len(e.Answer))
	start, ok := r.room(need, head, tail)
	if !ok || len(e.Picks) > MaxPicks {
		return false
	}
	s := &r.slots[head%uint64(len(r.slots))]
	from := start % uint64(len(r.bytes))
	b := r.bytes[from : from+need : from+need]
	n := copy(b, e.Query)
	copy(b[n:], e.Answer)
	s.event, s.start = *e, start
	s.event.Query, s.event.Answer = b[:n:n], b[n:]
	s.event.Picks = s.picks[:copy(s.picks[:], e.Picks)]
	r.at = start + need
	r.head.Store(head + 1)
	return true
}

// room returns where so many octets can go in one piece.
func (r *ring) room(need, head, tail uint64) (start uint64, ok bool) {
	size := uint64(len(r.bytes))
	if head-tail == uint64(len(r.slots)) || need > size {
		return 0, false
	}
	start = r.at
	if rest := size - start%size; rest < need {
		start += rest
	}
	oldest := start
	if head != tail {
		oldest = r.slots[tail%uint64(len(r.slots))].start
	}
	return start, start+need-oldest <= size
}

// take hands out the oldest event; nil when there is none. It is valid until free, which must
// follow. Only one goroutine may call the two.
func (r *ring) take() *Event {
	tail := r.tail.Load()
	if tail == r.head.Load() {
		return nil
	}
	return &r.slots[tail%uint64(len(r.slots))].event
}

// free gives back the slot of the last event taken. The ring keeps no table alive.
func (r *ring) free() {
	tail := r.tail.Load()
	r.slots[tail%uint64(len(r.slots))].event.Table = nil
	r.tail.Store(tail + 1)
}
