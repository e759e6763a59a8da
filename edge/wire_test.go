package edge_test

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"pointsman/edge"
)

// raw writes bytes on a connection and gives all that comes back.
func raw(t *testing.T, address, request string) string {
	t.Helper()
	c, err := net.Dial("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = c.Close() }()
	if err := c.SetDeadline(time.Now().Add(5 * time.Second)); err != nil {
		t.Fatal(err)
	}
	if _, err := io.WriteString(c, request); err != nil {
		t.Fatal(err)
	}
	b, _ := io.ReadAll(c) // a reset is as good an end as any
	return string(b)
}

func TestAmbiguousFramingSmugglesNothing(t *testing.T) {
	var mu sync.Mutex
	var seen []string
	s := run(t, func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		mu.Lock()
		defer mu.Unlock()
		seen = append(seen, fmt.Sprintf("%s %s %q", r.Method, r.URL.Path, body))
	})
	const smuggled = "GET /smuggled HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n"
	for name, c := range map[string]struct {
		head string
		want []string
	}{
		// The coding counts, the length does not, and the connection ends there.
		"both": {"Content-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
			[]string{`POST /both ""`}},
		// A folded line is one field, so these are three requests in a row.
		"folded": {"X: a\r\n Transfer-Encoding: chunked\r\n\r\n",
			[]string{`POST /folded ""`, `GET /smuggled ""`, `GET /end ""`}},
		"lengths": {"Content-Length: 0\r\nContent-Length: 44\r\n\r\n", nil},
		"odd":     {"Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n", nil},
		"hidden":  {"Transfer-Encoding : chunked\r\nContent-Length: 5\r\n\r\n0\r\n\r\n", nil},
		"codings": {"Transfer-Encoding: chunked\r\nTransfer-Encoding: x\r\n\r\n0\r\n\r\n", nil},
		"signed":  {"Content-Length: +0\r\n\r\n", nil},
	} {
		mu.Lock()
		seen = nil
		mu.Unlock()
		raw(t, s.address, "POST /"+name+" HTTP/1.1\r\nHost: 127.0.0.1\r\n"+c.head+smuggled+
			"GET /end HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n")
		mu.Lock()
		got := slices.Clone(seen)
		mu.Unlock()
		if d := cmp.Diff(c.want, got, cmpopts.EquateEmpty()); d != "" {
			t.Errorf("%s: (-want +got)\n%s", name, d)
		}
	}
}

func TestWhatMayNotPassIsRefused(t *testing.T) {
	o := always(200, "x", "Cache-Control: max-age=600")
	s := newEdge(t, o)
	for name, c := range map[string]struct {
		method, url, line string
		want              int
	}{
		"unknown host":     {"GET", "http://c.test/", "X: y", 421},
		"no host":          {"GET", "/", "Host: a.test", 421},
		"loop":             {"GET", "http://a.test/", "Cdn-Loop: other, N1;v=1", 508},
		"TRACE":            {"TRACE", "http://a.test/", "X: y", 405},
		"CONNECT":          {"CONNECT", "http://a.test/", "X: y", 405},
		"PURGE":            {"PURGE", "http://a.test/", "X: y", 405},
		"h2c":              {"GET", "http://a.test/", "Upgrade: foo, H2C", 400},
		"a second Host":    {"GET", "http://a.test/", "Host: b.test", 400},
		"another CDN":      {"GET", "http://a.test/", "Cdn-Loop: n10, n", 200},
		"any case, a port": {"GET", "http://WWW.A.test.:99/", "X: y", 200},
	} {
		if p := do(s, c.method, c.url, c.line); p.StatusCode != c.want {
			t.Errorf("%s: got %d, want %d", name, p.StatusCode, c.want)
		}
	}
	if n := o.asked.Load(); n != 2 {
		t.Errorf("the origin was asked %d times", n)
	}
}

func TestFieldsOfOneHopAndThoseOutsideTheKeyDoNotReachTheOrigin(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var got *http.Request
		o := &origin{answer: func(r *http.Request) (*http.Response, error) {
			got = r
			return reply(200, "x", "Cache-Control: max-age=600", "Connection: X-Hop", "X-Hop: 1",
				"Keep-Alive: 5", "Surrogate-Key: a b", "Cache-Tag: c", "X-Kept: 1",
				"Via: 1.1 inner", "Cache-Status: inner; hit"), nil
		}}
		s := newEdge(t, o)
		p := get(s, "/a%2Fb?x=%20&&y", "Connection: X-Mine, close", "X-Mine: 1", "Te: trailers",
			"X-Forwarded-Host: evil.test", "X-Forwarded-Proto: https", "X-Original-Url: /admin",
			"Forwarded: host=evil.test", "X-Forwarded-For: 198.51.100.7", "Via: 1.0 before",
			"Range: bytes=0-0", "If-None-Match: *", "Cookie: a=b")
		want := http.Header{
			"X-Forwarded-For":   {"198.51.100.7, 192.0.2.1"},
			"X-Forwarded-Host":  {"a.test"},
			"X-Forwarded-Proto": {"http"},
			"Via":               {"1.0 before, 1.1 n1"},
			"Cdn-Loop":          {"n1"},
			"Cookie":            {"a=b"},
			"User-Agent":        {""},
		}
		if d := cmp.Diff(want, got.Header); d != "" {
			t.Errorf("to the origin: (-want +got)\n%s", d)
		}
		if got.URL.String() != "http://o.test:81/a%2Fb?x=%20&&y" || got.Host != "a.test" {
			t.Errorf("to the origin: %s, host %s", got.URL, got.Host)
		}
		p.Header.Del("Date")
		wantAnswer := http.Header{
			"Cache-Control": {"max-age=600"}, "X-Kept": {"1"}, "Via": {"1.1 inner, 1.1 n1"},
			"Cache-Status": {"inner; hit, n1; fwd=uri-miss; fwd-status=200; ttl=600; stored"},
		}
		if d := cmp.Diff(wantAnswer, p.Header); p.StatusCode != 304 || d != "" {
			t.Errorf("to the client: %d (-want +got)\n%s", p.StatusCode, d)
		}
	})
}

func TestTagsAreExposedOnlyWhenAsked(t *testing.T) {
	for _, expose := range []bool{false, true} {
		o := always(200, "x", "Cache-Control: max-age=600", "Surrogate-Key: a", "Cache-Tag: b")
		s := newEdge(t, o, func(c *edge.Config) { c.ExposeTags = expose })
		for range 2 {
			h := get(s, "/").Header
			if (h.Get("Surrogate-Key") == "a") != expose || (h.Get("Cache-Tag") == "b") != expose {
				t.Errorf("expose %v: %v", expose, h)
			}
		}
	}
}
