package steering

import (
	"strconv"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"
)

// metrics are the engine's; all calls that write labels are made under the engine's mutex.
type metrics struct {
	version   prometheus.Gauge
	hash      prometheus.Gauge
	compiled  prometheus.Gauge
	hosts     prometheus.Gauge
	duration  prometheus.Histogram
	published prometheus.Counter
	refused   prometheus.Counter
	share     *prometheus.GaugeVec
	reason    *prometheus.GaugeVec
	overrides *prometheus.GaugeVec

	guidanceEpoch   prometheus.Gauge
	guidanceAt      prometheus.Gauge
	guidanceInForce prometheus.Gauge
	guidanceRefused prometheus.Counter

	placeShare  *prometheus.GaugeVec
	placeReason *prometheus.GaugeVec
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
	vec := func(name, help string, labels ...string) *prometheus.GaugeVec {
		return f.NewGaugeVec(prometheus.GaugeOpts{Name: name, Help: help}, labels)
	}
	return &metrics{
		version: gauge("pointsman_steering_table_version",
			"Version of the table in force on this node."),
		hash: gauge("pointsman_steering_table_hash",
			"First 48 bits of the hash of the table in force; nodes that agree have the same."),
		compiled: gauge("pointsman_steering_table_compiled_timestamp_seconds",
			"When the table in force was last compiled, in Unix time."),
		hosts: gauge("pointsman_steering_hosts",
			"Steered names in the table in force."),
		duration: f.NewHistogram(prometheus.HistogramOpts{
			Name:    "pointsman_steering_compile_duration_seconds",
			Help:    "How long compiling a table took.",
			Buckets: prometheus.ExponentialBuckets(0.0001, 2.5, 10),
		}),
		published: counter("pointsman_steering_tables_published_total",
			"Tables that came into force."),
		refused: counter("pointsman_steering_tables_refused_total",
			"Tables that were refused; the one before stayed in force."),
		guidanceEpoch: gauge("pointsman_steering_guidance_epoch",
			"Epoch of the guidance that this node follows: which leader made it; 0 for none."),
		guidanceAt: gauge("pointsman_steering_guidance_decided_timestamp_seconds",
			"When the guidance that this node follows was decided, in Unix time; 0 for none."),
		guidanceInForce: gauge("pointsman_steering_guidance_in_force_ratio",
			"How much the guidance counts beside the configured weights: 1 when it is fresh, "+
				"falling to 0 when nobody renews it, 0 for none."),
		guidanceRefused: counter("pointsman_steering_guidance_refused_total",
			"Guidance that was refused because it was older than what is followed, or malformed."),
		share: vec("pointsman_steering_share_ratio",
			"Target share of a host's answers, 0 to 1, for clients at none of its places.",
			"host", "backend"),
		placeShare: vec("pointsman_steering_place_share_ratio",
			"Target share of a host's answers, 0 to 1, for clients at one of its places.",
			"host", "place", "backend"),
		placeReason: vec("pointsman_steering_place_reason",
			"1 for the reason why a host's answers at one of its places are what they are.",
			"host", "place", "reason"),
		reason: vec("pointsman_steering_host_reason",
			"1 for the reason why a host's answers are what they are.", "host", "reason"),
		overrides: vec("pointsman_steering_overrides_active",
			"Overrides that hold now.", "kind"),
	}
}

// table shows a table that came into force in place of another, which may be nil.
func (m *metrics) table(before, after *Table) {
	m.version.Set(float64(after.Version))
	m.compiled.Set(float64(after.CompiledAt.UnixNano()) / 1e9)
	m.hosts.Set(float64(len(after.hosts)))
	if bits, err := strconv.ParseUint(after.Hash[:12], 16, 64); err == nil {
		m.hash.Set(float64(bits))
	}
	if before != nil {
		for _, host := range before.hosts {
			for _, was := range before.plans[host].all() {
				m.forget(was, after.plan(host, was.place))
			}
		}
	}
	for _, host := range after.hosts {
		for _, p := range after.plans[host].all() {
			share, reason := m.of(p)
			for _, s := range p.shares {
				share.WithLabelValues(s.Backend).Set(s.Share)
			}
			reason.WithLabelValues(string(p.reason)).Set(1)
		}
	}
}

// of returns the series of a host or of one of its places.
func (m *metrics) of(p *plan) (share, reason *prometheus.GaugeVec) {
	labels := prometheus.Labels{"host": p.host}
	if p.place == "" {
		return m.share.MustCurryWith(labels), m.reason.MustCurryWith(labels)
	}
	labels["place"] = p.place
	return m.placeShare.MustCurryWith(labels), m.placeReason.MustCurryWith(labels)
}

// forget deletes the series of a host or place that its new plan, which may be nil, no longer has.
func (m *metrics) forget(was, is *plan) {
	kept := make(map[string]bool)
	if is != nil {
		for _, s := range is.shares {
			kept[s.Backend] = true
		}
	}
	share, reason := m.of(was)
	for _, s := range was.shares {
		if !kept[s.Backend] {
			share.DeleteLabelValues(s.Backend)
		}
	}
	if is == nil || is.reason != was.reason {
		reason.DeleteLabelValues(string(was.reason))
	}
}

// active shows how many overrides of each kind hold.
func (m *metrics) active(in Inputs) {
	counts := map[OverrideKind]int{Drain: 0, Pin: 0, Weight: 0, Fence: 0}
	for _, o := range active(in) {
		if _, known := counts[o.Kind]; known {
			counts[o.Kind]++
		}
	}
	for kind, n := range counts {
		m.overrides.WithLabelValues(string(kind)).Set(float64(n))
	}
}
