package slow

import (
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"
)

// metrics are the loop's, written by Run's goroutine alone.
type metrics struct {
	leading, epoch, at prometheus.Gauge
	leaders, refused   prometheus.Counter
	failures           prometheus.Counter
	steps              *prometheus.CounterVec
	limits, month      *prometheus.GaugeVec
}

// newMetrics registers the metrics; with a nil registerer they exist and are seen by nobody.
func newMetrics(r prometheus.Registerer) *metrics {
	f := promauto.With(r)
	gauge := func(name, help string) prometheus.Gauge {
		return f.NewGauge(prometheus.GaugeOpts{Name: name, Help: help})
	}
	counter := func(name, help string) prometheus.Counter {
		return f.NewCounter(prometheus.CounterOpts{Name: name, Help: help})
	}
	vec := func(name, help, label string) *prometheus.GaugeVec {
		return f.NewGaugeVec(prometheus.GaugeOpts{Name: name, Help: help}, []string{label})
	}
	return &metrics{
		leading: gauge("pointsman_slow_leading_state",
			"1 while this node leads the slow loop, 0 while it follows."),
		epoch: gauge("pointsman_slow_guidance_epoch",
			"Epoch of the guidance in force on this node; nodes that agree have the same."),
		at: gauge("pointsman_slow_guidance_timestamp_seconds",
			"When the guidance in force was decided, in Unix time by the leader's clock."),
		leaders: counter("pointsman_slow_terms_total",
			"Times that this node began to lead."),
		refused: counter("pointsman_slow_refused_total",
			"Guidance that was refused: of an earlier leader, or by the engine."),
		failures: counter("pointsman_slow_failures_total",
			"Times that the loop began to fail: at a store, or at the engine."),
		steps: f.NewCounterVec(prometheus.CounterOpts{Name: "pointsman_slow_steps_total",
			Help: "Steps of hosts and their places that this node made, by verdict."},
			[]string{"verdict"}),
		limits: vec("pointsman_slow_limit_ratio",
			"Part of its weight that a backend may have while its cache is cold.", "backend"),
		month: vec("pointsman_slow_month_bytes",
			"Traffic of a backend with a contract in this month, as the loop counts it.", "backend"),
	}
}

func (m *metrics) show(s Status) {
	m.leading.Set(0)
	if s.Leading {
		m.leading.Set(1)
	}
	m.epoch.Set(float64(s.Guidance.Epoch))
	if !s.Guidance.At.IsZero() {
		m.at.Set(float64(s.Guidance.At.UnixNano()) / 1e9)
	}
	m.limits.Reset()
	for b, limit := range s.Guidance.Limits {
		m.limits.WithLabelValues(b).Set(limit)
	}
	m.month.Reset()
	for b, gb := range s.Months {
		m.month.WithLabelValues(b).Set(gb * 1e9)
	}
}
