package app

import (
	"runtime"

	"github.com/prometheus/client_golang/prometheus"
)

// metrics are those of the process as a whole.
type metrics struct {
	build, configInfo *prometheus.GaugeVec
	loaded, ready     prometheus.Gauge
	storeReachable    prometheus.Gauge
	localWritable     prometheus.Gauge
	reloads           *prometheus.CounterVec
	stateFailures     prometheus.Counter
}

func newMetrics(r prometheus.Registerer, version string) *metrics {
	m := &metrics{
		build: prometheus.NewGaugeVec(prometheus.GaugeOpts{Name: "pointsman_app_build_info",
			Help: "1, labelled with the version that runs."}, []string{"version", "go"}),
		configInfo: prometheus.NewGaugeVec(prometheus.GaugeOpts{Name: "pointsman_app_config_info",
			Help: "1, labelled with the hash of the config in force; equal on nodes that agree."},
			[]string{"hash"}),
		loaded: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "pointsman_app_config_loaded_timestamp_seconds",
			Help: "When the config in force was loaded, in Unix time."}),
		ready: prometheus.NewGauge(prometheus.GaugeOpts{Name: "pointsman_app_ready_state",
			Help: "1 while the node is ready, 0 while it starts or stops."}),
		storeReachable: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "pointsman_app_store_reachable_state",
			Help: "1 while the shared store is within reach (always 1 with the embedded one)."}),
		localWritable: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "pointsman_app_local_store_writable_state",
			Help: "1 while the node's own store in state_dir takes writes; at 0 it takes no purges."}),
		reloads: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "pointsman_app_reloads_total",
			Help: "Config reloads by result: taken or refused."}, []string{"result"}),
		stateFailures: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "pointsman_app_state_write_failures_total",
			Help: "Times that the last known good state could not be written to disk."}),
	}
	m.build.WithLabelValues(version, runtime.Version()).Set(1)
	m.storeReachable.Set(1)
	r.MustRegister(m.build, m.configInfo, m.loaded, m.ready, m.storeReachable, m.localWritable,
		m.reloads, m.stateFailures)
	return m
}

func (m *metrics) config(l *loadedConfig) {
	m.configInfo.Reset()
	m.configInfo.WithLabelValues(l.hash[:min(12, len(l.hash))]).Set(1)
	m.loaded.Set(float64(l.at.Unix()))
}

func (m *metrics) reload(err error) {
	if err != nil {
		m.reloads.WithLabelValues("refused").Inc()
		return
	}
	m.reloads.WithLabelValues("taken").Inc()
}

func (m *metrics) store(reachable bool) { m.storeReachable.Set(bit(reachable)) }
func (m *metrics) local(writable bool)  { m.localWritable.Set(bit(writable)) }

func bit(b bool) float64 {
	if b {
		return 1
	}
	return 0
}
