package feed

import (
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"
)

// metrics are those of a Keeper.
type metrics struct {
	pulls, refused, changes, ended *prometheus.CounterVec
	unsaved, unread                prometheus.Counter
}

// newMetrics registers the metrics; with a nil registerer they exist and are seen by nobody.
func newMetrics(r prometheus.Registerer, k *Keeper) *metrics {
	f := promauto.With(r)
	vec := func(name, help string, labels ...string) *prometheus.CounterVec {
		return f.NewCounterVec(prometheus.CounterOpts{Name: name, Help: help}, labels)
	}
	desc := func(name, help string, labels ...string) *prometheus.Desc {
		return prometheus.NewDesc(name, help, labels, nil)
	}
	if r != nil {
		r.MustRegister(&gauges{keeper: k,
			age: desc("pointsman_feed_age_seconds",
				"How long ago a feed last said something that was taken; no series before the first.",
				"feed"),
			values: desc("pointsman_feed_values",
				"Values that a feed gave, by state: held, waiting (a change that is held back) or silent "+
					"(ended, so that the config counts).", "feed", "state"),
			value: desc("pointsman_feed_value_ratio",
				"What is in force of a feed, in units of the config; 0 or 1 for up and drain, weights "+
					"as a part of the configured ones.", "feed", "backend", "field"),
		})
	}
	return &metrics{
		pulls: vec("pointsman_feed_pulls_total",
			"Pulls of a feed, by result: taken, partly (something in it was refused) or failed.",
			"feed", "result"),
		refused: vec("pointsman_feed_refusals_total",
			"Parts of a feed that were refused, by reason: document, backend, field, host, value, time "+
				"or old. The last good values stay.", "feed", "reason"),
		changes: vec("pointsman_feed_changes_total",
			"Values of a feed that came into force or were withdrawn.", "feed"),
		ended: vec("pointsman_feed_ended_total",
			"Values that ended because their feed was silent for too long; the config counts since.",
			"feed"),
		unsaved: f.NewCounter(prometheus.CounterOpts{Name: "pointsman_feed_store_failures_total",
			Help: "Times that what feeds said could not be read from a store or written to it."}),
		unread: f.NewCounter(prometheus.CounterOpts{Name: "pointsman_feed_unread_records_total",
			Help: "Records of a store that could not be read; each reading counts."}),
	}
}

// forget deletes the series of a feed.
func (m *metrics) forget(feed string) {
	label := prometheus.Labels{"feed": feed}
	for _, v := range []*prometheus.CounterVec{m.pulls, m.refused, m.changes, m.ended} {
		v.DeletePartialMatch(label)
	}
}

// gauges tells what is so at the moment of asking.
type gauges struct {
	keeper             *Keeper
	age, values, value *prometheus.Desc
}

// Describe implements prometheus.Collector.
func (g *gauges) Describe(out chan<- *prometheus.Desc) {
	out <- g.age
	out <- g.values
	out <- g.value
}

// Collect implements prometheus.Collector.
func (g *gauges) Collect(out chan<- prometheus.Metric) {
	now := g.keeper.now()
	gauge := func(d *prometheus.Desc, v float64, labels ...string) {
		out <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, v, labels...)
	}
	for _, s := range g.keeper.Status() {
		if !s.Heard.IsZero() {
			gauge(g.age, now.Sub(s.Heard).Seconds(), s.Name)
		}
		counts := map[string]int{stateHeld: 0, stateWaiting: 0, stateSilent: 0}
		for _, v := range s.Values {
			counts[v.State]++
			if v.State != stateSilent && !v.none {
				gauge(g.value, v.number(), s.Name, v.Backend, v.fieldName())
			}
		}
		for state, n := range counts {
			gauge(g.values, float64(n), s.Name, state)
		}
	}
}
