package alias

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"
)

// metrics are those of a Resolver.
type metrics struct {
	lookUps *prometheus.CounterVec
	unsaved prometheus.Counter
}

// newMetrics registers the metrics; with a nil registerer they exist and are seen by nobody.
func newMetrics(r prometheus.Registerer, snapshot func() Snapshot, now func() time.Time) *metrics {
	f := promauto.With(r)
	if r != nil {
		r.MustRegister(&ages{snapshot: snapshot, now: now, desc: prometheus.NewDesc(
			"pointsman_alias_age_seconds",
			"How long ago the addresses of a name were last confirmed; no series before the first.",
			[]string{"target"}, nil)})
	}
	return &metrics{
		lookUps: f.NewCounterVec(prometheus.CounterOpts{
			Name: "pointsman_alias_lookups_total",
			Help: "Look-ups of names behind flattened hosts, by result: answered, nxdomain, empty " +
				"or failed. All but the first leave the last good addresses as they are.",
		}, []string{"target", "result"}),
		unsaved: f.NewCounter(prometheus.CounterOpts{
			Name: "pointsman_alias_write_failures_total",
			Help: "Times that the last good addresses could not be written to disk.",
		}),
	}
}

func (m *metrics) count(target, result string) { m.lookUps.WithLabelValues(target, result).Inc() }

// forget deletes the series of a target.
func (m *metrics) forget(target string) {
	m.lookUps.DeletePartialMatch(prometheus.Labels{"target": target})
}

// ages tells how old each answer is at the moment of asking.
type ages struct {
	snapshot func() Snapshot
	now      func() time.Time
	desc     *prometheus.Desc
}

// Describe implements prometheus.Collector.
func (a *ages) Describe(out chan<- *prometheus.Desc) { out <- a.desc }

// Collect implements prometheus.Collector.
func (a *ages) Collect(out chan<- prometheus.Metric) {
	now := a.now()
	for target, answer := range a.snapshot() {
		out <- prometheus.MustNewConstMetric(a.desc, prometheus.GaugeValue,
			now.Sub(answer.At).Seconds(), target)
	}
}
