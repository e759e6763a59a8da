package edge_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"pointsman/edge"
)

// film is a body of size bytes, each made from its place, that pauses half-way.
type film struct {
	at, size int64
	seed     byte
	pause    func() error // nil: it goes on at once
	closed   func()
}

func (b *film) Read(p []byte) (int, error) {
	if b.at >= b.size/2 && b.pause != nil {
		pause := b.pause
		b.pause = nil
		if err := pause(); err != nil {
			return 0, err
		}
	}
	if b.at >= b.size {
		return 0, io.EOF
	}
	n := copy(p[:min(int64(len(p)), b.size-b.at)], scene(b.seed, b.at))
	b.at += int64(n)
	return n, nil
}

func (b *film) Close() error {
	if b.closed != nil {
		b.closed()
	}
	return nil
}

// scene is what a film shows from a place on, for a while.
func scene(seed byte, at int64) string {
	reel := strings.Repeat(fmt.Sprintf("%03d of %d ", seed, at>>12), 500)
	return reel[at&0xfff : 0x1000]
}

// watcher checks a film while it comes, and keeps nothing of it.
type watcher struct {
	header http.Header
	seed   byte
	got    int64
	wrong  int
}

func (w *watcher) Header() http.Header { return w.header }
func (w *watcher) WriteHeader(int)     {}
func (w *watcher) Flush()              {}
func (w *watcher) Write(p []byte) (int, error) {
	for rest := p; len(rest) > 0; {
		want := scene(w.seed, w.got)
		n := min(len(want), len(rest))
		if string(rest[:n]) != want[:n] {
			w.wrong += n
		}
		w.got += int64(n)
		rest = rest[n:]
	}
	return len(p), nil
}

func (w *watcher) watch(t *testing.T, s *edge.Server, path string) {
	r := httptest.NewRequestWithContext(t.Context(), "GET", "http://a.test"+path, nil)
	s.Handler().ServeHTTP(w, r)
}

// small lets the bodies on their way have 4 MiB, of at most 1 MiB each.
func small(c *edge.Config) { c.Memory, c.MaxObject, c.InFlight = 64<<20, 1<<20, 4<<20 }

func TestManyLargeBodiesAtOnceStayWithinTheBudgetAndArriveWhole(t *testing.T) {
	for name, known := range map[string]bool{"of known length": true, "chunked": false} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) { flood(t, known) })
		})
	}
}

func flood(t *testing.T, known bool) {
	const clients, size = 100, 1 << 20
	gate := make(chan struct{})
	o := &origin{answer: func(r *http.Request) (*http.Response, error) {
		var seed byte
		if _, err := fmt.Sscanf(r.URL.Path, "/%d", &seed); err != nil {
			return nil, err
		}
		p := streamed(200, &film{size: size, seed: seed,
			pause: func() error { <-gate; return nil }}, "Cache-Control: max-age=600")
		if known {
			p.ContentLength = size
		}
		return p, nil
	}}
	s := newEdge(t, o, small)
	before := heap()
	var wg sync.WaitGroup
	seen := make([]*watcher, clients)
	for i := range clients {
		seen[i] = &watcher{header: http.Header{}, seed: byte(i)}
		wg.Go(func() { seen[i].watch(t, s, fmt.Sprintf("/%d", i)) })
	}
	synctest.Wait() // all are half-way
	if got := s.Stats().InFlight; got > 4<<20 || got < 1<<20 {
		t.Errorf("%d bytes are booked", got)
	}
	// 50 MiB have come. 32 KiB or two a fetch aren't counted, nor are the cache's tables.
	if used := heap() - before; used > 4<<20+clients*100<<10 {
		t.Errorf("the heap grew by %d KiB", used>>10)
	}
	close(gate)
	wg.Wait()
	synctest.Wait()
	refused := 0
	for i, w := range seen {
		if w.got != size || w.wrong > 0 {
			t.Fatalf("client %d got %d bytes, %d of them wrong", i, w.got, w.wrong)
		}
		if strings.HasSuffix(w.header.Get("Cache-Status"), `; detail="no buffer left"`) {
			refused++
		}
	}
	stats := s.Stats()
	if stats.Objects == 0 || uint64(stats.Objects) != clients-stats.Unbuffered ||
		stats.InFlight != 0 || known && (stats.Objects != 4 || refused != clients-4) {
		t.Errorf("%d told, %+v", refused, stats)
	}
}

// heap is what lives on the heap.
func heap() int64 {
	var m runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}

func TestWhoWaitsForAFetchWithoutABufferFetchesForHimself(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		gate := make(chan struct{})
		o := &origin{answer: func(r *http.Request) (*http.Response, error) {
			time.Sleep(time.Second)
			if strings.HasPrefix(r.URL.Path, "/full") {
				p := streamed(200, &film{size: 1 << 20, pause: func() error { <-gate; return nil }},
					"Cache-Control: max-age=600")
				p.ContentLength = 1 << 20
				return p, nil
			}
			return reply(200, "hello", "Cache-Control: max-age=600"), nil
		}}
		s := newEdge(t, o, small)
		var wg sync.WaitGroup
		for i := range 4 {
			wg.Go(func() { get(s, fmt.Sprintf("/full%d", i)) })
		}
		time.Sleep(2 * time.Second)
		leaders := 0
		for _, p := range crowd(s, 10, "/") {
			if got := text(p); p.StatusCode != 200 || got != "hello" {
				t.Errorf("got %d %q", p.StatusCode, got)
			}
			if p.Header.Get("Cache-Status") ==
				`n1; fwd=uri-miss; fwd-status=200; detail="no buffer left"` {
				leaders++
			}
		}
		if n := o.asked.Load(); n != 14 || leaders != 1 {
			t.Errorf("asked %d times, %d led", n, leaders)
		}
		close(gate)
		wg.Wait()
		// It was of the moment alone: nothing is shunned for it.
		check(t, get(s, "/"), 200, "hello", "n1; fwd=uri-miss; fwd-status=200; ttl=599; stored")
		check(t, get(s, "/"), 200, "hello", "n1; hit; ttl=599")
	})
}

func TestAFetchThatItsClientLeftGoesOnOnlyWithinTheBudget(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		gate := make(chan struct{})
		var closed atomic.Int64
		o := &origin{answer: func(r *http.Request) (*http.Response, error) {
			b := &film{size: 1 << 20, pause: func() error { <-gate; return nil },
				closed: func() { closed.Add(1) }}
			if r.URL.Path == "/long" {
				b.size = 64 << 20
			}
			return streamed(200, b, "Cache-Control: max-age=600"), nil
		}}
		// The pause of the long one comes after it has outgrown the budget.
		s := newEdge(t, o, small, func(c *edge.Config) { c.InFlight = 3 << 20 })
		ctx, leave := context.WithCancel(t.Context())
		var wg sync.WaitGroup
		wg.Go(func() { doCtx(ctx, s, "GET", "http://a.test/short") })
		wg.Go(func() { doCtx(ctx, s, "GET", "http://a.test/long") })
		synctest.Wait()
		leave()
		close(gate)
		wg.Wait()
		synctest.Wait()
		if stats := s.Stats(); stats.Objects != 1 || stats.InFlight != 0 ||
			closed.Load() != 2 {
			t.Errorf("%d bodies were closed: %+v", closed.Load(), stats)
		}
	})
}

func TestARevalidationBehindAStaleAnswerThatOutgrowsItsBufferEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		closed := false
		o := always(200, "x", "Cache-Control: max-age=1, stale-while-revalidate=60")
		s := newEdge(t, o, small)
		get(s, "/")
		time.Sleep(2 * time.Second)
		o.answer = func(*http.Request) (*http.Response, error) {
			return streamed(200, &film{size: 8 << 20, closed: func() { closed = true }},
				"Cache-Control: max-age=600"), nil
		}
		check(t, get(s, "/"), 200, "x", "n1; hit; ttl=-1")
		synctest.Wait()
		if stats := s.Stats(); !closed || stats.InFlight != 0 {
			t.Errorf("closed %v, %+v", closed, stats)
		}
	})
}

func TestNothingStaysBookedWhicheverWayFetchesEnd(t *testing.T) {
	for seed := range uint64(30) {
		synctest.Test(t, func(t *testing.T) { chaos(t, rand.New(rand.NewPCG(seed, 1))) })
	}
}

// chaos lets many clients and fetches come to all sorts of ends.
func chaos(t *testing.T, random *rand.Rand) {
	var mu sync.Mutex // guards random
	roll := func(n int) int {
		mu.Lock()
		defer mu.Unlock()
		return random.IntN(n)
	}
	s := newEdge(t, &origin{answer: func(r *http.Request) (*http.Response, error) {
		time.Sleep(time.Duration(roll(300)) * time.Millisecond)
		return chaotic(r, roll)
	}}, func(c *edge.Config) {
		c.Memory, c.MaxObject, c.InFlight = 1<<20, 200<<10, 500<<10
	})
	var wg sync.WaitGroup
	for range 60 {
		path := fmt.Sprintf("/%d", roll(12))
		start := time.Duration(roll(3000)) * time.Millisecond
		stay := time.Duration(1+roll(1500)) * time.Millisecond
		wg.Go(func() {
			time.Sleep(start)
			ctx, leave := context.WithTimeout(t.Context(), stay)
			defer leave()
			doCtx(ctx, s, "GET", "http://a.test"+path)
			if got := s.Stats().InFlight; got < 0 || got > 500<<10 {
				t.Errorf("%d bytes are booked", got)
			}
		})
	}
	time.Sleep(time.Second)
	if _, err := s.Purge("everything", nil, false); err != nil {
		t.Error(err)
	}
	wg.Wait()
	if roll(2) == 0 {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	}
	time.Sleep(time.Minute)
	if stats := s.Stats(); stats.InFlight != 0 {
		t.Errorf("something stays booked: %+v", stats)
	}
}

// chaotic is an answer of any kind.
func chaotic(r *http.Request, roll func(int) int) (*http.Response, error) {
	control := []string{"max-age=600", "max-age=600", "private", "max-age=0",
		"max-age=1, stale-while-revalidate=5"}[roll(5)]
	status := []int{200, 200, 200, 200, 200, 503}[roll(6)]
	size := int64(roll(250 << 10))
	pause := time.Duration(roll(1000)) * time.Millisecond
	end := roll(6)
	b := &film{size: size, pause: func() error {
		select {
		case <-time.After(pause):
		case <-r.Context().Done():
			return r.Context().Err()
		}
		switch end {
		case 0:
			return errors.New("connection reset")
		case 1:
			<-r.Context().Done()
			return r.Context().Err()
		}
		return nil
	}}
	p := streamed(status, b, "Cache-Control: "+control, `ETag: "1"`)
	switch {
	case roll(10) == 0:
		return nil, errRefused
	case r.Header.Get("If-None-Match") != "" && roll(2) == 0:
		return reply(304, ""), nil
	case roll(2) == 0:
		p.ContentLength = size
	}
	return p, nil
}
