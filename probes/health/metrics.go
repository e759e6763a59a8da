package health

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"
)

// metrics belongs to the tracker's mutex, as vantages is not safe for concurrent use.
type metrics struct {
	state       *prometheus.GaugeVec
	transitions *prometheus.CounterVec
	latency     *prometheus.GaugeVec
	sampleAge   *prometheus.GaugeVec
	voteAge     *prometheus.GaugeVec
	failures    *prometheus.CounterVec
	doubt       prometheus.Gauge
	version     prometheus.Gauge
	vantages    map[string]bool // that have a series in voteAge
}

// newMetrics registers the metrics; with a nil registerer they count for nobody.
func newMetrics(r prometheus.Registerer) *metrics {
	f := promauto.With(r)
	gauge := func(name, help string, labels ...string) *prometheus.GaugeVec {
		return f.NewGaugeVec(prometheus.GaugeOpts{
			Name: "pointsman_health_" + name, Help: help,
		}, labels)
	}
	return &metrics{
		state: gauge("state", "1 for the state that a backend is in, 0 for the others.",
			"backend", "state"),
		latency: gauge("latency_seconds", "Smoothed total time of a backend's good probes.",
			"backend"),
		sampleAge: gauge("sample_age_seconds", "Age of a backend's newest own sample.",
			"backend"),
		voteAge: gauge("vote_age_seconds", "Age of another vantage's newest vote.",
			"vantage"),
		transitions: f.NewCounterVec(prometheus.CounterOpts{
			Name: "pointsman_health_transitions_total",
			Help: "Changes of a backend's state, by the state it came to.",
		}, []string{"backend", "to"}),
		failures: f.NewCounterVec(prometheus.CounterOpts{
			Name: "pointsman_health_exchange_failures_total",
			Help: "Votes that could not be published or read.",
		}, []string{"operation"}),
		doubt: f.NewGauge(prometheus.GaugeOpts{
			Name: "pointsman_health_self_doubt",
			Help: "1 while everything fails, the control targets too, and falls are not believed.",
		}),
		version: f.NewGauge(prometheus.GaugeOpts{
			Name: "pointsman_health_view_version",
			Help: "Version of the view: rises with each change of any state.",
		}),
		vantages: map[string]bool{},
	}
}

// backend shows a backend's health.
func (m *metrics) backend(h Health, now time.Time) {
	for _, s := range []State{Unknown, Healthy, Degraded, Unhealthy} {
		m.state.WithLabelValues(h.Backend, string(s)).Set(oneIf(s == h.State))
	}
	m.latency.WithLabelValues(h.Backend).Set(h.Latency.Seconds())
	if !h.LastSample.IsZero() {
		m.sampleAge.WithLabelValues(h.Backend).Set(now.Sub(h.LastSample).Seconds())
	}
}

// votes shows how old each other vantage's newest vote is.
func (m *metrics) votes(others map[string][]Vote, now time.Time) {
	newest := map[string]time.Time{}
	for _, votes := range others {
		for _, v := range votes {
			if v.At.After(newest[v.Vantage]) {
				newest[v.Vantage] = v.At
			}
		}
	}
	for vantage, at := range newest {
		m.voteAge.WithLabelValues(vantage).Set(now.Sub(at).Seconds())
		m.vantages[vantage] = true
	}
	for vantage := range m.vantages {
		if _, ok := newest[vantage]; !ok {
			m.voteAge.DeleteLabelValues(vantage)
			delete(m.vantages, vantage)
		}
	}
}

// forget deletes the series of a backend that is gone.
func (m *metrics) forget(backend string) {
	labels := prometheus.Labels{"backend": backend}
	m.state.DeletePartialMatch(labels)
	m.transitions.DeletePartialMatch(labels)
	m.latency.DeletePartialMatch(labels)
	m.sampleAge.DeletePartialMatch(labels)
}

func oneIf(b bool) float64 {
	if b {
		return 1
	}
	return 0
}
