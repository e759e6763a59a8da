package edge_test

import (
	"bytes"
	"context"
	"io"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"pointsman/edge"
)

// crowd sends n GETs of a path at once and gives the answers.
func crowd(s *edge.Server, n int, path string, lines ...string) []*http.Response {
	answers := make([]*http.Response, n)
	var wg sync.WaitGroup
	for i := range n {
		wg.Go(func() { answers[i] = get(s, path, lines...) })
	}
	wg.Wait()
	return answers
}

func TestAThousandClientsCostOneFetch(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		body := strings.Repeat("0123456789", 5_000)
		o := &origin{answer: func(*http.Request) (*http.Response, error) {
			time.Sleep(time.Second)
			return reply(200, body, "Cache-Control: max-age=600"), nil
		}}
		s := newEdge(t, o)
		collapsed := 0
		for _, p := range crowd(s, 1000, "/") {
			if p.StatusCode != 200 || text(p) != body {
				t.Fatalf("somebody got %d", p.StatusCode)
			}
			if strings.HasSuffix(p.Header.Get("Cache-Status"), "; collapsed") {
				collapsed++
			}
		}
		if n := o.asked.Load(); n != 1 || collapsed != 999 {
			t.Errorf("asked %d times, %d collapsed", n, collapsed)
		}
	})
}

func TestAnUncacheableAnswerReleasesTheFollowersAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := &origin{answer: func(*http.Request) (*http.Response, error) {
			time.Sleep(time.Second)
			return reply(200, "mine", "Cache-Control: private"), nil
		}}
		s := newEdge(t, o)
		began := time.Now()
		crowd(s, 100, "/")
		if took := time.Since(began); took != 2*time.Second {
			t.Errorf("100 clients took %v: they waited for each other", took)
		}
		began = time.Now()
		crowd(s, 100, "/")
		if took := time.Since(began); took != time.Second {
			t.Errorf("100 more took %v: what was learnt is forgotten", took)
		}
		if n := o.asked.Load(); n != 200 {
			t.Errorf("the origin was asked %d times", n)
		}
		if p := get(s, "/other"); p.Header.Get("Cache-Status") !=
			`n1; fwd=uri-miss; fwd-status=200; detail="private"` {
			t.Errorf("Cache-Status %q", p.Header.Get("Cache-Status"))
		}
	})
}

func TestAFailingOriginIsAskedOnceByAllWhoWait(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := &origin{answer: func(*http.Request) (*http.Response, error) {
			time.Sleep(time.Second)
			return reply(503, "busy"), nil
		}}
		s := newEdge(t, o)
		for _, p := range crowd(s, 50, "/") {
			if p.StatusCode != 503 || text(p) != "busy" {
				t.Fatalf("got %d", p.StatusCode)
			}
		}
		o.answer = func(*http.Request) (*http.Response, error) {
			time.Sleep(time.Second)
			return nil, errRefused
		}
		for _, p := range crowd(s, 50, "/") {
			if p.StatusCode != 502 {
				t.Fatalf("got %d", p.StatusCode)
			}
		}
		if n := o.asked.Load(); n != 2 {
			t.Errorf("the origin was asked %d times", n)
		}
	})
}

func TestWaitingClientsGetTheirOwnVariant(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := &origin{answer: func(r *http.Request) (*http.Response, error) {
			time.Sleep(time.Second)
			return reply(200, r.Header.Get("Foo"), "Cache-Control: max-age=60", "Vary: Foo"), nil
		}}
		s := newEdge(t, o)
		var wg sync.WaitGroup
		for i := range 40 {
			want := string(rune('a' + i%4))
			wg.Go(func() {
				if got := text(get(s, "/", "Foo: "+want)); got != want {
					t.Errorf("asked for %q, got %q", want, got)
				}
			})
		}
		wg.Wait()
		if n := o.asked.Load(); n != 4 {
			t.Errorf("the origin was asked %d times for 4 variants", n)
		}
	})
}

func TestAClientThatLeavesHarmsNobodyAndTheLastOneEndsTheFetch(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var ended atomic.Bool
		o := &origin{answer: func(r *http.Request) (*http.Response, error) {
			select {
			case <-time.After(10 * time.Second):
				return reply(200, "hello", "Cache-Control: max-age=600"), nil
			case <-r.Context().Done():
				ended.Store(true)
				return nil, r.Context().Err()
			}
		}}
		s := newEdge(t, o)
		first, leave := context.WithTimeout(t.Context(), time.Second)
		defer leave()
		var wg sync.WaitGroup
		wg.Go(func() { doCtx(first, s, "GET", "http://a.test/") })
		synctest.Wait()
		check(t, get(s, "/"), 200, "hello",
			"n1; fwd=uri-miss; fwd-status=200; ttl=590; stored; collapsed")
		wg.Wait()
		if o.asked.Load() != 1 || ended.Load() {
			t.Errorf("asked %d times, cancelled %v", o.asked.Load(), ended.Load())
		}

		second, leave := context.WithTimeout(t.Context(), time.Second)
		defer leave()
		doCtx(second, s, "GET", "http://a.test/other")
		synctest.Wait()
		if !ended.Load() {
			t.Error("the fetch that nobody waits for goes on")
		}
		if got := text(get(s, "/other")); got != "hello" {
			t.Errorf("the next client got %q", got)
		}
		if gone := s.Stats().Sites["a.test"].Gone; gone != 2 {
			t.Errorf("%d counted as gone", gone)
		}
	})
}

// tap records when its client was given what.
type tap struct {
	header http.Header
	mu     sync.Mutex
	got    bytes.Buffer
	hold   chan struct{} // closed when Write may go on; nil: at once
}

func (w *tap) Header() http.Header { return w.header }
func (w *tap) WriteHeader(int)     {}
func (w *tap) Flush()              {}
func (w *tap) Write(p []byte) (int, error) {
	if w.hold != nil {
		<-w.hold
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.got.Write(p)
}

func (w *tap) text() string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.got.String()
}

// open starts a GET whose answer goes to a tap.
func open(t *testing.T, wg *sync.WaitGroup, s *edge.Server, hold chan struct{}) *tap {
	w := &tap{header: http.Header{}, hold: hold}
	r, err := http.NewRequestWithContext(t.Context(), "GET", "http://a.test/", nil)
	if err != nil {
		t.Fatal(err)
	}
	wg.Go(func() { s.Handler().ServeHTTP(w, r) })
	synctest.Wait()
	return w
}

func TestFollowersReadWhileTheBodyArrivesAndASlowOneHoldsUpNobody(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		body, sender := io.Pipe()
		o := &origin{answer: func(*http.Request) (*http.Response, error) {
			return streamed(200, body, "Cache-Control: max-age=600"), nil
		}}
		s := newEdge(t, o)
		var wg sync.WaitGroup
		hold := make(chan struct{})
		first := open(t, &wg, s, nil)
		slow := open(t, &wg, s, hold)
		send(t, sender, "one ")
		second := open(t, &wg, s, nil)
		synctest.Wait()
		if first.text() != "one " || second.text() != "one " || slow.text() != "" {
			t.Errorf("got %q, %q, %q", first.text(), second.text(), slow.text())
		}
		send(t, sender, "two")
		if err := sender.Close(); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		if first.text() != "one two" || second.text() != "one two" {
			t.Errorf("got %q, %q", first.text(), second.text())
		}
		check(t, get(s, "/"), 200, "one two", "n1; hit; ttl=600")
		close(hold)
		wg.Wait()
		if slow.text() != "one two" || o.asked.Load() != 1 {
			t.Errorf("the slow one got %q; asked %d times", slow.text(), o.asked.Load())
		}
	})
}

func send(t *testing.T, w io.Writer, s string) {
	t.Helper()
	if _, err := io.WriteString(w, s); err != nil {
		t.Fatal(err)
	}
	synctest.Wait()
}

func TestABodyThatOutgrowsTheLimitReachesEverybodyAndIsNotStored(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		body := strings.Repeat("0123456789abcdef", 150_000) // 2.4 MB, in windows of 1 MiB
		for _, known := range []bool{false, true} {
			o := &origin{answer: func(*http.Request) (*http.Response, error) {
				time.Sleep(time.Second)
				p := reply(200, body, "Cache-Control: max-age=600")
				if !known {
					p.ContentLength = -1
				}
				return p, nil
			}}
			s := newEdge(t, o, func(c *edge.Config) { c.MaxObject = 100_000 })
			for i, p := range crowd(s, 8, "/") {
				if got := text(p); got != body {
					t.Fatalf("known %v: client %d got %d bytes", known, i, len(got))
				}
			}
			want := int64(1)
			if known {
				want = 8 // told by the head, so nobody waits for a buffer
			}
			if n := o.asked.Load(); n != want || s.Stats().Objects != 0 {
				t.Errorf("known %v: asked %d times, %d stored", known, n, s.Stats().Objects)
			}
		}
	})
}

func TestAnObjectWhoseFetchBeganBeforeAPurgeIsNotServedAfterIt(t *testing.T) {
	kinds := map[string][]string{
		"url": {"http://a.test/"}, "prefix": {"a.test/"}, "host": {"a.test"}, "tag": {"red"},
		"everything": nil,
	}
	for kind, items := range kinds {
		for _, soft := range []bool{false, true} {
			for _, headFirst := range []bool{false, true} {
				synctest.Test(t, func(t *testing.T) { race(t, kind, items, soft, headFirst) })
			}
		}
	}
}

// race purges while the old content is on its way, before or after its head came.
func race(t *testing.T, kind string, items []string, soft, headFirst bool) {
	o := &origin{}
	o.answer = func(*http.Request) (*http.Response, error) {
		content := "new"
		if o.asked.Load() == 1 {
			content = "old"
		}
		if !headFirst {
			time.Sleep(2 * time.Second)
		}
		r, w := io.Pipe()
		p := streamed(200, r, "Cache-Control: max-age=600", "Surrogate-Key: red")
		time.AfterFunc(2*time.Second, func() {
			_, _ = io.WriteString(w, content) // the reader may have left
			_ = w.Close()
		})
		return p, nil
	}
	s := newEdge(t, o)
	var wg sync.WaitGroup
	wg.Go(func() {
		if got := text(get(s, "/")); got != "old" {
			t.Errorf("the client before the purge got %q", got)
		}
	})
	time.Sleep(time.Second)
	if _, err := s.Purge(kind, items, soft); err != nil {
		t.Fatal(err)
	}
	for range 3 {
		wg.Go(func() {
			if got := text(get(s, "/")); got != "new" {
				t.Errorf("%s, soft %v, head first %v: after the purge came %q", kind, soft,
					headFirst, got)
			}
		})
	}
	wg.Wait()
	check(t, get(s, "/"), 200, "new", get(s, "/").Header.Get("Cache-Status"))
	if n := o.asked.Load(); n != 2 {
		t.Errorf("%s, soft %v, head first %v: asked %d times", kind, soft, headFirst, n)
	}
}

func TestAnOriginThatStallsIsGivenUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := &origin{answer: func(r *http.Request) (*http.Response, error) {
			<-r.Context().Done()
			return nil, r.Context().Err()
		}}
		s := newEdge(t, o)
		began := time.Now()
		p := get(s, "/")
		if took := time.Since(began); p.StatusCode != 504 || took != 30*time.Second {
			t.Errorf("got %d after %v", p.StatusCode, took)
		}
		o.answer = func(r *http.Request) (*http.Response, error) {
			body, w := io.Pipe()
			context.AfterFunc(r.Context(), func() { _ = w.CloseWithError(r.Context().Err()) })
			return streamed(200, body, "Cache-Control: max-age=600"), nil
		}
		began = time.Now()
		p = get(s, "/")
		if took := time.Since(began); p.Header.Get("Test-Aborted") == "" || took != 30*time.Second {
			t.Errorf("a stalled body: %d after %v", p.StatusCode, took)
		}
	})
}

func TestCloseEndsWhatRunsInTheBackground(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := always(200, "x", "Cache-Control: max-age=1, stale-while-revalidate=60")
		s := newEdge(t, o)
		get(s, "/")
		time.Sleep(2 * time.Second)
		o.answer = func(r *http.Request) (*http.Response, error) {
			<-r.Context().Done()
			return nil, r.Context().Err()
		}
		check(t, get(s, "/"), 200, "x", "n1; hit; ttl=-1")
		synctest.Wait()
		began := time.Now()
		if err := s.Close(); err != nil || time.Since(began) != 0 || o.asked.Load() != 2 {
			t.Errorf("%v after %v, asked %d", err, time.Since(began), o.asked.Load())
		}
		check(t, get(s, "/"), 200, "x", "n1; hit; ttl=-1") // and nothing starts any more
		if o.asked.Load() != 2 {
			t.Error("a closed server asked the origin behind the client's back")
		}
	})
}
