package edge

import (
	"context"
	"errors"
	"net/http"
	"sync"

	"pointsman/edge/freshness"
	"pointsman/edge/storage"
)

// window is how much of a body that outgrew MaxObject is kept for the slower readers.
const window = 1 << 20

// phase is how far a flight is.
type phase uint8

const (
	asking   phase = iota // no final head yet
	sharing               // the head is there, the body comes, for everybody
	handed                // not to be shared: the leader alone has the response
	complete              // like sharing, and the body is whole
	failed                // no answer, or the body broke off
)

// flight is one fetch for all who wait for it.
type flight struct {
	begin      func()                // notes the start of the fetch in the cache
	run        func(context.Context) // does it
	cancel     context.CancelCauseFunc
	background bool
	fetch      *storage.Fetch // set by begin
	budget     *budget

	mu      sync.Mutex    // guards all below
	changed chan struct{} // closed and replaced at every change
	phase   phase
	err     error // of failed

	// Of a head that came.
	status       int
	header       http.Header
	meta         freshness.Meta
	vary         []string // names
	variant      string   // the secondary key of the request that was sent
	tags         []string
	size         int64 // of the body, -1 unknown
	storable     bool
	validated    bool           // a 304 confirmed the object in the cache
	originStatus int            // what the origin answered with
	reason       string         // why it is not stored; empty: it is
	response     *http.Response // of handed, the leader's to close
	tooLarge     bool           // it was handed over for its length

	hints []hint // interim responses, in order

	// The body: data holds it from the offset base on. Bytes once in data never change, so
	// readers use slices of it without the lock.
	data    []byte
	base    int64
	booked  int64 // of the budget; data's capacity at least
	partial bool  // only a window of the body is kept: it outgrew MaxObject, or
	denied  bool  // the budget
	waiting int   // boarded and not left
	landed  bool  // the fetching goroutine has ended
	// abandoned says that all have left and the fetch was cancelled.
	abandoned bool
	readers   map[*reader]struct{}
}

func newFlight(b *budget) *flight {
	return &flight{changed: make(chan struct{}), readers: map[*reader]struct{}{}, waiting: 1,
		budget: b}
}

// board counts one more who waits, if that is still possible.
func (f *flight) board() bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.abandoned || f.phase == handed || f.phase == failed || f.base > 0 {
		return false
	}
	// A purge since the fetch began, or a tag purge while the tags aren't known yet: those who
	// come after a purge must not get what was asked for before it.
	if purged, known := f.fetch.Purged(f.tags, f.phase != asking); purged || !known {
		return false
	}
	f.waiting++
	return true
}

// left says whether the fetch was ended because nobody waits for it any more.
func (f *flight) left() bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.abandoned
}

// signal wakes all who wait. Called with mu held.
func (f *flight) signal() {
	close(f.changed)
	f.changed = make(chan struct{})
}

// update changes the flight and wakes all who wait.
func (f *flight) update(change func()) {
	f.mu.Lock()
	defer f.mu.Unlock()
	change()
	f.signal()
}

// alight says that one who waited has left. When the last has and the answer is of no use to
// the cache either, the fetch is cancelled.
func (f *flight) alight(r *reader) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.waiting--
	delete(f.readers, r)
	f.settleEnd()
	if f.waiting == 0 && !f.background && !f.storable {
		f.abandoned = true
		f.cancel(nil)
	}
	f.signal()
}

// await blocks until the flight has a head or failed, or ctx ends. pass is called for each
// interim response.
func (f *flight) await(ctx context.Context, pass func(hint)) (phase, error) {
	sent := 0
	for {
		f.mu.Lock()
		p, err, changed, hints := f.phase, f.err, f.changed, f.hints[sent:]
		f.mu.Unlock()
		for _, h := range hints {
			pass(h)
			sent++
		}
		if p != asking {
			return p, err
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return asking, ctx.Err()
		}
	}
}

// errUnwanted ends a fetch whose body can't be stored any more and that nobody waits for.
var errUnwanted = errors.New("nobody wants the rest")

// append adds to the body. Once it is longer than limit, or than the budget allows, only a window
// of it is kept, and the call waits for the slowest reader; one that takes nothing is cut off by
// its own deadline.
func (f *flight) append(ctx context.Context, p []byte, limit int64) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	for len(p) > 0 {
		n := f.room(len(p), limit)
		if n > 0 {
			f.data = append(f.data, p[:n]...)
			p = p[n:]
			f.signal()
			continue
		}
		if f.waiting == 0 {
			f.abandoned = true // or somebody could still board
			return errUnwanted
		}
		if f.trim() {
			continue
		}
		changed := f.changed
		f.mu.Unlock()
		var err error
		select {
		case <-changed:
		case <-ctx.Done():
			err = ctx.Err()
		}
		f.mu.Lock()
		if err != nil {
			return err
		}
	}
	return nil
}

// room says how many of n bytes the buffer takes now, and gives up to keep the whole body where
// it can't be. Called with mu held.
func (f *flight) room(n int, limit int64) int {
	f.whole(n, limit)
	return min(n, cap(f.data)-len(f.data))
}

// whole says whether, with n more bytes, all of the body so far is in the buffer, and makes it
// large enough. Once it is not, the body can't be stored any more. Called with mu held.
func (f *flight) whole(n int, limit int64) bool {
	need := int64(len(f.data) + n)
	if !f.partial && need <= limit && (need <= int64(cap(f.data)) || f.grow(need, limit)) {
		return true
	}
	f.partial, f.storable = true, false
	return false
}

// slowest is the least offset that a reader still needs. Called with mu held.
func (f *flight) slowest() int64 {
	if f.waiting > len(f.readers) {
		return f.base // somebody has not begun to read
	}
	least := f.base + int64(len(f.data))
	for r := range f.readers {
		least = min(least, r.at)
	}
	return least
}

// reader is one client's place in a flight's body.
type reader struct {
	flight *flight
	at     int64 // guarded by flight.mu
}

// reader makes a reader at the start of the body, which the caller has boarded for.
func (f *flight) reader() *reader {
	r := &reader{flight: f}
	f.mu.Lock()
	defer f.mu.Unlock()
	r.at = f.base
	f.readers[r] = struct{}{}
	return r
}

// next gives the bytes from the reader's place on, at most limit, waiting for them if need be.
// Without error and bytes the body is at its end. caught tells that there are no more for now.
func (r *reader) next(ctx context.Context, limit int) (p []byte, caught bool, err error) {
	f := r.flight
	for {
		f.mu.Lock()
		p, caught = f.data[r.at-f.base:], true
		ended, err, changed := f.phase, f.err, f.changed
		f.mu.Unlock()
		if len(p) > limit {
			p, caught = p[:limit], false
		}
		switch {
		case len(p) > 0 || ended == complete:
			return p, caught, nil
		case ended == failed:
			return nil, true, err
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return nil, true, ctx.Err()
		}
	}
}

// advance says that n bytes are done with.
func (r *reader) advance(n int) {
	f := r.flight
	f.mu.Lock()
	defer f.mu.Unlock()
	r.at += int64(n)
	if !f.storable {
		f.signal() // the fetch may be waiting for us
	}
}
