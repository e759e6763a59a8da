package transfer

import (
	"fmt"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// metrics are those of zones that are fetched.
type metrics struct {
	looks                *prometheus.CounterVec
	serial, heard, stale *prometheus.GaugeVec
	unsaved              prometheus.Counter
}

// newMetrics builds the metrics and registers them; a nil Registerer registers none.
func newMetrics(reg prometheus.Registerer) (*metrics, error) {
	gauge := func(name, help string) *prometheus.GaugeVec {
		return prometheus.NewGaugeVec(prometheus.GaugeOpts{Name: "pointsman_transfer_" + name,
			Help: help}, []string{"zone"})
	}
	m := &metrics{
		looks: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "pointsman_transfer_looks_total",
			Help: "Times that a zone's primaries were asked, by result: current, taken, refused " +
				"(what came can't be served) or failed."}, []string{"zone", "result"}),
		serial: gauge("zone_serial", "The serial number of the copy of a zone; 0: there is none."),
		heard: gauge("heard_timestamp_seconds",
			"When a zone's primary last said what is the newest version, in Unix time."),
		stale: gauge("stale_state", "1 while a zone's copy is older than its SOA's expire, or there "+
			"is none."),
		unsaved: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "pointsman_transfer_write_failures_total",
			Help: "Copies of zones that could not be written to state_dir."}),
	}
	if reg == nil {
		return m, nil
	}
	for _, c := range []prometheus.Collector{m.looks, m.serial, m.heard, m.stale, m.unsaved} {
		if err := reg.Register(c); err != nil {
			return nil, fmt.Errorf("registering metrics: %w", err)
		}
	}
	return m, nil
}

func (m *metrics) looked(zone, result string) { m.looks.WithLabelValues(zone, result).Inc() }

// shown brings the gauges of a zone up to date.
func (m *metrics) shown(zone string, c *Copy, at schedule, now time.Time) {
	serial, stale, heard := 0.0, 0.0, 0.0
	if c != nil {
		serial = float64(c.Serial)
	}
	if at.stale(now) {
		stale = 1
	}
	if !at.heard.IsZero() {
		heard = float64(at.heard.Unix())
	}
	m.serial.WithLabelValues(zone).Set(serial)
	m.heard.WithLabelValues(zone).Set(heard)
	m.stale.WithLabelValues(zone).Set(stale)
}

// forget drops the series of a zone that is fetched no more.
func (m *metrics) forget(zone string) {
	for _, g := range []*prometheus.GaugeVec{m.serial, m.heard, m.stale} {
		g.DeleteLabelValues(zone)
	}
	m.looks.DeletePartialMatch(prometheus.Labels{"zone": zone})
}
