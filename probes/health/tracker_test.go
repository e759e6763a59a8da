package health_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/goleak"

	"pointsman/probes"
	"pointsman/probes/health"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// rig runs a tracker in a bubble.
type rig struct {
	t       *testing.T
	tracker *health.Tracker
	samples chan probes.Sample
	stop    func()

	mu    sync.Mutex
	views []*health.View // told by OnChange
}

func newRig(t *testing.T, c health.Config) *rig {
	t.Helper()
	r := &rig{t: t, samples: make(chan probes.Sample)}
	c.Vantage = "here"
	c.OnChange = func(v *health.View) {
		r.mu.Lock()
		defer r.mu.Unlock()
		r.views = append(r.views, v)
	}
	r.tracker = health.New(c)
	return r
}

func (r *rig) run() {
	r.t.Helper()
	ctx, cancel := context.WithCancel(r.t.Context())
	done := make(chan error, 1)
	go func() { done <- r.tracker.Run(ctx, r.samples) }()
	r.stop = func() {
		cancel()
		if err := <-done; !errors.Is(err, context.Canceled) {
			r.t.Errorf("Run returned %v", err)
		}
	}
}

// feed sends one sample a second for each backend, n times.
func (r *rig) feed(n int, outcome probes.Outcome, backends ...string) {
	for range n {
		for _, b := range backends {
			r.send(b, "t", outcome)
		}
		time.Sleep(time.Second)
	}
	synctest.Wait()
}

func (r *rig) send(backend, target string, outcome probes.Outcome) {
	s := probes.Sample{
		Backend: backend, Target: target, Start: time.Now(), Outcome: outcome,
		Phases: probes.Phases{Total: 30 * time.Millisecond},
	}
	if !s.OK() {
		s.Detail = "seen " + string(outcome)
	}
	r.samples <- s
}

// want checks states given as "a:healthy b:unhealthy".
func (r *rig) want(states string) {
	r.t.Helper()
	var got []string
	for _, word := range strings.Fields(states) {
		name, _, _ := strings.Cut(word, ":")
		got = append(got, name+":"+string(r.tracker.View().Of(name).State))
	}
	if d := cmp.Diff(strings.Fields(states), got); d != "" {
		r.t.Error("states (-want +got):", d)
	}
}

func (r *rig) reason(backend, part string) {
	r.t.Helper()
	if got := r.tracker.View().Of(backend).Reason; !strings.Contains(got, part) {
		r.t.Errorf("reason of %s is %q, want it to contain %q", backend, got, part)
	}
}

// series returns the value and the number of series of a metric with a label value.
func series(t *testing.T, reg *prometheus.Registry, name, label string) (sum float64, n int) {
	t.Helper()
	families, err := reg.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range families {
		for _, m := range f.GetMetric() {
			if f.GetName() == "pointsman_health_"+name &&
				strings.Contains(fmt.Sprint(m.GetLabel()), label) {
				sum += m.GetGauge().GetValue() + m.GetCounter().GetValue()
				n++
			}
		}
	}
	return sum, n
}

func TestSamplesBecomeViewsAndVersionsRiseWithStatesAlone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		reg := prometheus.NewRegistry()
		r := newRig(t, health.Config{Backends: []string{"a", "b"}, Registerer: reg})
		r.want("a:unknown b:unknown")
		r.run()
		r.feed(3, probes.OK, "a", "stranger")
		r.want("a:healthy b:unknown")
		if _, ok := r.tracker.View().Backends["stranger"]; ok {
			t.Error("a stranger is in the view")
		}
		before := r.tracker.View()
		r.feed(5, probes.OK, "a")
		after := r.tracker.View()
		if after.Version != before.Version {
			t.Error("the version rose without a change of state")
		}
		if age := time.Since(after.Of("a").LastSample); age > 2*time.Second {
			t.Errorf("the view shows a sample of %v ago", age)
		}
		fell := time.Now()
		r.feed(3, probes.FailedTimeout, "a")
		r.want("a:unhealthy b:unknown")
		r.reason("a", "3 failures in a row: seen timeout")
		h := r.tracker.View().Of("a")
		if since := h.Since.Sub(fell); since < 2*time.Second || since > 3*time.Second {
			t.Errorf("it is down since %v after the first failure", since)
		}
		if len(h.Votes) != 1 || h.Votes[0].Vantage != "here" || h.Latency == 0 {
			t.Errorf("health is %+v", h)
		}
		r.feed(3, probes.OK, "a")
		h = r.tracker.View().Of("a")
		if h.State != health.Healthy || !h.UsableSince.Equal(h.Since) {
			t.Errorf("after the return health is %+v", h)
		}
		r.stop()
		r.versionsRose()
		if n := len(r.views); n != 4 { // the first view, up, down, up
			t.Errorf("OnChange was called %d times, want 4", n)
		}
		if v, _ := series(t, reg, "state", `"healthy"`); v != 1 {
			t.Errorf("%v backends shown as healthy", v)
		}
		if v, _ := series(t, reg, "transitions_total", `"a"`); v != 3 {
			t.Errorf("%v transitions counted", v)
		}
	})
}

func (r *rig) versionsRose() {
	r.t.Helper()
	r.mu.Lock()
	defer r.mu.Unlock()
	for i := 1; i < len(r.views); i++ {
		if r.views[i].Version <= r.views[i-1].Version {
			r.t.Errorf("version %d follows %d", r.views[i].Version, r.views[i-1].Version)
		}
	}
}

func TestABackendIsAsWellAsItsWorstTarget(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, health.Config{Backends: []string{"a"}})
		r.run()
		both := func(n int, v4, v6 probes.Outcome) {
			for range n {
				r.send("a", "v4", v4)
				if v6 != "" {
					r.send("a", "v6", v6)
				}
				time.Sleep(time.Second)
			}
			synctest.Wait()
		}
		both(3, probes.OK, probes.OK)
		r.want("a:healthy")
		both(3, probes.OK, probes.FailedConnect)
		r.want("a:unhealthy")
		r.reason("a", "v6: 3 failures in a row: seen connect")
		// The config drops v6: once its samples are stale it no longer counts.
		both(32, probes.OK, "")
		r.want("a:healthy")
		r.stop()
	})
}

func TestWithoutSamplesTheLastStateStaysAndSaysSo(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, health.Config{Backends: []string{"up", "down"}})
		r.run()
		for range 3 {
			r.send("up", "t", probes.OK)
			r.send("down", "t", probes.FailedConnect)
			time.Sleep(time.Second)
		}
		close(r.samples)
		time.Sleep(time.Hour)
		r.want("up:healthy down:unhealthy")
		r.reason("up", "kept healthy: no sample for 1h0m")
		r.stop()
	})
}

func TestAReloadKeepsWhatIsUnchangedAndForgetsWhatIsRemoved(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		reg := prometheus.NewRegistry()
		r := newRig(t, health.Config{Backends: []string{"a", "b"}, Registerer: reg})
		r.run()
		r.feed(3, probes.FailedStatus, "a", "b")
		before := r.tracker.View()
		r.tracker.SetBackends([]string{"a", "b"}, map[string]health.Rules{"a": {Rise: 1}})
		if v := r.tracker.View(); v.Version != before.Version {
			t.Error("the version rose although the backends are the same")
		}
		r.tracker.SetBackends([]string{"a", "c"}, map[string]health.Rules{"a": {Rise: 1}})
		synctest.Wait()
		r.want("a:unhealthy b:unknown c:unknown")
		if _, ok := r.tracker.View().Backends["b"]; ok {
			t.Error("the removed backend is in the view")
		}
		for _, name := range []string{"state", "transitions_total", "latency_seconds",
			"sample_age_seconds"} {
			if _, n := series(t, reg, name, `"b"`); n != 0 {
				t.Errorf("the removed backend has %d series of %s", n, name)
			}
		}
		r.feed(1, probes.OK, "a", "b") // under the new rules one success is enough
		r.want("a:healthy")
		r.stop()
		r.versionsRose()
	})
}

func TestAWarmStartHoldsUntilOwnSamplesDecide(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		saved := &health.View{
			Version: 41, At: time.Now().Add(-5 * time.Minute),
			Backends: map[string]health.Health{
				"down": {State: health.Unhealthy, Reason: "status 503", Since: epoch},
				"up":   {State: health.Healthy, Reason: "well"},
				"gone": {State: health.Healthy},
				"odd":  {State: "purple"},
			},
		}
		r := newRig(t, health.Config{Backends: []string{"down", "up", "new", "odd"}})
		r.tracker.Restore(nil)
		r.tracker.Restore(saved)
		r.want("down:unhealthy up:healthy new:unknown odd:unknown gone:unknown")
		r.reason("down", "as saved 5m0s ago: status 503")
		if v := r.tracker.View(); v.Version <= 41 || !v.Of("down").Since.Equal(epoch) {
			t.Errorf("view is %+v", v)
		}
		r.run()
		r.feed(2, probes.OK, "down", "up")
		r.want("down:unhealthy up:healthy")
		r.reason("down", "as saved 5m2s ago")
		r.feed(1, probes.OK, "down", "up")
		r.want("down:healthy up:healthy")
		r.reason("down", "3 successes in a row")
		if r.tracker.View().Of("down").UsableSince.IsZero() {
			t.Error("coming back from a saved Unhealthy did not begin a slow start")
		}
		r.tracker.Restore(saved) // too late: own samples decided
		r.want("down:healthy")
		r.stop()
	})
}

func TestWhenAllFailWithTheControlTheViewIsHeld(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		reg := prometheus.NewRegistry()
		r := newRig(t, health.Config{
			Backends: []string{"a", "b", "origin"}, Control: []string{"origin"}, Registerer: reg,
		})
		r.run()
		r.feed(3, probes.OK, "a", "b", "origin")
		r.feed(60, probes.FailedConnect, "a", "b", "origin")
		r.want("a:healthy b:healthy origin:healthy")
		r.reason("a", "not believed, as everything fails")
		if v, _ := series(t, reg, "self_doubt", ""); v != 1 {
			t.Error("the gauge does not show the doubt")
		}
		// The control answers again: what still fails is believed.
		for range 3 {
			r.send("origin", "t", probes.OK)
			r.send("a", "t", probes.FailedConnect)
			r.send("b", "t", probes.OK)
			time.Sleep(time.Second)
		}
		synctest.Wait()
		r.want("a:unhealthy b:healthy origin:healthy")
		if v, _ := series(t, reg, "self_doubt", ""); v != 0 {
			t.Error("the gauge still shows the doubt")
		}
		r.stop()
	})
}

func TestWhileTheControlAnswersAndWithoutOneFailuresAreBelieved(t *testing.T) {
	for _, control := range [][]string{nil, {"origin"}} {
		synctest.Test(t, func(t *testing.T) {
			r := newRig(t, health.Config{
				Backends: []string{"a", "b", "origin"}, Control: control,
			})
			r.run()
			r.feed(3, probes.OK, "a", "b", "origin")
			for range 3 {
				r.send("a", "t", probes.FailedConnect)
				r.send("b", "t", probes.FailedConnect)
				if control != nil {
					r.send("origin", "t", probes.OK)
				} else {
					r.send("origin", "t", probes.FailedConnect)
				}
				time.Sleep(time.Second)
			}
			synctest.Wait()
			if control != nil {
				r.want("a:unhealthy b:unhealthy origin:healthy")
			} else {
				r.want("a:unhealthy b:unhealthy origin:unhealthy")
			}
			r.stop()
		})
	}
}

func TestADrillIsNoReasonToDoubt(t *testing.T) {
	for name, c := range map[string]struct {
		a, origin probes.Outcome
		want      string
	}{
		"of a backend": {probes.FailedDrill, probes.OK, "a:unhealthy o:healthy"},
		"of everything": {probes.FailedDrill, probes.FailedDrill,
			"a:unhealthy o:unhealthy"},
		"of the control": {probes.FailedConnect, probes.FailedDrill,
			"a:unhealthy o:unhealthy"},
		"but no reason to be sure, when the control really fails": {
			probes.FailedDrill, probes.FailedConnect, "a:healthy o:healthy"},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := newRig(t, health.Config{Backends: []string{"a", "o"}, Control: []string{"o"}})
				r.run()
				r.feed(3, probes.OK, "a", "o")
				for range 3 {
					r.send("a", "t", c.a)
					r.send("o", "t", c.origin)
					time.Sleep(time.Second)
				}
				synctest.Wait()
				r.want(c.want)
				r.stop()
			})
		})
	}
}

func TestViewsCanBeReadWhileEverythingChanges(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, health.Config{Backends: []string{"a", "b"}})
		r.run()
		var readers sync.WaitGroup
		for range 4 {
			readers.Go(func() {
				var last uint64
				for range 500 {
					v := r.tracker.View()
					if v.Version < last {
						t.Error("the version fell")
					}
					last = v.Version
					_ = v.Of("a").Votes
					time.Sleep(10 * time.Millisecond)
				}
			})
		}
		for i := range 5 {
			outcome := []probes.Outcome{probes.OK, probes.FailedRead}[i%2]
			r.feed(1, outcome, "a", "b")
			r.tracker.SetBackends([]string{"a", "b", "c"}[:2+i%2], nil)
		}
		readers.Wait()
		r.stop()
	})
}
