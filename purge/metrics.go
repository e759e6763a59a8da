package purge

import (
	"errors"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"pointsman/providers"
)

// metrics are the package's instruments. They count also when nobody registered them.
type metrics struct {
	acceptedTotal   *prometheus.CounterVec
	refusedTotal    *prometheus.CounterVec
	deliveriesTotal *prometheus.CounterVec
	attemptsTotal   *prometheus.CounterVec
	callSeconds     *prometheus.HistogramVec
	reachedSeconds  *prometheus.HistogramVec
	queueDepth      *prometheus.GaugeVec
	oldestSeconds   *prometheus.GaugeVec
	failingGauge    prometheus.Gauge
	awayGauge       prometheus.Gauge
	unreadableTotal prometheus.Counter
}

func newMetrics(reg prometheus.Registerer) *metrics {
	const ns, sub = "pointsman", "purge"
	counter := func(name, help string, labels ...string) *prometheus.CounterVec {
		return prometheus.NewCounterVec(prometheus.CounterOpts{
			Namespace: ns, Subsystem: sub, Name: name, Help: help}, labels)
	}
	gauge := func(name, help string) prometheus.GaugeOpts {
		return prometheus.GaugeOpts{Namespace: ns, Subsystem: sub, Name: name, Help: help}
	}
	histogram := func(name, help string, labels ...string) *prometheus.HistogramVec {
		return prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Namespace: ns, Subsystem: sub, Name: name, Help: help,
			Buckets: []float64{.01, .05, .1, .25, .5, 1, 2.5, 5, 10, 30, 60, 300, 1800, 7200, 86400},
		}, labels)
	}
	m := &metrics{
		acceptedTotal: counter("accepted_total", "Purges accepted by this node.", "kind"),
		refusedTotal:  counter("refused_total", "Purges refused by this node.", "reason"),
		deliveriesTotal: counter("deliveries_total",
			"Deliveries that reached a state on this node.", "provider", "state"),
		attemptsTotal: counter("attempts_total",
			"Calls to a provider, by outcome: ok or the class of the error.", "provider", "outcome"),
		callSeconds: histogram("call_seconds", "Duration of calls to a provider.", "provider"),
		reachedSeconds: histogram("reached_seconds",
			"Time from acceptance to a delivery's state.", "provider", "state"),
		queueDepth: prometheus.NewGaugeVec(gauge("queue_depth",
			"Unfinished deliveries that this node queues."), []string{"provider"}),
		oldestSeconds: prometheus.NewGaugeVec(gauge("oldest_pending_seconds",
			"Age of the oldest unfinished delivery; 0 when there is none."), []string{"provider"}),
		failingGauge: prometheus.NewGauge(gauge("journal_failing",
			"1 after a failed write to the local journal, until one succeeds.")),
		awayGauge: prometheus.NewGauge(gauge("shared_store_away",
			"1 while the shared store does not answer.")),
		unreadableTotal: prometheus.NewCounter(prometheus.CounterOpts{
			Namespace: ns, Subsystem: sub, Name: "unreadable_records_total",
			Help: "Stored purges that could not be read."}),
	}
	if reg != nil {
		reg.MustRegister(m.acceptedTotal, m.refusedTotal, m.deliveriesTotal, m.attemptsTotal,
			m.callSeconds, m.reachedSeconds, m.queueDepth, m.oldestSeconds, m.failingGauge,
			m.awayGauge, m.unreadableTotal)
	}
	return m
}

func (m *metrics) accepted(k providers.Kind) { m.acceptedTotal.WithLabelValues(string(k)).Inc() }

func (m *metrics) refused(err error) {
	reason := "other"
	for _, known := range []struct {
		err  error
		name string
	}{
		{ErrInvalid, "invalid"}, {ErrIdempotencyMismatch, "idempotency"}, {ErrJournal, "journal"},
		{ErrNotDurable, "not-durable"}, {ErrOverloaded, "overloaded"},
	} {
		if errors.Is(err, known.err) {
			reason = known.name
		}
	}
	m.refusedTotal.WithLabelValues(reason).Inc()
}

func (m *metrics) attempted(provider, outcome string, took time.Duration) {
	m.attemptsTotal.WithLabelValues(provider, outcome).Inc()
	m.callSeconds.WithLabelValues(provider).Observe(took.Seconds())
}

// reached counts a delivery's new state, unverified among them.
func (m *metrics) reached(d Delivery, took time.Duration) {
	state := string(d.State())
	if d.Final() && d.Check.State == CheckUnverified && d.State() != Failed {
		state = string(CheckUnverified)
	}
	if state == string(Queued) || state == string(Sent) {
		return
	}
	m.deliveriesTotal.WithLabelValues(d.Provider, state).Inc()
	m.reachedSeconds.WithLabelValues(d.Provider, state).Observe(took.Seconds())
}

func (m *metrics) queued(provider string, depth int, oldest time.Duration) {
	m.queueDepth.WithLabelValues(provider).Set(float64(depth))
	m.oldestSeconds.WithLabelValues(provider).Set(oldest.Seconds())
}

// forget drops the series of a provider that the config no longer has.
func (m *metrics) forget(provider string) {
	one := prometheus.Labels{"provider": provider}
	m.deliveriesTotal.DeletePartialMatch(one)
	m.attemptsTotal.DeletePartialMatch(one)
	m.callSeconds.DeletePartialMatch(one)
	m.reachedSeconds.DeletePartialMatch(one)
	m.queueDepth.DeletePartialMatch(one)
	m.oldestSeconds.DeletePartialMatch(one)
}

func (m *metrics) unreadable() { m.unreadableTotal.Inc() }

func (m *metrics) journalFailing(failing bool) { m.failingGauge.Set(bit(failing)) }
func (m *metrics) sharedAway(away bool)        { m.awayGauge.Set(bit(away)) }

func bit(b bool) float64 {
	if b {
		return 1
	}
	return 0
}
