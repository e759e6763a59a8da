package edge_test

import (
	"bufio"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"pointsman/edge"
)

// eachTheirOwn sends two clients' requests at once, who tell who they are in a field, and fails
// if one gets the other's answer.
func eachTheirOwn(t *testing.T, field string, status int, lines ...string) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		s := newEdge(t, &origin{answer: func(r *http.Request) (*http.Response, error) {
			time.Sleep(time.Second)
			return reply(status, "for "+r.Header.Get(field), lines...), nil
		}})
		var wg sync.WaitGroup
		for _, who := range []string{"alice", "bob", "carol"} {
			wg.Go(func() {
				if got := text(get(s, "/", field+": "+who)); got != "for "+who {
					t.Errorf("%s got the answer %q", who, got)
				}
			})
		}
		wg.Wait()
	})
}

func TestWhatMustBeValidatedIsNotSharedByThoseWhoWait(t *testing.T) {
	for _, line := range []string{
		"Cache-Control: no-cache", "Cache-Control: max-age=0", "X-Nothing: said",
		"Cache-Control: s-maxage=0, max-age=600",
	} {
		t.Run(line, func(t *testing.T) {
			eachTheirOwn(t, "Cookie", 200, line, `ETag: "1"`)
		})
	}
}

func TestA304ThatMustBeAskedForAgainIsNotSharedByThoseWhoWait(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := &origin{answer: func(r *http.Request) (*http.Response, error) {
			time.Sleep(time.Second)
			who := r.Header.Get("Cookie")
			if r.Header.Get("If-None-Match") == `"`+who+`"` {
				return reply(304, ""), nil
			}
			return reply(200, "for "+who, "Cache-Control: no-cache", `ETag: "`+who+`"`), nil
		}}
		s := newEdge(t, o)
		get(s, "/", "Cookie: alice")
		var wg sync.WaitGroup
		for i, who := range []string{"alice", "bob"} {
			wg.Go(func() {
				time.Sleep(time.Duration(i) * time.Millisecond) // alice leads
				if got := text(get(s, "/", "Cookie: "+who)); got != "for "+who {
					t.Errorf("%s got the answer %q", who, got)
				}
			})
		}
		wg.Wait()
	})
}

func TestAnErrorForOneWhoIsKnownIsNotSharedByThoseWhoWait(t *testing.T) {
	eachTheirOwn(t, "Authorization", 500)
	eachTheirOwn(t, "Cookie", 503)
}

func TestAFieldKeptForOneClientDoesNotReachThoseWhoWait(t *testing.T) {
	for _, line := range []string{`private="Set-Cookie"`, `no-cache="set-cookie"`} {
		synctest.Test(t, func(t *testing.T) {
			s := newEdge(t, &origin{answer: func(*http.Request) (*http.Response, error) {
				time.Sleep(time.Second)
				return reply(200, "hello", "Cache-Control: max-age=60, "+line,
					"Set-Cookie: session=leader"), nil
			}})
			got := 0
			for _, p := range crowd(s, 10, "/") {
				got += len(p.Header["Set-Cookie"])
			}
			if got != 1 {
				t.Errorf("%s: %d clients got the leader's cookie", line, got)
			}
		})
	}
}

func TestAShortLivedAnswerOfASlowOriginIsSharedAllTheSame(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := &origin{answer: func(*http.Request) (*http.Response, error) {
			time.Sleep(5 * time.Second)
			return reply(200, "hello", "Cache-Control: max-age=1"), nil
		}}
		crowd(newEdge(t, o), 50, "/")
		if n := o.asked.Load(); n != 1 {
			t.Errorf("the origin was asked %d times", n)
		}
	})
}

func TestAnErrorThatIsNotSharedDoesNotKeepTheKeyOutOfTheCache(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var healthy atomic.Bool
		s := newEdge(t, &origin{answer: func(*http.Request) (*http.Response, error) {
			if !healthy.Load() {
				return reply(503, "busy", "Vary: Accept-Encoding"), nil
			}
			return reply(200, "hello", "Cache-Control: max-age=60"), nil
		}})
		get(s, "/")
		healthy.Store(true)
		get(s, "/")
		check(t, get(s, "/"), 200, "hello", "n1; hit; ttl=60")
	})
}

func TestAPrivateAnswerForOneClientDoesNotKeepTheOthersOutOfTheCache(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newEdge(t, &origin{answer: func(r *http.Request) (*http.Response, error) {
			if r.Header.Get("Cookie") != "" {
				return reply(200, "hello you", "Cache-Control: private"), nil
			}
			return reply(200, "hello", "Cache-Control: max-age=60"), nil
		}})
		get(s, "/", "Cookie: session=1")
		get(s, "/")
		check(t, get(s, "/"), 200, "hello", "n1; hit; ttl=60")
	})
}

func TestATargetThatTheKeyCannotHoldIsRefused(t *testing.T) {
	o := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Cache-Control", "max-age=60")
		http.Error(w, "answer for "+r.RequestURI, http.StatusOK)
	}))
	defer o.Close()
	s := newEdge(t, nil, func(c *edge.Config) { c.Transport = nil; c.Sites[0].Origin = o.URL })
	front := httptest.NewServer(s.Handler())
	defer front.Close()
	c, err := net.Dial("tcp", front.Listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = c.Close() }()
	if _, err := io.WriteString(c, "GET http:x/y HTTP/1.1\r\nHost: a.test\r\n\r\n"); err != nil {
		t.Fatal(err)
	}
	p, err := http.ReadResponse(bufio.NewReader(c), nil)
	if err != nil {
		t.Fatal(err)
	}
	if got := text(p); p.StatusCode != 400 || p.Header.Get("Cache-Status") != "" {
		t.Errorf("got %d %q with Cache-Status %q: the origin was asked", p.StatusCode, got,
			p.Header.Get("Cache-Status"))
	}
}

func TestNoSpellingOfAnUnkeyedFieldReachesTheOrigin(t *testing.T) {
	var seen http.Header
	s := newEdge(t, &origin{answer: func(r *http.Request) (*http.Response, error) {
		seen = r.Header
		return reply(200, "hello"), nil
	}})
	get(s, "/", "X_Forwarded_Host: evil.test", "x-forwarded_host: evil.test",
		"X_Http_Method_Override: POST", "Front_End-Https: on", "X-Original-Host: evil.test",
		"My_Own: kept")
	for name, lines := range seen {
		if name != "X-Forwarded-Host" && (lines[0] == "evil.test" || lines[0] == "POST") {
			t.Errorf("the origin got %s: %s", name, lines[0])
		}
	}
	if seen.Get("X-Forwarded-Host") != "a.test" || seen["My_own"] == nil {
		t.Errorf("the origin got %v", seen)
	}
}
