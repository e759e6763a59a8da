package health_test

import (
	"context"
	"encoding/json"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"

	"pointsman/internal/store"
	"pointsman/internal/store/storetest"
	"pointsman/probes"
	"pointsman/probes/health"
)

// memory is a store that can be switched off or made to hang.
type memory struct{ *storetest.Faulty }

func newMemory() memory { return memory{storetest.NewFaulty(storetest.NewMemory(nil))} }

func (m memory) set(down, hanging bool) {
	m.Down(down)
	m.Delay(0)
	if hanging {
		m.Delay(time.Hour) // no call has that long
	}
}

func vote(state health.State, age time.Duration) map[string]health.Vote {
	return map[string]health.Vote{
		"a": {State: state, At: time.Now().Add(-age), Reason: "because"},
	}
}

func TestVotesTravelWithTheirAgeAndEndWithTheirNode(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newMemory()
		mine := health.NewStoreExchange(m, "n1", "fra", 10*time.Second)
		other := health.NewStoreExchange(m, "n2", "ams/1", 10*time.Second)
		publish := func() {
			if err := other.Publish(t.Context(), vote(health.Healthy, 3*time.Second)); err != nil {
				t.Fatal(err)
			}
		}
		others := func() map[string][]health.Vote {
			got, err := mine.Others(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			return got
		}
		publish()
		seen := time.Now()
		want := map[string][]health.Vote{"a": {{
			Vantage: "ams/1/n2", State: health.Healthy, Reason: "because",
			At: seen.Add(-3 * time.Second),
		}}}
		if d := cmp.Diff(want, others()); d != "" {
			t.Error("votes (-want +got):", d)
		}
		time.Sleep(4 * time.Second) // nobody publishes: the vote grows old
		if d := cmp.Diff(want, others()); d != "" {
			t.Error("votes after 4 s (-want +got):", d)
		}
		publish()
		if at := others()["a"][0].At; !at.Equal(seen.Add(time.Second)) {
			t.Errorf("published anew, the vote is %v after the first", at.Sub(seen))
		}
		time.Sleep(10 * time.Second)
		if got := others(); len(got) != 0 {
			t.Errorf("a dead node still votes: %v", got)
		}
	})
}

func TestTwoNodesOfOneVantageAreToldApart(t *testing.T) {
	m := newMemory()
	one := health.NewStoreExchange(m, "n1", "fra", 0)
	two := health.NewStoreExchange(m, "n2", "fra", 0)
	for _, x := range []*health.StoreExchange{one, two} {
		if err := x.Publish(t.Context(), vote(health.Unhealthy, 0)); err != nil {
			t.Fatal(err)
		}
	}
	for x, want := range map[*health.StoreExchange]string{one: "fra/n2", two: "fra/n1"} {
		got, err := x.Others(t.Context())
		if err != nil || len(got["a"]) != 1 || got["a"][0].Vantage != want {
			t.Errorf("got %v, %v; want one vote of %s", got, err, want)
		}
	}
}

func TestGarbageInTheStoreSpoilsNoOtherVote(t *testing.T) {
	m := newMemory()
	mine := health.NewStoreExchange(m, "n1", "fra", 0)
	other := health.NewStoreExchange(m, "n2", "ams", 0)
	if err := other.Publish(t.Context(), vote(health.Unhealthy, 0)); err != nil {
		t.Fatal(err)
	}
	for key, value := range map[string]string{
		"binary":  "\x00\xff",
		"type":    `{"vantage":"x","votes":[1]}`,
		"empty":   `{}`,
		"state":   `{"vantage":"x","votes":{"a":{"state":"purple"}}}`,
		"age":     `{"vantage":"x","votes":{"a":{"state":"healthy","age_ms":-1}}}`,
		"ancient": `{"vantage":"x","votes":{"a":{"state":"healthy","age_ms":9e18}}}`,
	} {
		o := store.PutOptions{TTL: time.Minute}
		if _, err := m.Put(t.Context(), "votes/"+key, []byte(value), o); err != nil {
			t.Fatal(err)
		}
	}
	got, err := mine.Others(t.Context())
	if err == nil || strings.Count(err.Error(), "reading votes of votes/") != 6 {
		t.Errorf("got the error %v, want one for each of 6", err)
	}
	if len(got["a"]) != 1 || got["a"][0].Vantage != "ams/n2" {
		t.Errorf("got %v", got)
	}
}

func FuzzBallot(f *testing.F) {
	f.Add([]byte(`{"vantage":"x","node":"n","votes":{"a":{"state":"healthy","age_ms":5}}}`))
	f.Add([]byte(`{"vantage":"x","votes":{"a":{"state":"unhealthy","reason":"\u0000"}}}`))
	f.Fuzz(func(t *testing.T, value []byte) {
		m := newMemory()
		o := store.PutOptions{TTL: time.Minute}
		_, _ = m.Put(t.Context(), "votes/x", value, o)
		got, err := health.NewStoreExchange(m, "n1", "fra", 0).Others(t.Context())
		for _, votes := range got {
			v := votes[0]
			if err != nil || !json.Valid(value) || v.Vantage == "" || v.At.After(time.Now()) ||
				v.State == health.Unknown || len(v.Reason) > 300 {
				t.Errorf("%q became %+v, %v", value, v, err)
			}
		}
	})
}

// publishEach has a node vote each second until the test ends.
func publishEach(t *testing.T, m memory, node string, state func() health.State) (stop func()) {
	t.Helper()
	x := health.NewStoreExchange(m, node, node, 5*time.Second)
	ctx, cancel := context.WithCancel(t.Context())
	var node1 sync.WaitGroup
	node1.Go(func() {
		for ctx.Err() == nil {
			callCtx, end := context.WithTimeout(ctx, time.Second)
			_ = x.Publish(callCtx, vote(state(), 0))
			end()
			select {
			case <-ctx.Done():
			case <-time.After(time.Second):
			}
		}
	})
	return func() { cancel(); node1.Wait() }
}

func TestOneVantageOfThreeCannotThrowABackendOut(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		reg := prometheus.NewRegistry()
		m := newMemory()
		x := health.NewStoreExchange(m, "n1", "fra", 5*time.Second)
		r := newRig(t, health.Config{Backends: []string{"a"}, Exchange: x, Registerer: reg})
		var mu sync.Mutex
		elsewhere := health.Healthy
		state := func() health.State { mu.Lock(); defer mu.Unlock(); return elsewhere }
		stop2, stop3 := publishEach(t, m, "n2", state), publishEach(t, m, "n3", state)
		r.run()
		r.feed(3, probes.OK, "a")
		r.feed(20, probes.FailedConnect, "a")
		r.want("a:healthy")
		r.reason("a", "2 of 3 vantages say healthy")
		if n := len(r.tracker.View().Of("a").Votes); n != 3 {
			t.Errorf("%d votes in the view", n)
		}
		if _, n := series(t, reg, "vote_age_seconds", ""); n != 2 {
			t.Errorf("%d vantages with an age", n)
		}
		mu.Lock()
		elsewhere = health.Unhealthy
		mu.Unlock()
		r.feed(3, probes.FailedConnect, "a")
		r.want("a:unhealthy")
		// The others die: their votes leave, and this vantage decides alone.
		stop2()
		stop3()
		r.feed(10, probes.OK, "a")
		r.want("a:healthy")
		if _, n := series(t, reg, "vote_age_seconds", ""); n != 0 {
			t.Errorf("%d dead vantages with an age", n)
		}
		r.stop()
	})
}

func TestAStoreThatIsAwayOrHangsNeverHoldsTheTracker(t *testing.T) {
	for _, c := range []struct {
		name          string
		down, hanging bool
	}{{"away", true, false}, {"hanging", false, true}} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				reg := prometheus.NewRegistry()
				m := newMemory()
				m.set(c.down, c.hanging)
				x := health.NewStoreExchange(m, "n1", "fra", 5*time.Second)
				r := newRig(t, health.Config{
					Backends: []string{"a"}, Exchange: x, Registerer: reg,
				})
				r.run()
				began := time.Now()
				r.feed(3, probes.OK, "a")
				r.feed(3, probes.FailedConnect, "a")
				r.want("a:unhealthy")
				if took := time.Since(began); took != 6*time.Second {
					t.Errorf("6 s of samples took %v", took)
				}
				for _, operation := range []string{"publish", "read"} {
					n, _ := series(t, reg, "exchange_failures_total", operation)
					if n == 0 {
						t.Errorf("no failure of %s counted", operation)
					}
				}
				// It comes back empty: the votes are published again.
				m.set(false, false)
				time.Sleep(5 * time.Second)
				synctest.Wait()
				if got, err := m.List(t.Context(), "votes/fra/n1"); err != nil || len(got) != 1 ||
					!strings.Contains(string(got[0].Value), `"unhealthy"`) {
					t.Errorf("got %v, %v", got, err)
				}
				r.stop()
			})
		})
	}
}

func TestWithTheStoreAwayOthersVotesGrowOldAndTheOwnOneDecides(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newMemory()
		x := health.NewStoreExchange(m, "n1", "fra", 5*time.Second)
		r := newRig(t, health.Config{
			Backends: []string{"a"}, Exchange: x,
			Rules: map[string]health.Rules{"a": {StaleAfter: 10 * time.Second}},
		})
		stop2 := publishEach(t, m, "n2", func() health.State { return health.Healthy })
		stop3 := publishEach(t, m, "n3", func() health.State { return health.Healthy })
		r.run()
		r.feed(3, probes.OK, "a")
		m.set(true, false)
		r.feed(5, probes.FailedConnect, "a")
		r.want("a:healthy") // two fresh votes still say so
		r.feed(8, probes.FailedConnect, "a")
		r.want("a:unhealthy")
		stop2()
		stop3()
		r.stop()
	})
}
