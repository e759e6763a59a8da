package tap

import (
	"math"
	"math/rand/v2"
	"sync"
	"sync/atomic"
)

// Wanted says which sinks want an event.
type Wanted uint8

const (
	wantMessage Wanted = 1 << iota
	wantDecision
)

// Timed reports whether somebody wants to know when the answer was ready.
func (w Wanted) Timed() bool { return w&wantMessage != 0 }

// lane is one goroutine's way to one sink. Without a ring nothing is ever due.
type lane struct {
	left    uint64 // until the next event that is wanted; never 0 between two calls
	every   uint64 // one event of so many
	place   uint64 // of the chosen event in its group of every
	seq     uint64 // how many were chosen
	ring    *ring
	dropped atomic.Uint64
}

// open lets the lane choose one event of every so many; 0: none.
func (l *lane) open(every int) {
	if l.left = math.MaxUint64; every == 0 {
		return
	}
	l.ring, l.every = newRing(ringSlots, ringBytes), uint64(every)
	l.place = rand.Uint64N(l.every)
	l.left = l.place + 1
}

// next chooses an event of the next group. Of every so many events exactly one is chosen, at a
// random place: with a fixed one, queries that come in turns (A, AAAA, A, AAAA) would hide one
// of their kinds for good.
func (l *lane) next() {
	place := rand.Uint64N(l.every)
	l.left = l.every - l.place + place
	l.place = place
}

func (l *lane) offer(e *Event) {
	l.seq++
	e.seq, e.dropped = l.seq, l.dropped.Load()
	if !l.ring.put(e) {
		l.dropped.Add(1)
	}
}

// Source takes the events of one goroutine, or of several when it is shared. One of a single
// goroutine takes no lock.
type Source struct {
	messages lane
	decision lane
	shared   bool
	worker   int
	mu       sync.Mutex // guards the lanes of a shared source
}

// Due counts one answered query, and reports whether somebody may want its event; Chosen, which
// must follow then, says who. Steered says that something was picked for it. It is as short as can
// be, since every query comes by.
func (s *Source) Due(steered bool) bool {
	if s.shared {
		return true // Chosen counts, under the lock
	}
	s.messages.left--
	if steered {
		s.decision.left--
	}
	return s.messages.left == 0 || s.decision.left == 0
}

// Chosen says who wants the event of the query that was due; 0: nobody. Offer may follow.
func (s *Source) Chosen(steered bool) (w Wanted) {
	if s.shared {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.messages.left--
		if steered {
			s.decision.left--
		}
	}
	if s.messages.left == 0 {
		s.messages.next()
		w |= wantMessage
	}
	if s.decision.left == 0 {
		s.decision.next()
		w |= wantDecision
	}
	return w
}

// Offer copies an event for those who want it. It neither waits nor allocates; when there is no
// room the event is dropped and counted.
func (s *Source) Offer(to Wanted, e *Event) {
	if s.shared {
		s.mu.Lock()
		defer s.mu.Unlock()
	}
	e.worker = s.worker
	if to&wantMessage != 0 {
		s.messages.offer(e)
	}
	if to&wantDecision != 0 && e.Table != nil && len(e.Picks) > 0 {
		s.decision.offer(e)
	}
}
