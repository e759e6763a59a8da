package tap

import "github.com/prometheus/client_golang/prometheus"

// What becomes of an event.
const (
	outcomeWritten  = "written"
	outcomeOverflow = "overflow" // the sink was too slow, and the ring full
	outcomeFailed   = "failed"   // the file or socket did not take it
	outcomeDeleted  = "deleted"  // a file of a table, to make room
)

// metrics counts for Collect; the query path only adds to integers of its own.
type metrics struct {
	feeds          []*feed
	tables         *tables // nil without a decision log
	events, inputs *prometheus.Desc
}

func newMetrics(t *Tap) *metrics {
	return &metrics{
		feeds: t.feeds, tables: t.tables,
		events: prometheus.NewDesc("pointsman_tap_events_total",
			"Sampled events by sink (dnstap, decisions) and what became of them: written, overflow "+
				"(the sink was too slow), failed (the file or socket did not take them).",
			[]string{"sink", "outcome"}, nil),
		inputs: prometheus.NewDesc("pointsman_tap_tables_total",
			"Files with what a table was compiled from, beside the decision log: written, deleted "+
				"(to make room), failed.",
			[]string{"outcome"}, nil),
	}
}

// Describe implements prometheus.Collector.
func (m *metrics) Describe(ch chan<- *prometheus.Desc) {
	ch <- m.events
	ch <- m.inputs
}

// Collect implements prometheus.Collector.
func (m *metrics) Collect(ch chan<- prometheus.Metric) {
	count := func(desc *prometheus.Desc, n uint64, labels ...string) {
		ch <- prometheus.MustNewConstMetric(desc, prometheus.CounterValue, float64(n), labels...)
	}
	for _, f := range m.feeds {
		var dropped uint64
		for _, l := range f.lanes {
			dropped += l.dropped.Load()
		}
		count(m.events, f.written.Load(), f.name, outcomeWritten)
		count(m.events, dropped, f.name, outcomeOverflow)
		count(m.events, f.failed.Load(), f.name, outcomeFailed)
	}
	if t := m.tables; t != nil {
		count(m.inputs, t.written.Load(), outcomeWritten)
		count(m.inputs, t.deleted.Load(), outcomeDeleted)
		count(m.inputs, t.failed.Load(), outcomeFailed)
	}
}
