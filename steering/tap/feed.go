package tap

import (
	"context"
	"errors"
	"log/slog"
	"sync/atomic"
	"time"

	"golang.org/x/time/rate"
)

const (
	// look is the time between two looks at the rings.
	look = 10 * time.Millisecond
	// chunk is how many bytes are gathered before they are written, at least when there are more
	// events at hand.
	chunk = 64 << 10
)

// output takes whole records. It belongs to one goroutine.
type output interface {
	write(ctx context.Context, b []byte) error
	close() error
}

// feed carries events from the rings of one sink to its output.
type feed struct {
	name   string // of the sink, in metrics and logs
	lanes  []*lane
	encode func(b []byte, e *Event) []byte
	out    output
	log    *slog.Logger

	written, failed atomic.Uint64

	buf     []byte
	pending uint64 // events in buf
	dropped uint64 // as of the last look
	faults  rate.Sometimes
	drops   rate.Sometimes
}

// Faults are told once a minute: a disk stays full for long.
func newFeed(name string, out output, log *slog.Logger) *feed {
	return &feed{name: name, out: out, log: log,
		faults: rate.Sometimes{First: 1, Interval: time.Minute},
		drops:  rate.Sometimes{First: 1, Interval: time.Minute}}
}

// run empties the rings until ctx ends, then once more, and closes the output. It never fails:
// what it can't write is counted.
func (f *feed) run(ctx context.Context) {
	ticker := time.NewTicker(look)
	defer ticker.Stop()
	for ctx.Err() == nil {
		f.drain(ctx)
		select {
		case <-ctx.Done():
		case <-ticker.C:
		}
	}
	f.drain(ctx)
	if err := f.out.close(); err != nil {
		f.log.Warn("tap not closed in order", "sink", f.name, "err", err)
	}
}

// drain writes what is in the rings now.
func (f *feed) drain(ctx context.Context) {
	var dropped uint64
	for _, l := range f.lanes {
		for range ringSlots { // no ring starves the others
			e := l.ring.take()
			if e == nil {
				break
			}
			f.buf = f.encode(f.buf, e)
			l.ring.free()
			f.pending++
			if len(f.buf) >= chunk {
				f.flush(ctx)
			}
		}
		dropped += l.dropped.Load()
	}
	f.flush(ctx)
	if n := dropped - f.dropped; n > 0 {
		f.drops.Do(func() {
			f.log.Warn("tap events dropped", "sink", f.name, "reason", "the sink is too slow",
				"count", n)
		})
		f.dropped = dropped
	}
}

func (f *feed) flush(ctx context.Context) {
	if len(f.buf) == 0 {
		return
	}
	err := f.out.write(ctx, f.buf)
	n := f.pending
	f.buf, f.pending = f.buf[:0], 0
	if err == nil {
		f.written.Add(n)
		return
	}
	f.failed.Add(n)
	if !errors.Is(err, errAway) {
		f.faults.Do(func() {
			f.log.Warn("tap events lost", "sink", f.name, "count", n, "err", err)
		})
	}
}
