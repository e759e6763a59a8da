package edge_test

import (
	"context"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"

	"go.uber.org/goleak"

	"pointsman/edge"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// origin is a fake of the customer's server, asked without sockets.
type origin struct {
	asked  atomic.Int64
	answer func(r *http.Request) (*http.Response, error)
}

func (o *origin) RoundTrip(r *http.Request) (*http.Response, error) {
	o.asked.Add(1)
	p, err := o.answer(r)
	if p != nil {
		p.Request = r
	}
	return p, err
}

// reply makes an origin's response of "Name: value" lines.
func reply(status int, body string, lines ...string) *http.Response {
	p := streamed(status, io.NopCloser(strings.NewReader(body)), lines...)
	p.ContentLength = int64(len(body))
	return p
}

// streamed makes a response of unknown length.
func streamed(status int, body io.ReadCloser, lines ...string) *http.Response {
	h := http.Header{}
	for _, line := range lines {
		name, value, _ := strings.Cut(line, ": ")
		h.Add(name, value)
	}
	return &http.Response{StatusCode: status, Header: h, Body: body, ContentLength: -1,
		ProtoMajor: 1, ProtoMinor: 1}
}

// always answers every request alike.
func always(status int, body string, lines ...string) *origin {
	return &origin{answer: func(*http.Request) (*http.Response, error) {
		return reply(status, body, lines...), nil
	}}
}

var errRefused = errors.New("connection refused")

// newEdge makes a server for a.test before a fake origin.
func newEdge(t *testing.T, o *origin, change ...func(*edge.Config)) *edge.Server {
	t.Helper()
	c := edge.Config{
		Node: "n1", Memory: 8 << 20, Transport: o,
		Sites: []edge.Site{{Hosts: []string{"a.test", "www.a.test"}, Origin: "http://o.test:81"}},
	}
	for _, f := range change {
		f(&c)
	}
	s, err := edge.New(c)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return s
}

// site changes the only site of a config.
func site(f func(*edge.Site)) func(*edge.Config) {
	return func(c *edge.Config) { f(&c.Sites[0]) }
}

// do sends a request with "Name: value" lines, and gives the recorded answer.
func do(s *edge.Server, method, url string, lines ...string) *http.Response {
	return doCtx(context.Background(), s, method, url, lines...)
}

func doCtx(
	ctx context.Context, s *edge.Server, method, url string, lines ...string,
) *http.Response {
	r := httptest.NewRequestWithContext(ctx, method, url, nil)
	for _, line := range lines {
		name, value, _ := strings.Cut(line, ": ")
		r.Header.Add(name, value)
	}
	w := httptest.NewRecorder()
	func() {
		defer func() {
			if p := recover(); p != nil && p != http.ErrAbortHandler {
				panic(p)
			} else if p != nil {
				w.Header().Set("Test-Aborted", "yes")
				w.Flush()
			}
		}()
		s.Handler().ServeHTTP(w, r)
	}()
	p := w.Result()
	if w.Header().Get("Test-Aborted") != "" {
		p.Header.Set("Test-Aborted", "yes")
	}
	return p
}

// get is do for a GET of http://a.test with a path.
func get(s *edge.Server, path string, lines ...string) *http.Response {
	return do(s, "GET", "http://a.test"+path, lines...)
}

// text is the body of an answer.
func text(p *http.Response) string {
	b, err := io.ReadAll(p.Body)
	if err != nil {
		return "unreadable: " + err.Error()
	}
	return string(b)
}

// check compares an answer's status, body and Cache-Status.
func check(t *testing.T, p *http.Response, status int, body, cacheStatus string) {
	t.Helper()
	if got := text(p); p.StatusCode != status || got != body {
		t.Errorf("got %d %q, want %d %q", p.StatusCode, got, status, body)
	}
	if got := p.Header.Get("Cache-Status"); got != cacheStatus {
		t.Errorf("got Cache-Status %q, want %q", got, cacheStatus)
	}
}
