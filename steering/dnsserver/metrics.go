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
	protoLabels = [...]string{"udp", "tcp", "tls"}
	typeLabels  = [...]string{"A", "AAAA", "CNAME", "HTTPS", "NS", "SOA", "TXT", "MX", "ANY", "other"}
	rcodeLabels = [...]string{
		"NOERROR", "FORMERR", "SERVFAIL", "NXDOMAIN", "NOTIMP", "REFUSED", "BADVERS", "other",
	}
	cookieLabels = [...]string{"client", "bad", "valid"} // in the order of cookie.Verdict
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
	counters []*counters // the first is for TCP, the others for one UDP goroutine each
	answers  sync.Map    // pick → pickCount

	truncated, bounded, malformed, ignored, panics, unanswered, failed atomic.Uint64
	unsent, evicted, refused, handshakes                               atomic.Uint64
	connections                                                        atomic.Int64

	scalars  []scalar
	exchange *peerMetrics

	limited func() [len(fates)]uint64

	queriesDesc, answersDesc, cookiesDesc, connectionsDesc, durationDesc, limitedDesc *prometheus.Desc
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

// newMetrics builds the metrics, for so many UDP goroutines, and registers them; a nil Registerer
// registers none. limited tells how many answers were limited.
func newMetrics(reg prometheus.Registerer, workers int, limited func() [len(fates)]uint64) (
	*metrics, error,
) {
	m := &metrics{
		limited: limited,
		limitedDesc: describe("rate_limited_total", "Answers over UDP beyond a client's rate, by "+
			"what was done: dropped, slipped (sent without records), would (sent as it was, since "+
			"limits are only observed). They are counted as queries, too.", "action"),
		exchange: newPeerMetrics(),
		queriesDesc: describe("queries_total",
			"Queries that were answered, by transport, type and response code.",
			"proto", "type", "rcode"),
		answersDesc: describe("answers_total",
			"Answers for steered names, by host and the backend that was picked.",
			"host", "backend"),
		cookiesDesc: describe("cookies_total", "Queries with a DNS cookie, by state: client (no "+
			"server cookie came along), bad (not ours, or too old), valid.", "state"),
		connectionsDesc: describe("tcp_connections", "TCP connections that are open."),
		durationDesc: describe("query_duration_seconds",
			"Time from a packet's arrival in the process to its finished answer, at most: packets "+
				"that came together all count with the last."),
	}
	for _, s := range []struct {
		name, help string
		n          *atomic.Uint64
	}{
		{"truncated_total", "Answers that did not fit and sent the client to TCP.", &m.truncated},
		{"bounded_total", "Those of them that were too large for a client whose address is not proven.",
			&m.bounded},
		{"malformed_total", "Packets answered with FORMERR since they can't be read.", &m.malformed},
		{"ignored_total", "Packets that are no queries; nothing was answered.", &m.ignored},
		{"panics_total", "Panics while answering, each answered with SERVFAIL.", &m.panics},
		{"failures_total", "Answers that could not be packed, sent as SERVFAIL.", &m.failed},
		{"unanswered_total", "Queries for which no table had an answer, sent as SERVFAIL.",
			&m.unanswered},
		{"unsent_total", "Answers that the system did not take.", &m.unsent},
		{"tcp_refused_total", "TCP connections closed at once as their client had too many.",
			&m.refused},
		{"tls_failed_total", "TLS handshakes that failed.", &m.handshakes},
		{"tcp_evicted_total", "TCP connections closed to make room for others.", &m.evicted},
	} {
		m.scalars = append(m.scalars, scalar{desc: describe(s.name, s.help), n: s.n})
	}
	for range 1 + workers {
		m.counters = append(m.counters, new(counters))
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
	ch <- m.cookiesDesc
	ch <- m.connectionsDesc
	ch <- m.limitedDesc
	for _, s := range m.scalars {
		ch <- s.desc
	}
	ch <- m.durationDesc
}

// Collect implements prometheus.Collector.
func (m *metrics) Collect(ch chan<- prometheus.Metric) {
	count := func(desc *prometheus.Desc, n uint64, labels ...string) {
		ch <- prometheus.MustNewConstMetric(desc, prometheus.CounterValue, float64(n), labels...)
	}
	for p, proto := range protoLabels {
		for t, qtype := range typeLabels {
			for r, rcode := range rcodeLabels {
				var n uint64
				for _, c := range m.counters {
					n += c.queries[p][t][r].Load()
				}
				if n > 0 {
					count(m.queriesDesc, n, proto, qtype, rcode)
				}
			}
		}
	}
	for i, state := range cookieLabels {
		var n uint64
		for _, c := range m.counters {
			n += c.cookies[i].Load()
		}
		count(m.cookiesDesc, n, state)
	}
	for _, s := range m.served() {
		count(m.answersDesc, s.Count, s.Host, s.Backend)
	}
	for _, s := range m.scalars {
		count(s.desc, s.n.Load())
	}
	for i, n := range m.limited() {
		count(m.limitedDesc, n, fates[i])
	}
	ch <- prometheus.MustNewConstMetric(m.connectionsDesc, prometheus.GaugeValue,
		float64(m.connections.Load()))
	ch <- histogram(m.durationDesc, m.counters)
}

// record counts one packet that the ordinary path dealt with.
func (m *metrics) record(c *counters, shard int, o outcome, proto int) {
	if o.verdict == ignored {
		m.ignored.Add(1)
		return
	}
	if o.verdict == malformed {
		m.malformed.Add(1)
	}
	c.answered(o.qtype, o.rcode, proto)
	if o.truncated {
		m.truncated.Add(1)
	}
	if o.bounded {
		m.bounded.Add(1)
	}
	if o.empty {
		m.unanswered.Add(1)
	}
	for _, p := range o.picks {
		m.pickCount(p).add(shard)
	}
}

// pickCount returns the counter of a pick.
func (m *metrics) pickCount(p pick) pickCount {
	n, ok := m.answers.Load(p)
	if !ok {
		n, _ = m.answers.LoadOrStore(p, make(pickCount, len(m.counters)))
	}
	return n.(pickCount)
}

// served lists the answer counters, in no order.
func (m *metrics) served() []Served {
	var all []Served
	m.answers.Range(func(k, v any) bool {
		p := k.(pick)
		all = append(all, Served{p.host, p.backend, v.(pickCount).sum()})
		return true
	})
	return all
}

// drop drops the counters of picks that are gone, and reports whether there were any.
func (m *metrics) drop(gone func(p pick) bool) (dropped bool) {
	m.answers.Range(func(k, _ any) bool {
		if gone(k.(pick)) {
			m.answers.Delete(k)
			dropped = true
		}
		return true
	})
	return dropped
}
