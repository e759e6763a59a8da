package dnsserver

import (
	"fmt"
	"sync"
	"sync/atomic"

	"github.com/miekg/dns"
	"github.com/prometheus/client_golang/prometheus"
)

// The labels of the query counters. The last of each list stands for all others.
var (
	protoLabels = [...]string{"udp", "tcp"}
	typeLabels  = [...]string{"A", "AAAA", "CNAME", "HTTPS", "NS", "SOA", "TXT", "MX", "ANY", "other"}
	rcodeLabels = [...]string{
		"NOERROR", "FORMERR", "SERVFAIL", "NXDOMAIN", "NOTIMP", "REFUSED", "BADVERS", "other",
	}
)

func typeIndex(qtype uint16) int {
	switch qtype {
	case dns.TypeA:
		return 0
	case dns.TypeAAAA:
		return 1
	case dns.TypeCNAME:
		return 2
	case dns.TypeHTTPS:
		return 3
	case dns.TypeNS:
		return 4
	case dns.TypeSOA:
		return 5
	case dns.TypeTXT:
		return 6
	case dns.TypeMX:
		return 7
	case dns.TypeANY:
		return 8
	}
	return len(typeLabels) - 1
}

func rcodeIndex(rcode int) int {
	switch {
	case rcode <= dns.RcodeRefused:
		return rcode
	case rcode == dns.RcodeBadVers:
		return 6
	}
	return len(rcodeLabels) - 1
}

// metrics counts. The packet path only adds to integers; Collect turns them into series.
type metrics struct {
	queries [len(protoLabels)][len(typeLabels)][len(rcodeLabels)]atomic.Uint64
	answers sync.Map // pick → *atomic.Uint64

	truncated, malformed, ignored, panics, unanswered, failed atomic.Uint64
	unsent, evicted                                           atomic.Uint64
	connections                                               atomic.Int64

	duration prometheus.Histogram
	scalars  []scalar

	queriesDesc, answersDesc, connectionsDesc *prometheus.Desc
}

// scalar is a counter without labels.
type scalar struct {
	desc *prometheus.Desc
	n    *atomic.Uint64
}

const metricPrefix = "pointsman_dnsserver_"

func describe(name, help string, labels ...string) *prometheus.Desc {
	return prometheus.NewDesc(metricPrefix+name, help, labels, nil)
}

// newMetrics builds the metrics and registers them; a nil Registerer registers none.
func newMetrics(reg prometheus.Registerer) (*metrics, error) {
	m := &metrics{
		queriesDesc: describe("queries_total",
			"Queries that were answered, by transport, type and response code.",
			"proto", "type", "rcode"),
		answersDesc: describe("answers_total",
			"Answers for steered names, by host and the backend that was picked.",
			"host", "backend"),
		connectionsDesc: describe("tcp_connections", "TCP connections that are open."),
		duration: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name:    metricPrefix + "query_duration_seconds",
			Help:    "Time from a packet's arrival in the process to its finished answer.",
			Buckets: []float64{5e-6, 1e-5, 2.5e-5, 5e-5, 1e-4, 2.5e-4, 1e-3, 1e-2, 1e-1},
		}),
	}
	for _, s := range []struct {
		name, help string
		n          *atomic.Uint64
	}{
		{"truncated_total", "Answers that did not fit and sent the client to TCP.", &m.truncated},
		{"malformed_total", "Packets answered with FORMERR since they can't be read.", &m.malformed},
		{"ignored_total", "Packets that are no queries; nothing was answered.", &m.ignored},
		{"panics_total", "Panics while answering, each answered with SERVFAIL.", &m.panics},
		{"failures_total", "Answers that could not be packed, sent as SERVFAIL.", &m.failed},
		{"unanswered_total", "Queries for which no table had an answer, sent as SERVFAIL.",
			&m.unanswered},
		{"unsent_total", "Answers that the system did not take.", &m.unsent},
		{"tcp_evicted_total", "TCP connections closed to make room for others.", &m.evicted},
	} {
		m.scalars = append(m.scalars, scalar{desc: describe(s.name, s.help), n: s.n})
	}
	if reg == nil {
		return m, nil
	}
	if err := reg.Register(m); err != nil {
		return nil, fmt.Errorf("registering metrics: %w", err)
	}
	return m, nil
}

// Describe implements prometheus.Collector.
func (m *metrics) Describe(ch chan<- *prometheus.Desc) {
	ch <- m.queriesDesc
	ch <- m.answersDesc
	ch <- m.connectionsDesc
	for _, s := range m.scalars {
		ch <- s.desc
	}
	m.duration.Describe(ch)
}

// Collect implements prometheus.Collector.
func (m *metrics) Collect(ch chan<- prometheus.Metric) {
	count := func(desc *prometheus.Desc, n uint64, labels ...string) {
		ch <- prometheus.MustNewConstMetric(desc, prometheus.CounterValue, float64(n), labels...)
	}
	for p := range m.queries {
		for t := range m.queries[p] {
			for r := range m.queries[p][t] {
				if n := m.queries[p][t][r].Load(); n > 0 {
					count(m.queriesDesc, n, protoLabels[p], typeLabels[t], rcodeLabels[r])
				}
			}
		}
	}
	for _, s := range m.served() {
		count(m.answersDesc, s.Count, s.Host, s.Backend)
	}
	for _, s := range m.scalars {
		count(s.desc, s.n.Load())
	}
	ch <- prometheus.MustNewConstMetric(m.connectionsDesc, prometheus.GaugeValue,
		float64(m.connections.Load()))
	m.duration.Collect(ch)
}

// record counts one packet.
func (m *metrics) record(o outcome, tcp bool) {
	if o.verdict == ignored {
		m.ignored.Add(1)
		return
	}
	if o.verdict == malformed {
		m.malformed.Add(1)
	}
	proto := 0
	if tcp {
		proto = 1
	}
	m.queries[proto][typeIndex(o.qtype)][rcodeIndex(o.rcode)].Add(1)
	if o.truncated {
		m.truncated.Add(1)
	}
	if o.empty {
		m.unanswered.Add(1)
	}
	for _, p := range o.picks {
		n, ok := m.answers.Load(p)
		if !ok {
			n, _ = m.answers.LoadOrStore(p, new(atomic.Uint64))
		}
		n.(*atomic.Uint64).Add(1)
	}
}

// served lists the answer counters, in no order.
func (m *metrics) served() []Served {
	var all []Served
	m.answers.Range(func(k, v any) bool {
		p := k.(pick)
		all = append(all, Served{p.host, p.backend, v.(*atomic.Uint64).Load()})
		return true
	})
	return all
}

// keep drops the counters of backends that no longer exist.
func (m *metrics) keep(exists func(p pick) bool) {
	m.answers.Range(func(k, _ any) bool {
		if !exists(k.(pick)) {
			m.answers.Delete(k)
		}
		return true
	})
}
