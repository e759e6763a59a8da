package tap

import (
	"bytes"
	"math/rand/v2"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"

	"pgregory.net/rapid"
)

// numbered is an event whose octets can be told from those of all others.
func numbered(n, query, answer int) *Event {
	return &Event{Query: bytes.Repeat([]byte{byte(n)}, query), seq: uint64(n),
		Answer: bytes.Repeat([]byte{byte(n + 1)}, answer), Picks: make([]Pick, n%MaxPicks)}
}

func sameEvent(a, b *Event) bool {
	return a.seq == b.seq && len(a.Picks) == len(b.Picks) && bytes.Equal(a.Query, b.Query) &&
		bytes.Equal(a.Answer, b.Answer)
}

func TestARingGivesBackWhatItTookInOrderAndRefusesTheRest(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		r := newRing(8, 1000)
		var held []*Event
		for n := range rapid.IntRange(1, 300).Draw(t, "steps") {
			if rapid.Bool().Draw(t, "put") {
				e := numbered(n, rapid.IntRange(0, 300).Draw(t, "query"),
					rapid.IntRange(0, 300).Draw(t, "answer"))
				if took := r.put(e); took {
					held = append(held, e)
				} else if size := octets(held) + len(e.Query) + len(e.Answer); len(held) < 8 &&
					size < 1000-600 { // the end of the buffer may be lost once
					t.Fatalf("refused with %d events of %d octets", len(held), size)
				}
			} else if e := r.take(); (e == nil) != (len(held) == 0) {
				t.Fatalf("took %v of %d", e, len(held))
			} else if e != nil {
				if !sameEvent(e, held[0]) {
					t.Fatalf("took %v, not %v", e, held[0])
				}
				held = held[1:]
				r.free()
			}
			for i := range held {
				slot := &r.slots[(r.tail.Load()+uint64(i))%8].event
				if !sameEvent(slot, held[i]) {
					t.Fatalf("event %d of %d was written over", i, len(held))
				}
			}
		}
	})
}

func octets(events []*Event) (n int) {
	for _, e := range events {
		n += len(e.Query) + len(e.Answer)
	}
	return n
}

func TestARingWorksBetweenTwoGoroutines(t *testing.T) {
	r := newRing(16, 4000)
	const all = 20000
	var wg sync.WaitGroup
	wg.Go(func() {
		for n := 0; n < all; {
			if r.put(numbered(n, rand.IntN(200), rand.IntN(200))) {
				n++
			} else {
				runtime.Gosched()
			}
		}
	})
	for n := 0; n < all; {
		e := r.take()
		if e == nil {
			runtime.Gosched()
			continue
		}
		if want := numbered(n, len(e.Query), len(e.Answer)); !sameEvent(e, want) {
			t.Errorf("event %d is %v", n, e)
			break
		}
		r.free()
		n++
	}
	for t.Failed() && r.take() != nil { // let the other one end
		r.free()
	}
	wg.Wait()
}

func TestOneEventOfEverySoManyIsChosen(t *testing.T) {
	for _, every := range []int{1, 2, 3, 100} {
		var l lane
		l.open(every)
		var kinds [2]int
		for group := range 1000 {
			chosen := 0
			for i := range every {
				if l.left--; l.left == 0 {
					l.next()
					chosen++
					kinds[(group*every+i)%2]++
				}
			}
			if chosen != 1 {
				t.Fatalf("1 of %d: %d chosen in group %d", every, chosen, group)
			}
		}
		if kinds[0] < 300 || kinds[1] < 300 {
			t.Errorf("1 of %d: of two kinds in turns, %v were chosen", every, kinds)
		}
	}
}

func TestALaneThatIsClosedChoosesNothing(t *testing.T) {
	s := &Source{}
	s.messages.open(0)
	s.decision.open(2)
	for range 1000 {
		if s.Due(false) {
			t.Fatal("what was not steered is due")
		}
	}
	n := 0
	for range 1000 {
		if !s.Due(true) {
			continue
		}
		if w := s.Chosen(true); w != wantDecision {
			t.Fatalf("%b is due", w)
		}
		n++
	}
	if n != 500 {
		t.Errorf("%d decisions of 1000 were due, not 500", n)
	}
}

func TestASharedSourceChoosesOverAllItsGoroutines(t *testing.T) {
	s := &Source{shared: true}
	s.messages.open(10)
	s.decision.open(0)
	var chosen atomic.Int64
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			for range 250 {
				if s.Due(false) && s.Chosen(false) == wantMessage {
					chosen.Add(1)
				}
			}
		})
	}
	wg.Wait()
	if n := chosen.Load(); n != 100 {
		t.Errorf("%d of 1000 were chosen, not 100", n)
	}
}

func BenchmarkDue(b *testing.B) {
	s := &Source{}
	s.messages.open(100)
	s.decision.open(100)
	for b.Loop() {
		if s.Due(true) {
			s.Chosen(true)
		}
	}
}
