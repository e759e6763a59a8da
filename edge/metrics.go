package edge

import (
	"errors"
	"time"

	"pointsman/edge/storage"

	"github.com/prometheus/client_golang/prometheus"
)

// metrics are the package's own. They count whether they are registered or not.
type metrics struct {
	requests *prometheus.CounterVec
	bytes    *prometheus.CounterVec
	fetches  *prometheus.HistogramVec
	failures *prometheus.CounterVec
	shared   *prometheus.CounterVec
	purges   *prometheus.CounterVec
}

// newMetrics makes the metrics and registers them, if there is a registerer.
func newMetrics(r prometheus.Registerer, cache *storage.Cache, b *budget) (*metrics, error) {
	counter := func(name, help string, labels ...string) *prometheus.CounterVec {
		return prometheus.NewCounterVec(prometheus.CounterOpts{Name: name, Help: help}, labels)
	}
	m := &metrics{
		requests: counter("pointsman_edge_requests_total",
			"Requests, by how they were answered.", "site", "result"),
		bytes: counter("pointsman_edge_sent_bytes_total",
			"Bytes of bodies sent to clients.", "site"),
		fetches: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name:    "pointsman_edge_origin_fetch_seconds",
			Help:    "Time until an origin's response head, or its failure.",
			Buckets: []float64{.002, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10, 30},
		}, []string{"site"}),
		failures: counter("pointsman_edge_origin_failures_total",
			"Requests to an origin that got no response.", "site"),
		shared: counter("pointsman_edge_collapsed_requests_total",
			"Requests that were answered by another request's fetch.", "site"),
		purges: counter("pointsman_edge_purges_total",
			"Items purged.", "kind", "mode"),
	}
	if r == nil {
		return m, nil
	}
	gauge := func(name, help string, value func(storage.Stats) float64) prometheus.Collector {
		return prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: name, Help: help},
			func() float64 { return value(cache.Stats()) })
	}
	collectors := []prometheus.Collector{
		m.requests, m.bytes, m.fetches, m.failures, m.shared, m.purges,
		gauge("pointsman_edge_stored_objects", "Objects in the cache.",
			func(s storage.Stats) float64 { return float64(s.Objects) }),
		gauge("pointsman_edge_stored_bytes", "Bytes that the cache's objects are accounted for.",
			func(s storage.Stats) float64 { return float64(s.Bytes) }),
		gauge("pointsman_edge_limit_bytes", "The limit of stored bytes.",
			func(s storage.Stats) float64 { return float64(s.Limit) }),
		prometheus.NewGaugeFunc(prometheus.GaugeOpts{
			Name: "pointsman_edge_inflight_bytes",
			Help: "Memory booked for bodies on their way from origins.",
		}, func() float64 { return float64(b.used.Load()) }),
		prometheus.NewCounterFunc(prometheus.CounterOpts{
			Name: "pointsman_edge_unbuffered_fetches_total",
			Help: "Fetches that were not stored as too many bodies were on their way.",
		}, func() float64 { return float64(b.refused.Load()) }),
		prometheus.NewCounterFunc(prometheus.CounterOpts{
			Name: "pointsman_edge_evictions_total",
			Help: "Objects that made room for others.",
		}, func() float64 { return float64(cache.Stats().Evicted) }),
	}
	var errs []error
	for _, c := range collectors {
		errs = append(errs, r.Register(c))
	}
	return m, errors.Join(errs...)
}

func (m *metrics) answered(site string, r result, sent int64) {
	m.requests.WithLabelValues(site, string(r)).Inc()
	m.bytes.WithLabelValues(site).Add(float64(sent))
}

// fetched counts a fetch. left says that a client ended it: then it tells nothing of the origin.
func (m *metrics) fetched(site string, took time.Duration, err error, left bool) {
	if err != nil && left {
		return
	}
	m.fetches.WithLabelValues(site).Observe(took.Seconds())
	if err != nil {
		m.failures.WithLabelValues(site).Inc()
	}
}

func (m *metrics) collapsed(site string) { m.shared.WithLabelValues(site).Inc() }

func (m *metrics) purged(kind string, soft bool, items int) {
	mode := "hard"
	if soft {
		mode = "soft"
	}
	m.purges.WithLabelValues(kind, mode).Add(float64(items))
}

// forget deletes the series of a site that is no more.
func (m *metrics) forget(site string) {
	labels := prometheus.Labels{"site": site}
	m.requests.DeletePartialMatch(labels)
	m.bytes.DeletePartialMatch(labels)
	m.fetches.DeletePartialMatch(labels)
	m.failures.DeletePartialMatch(labels)
	m.shared.DeletePartialMatch(labels)
}
