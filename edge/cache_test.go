package edge_test

import (
	"fmt"
	"net/http"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"pointsman/edge"
)

func TestAnObjectIsFetchedOnceAndServedWithAgeUntilItExpires(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := always(200, "hello", "Cache-Control: max-age=60", "Age: 10", `ETag: "1"`)
		s := newEdge(t, o)
		p := get(s, "/x?q=1")
		check(t, p, 200, "hello", "n1; fwd=uri-miss; fwd-status=200; ttl=50; stored")
		if p.Header.Get("Age") != "10" || p.Header.Get("Via") != "1.1 n1" ||
			p.Header.Get("Date") == "" || p.Header.Get("Content-Length") != "5" {
			t.Errorf("header of the miss: %v", p.Header)
		}
		time.Sleep(20 * time.Second)
		p = get(s, "/x?q=1")
		check(t, p, 200, "hello", "n1; hit; ttl=30")
		if p.Header.Get("Age") != "30" {
			t.Errorf("Age %q", p.Header.Get("Age"))
		}
		check(t, get(s, "/x?q=2"), 200, "hello",
			"n1; fwd=uri-miss; fwd-status=200; ttl=50; stored")
		time.Sleep(30 * time.Second)
		check(t, get(s, "/x?q=1"), 200, "hello",
			"n1; fwd=stale; fwd-status=200; ttl=50; stored")
		if n := o.asked.Load(); n != 3 {
			t.Errorf("the origin was asked %d times", n)
		}
	})
}

func TestAStaleObjectIsValidatedAndItsHeaderRenewed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := &origin{answer: func(r *http.Request) (*http.Response, error) {
			if r.Header.Get("If-None-Match") == `"1"` {
				return reply(304, "", "Cache-Control: max-age=7", "X: new"), nil
			}
			return reply(200, "hello", "Cache-Control: max-age=5", `ETag: "1"`, "X: old"), nil
		}}
		s := newEdge(t, o)
		get(s, "/")
		time.Sleep(6 * time.Second)
		p := get(s, "/", `If-None-Match: "other"`)
		check(t, p, 200, "hello", "n1; fwd=stale; fwd-status=304; ttl=7; stored")
		if p.Header.Get("X") != "new" || p.Header.Get("Age") != "0" {
			t.Errorf("header %v", p.Header)
		}
		time.Sleep(6 * time.Second)
		p = get(s, "/", `If-None-Match: "1"`)
		check(t, p, 304, "", "n1; hit; ttl=1")
		if o.asked.Load() != 2 || p.Header.Get("ETag") != `"1"` {
			t.Errorf("asked %d, header %v", o.asked.Load(), p.Header)
		}
	})
}

func TestVaryKeepsVariantsApart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := &origin{answer: func(r *http.Request) (*http.Response, error) {
			return reply(200, r.Header.Get("Foo"), "Cache-Control: max-age=60", "Vary: Foo"), nil
		}}
		s := newEdge(t, o)
		for _, v := range []string{"a", "b", "a", "b"} {
			if got := text(get(s, "/", "Foo: "+v)); got != v {
				t.Errorf("asked for %q, got %q", v, got)
			}
		}
		if n := o.asked.Load(); n != 2 {
			t.Errorf("the origin was asked %d times", n)
		}
		check(t, get(s, "/"), 200, "", "n1; fwd=vary-miss; fwd-status=200; ttl=60; stored")
		p, err := s.Purge("url", []string{"https://a.test:8443/"}, false)
		if err != nil || p.Objects != 3 {
			t.Errorf("purging all variants: %+v, %v", p, err)
		}
	})
}

func TestStaleWhileRevalidateServesAtOnceAndFetchesOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := &origin{}
		o.answer = func(*http.Request) (*http.Response, error) {
			if o.asked.Load() > 1 {
				time.Sleep(time.Second)
			}
			return reply(200, fmt.Sprint(o.asked.Load()),
				"Cache-Control: max-age=10, stale-while-revalidate=5"), nil
		}
		s := newEdge(t, o)
		get(s, "/")
		time.Sleep(11 * time.Second)
		for range 5 {
			check(t, get(s, "/"), 200, "1", "n1; hit; ttl=-1")
		}
		time.Sleep(2 * time.Second)
		check(t, get(s, "/"), 200, "2", "n1; hit; ttl=8") // a second's delay, a second's age
		if n := o.asked.Load(); n != 2 {
			t.Errorf("the origin was asked %d times", n)
		}
		time.Sleep(20 * time.Second) // beyond the window
		check(t, get(s, "/"), 200, "3", "n1; fwd=stale; fwd-status=200; ttl=9; stored")
	})
}

func TestAFailingOriginIsCoveredByStaleObjectsAsFarAsAllowed(t *testing.T) {
	const served = "n1; hit; ttl=-10; detail=\"origin-failed\""
	type failing struct {
		control      string
		sie          time.Duration // of the site
		unreachable  bool
		after        time.Duration // since it was fetched, with 10 s of freshness
		status       int
		body, detail string
	}
	for name, c := range map[string]failing{
		"by the directive, 503": {"max-age=10, stale-if-error=60", 0, false, 20e9, 200, "old", served},
		"by the directive, down": {"max-age=10, stale-if-error=60", 0, true, 20e9, 200, "old",
			served},
		"by the site, 503":      {"max-age=10", time.Minute, false, 20e9, 200, "old", served},
		"by the site, down":     {"max-age=10", time.Minute, true, 20e9, 200, "old", served},
		"by default when down":  {"max-age=10", 0, true, 20e9, 200, "old", served},
		"not by default on 503": {"max-age=10", 0, false, 20e9, 503, "sorry", ""},
		"the window is over":    {"max-age=10, stale-if-error=5", 0, false, 20e9, 503, "sorry", ""},
		"not with must-revalidate": {
			"max-age=10, must-revalidate", time.Hour, false, 20e9, 503, "sorry", "",
		},
		"not with s-maxage": {"s-maxage=10", time.Hour, false, 20e9, 503, "sorry", ""},
		"an hour and no more, down": {
			"max-age=10", 0, true, 3611e9, 502, "the origin gave no answer\n", "",
		},
		"switched off": {"max-age=10", -1, true, 20e9, 502,
			"the origin gave no answer\n", ""},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				o := always(200, "old", "Cache-Control: "+c.control, `ETag: "1"`)
				s := newEdge(t, o, site(func(s *edge.Site) { s.StaleIfError = c.sie }))
				get(s, "/")
				time.Sleep(c.after)
				o.answer = func(*http.Request) (*http.Response, error) {
					if c.unreachable {
						return nil, errRefused
					}
					return reply(503, "sorry"), nil
				}
				for _, method := range []string{"GET", "HEAD"} {
					p := do(s, method, "http://a.test/")
					if got := text(p); p.StatusCode != c.status || method == "GET" && got != c.body {
						t.Errorf("%s: got %d %q", method, p.StatusCode, got)
					}
					if cs := p.Header.Get("Cache-Status"); c.detail != "" && cs != c.detail {
						t.Errorf("%s: Cache-Status %q", method, cs)
					}
				}
			})
		})
	}
}

func TestSoftPurgedObjectsAreValidatedButStillCoverErrors(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := always(200, "old", "Cache-Control: max-age=600, stale-if-error=60",
			"Surrogate-Key: red green")
		s := newEdge(t, o)
		get(s, "/")
		if p, err := s.Purge("tag", []string{"red"}, true); err != nil || p.Objects != 1 {
			t.Fatalf("got %+v, %v", p, err)
		}
		o.answer = func(*http.Request) (*http.Response, error) { return nil, errRefused }
		check(t, get(s, "/"), 200, "old", `n1; hit; ttl=-1; detail="origin-failed"`)
		time.Sleep(61 * time.Second)
		if p := get(s, "/"); p.StatusCode != 502 {
			t.Errorf("a minute after the soft purge: %d", p.StatusCode)
		}
		o.answer = always(200, "new", "Cache-Control: max-age=600").answer
		get(s, "/")
		check(t, get(s, "/"), 200, "new", "n1; hit; ttl=600")
	})
}

func TestHardPurgedObjectsCoverNothing(t *testing.T) {
	for kind, items := range map[string][]string{
		"url": {"http://a.test/x?a=1"}, "prefix": {"a.test/x"}, "host": {"A.test."},
		"tag": {"blue"}, "everything": nil,
	} {
		synctest.Test(t, func(t *testing.T) {
			o := always(200, "old", "Cache-Control: max-age=600, stale-if-error=60",
				"Cache-Tag: red,blue")
			s := newEdge(t, o)
			get(s, "/x?a=1")
			if _, err := s.Purge(kind, items, false); err != nil {
				t.Fatal(err)
			}
			o.answer = func(*http.Request) (*http.Response, error) { return nil, errRefused }
			if p := get(s, "/x?a=1"); p.StatusCode != 502 {
				t.Errorf("%s: got %d", kind, p.StatusCode)
			}
		})
	}
}

func TestAPurgeIsRefusedWholeWhenAnItemCannotBeRead(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newEdge(t, always(200, "x", "Cache-Control: max-age=600"))
		get(s, "/")
		for kind, items := range map[string][]string{
			"url": {"http://a.test/", "ftp://a.test/"}, "prefix": {"http://u:p@a.test/"},
			"host": {"a.test/"}, "tag": {"a b"}, "everything": {"a.test"}, "regex": {".*"},
		} {
			if _, err := s.Purge(kind, items, false); err == nil {
				t.Errorf("%s %q was accepted", kind, items)
			}
		}
		if _, err := s.Purge("url", nil, false); err == nil {
			t.Error("no item was accepted")
		}
		check(t, get(s, "/"), 200, "x", "n1; hit; ttl=600")
	})
}

func TestAnUnsafeRequestInvalidatesWhatItChanged(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := &origin{answer: func(r *http.Request) (*http.Response, error) {
			switch r.Method {
			case "GET":
				return reply(200, "x", "Cache-Control: max-age=600"), nil
			case "DELETE":
				return reply(500, "no"), nil
			}
			return reply(201, "", "Location: /b", "Content-Location: http://a.test/c",
				"Cache-Control: max-age=600"), nil
		}}
		s := newEdge(t, o)
		paths := []string{"/a", "/b", "/c", "/d"}
		hits := func() (hit []bool) {
			for _, p := range paths {
				hit = append(hit, get(s, p).Header.Get("Cache-Status") == "n1; hit; ttl=600")
			}
			return hit
		}
		hits()
		check(t, do(s, "DELETE", "http://a.test/a"), 500, "no", "n1; fwd=method; fwd-status=500")
		if d := cmp.Diff([]bool{true, true, true, true}, hits()); d != "" {
			t.Errorf("after a failure:\n%s", d)
		}
		check(t, do(s, "POST", "http://a.test/a"), 201, "", "n1; fwd=method; fwd-status=201")
		if d := cmp.Diff([]bool{false, false, false, true}, hits()); d != "" {
			t.Errorf("after a success:\n%s", d)
		}
	})
}

func TestRangesAreCutFromTheWhole(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := always(200, "0123456789", "Cache-Control: max-age=600", `ETag: "1"`)
		s := newEdge(t, o)
		p := get(s, "/", "Range: bytes=2-4")
		if got := text(p); p.StatusCode != 206 || got != "234" {
			t.Errorf("on a miss: %d %q", p.StatusCode, got)
		}
		for lines, want := range map[[2]string]string{
			{"Range: bytes=0-0", ""}:                     "206 0 bytes 0-0/10",
			{"Range: bytes=7-", ""}:                      "206 789 bytes 7-9/10",
			{"Range: bytes=-3", ""}:                      "206 789 bytes 7-9/10",
			{"Range: bytes=-30", ""}:                     "206 0123456789 bytes 0-9/10",
			{"Range: bytes=8-99", ""}:                    "206 89 bytes 8-9/10",
			{"Range: bytes=10-", ""}:                     "416  bytes */10",
			{"Range: bytes=-0", ""}:                      "416  bytes */10",
			{"Range: bytes=4-2", ""}:                     "200 0123456789 ",
			{"Range: bytes=0-1,3-4", ""}:                 "200 0123456789 ",
			{"Range: lines=0-1", ""}:                     "200 0123456789 ",
			{"Range: bytes=a-b", ""}:                     "200 0123456789 ",
			{"Range: bytes=2-4", `If-Range: "1"`}:        "206 234 bytes 2-4/10",
			{"Range: bytes=2-4", `If-Range: "2"`}:        "200 0123456789 ",
			{"Range: bytes=2-4", `If-None-Match: "1"`}:   "304  ",
			{"Range: bytes=+2-4", ""}:                    "200 0123456789 ",
			{"Range: bytes=0-99999999999999999999", ""}:  "200 0123456789 ",
			{"Range: bytes=2-4", "Range: bytes=5-6"}:     "200 0123456789 ",
			{"Range: bytes=2-4", "X-Unrelated: present"}: "206 234 bytes 2-4/10",
		} {
			p := get(s, "/", lines[0], lines[1])
			got := fmt.Sprintf("%d %s %s", p.StatusCode, text(p), p.Header.Get("Content-Range"))
			if got != want {
				t.Errorf("%q: got %q, want %q", lines, got, want)
			}
		}
		if n := o.asked.Load(); n != 1 {
			t.Errorf("the origin was asked %d times", n)
		}
	})
}

func TestHeadIsAnsweredFromAStoredGetAndIsElsePassed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := &origin{answer: func(r *http.Request) (*http.Response, error) {
			if r.Method == "HEAD" {
				return reply(200, "", "Cache-Control: max-age=600", "Content-Length: 5"), nil
			}
			return reply(200, "hello", "Cache-Control: max-age=600"), nil
		}}
		s := newEdge(t, o)
		p := do(s, "HEAD", "http://a.test/")
		check(t, p, 200, "", "n1; fwd=uri-miss; fwd-status=200")
		if p.Header.Get("Content-Length") != "5" {
			t.Errorf("length of a passed HEAD: %v", p.Header)
		}
		get(s, "/")
		p = do(s, "HEAD", "http://a.test/")
		check(t, p, 200, "", "n1; hit; ttl=600")
		if p.Header.Get("Content-Length") != "5" || o.asked.Load() != 2 {
			t.Errorf("asked %d, header %v", o.asked.Load(), p.Header)
		}
	})
}

func TestRequestsCannotMakeTheCacheAskButMayForbidIt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := always(200, "x", "Cache-Control: max-age=600")
		s := newEdge(t, o)
		check(t, get(s, "/", "Cache-Control: only-if-cached"), 504, "not in the cache\n",
			`n1; detail="only-if-cached"`)
		check(t, get(s, "/", "Cache-Control: no-store"), 200, "x",
			"n1; fwd=uri-miss; fwd-status=200")
		get(s, "/")
		check(t, get(s, "/", "Cache-Control: no-cache", "Pragma: no-cache"), 200, "x",
			"n1; hit; ttl=600")
		if n := o.asked.Load(); n != 2 {
			t.Errorf("the origin was asked %d times", n)
		}
	})
}

func TestCredentialsKeepAnswersApart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := &origin{answer: func(r *http.Request) (*http.Response, error) {
			return reply(200, r.Header.Get("Authorization"), "Cache-Control: max-age=600"), nil
		}}
		s := newEdge(t, o)
		for _, who := range []string{"alice", "", "bob", "", "alice"} {
			var lines []string
			if who != "" {
				lines = append(lines, "Authorization: "+who)
			}
			if got := text(get(s, "/", lines...)); got != who {
				t.Errorf("%q got what was meant for %q", who, got)
			}
		}
		if n := o.asked.Load(); n != 4 {
			t.Errorf("the origin was asked %d times", n)
		}
	})
}

func TestAnEmptyObjectIsStoredBeforeItIsAnswered(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := always(204, "", "Cache-Control: max-age=600")
		s := newEdge(t, o)
		for i := range 200 {
			path := fmt.Sprint("/", i)
			get(s, path)
			check(t, get(s, path), 204, "", "n1; hit; ttl=600")
		}
	})
}

func TestABrokenBodyIsCutAndNotStored(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := &origin{answer: func(*http.Request) (*http.Response, error) {
			return streamed(200, &brokenBody{}, "Cache-Control: max-age=600"), nil
		}}
		s := newEdge(t, o)
		for range 2 {
			if p := get(s, "/"); p.Header.Get("Test-Aborted") == "" {
				t.Errorf("a part was passed off as the whole: %d %q", p.StatusCode, text(p))
			}
		}
		if n := o.asked.Load(); n != 2 || s.Stats().Objects != 0 {
			t.Errorf("asked %d times, %d stored", n, s.Stats().Objects)
		}
	})
}

// brokenBody gives a few bytes and, a second later, breaks off.
type brokenBody struct{ given bool }

func (b *brokenBody) Read(p []byte) (int, error) {
	if b.given {
		time.Sleep(time.Second)
		return 0, errRefused
	}
	b.given = true
	return copy(p, "abc"), nil
}

func (b *brokenBody) Close() error { return nil }
