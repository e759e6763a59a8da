package edge

import (
	"context"
	"sync"
	"time"

	"pointsman/edge/storage"
)

const (
	// maxBackground bounds the revalidations behind stale answers; beyond it the stale answer
	// is given all the same, and the next request tries again.
	maxBackground = 64
	// uncacheableFor is how long requests for what proved not cacheable go to the origin each
	// on its own, so that they don't wait for each other in vain.
	uncacheableFor = 10 * time.Second
	maxUncacheable = 1 << 14
)

// flightKey is what requests must have in common to wait for one fetch.
type flightKey struct {
	key     storage.Key
	variant string // the secondary key by the Vary known so far
}

// shunned names what proved not cacheable: often a key has answers for clients without
// credentials that are, and others that aren't. These must not keep those out of the cache.
type shunned struct {
	key      storage.Key
	personal bool // asked for with credentials
}

// flights are the fetches under way.
type flights struct {
	mu          sync.Mutex // guards all below
	open        map[flightKey]*flight
	running     map[*flight]struct{}
	uncacheable map[shunned]time.Time // until when
	background  int
	closed      bool

	wait sync.WaitGroup // of the fetching goroutines; added to under mu while not closed
}

func newFlights() *flights {
	return &flights{
		open:        map[flightKey]*flight{},
		running:     map[*flight]struct{}{},
		uncacheable: map[shunned]time.Time{},
	}
}

// close cancels every flight and waits for their goroutines.
func (fs *flights) close() {
	fs.mu.Lock()
	fs.closed = true
	for f := range fs.running {
		f.cancel(nil)
	}
	fs.mu.Unlock()
	fs.wait.Wait()
}

// collapsible says whether requests for a key should wait for each other.
func (fs *flights) collapsible(k storage.Key, personal bool, now time.Time) bool {
	what := shunned{k, personal}
	fs.mu.Lock()
	defer fs.mu.Unlock()
	until, ok := fs.uncacheable[what]
	if ok && !now.Before(until) {
		delete(fs.uncacheable, what)
		ok = false
	}
	return !ok
}

// markUncacheable notes that what a key names could not be shared.
func (fs *flights) markUncacheable(k storage.Key, personal bool, now time.Time) {
	fs.mu.Lock()
	defer fs.mu.Unlock()
	if len(fs.uncacheable) >= maxUncacheable {
		clear(fs.uncacheable) // rare, and costs only some waiting
	}
	fs.uncacheable[shunned{k, personal}] = now.Add(uncacheableFor)
}

// join gives the flight to wait for, as its leader if it is new. A new flight is started by
// start in a goroutine of its own. again is asked, once no flight is there, whether the object
// has come into the cache meanwhile: then join gives nil. It also does after close.
func (fs *flights) join(k flightKey, f *flight, again func() bool) (_ *flight, leader bool) {
	fs.mu.Lock()
	defer fs.mu.Unlock()
	if old := fs.open[k]; old != nil && old.board() {
		return old, false
	}
	if fs.closed || again() {
		return nil, false
	}
	fs.launch(k, f)
	return f, true
}

// spawn starts a flight that nobody waits for, unless one is under way or too many are.
func (fs *flights) spawn(k flightKey, f *flight) bool {
	fs.mu.Lock()
	defer fs.mu.Unlock()
	if fs.closed || fs.open[k] != nil || fs.background >= maxBackground {
		return false
	}
	fs.background++
	f.background = true
	f.waiting = 0
	fs.launch(k, f)
	return true
}

// launch starts a flight. Called with mu held.
func (fs *flights) launch(k flightKey, f *flight) {
	ctx, cancel := context.WithCancelCause(context.Background())
	f.cancel = cancel
	f.begin()
	fs.open[k] = f
	fs.running[f] = struct{}{}
	fs.wait.Go(func() {
		defer fs.land(k, f)
		f.run(ctx)
	})
}

// leave takes a flight off the map, so that nobody joins it any more.
func (fs *flights) leave(k flightKey, f *flight) {
	fs.mu.Lock()
	defer fs.mu.Unlock()
	if fs.open[k] == f {
		delete(fs.open, k)
	}
}

// land ends a flight.
func (fs *flights) land(k flightKey, f *flight) {
	fs.leave(k, f)
	f.fetch.End() // only now: until it had left, those who came asked it about purges
	fs.mu.Lock()
	defer fs.mu.Unlock()
	delete(fs.running, f)
	f.release()
	if f.background {
		fs.background--
	}
}

// release frees what a flight holds once its goroutine has ended; what readers still need of
// its body they release themselves. The context of a response that
// was handed over lives on with it, until the leader is done.
func (f *flight) release() {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.phase != handed || f.background || f.abandoned {
		f.cancel(nil)
	}
	f.landed = true
	f.settleEnd()
}
