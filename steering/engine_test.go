package steering_test

import (
	"context"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/goleak"

	"pointsman/probes/health"
	"pointsman/steering"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// started runs an engine in a bubble until the test is over.
func started(t *testing.T, c steering.EngineConfig) *steering.Engine {
	t.Helper()
	e := steering.NewEngine(c)
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- e.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("Run returned %v", err)
		}
	})
	return e
}

func setSpec(t *testing.T, e *steering.Engine, s *steering.Spec) {
	t.Helper()
	if err := e.SetSpec(s); err != nil {
		t.Fatal(err)
	}
}

// now returns a view as view does, at the bubble's time.
func viewNow(version uint64, down ...string) *health.View {
	v := view(version, down...)
	v.At = time.Now()
	return v
}

func drainNow(backend string, life time.Duration) steering.Override {
	o := override(steering.Drain, backend)
	o.Created, o.Expires = time.Now(), time.Now().Add(life)
	return o
}

func TestTheFirstTableIsThereRightAfterSetSpec(t *testing.T) {
	e := steering.NewEngine(steering.EngineConfig{
		Version: 41, Now: func() time.Time { return start },
	})
	if e.Table() != nil {
		t.Error("there is a table before the first spec")
	}
	if _, ok := e.Explain(host, resolver(1), 0); ok {
		t.Error("a decision was explained without a table")
	}
	e.SetView(nil)
	e.SetView(view(1, "a"))
	e.SetOverrides([]steering.Override{override(steering.Drain, "b")})
	setSpec(t, e, spec())
	if got := split(e.Table(), host); got != "c:100" {
		t.Errorf("shares are %q: the inputs before the spec don't count", got)
	}
	if e.Table().Version != 42 {
		t.Errorf("version is %d, want 42", e.Table().Version)
	}
}

func TestABadSpecChangesNothing(t *testing.T) {
	var log strings.Builder
	e := steering.NewEngine(steering.EngineConfig{
		Logger: slog.New(slog.NewTextHandler(&log, nil)),
	})
	if err := e.SetSpec(nil); err == nil || e.Table() != nil {
		t.Error("no spec was accepted")
	}
	setSpec(t, e, spec())
	before := e.Table()
	err := e.SetSpec(spec(func(s *steering.Spec) { s.Hosts[0].Pools[0] = "cnds" }))
	if err == nil || !strings.Contains(err.Error(), `unknown pool "cnds"`) {
		t.Errorf("error is %v", err)
	}
	if e.Table() != before {
		t.Error("the table changed")
	}
	if n := strings.Count(log.String(), "table refused"); n != 2 {
		t.Errorf("%d refusals logged, want 2:\n%s", n, log.String())
	}
	setSpec(t, e, spec())
	if e.Table().Version != before.Version+1 {
		t.Errorf("version is %d, want %d", e.Table().Version, before.Version+1)
	}
}

func TestABurstOfInputsBecomesOneTable(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := started(t, steering.EngineConfig{})
		setSpec(t, e, spec())
		first := e.Table().Version
		for i := range 50 {
			e.SetView(viewNow(uint64(i+2), []string{"a", "b", "c"}[i%3]))
			e.SetOverrides([]steering.Override{drainNow([]string{"a", "b"}[i%2], time.Hour)})
			time.Sleep(100 * time.Microsecond)
		}
		if e.Table().Version != first {
			t.Error("compiled before the burst was over")
		}
		time.Sleep(6 * time.Millisecond)
		synctest.Wait()
		if e.Table().Version != first+1 {
			t.Errorf("version is %d, want %d", e.Table().Version, first+1)
		}
		if got := split(e.Table(), host); got != "a:87.5 c:12.5" {
			t.Errorf("shares are %q, want those of the last inputs", got)
		}
	})
}

func TestEndlessInputsDoNotHoldUpTheTable(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := started(t, steering.EngineConfig{})
		setSpec(t, e, spec())
		first := e.Table().Version
		for i := range 100 {
			e.SetView(viewNow(uint64(i+2), []string{"a", "b"}[i/10%2]))
			time.Sleep(time.Millisecond)
		}
		if n := e.Table().Version - first; n < 5 || n > 12 {
			t.Errorf("%d tables in 100 ms of inputs, want about 9", n)
		}
	})
}

func TestATableWithTheSameContentIsNotPublished(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := started(t, steering.EngineConfig{})
		setSpec(t, e, spec())
		first := e.Table()
		v := viewNow(2)
		a := v.Backends["a"]
		a.State = health.Degraded
		v.Backends["a"] = a
		e.SetView(v)
		time.Sleep(time.Minute)
		now := e.Table()
		if now.Version != first.Version || now.Hash != first.Hash {
			t.Errorf("version %d became %d", first.Version, now.Version)
		}
		if len(e.Changes(0)) != 1 {
			t.Errorf("%d changes, want only the first", len(e.Changes(0)))
		}
		x, _ := steering.Explain(now, host, resolver(1), 0, time.Now())
		if got := inputOf(x, "health", "a").Value; got != "degraded" {
			t.Errorf("the explanation says a is %s, want degraded", got)
		}
	})
}

func TestAnOverrideEndsByItself(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := started(t, steering.EngineConfig{})
		setSpec(t, e, spec())
		e.SetOverrides([]steering.Override{drainNow("a", 5*time.Second)})
		time.Sleep(20 * time.Millisecond)
		if got := split(e.Table(), host); got != "b:66.67 c:33.33" {
			t.Fatalf("shares are %q", got)
		}
		time.Sleep(4500 * time.Millisecond)
		if got := split(e.Table(), host); got != "b:66.67 c:33.33" {
			t.Fatalf("shares are %q before the end", got)
		}
		time.Sleep(1500 * time.Millisecond)
		if got := split(e.Table(), host); got != "a:70 b:20 c:10" {
			t.Errorf("shares are %q after the end", got)
		}
		last := e.Changes(2)
		if len(last) != 1 || last[0].Cause != "override ov-drain-a ended: drain a" {
			t.Errorf("last changes are %+v", last)
		}
	})
}

func TestABackendComesBackByARamp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := started(t, steering.EngineConfig{})
		setSpec(t, e, spec())
		e.SetView(viewNow(2, "a"))
		time.Sleep(10 * time.Second)
		if got := split(e.Table(), host); got != "b:66.67 c:33.33" {
			t.Fatalf("shares are %q", got)
		}
		v := viewNow(3)
		a := v.Backends["a"]
		a.UsableSince = time.Now()
		v.Backends["a"] = a
		e.SetView(v)
		last, rises := 0.0, 0
		for range 40 {
			time.Sleep(time.Second)
			share := e.Table().Shares(host)[0].Share
			if share < last {
				t.Errorf("the share fell from %v to %v", last, share)
			}
			if share-last > 0.20 {
				t.Errorf("the share leapt from %v to %v", last, share)
			}
			if share > last {
				rises++
			}
			last = share
		}
		if rises < 9 || last != 0.7 {
			t.Errorf("%d rises to %v, want 9 or 10 to 0.7", rises, last)
		}
		version := e.Table().Version
		time.Sleep(time.Hour)
		if e.Table().Version != version {
			t.Error("tables are published after the ramp")
		}
	})
}

func TestChangesSayWhatMovedAndWhy(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var got []steering.Change
		e := started(t, steering.EngineConfig{OnChange: func(c steering.Change) {
			got = append(got, c)
		}})
		e.SetView(viewNow(1))
		setSpec(t, e, spec())
		e.SetView(viewNow(2, "a"))
		time.Sleep(20 * time.Millisecond)
		at := time.Now().Add(-10 * time.Millisecond)
		setSpec(t, e, spec(func(s *steering.Spec) { s.Hosts[0].Name = "x.example.test." }))
		type line struct {
			Seq                        uint64
			Cause, Host, Before, After string
			Reason                     steering.Reason
		}
		var lines []line
		for _, c := range got {
			lines = append(lines, line{
				c.Seq, c.Cause, c.Host, shareText(c.Before), shareText(c.After), c.Reason,
			})
		}
		full, without := "a:70 b:20 c:10", "b:66.67 c:33.33"
		firstCause := "spec; health of a: unknown to healthy; health of b: unknown to healthy; " +
			"health of c: unknown to healthy; health of edge: unknown to healthy; " +
			"health of origin: unknown to healthy"
		want := []line{
			{1, firstCause, host, "", full, steering.ReasonPool},
			{2, "health of a: healthy to unhealthy", host, full, without, steering.ReasonPool},
			{3, "spec", host, without, "", ""},
			{4, "spec", "x.example.test.", "", without, steering.ReasonPool},
		}
		if diff := cmp.Diff(want, lines); diff != "" {
			t.Error(diff)
		}
		if !got[1].At.Equal(at) || got[1].Version != 2 || got[3].Hash != e.Table().Hash {
			t.Errorf("change is %+v at %s", got[1], at)
		}
		if diff := cmp.Diff(got[2:], e.Changes(2)); diff != "" {
			t.Error(diff)
		}
	})
}

func TestTheLast256ChangesAreRemembered(t *testing.T) {
	e := steering.NewEngine(steering.EngineConfig{})
	for i := range 300 {
		setSpec(t, e, spec(func(s *steering.Spec) {
			s.Pools[0].Members[0].Weight = uint32(i + 1)
		}))
	}
	all := e.Changes(0)
	if len(all) != 256 || all[0].Seq != 45 || all[255].Seq != 300 {
		t.Errorf("%d changes from %d", len(all), all[0].Seq)
	}
	if n := len(e.Changes(298)); n != 2 {
		t.Errorf("%d changes after 298, want 2", n)
	}
	if n := len(e.Changes(300)); n != 0 {
		t.Errorf("%d changes after the last", n)
	}
}

func TestOnChangeMayCallTheEngine(t *testing.T) {
	var e *steering.Engine
	var seen []uint64
	e = steering.NewEngine(steering.EngineConfig{OnChange: func(c steering.Change) {
		seen = append(seen, c.Seq)
		if len(e.Changes(0)) < 3 {
			e.SetOverrides(nil)
			if err := e.SetSpec(spec(func(s *steering.Spec) {
				s.Pools[0].Members[0].Weight = uint32(c.Seq)
			})); err != nil {
				t.Error(err)
			}
		}
	}})
	setSpec(t, e, spec())
	if diff := cmp.Diff([]uint64{1, 2, 3}, seen); diff != "" {
		t.Error(diff)
	}
}

func TestAnOlderOrEmptyTableIsRefused(t *testing.T) {
	e := steering.NewEngine(steering.EngineConfig{Version: 9})
	setSpec(t, e, spec())
	current := e.Table()
	for name, table := range map[string]*steering.Table{
		"nil":          nil,
		"empty":        {Version: 99},
		"older":        compile(t, steering.Inputs{Version: 9, Spec: spec()}),
		"same version": compile(t, steering.Inputs{Version: 10, Spec: spec()}),
	} {
		if err := e.Publish(table); err == nil {
			t.Errorf("%s table was published", name)
		}
		if e.Table() != current {
			t.Fatalf("%s table is in force", name)
		}
	}
	if err := e.Publish(compile(t, steering.Inputs{Version: 11, Spec: spec()})); err != nil {
		t.Error(err)
	}
}

func TestRacingPublishersNeverTurnTheVersionBack(t *testing.T) {
	e := steering.NewEngine(steering.EngineConfig{})
	var tables []*steering.Table
	for v := range 200 {
		tables = append(tables, compile(t, steering.Inputs{Version: uint64(v + 1), Spec: spec()}))
	}
	var wg sync.WaitGroup
	for w := range 4 {
		wg.Go(func() {
			last := uint64(0)
			for i := range tables {
				table := tables[(i*37+w*11)%len(tables)]
				err := e.Publish(table)
				now := e.Table().Version
				if now < last || err == nil && now < table.Version {
					t.Errorf("version %d after %d", now, last)
				}
				last = now
			}
		})
	}
	wg.Wait()
	if e.Table().Version != 200 {
		t.Errorf("version is %d, want 200", e.Table().Version)
	}
}

func TestInputsFromManyGoroutinesNeverTurnTheVersionBack(t *testing.T) {
	e := steering.NewEngine(steering.EngineConfig{})
	setSpec(t, e, spec())
	ctx, cancel := context.WithCancel(t.Context())
	var run, writers sync.WaitGroup
	run.Go(func() { _ = e.Run(ctx) })
	for w := range 4 {
		writers.Go(func() {
			last := uint64(0)
			for i := range 50 {
				e.SetView(view(uint64(w*1000+i), []string{"a", "b", "c", "edge"}[w]))
				e.SetOverrides([]steering.Override{override(steering.Drain, "b")}[:i%2])
				if err := e.SetSpec(spec()); err != nil {
					t.Error(err)
				}
				table := e.Table()
				if _, ok := table.Pick(steering.Query{Host: host}); !ok {
					t.Error("no answer")
				}
				if table.Version <= last {
					t.Errorf("version %d after %d", table.Version, last)
				}
				last = table.Version
			}
		})
	}
	writers.Wait()
	cancel()
	run.Wait()
}

func TestInputsBeforeTheFirstSpecWaitForIt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := started(t, steering.EngineConfig{})
		e.SetView(viewNow(1, "a"))
		time.Sleep(3 * time.Second)
		if e.Table() != nil {
			t.Error("there is a table without a spec")
		}
		setSpec(t, e, spec())
		if got := split(e.Table(), host); got != "b:66.67 c:33.33" {
			t.Errorf("shares are %q", got)
		}
	})
}

func TestACauseNamesOnlySoMany(t *testing.T) {
	e := steering.NewEngine(steering.EngineConfig{Now: func() time.Time { return start }})
	setSpec(t, e, spec())
	var list []steering.Override
	for _, b := range []string{"a", "b", "c", "d", "e", "f", "g", "h", "i", "j", "k"} {
		list = append(list, override(steering.Drain, b))
	}
	e.SetOverrides(list)
	setSpec(t, e, spec())
	got := e.Changes(1)[0].Cause
	if !strings.HasSuffix(got, "; 4 more") || strings.Count(got, ";") != 8 {
		t.Errorf("cause is %q", got)
	}
}

func TestMetricsShowTheTableAndForgetWhatIsGone(t *testing.T) {
	r := prometheus.NewRegistry()
	e := steering.NewEngine(steering.EngineConfig{
		Registerer: r, Now: func() time.Time { return start },
	})
	e.SetOverrides([]steering.Override{override(steering.Drain, "b")})
	setSpec(t, e, spec())
	_ = e.SetSpec(nil)
	got := gather(t, r)
	for name, want := range map[string]float64{
		"pointsman_steering_table_version":                                  1,
		"pointsman_steering_hosts":                                          1,
		"pointsman_steering_tables_published_total":                         1,
		"pointsman_steering_tables_refused_total":                           1,
		"pointsman_steering_overrides_active kind=drain":                    1,
		"pointsman_steering_overrides_active kind=pin":                      0,
		"pointsman_steering_share_ratio backend=a host=cdn.example.test.":   0.875,
		"pointsman_steering_share_ratio backend=b host=cdn.example.test.":   0,
		"pointsman_steering_share_ratio backend=c host=cdn.example.test.":   0.125,
		"pointsman_steering_host_reason host=cdn.example.test. reason=pool": 1,
		"pointsman_steering_table_compiled_timestamp_seconds":               float64(start.Unix()),
		"pointsman_steering_compile_duration_seconds":                       2,
	} {
		if v, ok := got[name]; !ok || v != want {
			t.Errorf("%s is %v (there: %v), want %v", name, v, ok, want)
		}
	}
	if got["pointsman_steering_table_hash"] == 0 {
		t.Error("the hash isn't shown")
	}
	setSpec(t, e, spec(func(s *steering.Spec) {
		s.Hosts[0].Pools = []string{"edge"}
		h := s.Hosts[0]
		h.Name = "x.example.test."
		s.Hosts = append(s.Hosts, h)
	}))
	setSpec(t, e, spec(func(s *steering.Spec) { s.Hosts[0].Pools = []string{"edge"} }))
	for name := range gather(t, r) {
		if strings.Contains(name, "backend=a") || strings.Contains(name, "x.example") {
			t.Errorf("%s is still there", name)
		}
	}
}

// gather returns every series by name and labels; of a histogram its count.
func gather(t *testing.T, r *prometheus.Registry) map[string]float64 {
	t.Helper()
	families, err := r.Gather()
	if err != nil {
		t.Fatal(err)
	}
	series := map[string]float64{}
	for _, f := range families {
		for _, m := range f.GetMetric() {
			name := f.GetName()
			for _, l := range m.GetLabel() {
				name += " " + l.GetName() + "=" + l.GetValue()
			}
			series[name] = m.GetGauge().GetValue() + m.GetCounter().GetValue() +
				float64(m.GetHistogram().GetSampleCount())
		}
	}
	return series
}
