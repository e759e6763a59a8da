package purge_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"pointsman/providers"
	"pointsman/purge"
)

// web is a Fetcher that answers as its function says, by the address that is dialled.
type web struct {
	mu     sync.Mutex // guards seen
	seen   []string
	answer func(address, url string) (purge.Fetched, error)
}

func (w *web) Fetch(ctx context.Context, via purge.FetchVia, url string) (purge.Fetched, error) {
	w.mu.Lock()
	w.seen = append(w.seen, via.Address+" "+url)
	w.mu.Unlock()
	got, err := w.answer(via.Address, url)
	got.At = time.Now()
	return got, err
}

func (w *web) looks() int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return len(w.seen)
}

// verifying starts a node whose provider has two backends and an origin.
func verifying(t *testing.T, c *cdn, w *web) *node {
	return start(t, purge.Config{Verify: true, Fetcher: w, Targets: []purge.Target{{
		Provider: c, Origin: purge.FetchVia{Backend: "origin", Address: "origin"},
		Backends: []purge.FetchVia{{Backend: "b1", Address: "b1"}, {Backend: "b2", Address: "b2"}},
	}}})
}

func page(sum string) purge.Fetched { return purge.Fetched{Status: 200, BodySHA256: sum} }

func TestAPurgeIsVerifiedWhenEveryBackendServesWhatTheOriginDoes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		began := time.Now()
		w := &web{answer: func(address, _ string) (purge.Fetched, error) {
			if address == "b2" && time.Since(began) < 5*time.Second {
				return page("old"), nil // the purge is on its way
			}
			return page("new"), nil
		}}
		n := verifying(t, newCDN("one"), w)
		st := wait(t, n.Service, submit(t, n.Service, urls("a", "b")).ID)
		r := st.Results[0]
		if r.State != purge.Verified || st.Outcome() != purge.Done ||
			!strings.Contains(r.CheckReason, "2 of 2 URLs") {
			t.Errorf("%+v", st)
		}
		if took := time.Since(began); took < 5*time.Second || took > 10*time.Second {
			t.Errorf("verified after %v", took)
		}
	})
}

func TestAPurgeThatLeavesTheOldObjectEndsUnverifiedWithTheReason(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		answers := map[string]func() (purge.Fetched, error){
			`backend "b2" differs from the origin`: func() (purge.Fetched, error) {
				return page("old"), nil
			},
			`fetching through backend "b2": no route`: func() (purge.Fetched, error) {
				return purge.Fetched{}, errors.New("no route")
			},
			`backend "b2" answered with status 503`: func() (purge.Fetched, error) {
				return purge.Fetched{Status: 503}, nil
			},
		}
		for want, b2 := range answers {
			w := &web{answer: func(address, _ string) (purge.Fetched, error) {
				if address == "b2" {
					return b2()
				}
				return page("new"), nil
			}}
			n := verifying(t, newCDN("one"), w)
			began := time.Now()
			st := wait(t, n.Service, submit(t, n.Service, urls("a")).ID)
			r := st.Results[0]
			if r.Check != purge.CheckUnverified || !strings.Contains(r.CheckReason, want) ||
				r.State != purge.Accepted || st.Outcome() != purge.Unverified ||
				st.Outcome().ExitCode() != 4 {
				t.Errorf("want %q, got %+v", want, st)
			}
			if took := time.Since(began); took < 30*time.Second || took > 5*time.Minute {
				t.Errorf("given up after %v", took)
			}
			before := w.looks()
			if again, err := n.Retry(t.Context(), st.ID); err != nil || again.Final() {
				t.Errorf("retried: %+v, %v", again, err)
			}
			if wait(t, n.Service, st.ID); w.looks() == before {
				t.Error("a retry did not look again")
			}
			n.stop()
		}
	})
}

func TestAFailedDeliveryIsNotLookedAt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCDN("one")
		c.script = func(int, providers.Batch) (bool, providers.Receipt, error) {
			return no(providers.Invalid, 0)
		}
		w := &web{answer: func(string, string) (purge.Fetched, error) { return page("x"), nil }}
		n := verifying(t, c, w)
		st := wait(t, n.Service, submit(t, n.Service, urls("a")).ID)
		if st.Outcome() != purge.NotDone || w.looks() != 0 {
			t.Errorf("%d looks, %+v", w.looks(), st)
		}
	})
}

func TestVerificationWaitsForTheEstimate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCDN("one")
		c.script = func(int, providers.Batch) (bool, providers.Receipt, error) {
			return true, providers.Receipt{Estimate: 20 * time.Second}, nil
		}
		w := &web{answer: func(string, string) (purge.Fetched, error) { return page("x"), nil }}
		n := verifying(t, c, w)
		id := submit(t, n.Service, urls("a")).ID
		time.Sleep(19 * time.Second)
		if w.looks() != 0 {
			t.Error("it looked before the provider said that it would be done")
		}
		if st := wait(t, n.Service, id); st.Results[0].State != purge.Verified {
			t.Errorf("%+v", st)
		}
	})
}

func TestWhatCannotBeVerifiedSaysWhy(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := &web{answer: func(string, string) (purge.Fetched, error) { return page("x"), nil }}
		with := []purge.FetchVia{{Backend: "b", Address: "b"}}
		cases := []struct {
			c    purge.Config
			t    purge.Target
			req  purge.Request
			want string
		}{
			{purge.Config{Verify: true, Fetcher: w}, purge.Target{Backends: with}, tags("x"),
				"nothing to verify with; give --verify-url"},
			{purge.Config{Verify: true, Fetcher: w}, purge.Target{}, urls("x"), "no backend"},
			{purge.Config{Fetcher: w}, purge.Target{Backends: with}, urls("x"), "off"},
		}
		for _, c := range cases {
			c.t.Provider = newCDN("one")
			c.c.Targets = []purge.Target{c.t}
			n := start(t, c.c)
			st := wait(t, n.Service, submit(t, n.Service, c.req).ID)
			if r := st.Results[0]; !strings.Contains(r.CheckReason, c.want) ||
				r.State != purge.Accepted || st.Outcome() != purge.Done {
				t.Errorf("want %q, got %+v", c.want, st)
			}
		}
		if w.looks() != 0 {
			t.Errorf("%d looks", w.looks())
		}
	})
}

func TestATagIsVerifiedByTheURLsThatAreGiven(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := &web{answer: func(string, string) (purge.Fetched, error) { return page("x"), nil }}
		n := verifying(t, newCDN("one"), w)
		req := tags("x")
		req.VerifyURLs = []string{"https://www.example.com/proof"}
		st := wait(t, n.Service, submit(t, n.Service, req).ID)
		if st.Results[0].State != purge.Verified || w.looks() != 3 {
			t.Errorf("%d looks, %+v", w.looks(), st)
		}
	})
}

func TestOfManyURLsAFewAreLookedAtAndTheReasonSaysHowMany(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := &web{answer: func(string, string) (purge.Fetched, error) { return page("x"), nil }}
		n := verifying(t, newCDN("one"), w)
		var names []string
		for i := range 200 {
			names = append(names, fmt.Sprint(i))
		}
		st := wait(t, n.Service, submit(t, n.Service, urls(names...)).ID)
		if r := st.Results[0]; !strings.Contains(r.CheckReason, "20 of 200 URLs") ||
			w.looks() != 60 {
			t.Errorf("%d looks, %+v", w.looks(), r)
		}
	})
}

func TestAnObjectFetchedBetweenTwoBatchesIsNewerThanItsOwn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		began := time.Now()
		stored := map[string]time.Duration{"a": 2 * time.Second, "b": 20 * time.Second}
		w := &web{answer: func(address, url string) (purge.Fetched, error) {
			got := page(address + time.Since(began).String()) // it changes all the time
			got.Age = (time.Since(began) - stored[url[len(url)-1:]]).Truncate(time.Second)
			got.AgeKnown = true
			return got, nil
		}}
		c := newCDN("one")
		c.caps = full(1)
		c.script = func(_ int, b providers.Batch) (bool, providers.Receipt, error) {
			if strings.HasSuffix(b.Items[0], "b") && time.Since(began) < 8*time.Second {
				return no(providers.Transient, 10*time.Second) // it is sent again, much later
			}
			return true, providers.Receipt{}, nil
		}
		n := verifying(t, c, w)
		st := wait(t, n.Service, submit(t, n.Service, urls("a", "b")).ID)
		if r := st.Results[0]; r.State != purge.Verified {
			t.Errorf("%s: %s", r.State, r.CheckReason)
		}
	})
}
