package edge

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"
)

// FuzzParseRangeAgreesWithNetHTTP holds a range against what http.ServeContent cuts, for all
// that is one well-formed range; the rest must be ignored.
func FuzzParseRangeAgreesWithNetHTTP(f *testing.F) {
	for _, s := range []string{"bytes=0-0", "bytes=-5", "bytes=9-", "bytes=10-", "bytes=5-2",
		"bytes=-0", "bytes= 1-2", "bytes=1-2,3-4", "byte=1-2", "bytes=--1", "bytes=0-1000"} {
		f.Add(s)
	}
	const body = "0123456789"
	f.Fuzz(func(t *testing.T, s string) {
		r, verdict := parseRange([]string{s}, int64(len(body)))
		if verdict == rangeNone {
			return // ignoring a range is always allowed
		}
		q := httptest.NewRequest("GET", "/", nil)
		q.Header["Range"] = []string{"bytes" + s[strings.IndexByte(s, '='):]}
		w := httptest.NewRecorder()
		http.ServeContent(w, q, "", time.Time{}, strings.NewReader(body))
		switch {
		case verdict == rangeOK && (w.Code != 206 || w.Body.String() != body[r.from:r.to] ||
			w.Header().Get("Content-Range") != r.contentRange(int64(len(body)))):
			t.Errorf("%q: got %v; net/http: %d %q", s, r, w.Code, w.Body)
		case verdict == rangeUnsatisfiable && w.Code != 416 && !strings.HasPrefix(s, "bytes=-"):
			t.Errorf("%q is unsatisfiable; net/http: %d", s, w.Code)
		}
	})
}

func TestMembersOfCacheStatusAreStructuredFields(t *testing.T) {
	for node, want := range map[string]string{
		"fra-1": `fra-1; hit; ttl=-2; detail="why"`,
		"1.fra": `"1.fra"; hit; ttl=-2; detail="why"`,
	} {
		c := cacheStatus{hit: true, detail: "why"}
		c.ttl(-1500 * time.Millisecond)
		if got := c.member(node); got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	}
}
