package admin_test

import (
	"bufio"
	"encoding/json"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"pointsman/internal/admin"
	"pointsman/internal/admin/api"
)

func sequences(events []api.Event) (out []uint64) {
	for _, e := range events {
		out = append(out, e.Sequence)
	}
	return out
}

func TestEventsAreRememberedInOrderUpToALimit(t *testing.T) {
	e := admin.NewEvents(nil)
	if got, _ := e.After(0); len(got) != 0 {
		t.Errorf("an empty memory has %v", got)
	}
	for i := range 3 {
		e.Add("table", fmt.Sprint("event ", i+1), map[string]int{"n": i})
	}
	got, _ := e.After(1)
	if diff := cmp.Diff([]uint64{2, 3}, sequences(got)); diff != "" {
		t.Errorf("after 1 (-want +got):\n%s", diff)
	}
	if got[0].Message != "event 2" || string(got[0].Data) != `{"n":1}` || got[0].At.IsZero() {
		t.Errorf("the event is %+v", got[0])
	}
	for range 600 {
		e.Add("health", "more", func() {}) // what cannot be shown is left out
	}
	got, _ = e.After(0)
	if len(got) != 512 || got[0].Sequence != 92 || got[511].Sequence != 603 || got[511].Data != nil {
		t.Errorf("603 events left %d from %d to %d", len(got), got[0].Sequence, got[len(got)-1].Sequence)
	}
	if got, _ := e.After(1000); len(got) != 0 {
		t.Errorf("after the future there are %v", got)
	}
}

func TestWaitersLearnOfEventsFromManySources(t *testing.T) {
	e := admin.NewEvents(nil)
	var all sync.WaitGroup
	for range 8 {
		all.Go(func() {
			for range 50 {
				e.Add("table", "x", nil)
			}
		})
	}
	seen := uint64(0)
	for seen < 400 {
		events, more := e.After(seen)
		for _, ev := range events {
			if ev.Sequence != seen+1 {
				t.Fatalf("after %d came %d", seen, ev.Sequence)
			}
			seen = ev.Sequence
		}
		if seen < 400 {
			<-more
		}
	}
	all.Wait()
}

func TestActualSharesAreThoseOfTheLastMinute(t *testing.T) {
	now := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	a := admin.NewActual(func() time.Time { return now })
	if mine, all := a.Of("x.", "a"); mine != 0 || all != 0 {
		t.Errorf("before any mark: %d of %d", mine, all)
	}
	var counts [3]uint64 // of a and b at x, of a at y
	second := func(add [3]uint64) {
		now = now.Add(time.Second)
		for i := range counts {
			counts[i] += add[i]
		}
		a.Take(admin.Served{Host: "x.", Backend: "a", Count: counts[0]},
			admin.Served{Host: "x.", Backend: "b", Count: counts[1]},
			admin.Served{Host: "y.", Backend: "a", Count: counts[2]})
	}
	want := func(host, backend string, mine, all uint64) {
		t.Helper()
		if m, n := a.Of(host, backend); m != mine || n != all {
			t.Errorf("%s at %s has %d of %d, want %d of %d", backend, host, m, n, mine, all)
		}
	}
	second([3]uint64{5000, 5000, 5000}) // what was before the window began does not count
	want("x.", "a", 0, 0)
	for range 30 {
		second([3]uint64{7, 3, 1})
	}
	want("x.", "a", 210, 300)
	want("x.", "b", 90, 300)
	want("y.", "a", 30, 30)
	want("x.", "nobody", 0, 300)
	for range 60 {
		second([3]uint64{0, 2, 0})
	}
	want("x.", "a", 0, 120) // a minute later the earlier ones are gone
	want("y.", "a", 0, 0)
	counts = [3]uint64{} // a counter that starts anew counts as no answers, not as billions
	second([3]uint64{1, 1, 1})
	want("x.", "a", 0, 0)
}

func TestTheActualShareReachesTheStatus(t *testing.T) {
	var mu sync.Mutex
	count := uint64(0)
	n := newNode(t, func(c *admin.Config) {
		c.Served = func() []admin.Served {
			mu.Lock()
			defer mu.Unlock()
			count += 30
			return []admin.Served{{Host: "cdn.example.test.", Backend: "a", Count: count},
				{Host: "cdn.example.test.", Backend: "b", Count: count / 3}}
		}
	})
	eventually(t, "an actual share of 75 %", func() bool {
		b := get[api.Status](n, "GET", "/v1/status", "").Hosts[0].Backends
		return b[0].Actual == 0.75 && b[1].Actual == 0.25 && b[0].Answers > 0
	})
}

// stream reads server-sent events: their names and data go to a channel, which is closed at the
// stream's end.
func (n *node) stream() (events <-chan [2]string, leave func()) {
	n.t.Helper()
	res, err := n.client.Do(n.request("GET", "/v1/stream", ""))
	if err != nil {
		n.t.Fatal(err)
	}
	if got := res.Header.Get("Content-Type"); got != "text/event-stream" {
		n.t.Fatalf("the stream is %q", got)
	}
	c := make(chan [2]string, 1000)
	var reader sync.WaitGroup
	reader.Go(func() {
		defer close(c)
		s := bufio.NewScanner(res.Body)
		s.Buffer(nil, 1<<20)
		name := ""
		for s.Scan() {
			if v, ok := strings.CutPrefix(s.Text(), "event: "); ok {
				name = v
			}
			if v, ok := strings.CutPrefix(s.Text(), "data: "); ok {
				c <- [2]string{name, v}
			}
		}
	})
	leave = func() { res.Body.Close(); reader.Wait() }
	n.t.Cleanup(leave)
	return c, leave
}

// next waits for an event of a name.
func next(t *testing.T, events <-chan [2]string, name string) string {
	t.Helper()
	timeout := time.NewTimer(5 * time.Second)
	defer timeout.Stop()
	for {
		select {
		case e, ok := <-events:
			if !ok {
				t.Fatalf("the stream ended before %s", name)
			}
			if e[0] == name {
				return e[1]
			}
		case <-timeout.C:
			t.Fatalf("no %s within 5 s", name)
		}
	}
}

func TestTheStreamCarriesOldAndNewEventsAndTheStatus(t *testing.T) {
	n := newNode(t)
	n.events.Add("config", "before", nil)
	events, _ := n.stream()
	if got := next(t, events, "event"); !strings.Contains(got, `"before"`) {
		t.Errorf("the first event is %s", got)
	}
	var st api.Status
	if err := json.Unmarshal([]byte(next(t, events, "status")), &st); err != nil || st.Node != "n1" {
		t.Errorf("the status is %+v, %v", st, err)
	}
	began := time.Now()
	n.events.Add("health", "a line\nand another", nil)
	got := next(t, events, "event")
	if took := time.Since(began); !strings.Contains(got, `a line\nand another`) ||
		took > 500*time.Millisecond {
		t.Errorf("after %s came %s", took, got)
	}
	for range 2 {
		next(t, events, "status") // and it goes on
	}
}

func TestTheStreamEndsAtTheStopOfTheNode(t *testing.T) {
	n := newNode(t)
	events, _ := n.stream()
	next(t, events, "status")
	began := time.Now()
	n.stop()
	for range events { // until it is closed
	}
	if took := time.Since(began); took > 2*time.Second {
		t.Errorf("the stop took %s with a stream open", took)
	}
}

func TestTheStreamEndsForAClientThatIsGone(t *testing.T) {
	n := newNode(t)
	events, leave := n.stream()
	next(t, events, "status")
	leave()
	n.client.CloseIdleConnections()
	eventually(t, "the end of the request", func() bool {
		// The request is counted when its handler returns; the reading of metrics is not yet.
		families, err := n.registry.Gather()
		if err != nil {
			t.Fatal(err)
		}
		for _, f := range families {
			if f.GetName() == "pointsman_admin_requests_total" {
				return f.GetMetric()[0].GetCounter().GetValue() == 1
			}
		}
		return false
	})
}

func TestEventsCanBePolled(t *testing.T) {
	n := newNode(t)
	if got := n.do("GET", "/v1/events", ""); strings.TrimSpace(got.body) != "[]" {
		t.Errorf("without events: %s", got.body)
	}
	n.events.Add("store", "away", nil)
	n.events.Add("store", "back", nil)
	got := get[[]api.Event](n, "GET", "/v1/events?after=1", "")
	if len(got) != 1 || got[0].Message != "back" {
		t.Errorf("after 1: %+v", got)
	}
}
