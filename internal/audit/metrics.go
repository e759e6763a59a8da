package audit

import "github.com/prometheus/client_golang/prometheus"

// metrics are the package's instruments. They work also when nobody registered them.
type metrics struct {
	failing prometheus.Gauge
}

func newMetrics(r prometheus.Registerer) *metrics {
	m := &metrics{
		failing: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "pointsman_audit_failing_state",
			Help: "1 after an entry that this node could not record, until one is recorded.",
		}),
	}
	if r != nil {
		r.MustRegister(m.failing)
	}
	return m
}
