package feed

import (
	"sync"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"
)

// metrics are those of a Keeper.
type metrics struct {
	pulls, refused, changes, ended *prometheus.CounterVec
	unsaved, unread                prometheus.Counter
	values, value                  *prometheus.GaugeVec

	mu      sync.Mutex      // guards the rest; held while gauges are set
	shown   map[series]bool // that value has
	counted map[string]bool // feeds that values has
}

// newMetrics registers the metrics; with a nil registerer they exist and are seen by nobody.
func newMetrics(r prometheus.Registerer, k *Keeper) *metrics {
	f := promauto.With(r)
	vec := func(name, help string, labels ...string) *prometheus.CounterVec {
		return f.NewCounterVec(prometheus.CounterOpts{Name: name, Help: help}, labels)
	}
	gauges := func(name, help string, labels ...string) *prometheus.GaugeVec {
		return f.NewGaugeVec(prometheus.GaugeOpts{Name: name, Help: help}, labels)
	}
	if r != nil {
		r.MustRegister(&ages{keeper: k, desc: prometheus.NewDesc("pointsman_feed_age_seconds",
			"How long ago a feed last said something that was taken; no series before the first.",
			[]string{"feed"}, nil)})
	}
	return &metrics{
		values: gauges("pointsman_feed_values",
			"Values that a feed gave, by state: held, waiting (a change that is held back) or silent "+
				"(ended, so that the config counts).", "feed", "state"),
		value: gauges("pointsman_feed_value",
			"What is in force of a feed, in units of the config; 0 or 1 for up and drain, weights as "+
				"a part of the configured ones.", "feed", "backend", "field"),
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

// show sets the gauges to how feeds stand, and deletes the series of what is gone.
func (m *metrics) show(list []Status) {
	m.mu.Lock()
	defer m.mu.Unlock()
	was, counted := m.shown, m.counted
	m.shown, m.counted = map[series]bool{}, map[string]bool{}
	for _, s := range list {
		counts := map[string]int{stateHeld: 0, stateWaiting: 0, stateSilent: 0}
		for _, v := range s.Values {
			counts[v.State]++
			if v.State != stateSilent && !v.none {
				at := series{s.Name, v.Backend, v.fieldName()}
				m.shown[at] = true
				m.value.WithLabelValues(at.feed, at.backend, at.field).Set(v.number())
			}
		}
		m.counted[s.Name] = true
		for state, n := range counts {
			m.values.WithLabelValues(s.Name, state).Set(float64(n))
		}
	}
	for at := range was {
		if !m.shown[at] {
			m.value.DeleteLabelValues(at.feed, at.backend, at.field)
		}
	}
	for feed := range counted {
		if !m.counted[feed] {
			m.values.DeletePartialMatch(prometheus.Labels{"feed": feed})
		}
	}
}

// series is one series of value.
type series struct{ feed, backend, field string }

// ages tells how old each feed is at the moment of asking.
type ages struct {
	keeper *Keeper
	desc   *prometheus.Desc
}

// Describe implements prometheus.Collector.
func (a *ages) Describe(out chan<- *prometheus.Desc) { out <- a.desc }

// Collect implements prometheus.Collector.
func (a *ages) Collect(out chan<- prometheus.Metric) {
	now := a.keeper.now()
	for _, s := range a.keeper.Status() {
		if !s.Heard.IsZero() {
			out <- prometheus.MustNewConstMetric(a.desc, prometheus.GaugeValue,
				now.Sub(s.Heard).Seconds(), s.Name)
		}
	}
}
