package purge_test

import (
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"pointsman/providers"
	"pointsman/purge"
)

// series returns every series as "name{label=value,…}" with its value or count.
func series(t *testing.T, reg *prometheus.Registry) map[string]float64 {
	t.Helper()
	families, err := reg.Gather()
	if err != nil {
		t.Fatal(err)
	}
	out := map[string]float64{}
	for _, f := range families {
		for _, m := range f.GetMetric() {
			var labels []string
			for _, l := range m.GetLabel() {
				labels = append(labels, l.GetName()+"="+l.GetValue())
			}
			v := m.GetCounter().GetValue() + m.GetGauge().GetValue() +
				float64(m.GetHistogram().GetSampleCount())
			out[strings.TrimPrefix(f.GetName(), "pointsman_purge_")+
				"{"+strings.Join(labels, ",")+"}"] = v
		}
	}
	return out
}

func TestMetricsCountWhatHappensAndForgetRemovedProviders(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		reg := prometheus.NewPedanticRegistry()
		up, down := newCDN("up"), newCDN("down")
		up.script = func(call int, _ providers.Batch) (bool, providers.Receipt, error) {
			if call == 1 {
				return no(providers.Throttled, time.Second)
			}
			return true, providers.Receipt{Confirmed: true}, nil
		}
		down.script = func(int, providers.Batch) (bool, providers.Receipt, error) {
			return no(providers.Transient, 0)
		}
		n := start(t, purge.Config{Registerer: reg}, up, down)
		submit(t, n.Service, tags("x"))
		if _, err := n.Submit(t.Context(), purge.Request{}); err == nil {
			t.Error("an empty request was taken")
		}
		time.Sleep(time.Minute)
		got := series(t, reg)
		for name, want := range map[string]float64{
			"accepted_total{kind=tag}":                      1,
			"refused_total{reason=invalid}":                 1,
			"attempts_total{outcome=throttled,provider=up}": 1,
			"attempts_total{outcome=ok,provider=up}":        1,
			"deliveries_total{provider=up,state=confirmed}": 1,
			"reached_seconds{provider=up,state=confirmed}":  1,
			"call_seconds{provider=up}":                     2,
			"queue_depth{provider=up}":                      0,
			"queue_depth{provider=down}":                    1,
			"oldest_pending_seconds{provider=up}":           0,
			"oldest_pending_seconds{provider=down}":         59,
			"journal_failing{}":                             0,
		} {
			if have, ok := got[name]; !ok || have < want || have > want+1 ||
				have != want && !strings.HasPrefix(name, "oldest") {
				t.Errorf("%s is %v (present: %v), want %v", name, have, ok, want)
			}
		}
		if got["attempts_total{outcome=transient,provider=down}"] < 3 {
			t.Errorf("down: %v", got)
		}
		if err := n.SetTargets([]purge.Target{{Provider: up}}); err != nil {
			t.Fatal(err)
		}
		time.Sleep(2 * time.Minute)
		for name := range series(t, reg) {
			if strings.Contains(name, "provider=down") {
				t.Errorf("%s is still there", name)
			}
		}
		n.local.setFault(away)
		if _, err := n.Submit(t.Context(), tags("y")); err == nil {
			t.Error("a purge was taken without a journal")
		}
		if got := series(t, reg); got["journal_failing{}"] != 1 ||
			got["refused_total{reason=journal}"] != 1 {
			t.Errorf("journal: %v", got)
		}
	})
}
