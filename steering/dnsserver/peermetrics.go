package dnsserver

import (
	"fmt"

	"github.com/prometheus/client_golang/prometheus"

	"pointsman/steering/tsig"
)

// peerMetrics counts what other servers ask for.
type peerMetrics struct {
	transfers, notifies, signatures *prometheus.CounterVec
}

func newPeerMetrics() *peerMetrics {
	return &peerMetrics{
		transfers: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: metricPrefix + "transfers_total",
			Help: "Zone transfers that were asked for, by kind (axfr, ixfr) and result (sent, " +
				"whole: all of the zone for IXFR, current: nothing new, refused, busy, broken)."},
			[]string{"kind", "result"}),
		notifies: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: metricPrefix + "notifies_total",
			Help: "NOTIFY messages that came, by result: taken or refused."}, []string{"result"}),
		signatures: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: metricPrefix + "tsig_failures_total",
			Help: "Signed messages that were refused, by the fault of the signature."},
			[]string{"fault"}),
	}
}

// register registers the metrics, with a gauge of the zones on their way; a nil Registerer
// registers none.
func (m *peerMetrics) register(reg prometheus.Registerer, sending func() float64) error {
	if reg == nil {
		return nil
	}
	gauge := prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: metricPrefix + "transfers_running",
		Help: "Zones that are being sent to clients."}, sending)
	for _, c := range []prometheus.Collector{m.transfers, m.notifies, m.signatures, gauge} {
		if err := reg.Register(c); err != nil {
			return fmt.Errorf("registering metrics: %w", err)
		}
	}
	return nil
}

func (m *peerMetrics) transferred(kind, result string) {
	m.transfers.WithLabelValues(kind, result).Inc()
}

func (m *peerMetrics) notified(result string) { m.notifies.WithLabelValues(result).Inc() }

func (m *peerMetrics) badSignature(f tsig.Fault) {
	m.signatures.WithLabelValues(f.String()).Inc()
}
