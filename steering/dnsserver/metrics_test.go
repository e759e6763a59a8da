package dnsserver_test

import (
	"fmt"
	"io"
	"net"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
)

func scrape(t *testing.T, reg prometheus.Gatherer) string {
	t.Helper()
	families, err := reg.Gather()
	if err != nil {
		t.Fatal(err)
	}
	var b strings.Builder
	for _, f := range families {
		for _, m := range f.GetMetric() {
			b.WriteString(f.GetName())
			for _, l := range m.GetLabel() {
				fmt.Fprintf(&b, " %s=%s", l.GetName(), l.GetValue())
			}
			switch {
			case m.Counter != nil:
				fmt.Fprintf(&b, " %v\n", m.Counter.GetValue())
			case m.Gauge != nil:
				fmt.Fprintf(&b, " %v\n", m.Gauge.GetValue())
			default:
				fmt.Fprintf(&b, " n=%d\n", m.Histogram.GetSampleCount())
			}
		}
	}
	return b.String()
}

func TestMetricsCountWhatHappened(t *testing.T) {
	table := pointer(compile(t, 1, 0, 1))
	cfg := example(t, table)
	reg := prometheus.NewRegistry()
	cfg.Registerer = reg
	s := start(t, cfg)
	query(t, s, "udp", host, "A")
	query(t, s, "tcp", host, "HTTPS")
	query(t, s, "udp", "no.example.test.", "A")
	query(t, s, "udp", "big.example.test.", "TXT")
	query(t, s, "udp", "example.org.", "NAPTR")
	conn, err := net.Dial("udp", s.Addrs()[0].String())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	for _, packet := range []string{"short", "xx\x80\x00response....",
		"xx\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00"} {
		if _, err := io.WriteString(conn, packet); err != nil {
			t.Fatal(err)
		}
	}
	_ = conn.SetReadDeadline(time.Now().Add(5 * time.Second))
	if n, err := conn.Read(make([]byte, 512)); err != nil || n != 12 { // the last one's FORMERR
		t.Fatalf("%d bytes, %v", n, err)
	}
	const want = `pointsman_dnsserver_answers_total backend=b1 host=cdn.example.test. 2
pointsman_dnsserver_bounded_total 0
pointsman_dnsserver_cookies_total state=bad 0
pointsman_dnsserver_cookies_total state=client 0
pointsman_dnsserver_cookies_total state=valid 0
pointsman_dnsserver_failures_total 0
pointsman_dnsserver_ignored_total 2
pointsman_dnsserver_malformed_total 1
pointsman_dnsserver_panics_total 0
pointsman_dnsserver_queries_total proto=tcp rcode=NOERROR type=HTTPS 1
pointsman_dnsserver_queries_total proto=udp rcode=FORMERR type=other 1
pointsman_dnsserver_queries_total proto=udp rcode=NOERROR type=A 1
pointsman_dnsserver_queries_total proto=udp rcode=NOERROR type=TXT 1
pointsman_dnsserver_queries_total proto=udp rcode=NXDOMAIN type=A 1
pointsman_dnsserver_queries_total proto=udp rcode=REFUSED type=other 1
pointsman_dnsserver_query_duration_seconds n=8
pointsman_dnsserver_rate_limited_total action=dropped 0
pointsman_dnsserver_rate_limited_total action=slipped 0
pointsman_dnsserver_rate_limited_total action=would 0
pointsman_dnsserver_tcp_connections 0
pointsman_dnsserver_tcp_evicted_total 0
pointsman_dnsserver_tcp_refused_total 0
pointsman_dnsserver_tls_failed_total 0
pointsman_dnsserver_transfers_running 0
pointsman_dnsserver_truncated_total 1
pointsman_dnsserver_unanswered_total 0
pointsman_dnsserver_unsent_total 0
pointsman_dnsserver_weighed_error_ratio 0
pointsman_dnsserver_weighed_evicted_total 0
pointsman_dnsserver_weighed_lost_total 0
pointsman_dnsserver_weighed_prefixes 0
`
	got := scrape(t, reg)
	for deadline := time.Now().Add(5 * time.Second); got != want && time.Now().Before(deadline); {
		got = scrape(t, reg) // the connection's end and the last count may be a moment late
		runtime.Gosched()
	}
	if d := cmp.Diff(want, got); d != "" {
		t.Errorf("(-want +got):\n%s", d)
	}
	if problems, err := testutil.GatherAndLint(reg); err != nil || len(problems) > 0 {
		t.Errorf("lint: %v, %v", problems, err)
	}
	// A backend that is gone leaves no series behind.
	table.Store(compile(t, 2, 1))
	query(t, s, "udp", "example.test.", "SOA")
	if got := s.Served(); len(got) != 0 {
		t.Errorf("served by backends that are gone: %v", got)
	}
}
