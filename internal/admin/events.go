package admin

import (
	"context"
	"encoding/json"
	"slices"
	"sync"
	"time"

	"pointsman/internal/admin/api"
)

// eventsKept is how many events a node remembers for views that connect later.
const eventsKept = 512

// Events remembers what changed on this node, for the live views. It is bounded and safe for
// concurrent use; adding never blocks.
type Events struct {
	now func() time.Time

	mu    sync.Mutex // guards what follows
	ring  []api.Event
	seq   uint64
	moved chan struct{} // closed and replaced with each event
}

// NewEvents returns an empty memory. A nil clock means time.Now.
func NewEvents(now func() time.Time) *Events {
	if now == nil {
		now = time.Now
	}
	return &Events{now: now, moved: make(chan struct{})}
}

// Add remembers an event. data may be nil.
func (e *Events) Add(kind, message string, data any) {
	var raw json.RawMessage
	if data != nil {
		raw, _ = json.Marshal(data) // what can't be shown is left out; the message stands
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	e.seq++
	e.ring = append(e.ring, api.Event{Sequence: e.seq, At: e.now(), Kind: kind,
		Message: message, Data: raw})
	if over := len(e.ring) - eventsKept; over > 0 {
		e.ring = slices.Clone(e.ring[over:])
	}
	close(e.moved)
	e.moved = make(chan struct{})
}

// After returns the remembered events above a sequence, oldest first, and a channel that is
// closed when there are more.
func (e *Events) After(seq uint64) ([]api.Event, <-chan struct{}) {
	e.mu.Lock()
	defer e.mu.Unlock()
	i, _ := slices.BinarySearchFunc(e.ring, seq, func(ev api.Event, s uint64) int {
		if ev.Sequence <= s {
			return -1
		}
		return 1
	})
	return slices.Clone(e.ring[i:]), e.moved
}

// actualWindow is the time over which actual shares are counted.
const actualWindow = time.Minute

// actual turns the counts of answers into shares of the last minute.
type actual struct {
	now func() time.Time

	mu    sync.Mutex // guards marks
	marks []mark     // oldest first, one a second
}

type mark struct {
	at     time.Time
	counts map[pair]uint64
}

// pair names a pair whose answers are counted.
type pair struct{ host, backend string }

func newActual(now func() time.Time) *actual { return &actual{now: now} }

// run takes a mark each second until ctx ends.
func (a *actual) run(ctx context.Context, served func() []Served) {
	if served == nil {
		return
	}
	t := time.NewTicker(time.Second)
	defer t.Stop()
	for {
		a.take(served())
		select {
		case <-ctx.Done():
			return
		case <-t.C:
		}
	}
}

func (a *actual) take(served []Served) {
	m := mark{at: a.now(), counts: map[pair]uint64{}}
	for _, s := range served {
		m.counts[pair{s.Host, s.Backend}] += s.Count
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	a.marks = append(a.marks, m)
	for len(a.marks) > 2 && m.at.Sub(a.marks[1].at) >= actualWindow {
		a.marks = a.marks[1:]
	}
}

// of returns a pair's answers in the window, and those of its host.
func (a *actual) of(host, backend string) (mine, all uint64) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if len(a.marks) == 0 {
		return 0, 0
	}
	first, last := a.marks[0], a.marks[len(a.marks)-1]
	for p, n := range last.counts {
		if p.host != host {
			continue
		}
		delta := n - min(n, first.counts[p])
		all += delta
		if p.backend == backend {
			mine = delta
		}
	}
	return mine, all
}
