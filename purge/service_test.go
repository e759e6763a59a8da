package purge_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"pointsman/providers"
	"pointsman/purge"
)

func TestAPurgeReachesEveryProviderOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		one, two := newCDN("one"), newCDN("two")
		two.caps = full(2)
		n := start(t, purge.Config{}, one, two)
		req := urls("b", "a", "c", "a")
		req.Actor, req.Reason = "ann", "price list"
		st := submit(t, n.Service, req)
		if st.Outcome() != purge.Pending || st.Durability != purge.Local || st.AcceptedBy != "a" {
			t.Errorf("at once: %+v", st)
		}
		st = wait(t, n.Service, st.ID)
		if st.Outcome() != purge.Done || st.Outcome().ExitCode() != 0 {
			t.Errorf("in the end: %+v", st)
		}
		want := []string{"https://www.example.com/a", "https://www.example.com/b",
			"https://www.example.com/c"}
		for c, calls := range map[*cdn]int{one: 1, two: 2} {
			var got []string
			for _, a := range c.appliedOf(st.ID) {
				got = append(got, a.Items...)
			}
			if d := cmp.Diff(want, got); d != "" || c.callCount() != calls {
				t.Errorf("%s in %d calls: -want +got:\n%s", c.name, c.callCount(), d)
			}
		}
		if r := st.Results[1]; r.State != purge.Accepted || r.Batches != 2 || r.Attempts != 2 ||
			!slices.Equal(r.Refs, []string{"two-1", "two-2"}) || !r.Final {
			t.Errorf("result of two: %+v", r)
		}
	})
}

func TestASubmittedPurgeIsInTheJournalBeforeTheAnswer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		local := newMemory()
		s, err := purge.New(purge.Config{Node: "a", Local: local,
			Targets: []purge.Target{{Provider: newCDN("one")}}})
		if err != nil {
			t.Fatal(err)
		}
		st := submit(t, s, tags("x")) // nothing runs: what is seen is what Submit wrote
		if _, err := local.Get(t.Context(), "purge/open/"+st.ID); err != nil {
			t.Errorf("the journal says: %v", err)
		}
	})
}

func TestAPurgeThatTheJournalRefusesIsNeverAcknowledged(t *testing.T) {
	for _, applied := range []bool{false, true} {
		t.Run(fmt.Sprintf("applied=%v", applied), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				c := newCDN("one")
				n := start(t, purge.Config{}, c)
				n.local.setFault(func(op, key string) (bool, bool) { return op == "put", applied })
				st, err := n.Submit(t.Context(), tags("x"))
				if !errors.Is(err, purge.ErrJournal) || st.ID != "" {
					t.Errorf("got %+v, %v", st, err)
				}
				n.local.setFault(nil)
				// Nothing is latched: the store itself says when it can be trusted again.
				if st := wait(t, n.Service, submit(t, n.Service, tags("y")).ID); !st.Final() {
					t.Errorf("afterwards: %+v", st)
				}
			})
		})
	}
}

func TestADeliveryGoesOnWhileTheDiskIsFullAndIsJournaledLater(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCDN("one")
		n := start(t, purge.Config{}, c)
		n.stop()
		st := submit(t, n.Service, tags("x"))
		again := start(t, purge.Config{Local: n.local}, c)
		n.local.setFault(func(op, key string) (bool, bool) {
			return op == "put" || op == "delete", false
		})
		time.Sleep(10 * time.Second)
		if c.callCount() != 1 {
			t.Errorf("%d calls while the disk was full", c.callCount())
		}
		n.local.setFault(nil)
		time.Sleep(10 * time.Second)
		if _, err := n.local.Get(t.Context(), "purge/done/"+st.ID); err != nil {
			t.Errorf("after the disk was mended: %v", err)
		}
		if st = wait(t, again.Service, st.ID); st.Outcome() != purge.Done || c.callCount() != 1 {
			t.Errorf("%d calls, %+v", c.callCount(), st)
		}
	})
}

func TestEveryMistakeInARequestIsNamed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := start(t, purge.Config{}, newCDN("one"), newCDN("two"))
		many := make([]string, 1001)
		for i := range many {
			many[i] = fmt.Sprintf("tag-%d", i)
		}
		cases := []struct {
			name string
			req  purge.Request
			want []string
		}{
			{"no kind", purge.Request{Items: []string{"a"}}, []string{"kind", "prefix"}},
			{"no items", purge.Request{Kind: providers.Tag}, []string{"at least one"}},
			{"items of everything", purge.Request{Kind: providers.Everything, Items: []string{"a"}},
				[]string{"names no items"}},
			{"too many", tags(many...), []string{"1001 given, at most 1000"}},
			{"too much", tags(strings.Repeat("x", 1000)), nil},
			{"two bad items and a bad provider",
				purge.Request{Kind: providers.URL, Items: []string{"a", "https://ok.test/", "b"},
					Providers: []string{"tow"}},
				[]string{"items[0]", "items[2]", `no provider "tow", there are: one, two`}},
			{"a long reason", purge.Request{Kind: providers.Tag, Items: []string{"a"},
				Reason: strings.Repeat("x", 600)}, []string{"reason: 600 bytes"}},
			{"a bad verification URL", purge.Request{Kind: providers.Tag, Items: []string{"a"},
				VerifyURLs: []string{"/a"}}, []string{"verify_urls[0]"}},
		}
		for _, c := range cases {
			_, err := n.Submit(t.Context(), c.req)
			if (c.want != nil) != errors.Is(err, purge.ErrInvalid) {
				t.Errorf("%s: %v", c.name, err)
			}
			for _, want := range c.want {
				if err != nil && !strings.Contains(err.Error(), want) {
					t.Errorf("%s: %q is not in %q", c.name, want, err)
				}
			}
		}
		list, err := n.local.List(t.Context(), "purge/open/")
		if err != nil || len(list) > 1 {
			t.Errorf("journaled: %d, %v", len(list), err)
		}
	})
}

func TestARequestOfTooManyCallsIsRefused(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var cdns []*cdn
		for i := range 3 {
			c := newCDN(fmt.Sprint("p", i))
			c.caps = full(1)
			cdns = append(cdns, c)
		}
		n := start(t, purge.Config{}, cdns...)
		var items []string
		for i := range 700 {
			items = append(items, fmt.Sprint("t", i))
		}
		if _, err := n.Submit(t.Context(), tags(items...)); !errors.Is(err, purge.ErrInvalid) ||
			!strings.Contains(err.Error(), "2100 calls") {
			t.Errorf("got %v", err)
		}
	})
}

// What a request may become is bounded when it is accepted, by 350 bytes for each batch; what
// providers write into a record must keep to that.
func TestTheStateOfABatchStaysWithinItsBound(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCDN("one")
		c.caps = full(1)
		c.script = func(call int, _ providers.Batch) (bool, providers.Receipt, error) {
			if call <= 3 {
				e := failing(providers.Transient, 0)
				e.Message = strings.Repeat("\x01", 5000)
				return false, providers.Receipt{}, e
			}
			return true, providers.Receipt{Ref: strings.Repeat("\"<é", 500),
				Estimate: 50 * time.Hour}, nil
		}
		n := start(t, purge.Config{}, c)
		n.stop()
		var items []string
		for i := range 200 {
			items = append(items, fmt.Sprint(i))
		}
		id := submit(t, n.Service, tags(items...)).ID
		before, err := n.local.Get(t.Context(), "purge/open/"+id)
		if err != nil {
			t.Fatal(err)
		}
		start(t, purge.Config{Local: n.local, Deadline: 100 * time.Hour}, c)
		time.Sleep(20 * time.Minute)
		after, err := n.local.Get(t.Context(), "purge/open/"+id)
		if err != nil || c.callCount() < 203 {
			t.Fatalf("%d calls, %v", c.callCount(), err)
		}
		if grown := (len(after.Value) - len(before.Value)) / len(items); grown > 350 {
			t.Errorf("each batch added %d bytes", grown)
		}
	})
}

func TestItemsThatEncodingMakesTooLongAreRefused(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := start(t, purge.Config{}, newCDN("one"))
		var items []string
		for i := range 255 { // within the bytes allowed, but JSON doubles each quote
			items = append(items, strings.Repeat(`"`, 1000)+fmt.Sprint(i))
		}
		if _, err := n.Submit(t.Context(), tags(items...)); err != nil {
			t.Errorf("twice 255 kB fits: %v", err)
		}
		one := newCDN("one")
		one.caps = full(1)
		if err := n.SetTargets([]purge.Target{{Provider: one}}); err != nil {
			t.Fatal(err)
		}
		for i := range 700 {
			items = append(items, fmt.Sprint("x", i))
		}
		two := newCDN("two")
		two.caps = full(1)
		if err := n.SetTargets([]purge.Target{{Provider: one}, {Provider: two}}); err != nil {
			t.Fatal(err)
		}
		if _, err := n.Submit(t.Context(), tags(items...)); !errors.Is(err, purge.ErrInvalid) {
			t.Errorf("1910 calls on top do not: %v", err)
		}
	})
}

func TestListGivesTheNewestFirst(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := start(t, purge.Config{Tick: time.Minute}, newCDN("one"))
		var want []string
		for i := range 12 {
			st := submit(t, n.Service, tags(fmt.Sprint("t", i)))
			want = append([]string{st.ID}, want...)
			time.Sleep(11 * time.Hour) // over days, so that they lie in many slices
		}
		for _, limit := range []int{1, 5, 0} {
			list, err := n.List(t.Context(), limit)
			if err != nil {
				t.Fatal(err)
			}
			var got []string
			for _, st := range list {
				got = append(got, st.ID)
			}
			if limit == 0 {
				limit = len(want)
			}
			if d := cmp.Diff(want[:limit], got); d != "" {
				t.Errorf("limit %d: -want +got:\n%s", limit, d)
			}
		}
		time.Sleep(6 * 24 * time.Hour)
		list, err := n.List(t.Context(), 0)
		if err != nil || len(list) == 0 || len(list) == len(want) {
			t.Errorf("past their retention: %d, %v", len(list), err)
		}
		if _, err := n.Get(t.Context(), want[len(want)-1]); !errors.Is(err, purge.ErrNotFound) {
			t.Errorf("the oldest: %v", err)
		}
	})
}

func TestAStatusWarnsOfTagsThatAreNotPortable(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := start(t, purge.Config{}, newCDN("one"))
		if st := submit(t, n.Service, tags("plain", "product-42")); st.Warnings != nil {
			t.Errorf("portable tags: %q", st.Warnings)
		}
		if st := submit(t, n.Service, urls("A,B")); st.Warnings != nil {
			t.Errorf("a URL: %q", st.Warnings)
		}
		long := strings.Repeat("x", 500)
		st := submit(t, n.Service, tags("Upper", "plain", long))
		want := []string{
			`tag "Upper": upper case: Cloudflare and CloudFront ignore case, ` +
				`Fastly and Akamai do not`,
			fmt.Sprintf("tag %q...: 500 bytes long: Akamai takes 128, Google about 120", long[:64]),
		}
		if d := cmp.Diff(want, wait(t, n.Service, st.ID).Warnings); d != "" {
			t.Errorf("-want +got:\n%s", d)
		}
		var many []string
		for i := range 50 {
			many = append(many, fmt.Sprintf("T%d", i))
		}
		if got := submit(t, n.Service, tags(many...)).Warnings; len(got) != 11 ||
			got[10] != "and 40 more" {
			t.Errorf("50 tags: %q", got)
		}
	})
}

func TestUnknownPurgesAreNotFound(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := start(t, purge.Config{Shared: newMemory()}, newCDN("one"))
		for _, id := range []string{"", "x", "01ARYZ6S410000000000000000", "../key/1"} {
			for name, call := range map[string]func(context.Context, string) (purge.Status, error){
				"Get": n.Get, "Wait": n.Wait, "Retry": n.Retry,
			} {
				if _, err := call(t.Context(), id); !errors.Is(err, purge.ErrNotFound) {
					t.Errorf("%s(%q): %v", name, id, err)
				}
			}
			<-n.Changed(id)
		}
	})
}

func TestTooManyUnfinishedPurgesAreRefusedAndNoneIsLost(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCDN("one")
		c.script = func(int, providers.Batch) (bool, providers.Receipt, error) {
			return no(providers.Transient, 0)
		}
		n := start(t, purge.Config{MaxOpen: 3}, c)
		for i := range 3 {
			submit(t, n.Service, tags(fmt.Sprint(i)))
		}
		if _, err := n.Submit(t.Context(), tags("x")); !errors.Is(err, purge.ErrOverloaded) {
			t.Errorf("the fourth: %v", err)
		}
		n.stop()
		c.mend()
		n = start(t, purge.Config{MaxOpen: 3, Local: n.local}, c)
		time.Sleep(5 * time.Minute)
		list, err := n.List(t.Context(), 0)
		if err != nil || len(list) != 3 {
			t.Fatalf("listed %d, %v", len(list), err)
		}
		for _, st := range list {
			if st.Outcome() != purge.Done {
				t.Errorf("%+v", st)
			}
		}
	})
}

func TestAPurgeThatNoProviderCanDoSaysSoAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := start(t, purge.Config{}, limited("one", 1, false, providers.URL))
		st := submit(t, n.Service, tags("x"))
		if st.Outcome() != purge.NotDone || st.Outcome().ExitCode() != 1 ||
			st.Results[0].State != purge.Unsupported {
			t.Errorf("%+v", st)
		}
		again, err := n.Get(t.Context(), st.ID)
		if d := cmp.Diff(st, again); d != "" || err != nil {
			t.Errorf("%v, -submitted +read:\n%s", err, d)
		}
	})
}

func TestAConfigThatCannotWorkIsRefused(t *testing.T) {
	local := newMemory()
	cases := []struct {
		name string
		c    purge.Config
		want string
	}{
		{"nothing", purge.Config{}, "no Node is given"},
		{"no journal", purge.Config{Node: "a"}, "no Local store is given"},
		{"a lease shorter than two calls", purge.Config{Node: "a", Local: local,
			CallTimeout: time.Minute}, "LeaseTTL"},
		{"replicated to itself", purge.Config{Node: "a", Local: local, Shared: local,
			RequireReplicated: true}, "RequireReplicated"},
		{"a provider twice", purge.Config{Node: "a", Local: local, Targets: []purge.Target{
			{Provider: newCDN("x")}, {Provider: newCDN("x")}}}, "twice"},
		{"no provider", purge.Config{Node: "a", Local: local,
			Targets: []purge.Target{{}}}, "Provider is nil"},
		{"an unknown fallback", purge.Config{Node: "a", Local: local, Targets: []purge.Target{
			{Provider: newCDN("x"), SoftFallback: "maybe"}}}, "maybe"},
		{"a negative rate", purge.Config{Node: "a", Local: local, Targets: []purge.Target{
			{Provider: newCDN("x"), Rate: -1}}}, "negative"},
	}
	for _, c := range cases {
		if _, err := purge.New(c.c); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v", c.name, err)
		}
	}
}
