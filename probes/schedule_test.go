package probes_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"

	"pointsman/probes"
)

// fake is a prober that takes a set time and remembers when it was asked.
type fake struct {
	mu     sync.Mutex
	took   time.Duration
	busy   map[string]bool
	starts map[string][]time.Time
	twice  bool // a target was probed while it was being probed
}

func newFake(took time.Duration) *fake {
	return &fake{took: took, busy: map[string]bool{}, starts: map[string][]time.Time{}}
}

func (f *fake) Probe(ctx context.Context, t probes.Target) probes.Sample {
	start := time.Now()
	f.mu.Lock()
	f.twice = f.twice || f.busy[t.Name]
	f.busy[t.Name] = true
	f.starts[t.Name] = append(f.starts[t.Name], start)
	f.mu.Unlock()
	select {
	case <-ctx.Done():
	case <-time.After(f.took):
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.busy[t.Name] = false
	return probes.Sample{
		Backend: t.Backend, Target: t.Name, Start: start, Outcome: probes.OK,
		CertExpires: start.Add(time.Hour),
		Phases:      probes.Phases{Total: time.Since(start)},
	}
}

// all returns every start of a probe, in order.
func (f *fake) all() []time.Time {
	f.mu.Lock()
	defer f.mu.Unlock()
	var out []time.Time
	for _, starts := range f.starts {
		out = append(out, starts...)
	}
	slices.SortFunc(out, time.Time.Compare)
	return out
}

func (f *fake) of(name string) []time.Time {
	f.mu.Lock()
	defer f.mu.Unlock()
	return slices.Clone(f.starts[name])
}

// run starts a scheduler for the rest of a bubble; stop ends it and waits.
func run(t *testing.T, s *probes.Scheduler) (stop func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- s.Run(ctx) }()
	return func() {
		cancel()
		if err := <-done; !errors.Is(err, context.Canceled) {
			t.Errorf("Run returned %v", err)
		}
	}
}

// drain takes what is in the channel now.
func drain(c <-chan probes.Sample) (out []probes.Sample) {
	for {
		select {
		case s, ok := <-c:
			if !ok {
				return out
			}
			out = append(out, s)
		default:
			return out
		}
	}
}

func targets(n int, interval time.Duration) (out []probes.Target) {
	for i := range n {
		name := fmt.Sprintf("t%02d", i)
		out = append(out, probes.Target{
			Name: name, Backend: "b-" + name, Kind: probes.TCP, Address: "192.0.2.1:80",
			Interval: interval,
		})
	}
	return out
}

// gathered returns the sum of a metric's values over its series, and how many there are.
func gathered(t *testing.T, r *prometheus.Registry, name, labels string) (float64, int) {
	t.Helper()
	families, err := r.Gather()
	if err != nil {
		t.Fatal(err)
	}
	sum, n := 0.0, 0
	for _, f := range families {
		if f.GetName() != name {
			continue
		}
		for _, m := range f.GetMetric() {
			if strings.Contains(fmt.Sprint(m.GetLabel()), labels) {
				sum += value(m)
				n++
			}
		}
	}
	return sum, n
}

func value(m *dto.Metric) float64 {
	return m.GetCounter().GetValue() + m.GetGauge().GetValue() +
		float64(m.GetHistogram().GetSampleCount())
}

func TestProbesBeginAtOnceAndAreSpreadOverTheFirstInterval(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFake(time.Millisecond)
		s := probes.NewScheduler(probes.SchedulerConfig{
			Prober: f, Rand: rand.New(rand.NewPCG(1, 2)),
		})
		s.SetTargets(targets(100, 10*time.Second))
		began := time.Now()
		stop := run(t, s)
		time.Sleep(10 * time.Second)
		first := map[int]int{} // starts in each second
		for name := range 100 {
			starts := f.of(fmt.Sprintf("t%02d", name))
			if len(starts) == 0 {
				t.Fatalf("t%02d was not probed in its first interval", name)
			}
			first[int(starts[0].Sub(began)/time.Second)]++
		}
		for second := range 10 {
			if n := first[second]; n < 2 || n > 25 {
				t.Errorf("%d of 100 first probes in second %d", n, second)
			}
		}
		stop()
	})
}

func TestProbesKeepTheirIntervalWithALittleJitter(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFake(20 * time.Millisecond)
		s := probes.NewScheduler(probes.SchedulerConfig{Prober: f})
		s.SetTargets(targets(1, time.Second))
		stop := run(t, s)
		time.Sleep(1000 * time.Second)
		stop()
		starts := f.of("t00")
		if n := len(starts); n < 999 || n > 1001 {
			t.Errorf("%d probes in 1000 intervals", n)
		}
		different := map[time.Duration]bool{}
		for i := 1; i < len(starts); i++ {
			gap := starts[i].Sub(starts[i-1])
			different[gap] = true
			if gap < 950*time.Millisecond || gap > 1050*time.Millisecond {
				t.Fatalf("gap %d is %v", i, gap)
			}
		}
		if len(different) < 100 {
			t.Errorf("only %d different gaps: no jitter", len(different))
		}
	})
}

func TestATargetIsNeverProbedTwiceAtATimeAndLatenessIsCounted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		reg := prometheus.NewRegistry()
		f := newFake(2050 * time.Millisecond)
		s := probes.NewScheduler(probes.SchedulerConfig{Prober: f, Registerer: reg})
		s.SetTargets(targets(1, time.Second))
		stop := run(t, s)
		time.Sleep(100 * time.Second)
		stop()
		if f.twice {
			t.Error("a target was probed twice at a time")
		}
		// Each probe overruns, so the next begins as soon as it ends.
		if n := len(f.of("t00")); n < 47 || n > 49 {
			t.Errorf("%d probes of 2.05 s in 100 s", n)
		}
		if late, _ := gathered(t, reg, "pointsman_probes_late_total", "b-t00"); late < 45 {
			t.Errorf("%v late probes counted", late)
		}
	})
}

func TestTheBudgetBoundsTheRateAndIsSharedFairly(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		reg := prometheus.NewRegistry()
		f := newFake(time.Millisecond)
		s := probes.NewScheduler(probes.SchedulerConfig{
			Prober: f, Budget: 20, Registerer: reg,
		})
		s.SetTargets(targets(50, time.Second)) // ask for 50 a second
		stop := run(t, s)
		time.Sleep(100 * time.Second)
		stop()
		all := f.all()
		if n := len(all); n < 1980 || n > 2003 {
			t.Errorf("%d probes in 100 s at 20 a second", n)
		}
		for i := range all { // any second holds the rate and the bucket, no more
			if i+23 < len(all) && all[i+23].Sub(all[i]) < time.Second {
				t.Fatalf("24 probes in %v", all[i+23].Sub(all[i]))
			}
		}
		for i := range 50 {
			if n := len(f.of(fmt.Sprintf("t%02d", i))); n < 35 || n > 45 {
				t.Errorf("t%02d was probed %d times, its fair part is 40", i, n)
			}
		}
		if late, _ := gathered(t, reg, "pointsman_probes_late_total", ""); late == 0 {
			t.Error("no late probe counted")
		}
	})
}

func TestAFullChannelDropsTheOldestSamplesAndCountsThem(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		reg := prometheus.NewRegistry()
		f := newFake(time.Millisecond)
		s := probes.NewScheduler(probes.SchedulerConfig{Prober: f, Buffer: 4, Registerer: reg})
		s.SetTargets(targets(1, time.Second))
		stop := run(t, s)
		time.Sleep(10*time.Second + 500*time.Millisecond)
		synctest.Wait()
		kept := drain(s.Samples())
		stop()
		var got []time.Time
		for _, sample := range kept {
			got = append(got, sample.Start)
		}
		starts := f.of("t00")
		if d := cmp.Diff(starts[len(starts)-4:], got); d != "" {
			t.Error("kept samples (-want +got):", d)
		}
		dropped, _ := gathered(t, reg, "pointsman_probes_samples_dropped_total", "")
		if want := len(starts) - 4; int(dropped) != want {
			t.Errorf("%v dropped samples counted, want %d", dropped, want)
		}
	})
}

func TestNewTargetsLeaveTheOthersTheirPhase(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		reg := prometheus.NewRegistry()
		f := newFake(time.Millisecond)
		s := probes.NewScheduler(probes.SchedulerConfig{Prober: f, Registerer: reg})
		three := targets(3, 10*time.Second)
		s.SetTargets(three)
		stop := run(t, s)
		time.Sleep(60 * time.Second)
		changed := slices.Clone(three[:2])
		changed[1].Address = "192.0.2.2:80"
		s.SetTargets(append(changed, targets(4, 10*time.Second)[3]))
		time.Sleep(60 * time.Second)
		stop()

		kept, removed, added := f.of("t00"), f.of("t02"), f.of("t03")
		for i := 1; i < len(kept); i++ {
			if gap := kept[i].Sub(kept[i-1]); gap < 9500*time.Millisecond ||
				gap > 10500*time.Millisecond {
				t.Errorf("gap of the unchanged target is %v", gap)
			}
		}
		if n := len(kept); n < 11 || n > 13 {
			t.Errorf("the unchanged target was probed %d times", n)
		}
		if len(removed) > 7 || len(added) < 5 {
			t.Errorf("removed probed %d times, added %d times", len(removed), len(added))
		}
		for _, name := range []string{"samples_total", "phase_duration_seconds",
			"certificate_expiry_timestamp_seconds", "late_total"} {
			if _, n := gathered(t, reg, "pointsman_probes_"+name, "b-t02"); n != 0 {
				t.Errorf("the removed backend still has %d series of %s", n, name)
			}
		}
		if sum, _ := gathered(t, reg, "pointsman_probes_samples_total", "b-t00"); sum == 0 {
			t.Error("the unchanged backend lost its series")
		}
		if n, _ := gathered(t, reg, "pointsman_probes_targets", ""); n != 3 {
			t.Errorf("%v targets shown", n)
		}
	})
}

func TestARemovedTargetsProbeUnderWayIsCancelledAndNotReported(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		reg := prometheus.NewRegistry()
		f := newFake(time.Hour)
		s := probes.NewScheduler(probes.SchedulerConfig{Prober: f, Registerer: reg})
		s.SetTargets(targets(1, time.Second))
		stop := run(t, s)
		time.Sleep(2 * time.Second)
		s.SetTargets(nil)
		synctest.Wait()
		f.mu.Lock()
		if f.busy["t00"] || len(f.starts["t00"]) != 1 {
			t.Error("the probe goes on, or never began")
		}
		f.mu.Unlock()
		time.Sleep(time.Minute)
		if got := drain(s.Samples()); len(got) != 0 {
			t.Errorf("reported %+v", got)
		}
		if _, n := gathered(t, reg, "pointsman_probes_samples_total", ""); n != 0 {
			t.Errorf("%d series left", n)
		}
		stop()
	})
}

// drill makes the probes of one backend fail.
type drill struct{ backend string }

func (d drill) Inject(backend string, _ time.Time) (string, bool) {
	return "practice", backend == d.backend
}

func TestADrillFailsProbesWithoutProbing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFake(time.Millisecond)
		s := probes.NewScheduler(probes.SchedulerConfig{
			Prober: f, Vantage: "here", Fault: drill{"b-t01"},
		})
		s.SetTargets(targets(2, time.Second))
		stop := run(t, s)
		time.Sleep(5500 * time.Millisecond)
		stop()
		outcomes := map[string]map[probes.Outcome]int{}
		for sample := range s.Samples() {
			if outcomes[sample.Backend] == nil {
				outcomes[sample.Backend] = map[probes.Outcome]int{}
			}
			outcomes[sample.Backend][sample.Outcome]++
			if sample.Outcome == probes.FailedDrill && (sample.Detail != "drill: practice" ||
				sample.Vantage != "here" || sample.Target != "t01" || sample.Start.IsZero()) {
				t.Errorf("drilled sample is %+v", sample)
			}
		}
		if len(f.of("t01")) != 0 {
			t.Error("the drilled backend was probed")
		}
		good, bad := outcomes["b-t00"], outcomes["b-t01"]
		if good[probes.OK] < 5 || len(good) != 1 || bad[probes.FailedDrill] < 5 || len(bad) != 1 {
			t.Errorf("outcomes are %v", outcomes)
		}
	})
}

func TestRunEndsItsProbesClosesItsChannelAndReportsNothingCutShort(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFake(time.Hour)
		s := probes.NewScheduler(probes.SchedulerConfig{Prober: f})
		s.SetTargets(targets(5, time.Second))
		stop := run(t, s)
		time.Sleep(2 * time.Second)
		stopped := time.Now()
		stop()
		if time.Since(stopped) != 0 {
			t.Errorf("stopping took %v", time.Since(stopped))
		}
		if sample, ok := <-s.Samples(); ok {
			t.Errorf("the channel is open and holds %+v", sample)
		}
	})
}

func TestTheWorkIsTheSameWhateverTheState(t *testing.T) {
	count := func(d drill) (n int) {
		synctest.Test(t, func(t *testing.T) {
			s := probes.NewScheduler(probes.SchedulerConfig{
				Prober: newFake(time.Millisecond), Fault: d,
				Rand: rand.New(rand.NewPCG(7, 7)),
			})
			s.SetTargets(targets(10, time.Second))
			stop := run(t, s)
			time.Sleep(time.Minute)
			stop()
			n = len(drain(s.Samples()))
		})
		return n
	}
	if up, down := count(drill{"none"}), count(drill{"b-t03"}); up-down > 1 || down-up > 1 {
		t.Errorf("%d probes when all is well, %d when a backend fails", up, down)
	}
}
