package purge

import (
	"container/heap"
	"sync"
	"time"
)

// queue holds the purges of one provider that wait for one phase, by due time and then by id,
// so that the oldest goes first. A purge is in it once, or in the hands of one worker.
type queue struct {
	mu    sync.Mutex // guards all below; held over no I/O
	items dueHeap
	at    map[string]*due
	busy  map[string]*due  // handed out; the value is what was pushed meanwhile, or nil
	wake  chan struct{}    // capacity 1: something may be due earlier
	now   func() time.Time // the service's clock
}

type due struct {
	id    string
	when  time.Time
	index int
}

func newQueue(now func() time.Time) *queue {
	return &queue{at: map[string]*due{}, busy: map[string]*due{},
		wake: make(chan struct{}, 1), now: now}
}

// push makes id due at when, or earlier if it is already.
func (q *queue) push(id string, when time.Time) { q.add(id, when, true) }

// ensure makes id due at when unless it waits, or is worked at, already.
func (q *queue) ensure(id string, when time.Time) { q.add(id, when, false) }

func (q *queue) add(id string, when time.Time, move bool) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if after, out := q.busy[id]; out {
		if move && (after == nil || when.Before(after.when)) {
			q.busy[id] = &due{id: id, when: when}
		}
		return
	}
	q.insert(id, when, move)
}

// insert is add for a purge that nobody works at. The caller holds mu.
func (q *queue) insert(id string, when time.Time, move bool) {
	if d, ok := q.at[id]; ok {
		if move && when.Before(d.when) {
			d.when = when
			heap.Fix(&q.items, d.index)
			q.signal()
		}
		return
	}
	d := &due{id: id, when: when}
	q.at[id] = d
	heap.Push(&q.items, d)
	q.signal()
}

// take hands out a purge that is due; otherwise it says how long to wait for the next (0: for
// ever). The taker calls done.
func (q *queue) take() (id string, wait time.Duration, ok bool) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if len(q.items) == 0 {
		return "", 0, false
	}
	first := q.items[0]
	if d := first.when.Sub(q.now()); d > 0 {
		return "", d, false
	}
	heap.Pop(&q.items)
	delete(q.at, first.id)
	q.busy[first.id] = nil
	if len(q.items) > 0 {
		q.signal() // another worker may take the next
	}
	return first.id, 0, true
}

// done gives a purge back: to be due at when if more is true.
func (q *queue) done(id string, when time.Time, more bool) {
	q.mu.Lock()
	defer q.mu.Unlock()
	after := q.busy[id]
	delete(q.busy, id)
	if more {
		q.insert(id, when, true)
	}
	if after != nil {
		q.insert(id, after.when, true)
	}
}

// depth is how many purges wait or are worked at.
func (q *queue) depth() int {
	q.mu.Lock()
	defer q.mu.Unlock()
	return len(q.items) + len(q.busy)
}

func (q *queue) signal() {
	select {
	case q.wake <- struct{}{}:
	default:
	}
}

// dueHeap is a heap of due items.
type dueHeap []*due

func (h dueHeap) Len() int { return len(h) }
func (h dueHeap) Less(i, j int) bool {
	if !h[i].when.Equal(h[j].when) {
		return h[i].when.Before(h[j].when)
	}
	return h[i].id < h[j].id
}

func (h dueHeap) Swap(i, j int) {
	h[i], h[j] = h[j], h[i]
	h[i].index, h[j].index = i, j
}

func (h *dueHeap) Push(x any) {
	d := x.(*due)
	d.index = len(*h)
	*h = append(*h, d)
}

func (h *dueHeap) Pop() any {
	old := *h
	last := old[len(old)-1]
	old[len(old)-1] = nil
	*h = old[:len(old)-1]
	return last
}
