package probes

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"
)

type metrics struct {
	samples *prometheus.CounterVec
	phases  *prometheus.HistogramVec
	expires *prometheus.GaugeVec
	late    *prometheus.CounterVec
	dropped prometheus.Counter
	targets prometheus.Gauge
}

// newMetrics registers the metrics; with a nil registerer they count for nobody.
func newMetrics(r prometheus.Registerer) *metrics {
	f := promauto.With(r)
	return &metrics{
		samples: f.NewCounterVec(prometheus.CounterOpts{
			Name: "pointsman_probes_samples_total",
			Help: "Probes that ended, by backend and outcome.",
		}, []string{"backend", "outcome"}),
		phases: f.NewHistogramVec(prometheus.HistogramOpts{
			Name: "pointsman_probes_phase_duration_seconds",
			Help: "Time of each phase of successful probes: dns, connect, tls, first_byte, total.",
			Buckets: []float64{
				.001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10,
			},
		}, []string{"backend", "phase"}),
		expires: f.NewGaugeVec(prometheus.GaugeOpts{
			Name: "pointsman_probes_certificate_expiry_timestamp_seconds",
			Help: "When the certificate last seen at the target ends, as Unix time.",
		}, []string{"backend", "target"}),
		late: f.NewCounterVec(prometheus.CounterOpts{
			Name: "pointsman_probes_late_total",
			Help: "Probes that began late or were left out, because the one before had not " +
				"ended or the budget was spent.",
		}, []string{"backend"}),
		dropped: f.NewCounter(prometheus.CounterOpts{
			Name: "pointsman_probes_samples_dropped_total",
			Help: "Samples thrown away, oldest first, because nobody took them in time.",
		}),
		targets: f.NewGauge(prometheus.GaugeOpts{
			Name: "pointsman_probes_targets",
			Help: "Targets that are being probed.",
		}),
	}
}

// observe counts a sample.
func (m *metrics) observe(s Sample) {
	m.samples.WithLabelValues(s.Backend, string(s.Outcome)).Inc()
	if !s.CertExpires.IsZero() {
		m.expires.WithLabelValues(s.Backend, s.Target).Set(float64(s.CertExpires.Unix()))
	}
	if !s.OK() {
		return
	}
	phase := func(name string, d time.Duration) {
		if d > 0 {
			m.phases.WithLabelValues(s.Backend, name).Observe(d.Seconds())
		}
	}
	phase("dns", s.Phases.DNS)
	phase("connect", s.Phases.Connect)
	phase("tls", s.Phases.TLS)
	phase("first_byte", s.Phases.FirstByte)
	phase("total", s.Phases.Total)
}

// forgetTarget deletes the series of a target that is gone.
func (m *metrics) forgetTarget(t Target) {
	m.expires.DeleteLabelValues(t.Backend, t.Name)
}

// forgetBackend deletes the series of a backend of which no target is left.
func (m *metrics) forgetBackend(backend string) {
	labels := prometheus.Labels{"backend": backend}
	m.samples.DeletePartialMatch(labels)
	m.phases.DeletePartialMatch(labels)
	m.expires.DeletePartialMatch(labels)
	m.late.DeletePartialMatch(labels)
}
