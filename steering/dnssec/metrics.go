package dnssec

import (
	"fmt"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// Metrics count what all signers do. A nil one counts nothing.
type Metrics struct {
	end      *prometheus.GaugeVec
	made     *prometheus.CounterVec
	stuck    *prometheus.GaugeVec
	failures *prometheus.CounterVec
	lacking  *prometheus.GaugeVec
	bogus    *prometheus.CounterVec
	at       *prometheus.GaugeVec
	waiting  *prometheus.GaugeVec
}

// NewMetrics builds the metrics and registers them; a nil Registerer registers none.
func NewMetrics(reg prometheus.Registerer) (*Metrics, error) {
	gauge := func(name, help string) *prometheus.GaugeVec {
		return prometheus.NewGaugeVec(prometheus.GaugeOpts{
			Name: "pointsman_dnssec_" + name, Help: help}, []string{"zone"})
	}
	counter := func(name, help string) *prometheus.CounterVec {
		return prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "pointsman_dnssec_" + name, Help: help}, []string{"zone"})
	}
	m := &Metrics{
		end: gauge("signatures_expire_timestamp_seconds",
			"When the first of the zone's signatures ends, in seconds since 1970."),
		made: counter("signatures_total", "Signatures that were made."),
		stuck: gauge("stuck_signatures",
			"Signatures that could not be replaced in time and serve on until their end."),
		failures: counter("failures_total",
			"Rounds of signing, steps of keys and looks at the parent that went wrong."),
		lacking: gauge("unpublished_sets",
			"Sets of the zone as this node has it that the newest publication has no signature for."),
		bogus: counter("publications_refused_total",
			"Publications that were damaged, older than one before, or did not verify."),
		at: gauge("publication_timestamp_seconds",
			"When the publication in use was made, in seconds since 1970."),
		waiting: gauge("publication_pending",
			"1 while this node has signed what it could not publish, else 0."),
	}
	if reg == nil {
		return m, nil
	}
	for _, c := range []prometheus.Collector{m.end, m.made, m.stuck, m.failures, m.lacking,
		m.bogus, m.at, m.waiting} {
		if err := reg.Register(c); err != nil {
			return nil, fmt.Errorf("registering metrics: %w", err)
		}
	}
	return m, nil
}

func (m *Metrics) signed(zone string, fresh, stuck int) {
	if m == nil {
		return
	}
	m.made.WithLabelValues(zone).Add(float64(fresh))
	m.stuck.WithLabelValues(zone).Set(float64(stuck))
	if stuck > 0 {
		m.failures.WithLabelValues(zone).Inc()
	}
}

func (m *Metrics) failed(zone string) {
	if m != nil {
		m.failures.WithLabelValues(zone).Inc()
	}
}

func (m *Metrics) expires(zone string, at time.Time) {
	if m != nil {
		m.end.WithLabelValues(zone).Set(float64(at.Unix()))
	}
}

func (m *Metrics) missing(zone string, sets int) {
	if m != nil {
		m.lacking.WithLabelValues(zone).Set(float64(sets))
	}
}

func (m *Metrics) refused(zone string) {
	if m != nil {
		m.bogus.WithLabelValues(zone).Inc()
	}
}

// Refused counts a publication that was not even read.
func (m *Metrics) Refused(zone string) { m.refused(zone) }

// Published notes when the publication in use was made.
func (m *Metrics) Published(zone string, at time.Time) {
	if m != nil {
		m.at.WithLabelValues(zone).Set(float64(at.Unix()))
	}
}

// Pending notes whether something signed could not be published yet.
func (m *Metrics) Pending(zone string, pending bool) {
	if m == nil {
		return
	}
	v := 0.0
	if pending {
		v = 1
	}
	m.waiting.WithLabelValues(zone).Set(v)
}

func (m *Metrics) forget(zone string) {
	if m == nil {
		return
	}
	m.end.DeleteLabelValues(zone)
	m.made.DeleteLabelValues(zone)
	m.stuck.DeleteLabelValues(zone)
	m.failures.DeleteLabelValues(zone)
	m.lacking.DeleteLabelValues(zone)
	m.bogus.DeleteLabelValues(zone)
	m.at.DeleteLabelValues(zone)
	m.waiting.DeleteLabelValues(zone)
}
