package dnsserver_test

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/miekg/dns"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"go.uber.org/goleak"

	"pointsman/steering"
	"pointsman/steering/dnsserver"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// start runs a server on a free loopback port until the test ends.
func start(t testing.TB, cfg dnsserver.Config) *dnsserver.Server {
	t.Helper()
	s, stop := launch(t, cfg)
	t.Cleanup(func() {
		if err := stop(); err != nil {
			t.Errorf("Run: %v", err)
		}
	})
	return s
}

func launch(t testing.TB, cfg dnsserver.Config) (*dnsserver.Server, func() error) {
	t.Helper()
	if cfg.Listen == nil {
		cfg.Listen = []string{"127.0.0.1:0"}
	}
	s, err := dnsserver.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- s.Run(ctx) }()
	return s, func() error {
		cancel()
		return <-done
	}
}

// query asks over UDP or TCP and demands an answer.
func query(t testing.TB, s *dnsserver.Server, network, name, qtype string) *dns.Msg {
	t.Helper()
	m := new(dns.Msg)
	m.SetQuestion(name, dns.StringToType[qtype])
	if m.Question[0].Qtype == 0 {
		if _, err := fmt.Sscanf(qtype, "TYPE%d", &m.Question[0].Qtype); err != nil {
			t.Fatalf("type %q: %v", qtype, err)
		}
	}
	c := dns.Client{Net: network, Timeout: 5 * time.Second}
	a, _, err := c.Exchange(m, s.Addrs()[0].String())
	if err != nil {
		t.Fatalf("%s %s over %s: %v", name, qtype, network, err)
	}
	return a
}

const host = "cdn.example.test."

// compile makes a table that steers host between backends by their weights.
func compile(t testing.TB, version uint64, weights ...uint32) *steering.Table {
	t.Helper()
	spec := &steering.Spec{
		Pools: []steering.Pool{{Name: "cdns"}},
		Hosts: []steering.Host{{Name: host, TTL: 20 * time.Second, Pools: []string{"cdns"},
			Stickiness: steering.Spread}},
	}
	for i, w := range weights {
		name := fmt.Sprintf("b%d", i)
		spec.Backends = append(spec.Backends, steering.Backend{Name: name, CNAME: name + ".invalid."})
		spec.Pools[0].Members = append(spec.Pools[0].Members, steering.Member{Backend: name, Weight: w})
	}
	table, err := steering.Compile(steering.Inputs{Version: version, Now: time.Now(), Spec: spec})
	if err != nil {
		t.Fatal(err)
	}
	return table
}

// example returns a config that serves example.test with the table in the pointer.
func example(t testing.TB, table *atomic.Pointer[steering.Table]) dnsserver.Config {
	t.Helper()
	z, mistakes := dnsserver.ParseZone(dnsserver.ZoneConfig{
		Name: "example.test", NS: []string{"ns1.example.test"},
		Records: []record{{Name: "ns1", Type: "A", Data: "192.0.2.53"},
			{Name: "www", Type: "CNAME", Data: "cdn.example.test"},
			{Name: "big", Type: "TXT", Data: strings.Repeat(`"`+strings.Repeat("x", 250)+`" `, 9)}},
	})
	if mistakes != nil {
		t.Fatal(mistakes)
	}
	return dnsserver.Config{Zones: []*dnsserver.Zone{z}, Table: table.Load,
		Draws: steering.NewDraws(1)}
}

func pointer(t *steering.Table) *atomic.Pointer[steering.Table] {
	p := new(atomic.Pointer[steering.Table])
	p.Store(t)
	return p
}

func TestTenThousandQueriesSplitAsWeighted(t *testing.T) {
	s := start(t, example(t, pointer(compile(t, 1, 70, 20, 10))))
	counts := make(map[string]int)
	var mu sync.Mutex
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			conn, err := dns.Dial("udp", s.Addrs()[0].String())
			if err != nil {
				t.Error(err)
				return
			}
			defer conn.Close()
			for range 2500 {
				a, err := ask(conn, host, dns.TypeA)
				if err != nil || len(a.Answer) != 1 {
					t.Errorf("answer %v, error %v", a, err)
					return
				}
				mu.Lock()
				counts[a.Answer[0].(*dns.CNAME).Target]++
				mu.Unlock()
			}
		})
	}
	wg.Wait()
	var served []dnsserver.Served
	for i, want := range []int{7000, 2000, 1000} {
		name := fmt.Sprintf("b%d", i)
		got := counts[name+".invalid."]
		if got < want-100 || got > want+100 {
			t.Errorf("%s: %d answers of 10,000, want %d ± 100", name, got, want)
		}
		served = append(served, dnsserver.Served{Host: host, Backend: name, Count: uint64(got)})
	}
	if d := cmp.Diff(served, s.Served()); d != "" {
		t.Errorf("Served (-counted by the client +by the server):\n%s", d)
	}
}

func ask(conn *dns.Conn, name string, qtype uint16) (*dns.Msg, error) {
	m := new(dns.Msg)
	m.SetQuestion(name, qtype)
	if err := conn.SetDeadline(time.Now().Add(5 * time.Second)); err != nil {
		return nil, err
	}
	if err := conn.WriteMsg(m); err != nil {
		return nil, err
	}
	a, err := conn.ReadMsg()
	if err == nil && a.Id != m.Id {
		return nil, fmt.Errorf("id %d for %d", a.Id, m.Id)
	}
	return a, err
}

func TestTablesAndZonesChangeUnderLoadWithoutAWrongAnswer(t *testing.T) {
	both := []*steering.Table{compile(t, 1, 1, 0), compile(t, 2, 0, 1)}
	table := pointer(both[0])
	cfg := example(t, table)
	s := start(t, cfg)
	stop := make(chan struct{})
	var wg sync.WaitGroup
	var asked atomic.Uint64
	for i := range 4 {
		wg.Go(func() {
			network := []string{"udp", "tcp"}[i%2]
			conn, err := dns.Dial(network, s.Addrs()[0].String())
			if err != nil {
				t.Error(err)
				return
			}
			defer conn.Close()
			for {
				select {
				case <-stop:
					return
				default:
				}
				a, err := ask(conn, "www.example.test.", dns.TypeAAAA)
				if err != nil || a.Rcode != 0 || len(a.Answer) != 2 {
					t.Errorf("over %s: answer %v, error %v", network, a, err)
					return
				}
				asked.Add(1)
			}
		})
	}
	for i := range 300 {
		at := asked.Load()
		table.Store(both[i%2])
		if i%3 == 0 {
			s.SetZones(cfg.Zones)
		}
		// A query that starts after the change sees it.
		want := fmt.Sprintf("b%d.invalid.", i%2)
		got := query(t, s, "udp", host, "A")
		if got.Answer[0].(*dns.CNAME).Target != want {
			t.Fatalf("change %d: %v, want %s", i, got.Answer, want)
		}
		for asked.Load() == at && !t.Failed() {
			runtime.Gosched()
		}
	}
	close(stop)
	wg.Wait()
	t.Logf("%d queries", asked.Load())
}

func TestATruncatedAnswerComesWholeOverTCP(t *testing.T) {
	s := start(t, example(t, pointer(compile(t, 1, 1))))
	if a := query(t, s, "udp", "big.example.test.", "TXT"); !a.Truncated || len(a.Answer) != 0 {
		t.Errorf("over UDP: %v", a)
	}
	if a := query(t, s, "tcp", "big.example.test.", "TXT"); a.Truncated || len(a.Answer) != 1 {
		t.Errorf("over TCP: %v", a)
	}
}

func TestPipelinedQueriesAreAnsweredInOrder(t *testing.T) {
	s := start(t, example(t, pointer(compile(t, 1, 1))))
	conn, err := net.Dial("tcp", s.Addrs()[0].String())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	const n = 500
	var all []byte
	for i := range n {
		m := new(dns.Msg)
		m.SetQuestion(host, dns.TypeA)
		m.Id = uint16(i)
		packet, _ := m.Pack()
		all = append(binary.BigEndian.AppendUint16(all, uint16(len(packet))), packet...)
	}
	_ = conn.SetDeadline(time.Now().Add(10 * time.Second))
	// The last query lacks its end at first: that must not hold back the answers before it.
	if _, err := conn.Write(all[:len(all)-5]); err != nil {
		t.Fatal(err)
	}
	c := dns.Conn{Conn: conn}
	for i := range n {
		if i == n-1 {
			if _, err := conn.Write(all[len(all)-5:]); err != nil {
				t.Fatal(err)
			}
		}
		a, err := c.ReadMsg()
		if err != nil || a.Id != uint16(i) || len(a.Answer) != 1 {
			t.Fatalf("answer %d: %v, %v", i, a, err)
		}
	}
}

func TestIdleAndHalfSentConnectionsAreClosed(t *testing.T) {
	cfg := example(t, pointer(compile(t, 1, 1)))
	cfg.TCPIdle = 100 * time.Millisecond
	s := start(t, cfg)
	for _, begin := range []string{"", "\x00", "\x00\x20", "\x00\x20abc", "\xff\xff"} {
		conn, err := net.Dial("tcp", s.Addrs()[0].String())
		if err != nil {
			t.Fatal(err)
		}
		if _, err := io.WriteString(conn, begin); err != nil {
			t.Fatal(err)
		}
		_ = conn.SetReadDeadline(time.Now().Add(5 * time.Second))
		if _, err := conn.Read(make([]byte, 1)); errors.Is(err, os.ErrDeadlineExceeded) || err == nil {
			t.Errorf("after %q: %v", begin, err)
		}
		conn.Close()
	}
}

func TestIdleConnectionsMakeRoomForOthers(t *testing.T) {
	cfg := example(t, pointer(compile(t, 1, 1)))
	cfg.MaxTCP, cfg.TCPIdle = 3, time.Minute
	reg := prometheus.NewRegistry()
	cfg.Registerer = reg
	s := start(t, cfg)
	busy, err := dns.Dial("tcp", s.Addrs()[0].String())
	if err != nil {
		t.Fatal(err)
	}
	defer busy.Close()
	for range 50 {
		if _, err := ask(busy, host, dns.TypeA); err != nil {
			t.Fatalf("the busy connection: %v", err)
		}
		idle, err := net.Dial("tcp", s.Addrs()[0].String())
		if err != nil {
			t.Fatal(err)
		}
		defer idle.Close()
		if a := query(t, s, "tcp", host, "A"); len(a.Answer) != 1 {
			t.Fatalf("a new connection: %v", a)
		}
	}
	if got := scrape(t, reg); !strings.Contains(got, "pointsman_dnsserver_tcp_evicted_total") ||
		strings.Contains(got, "pointsman_dnsserver_tcp_evicted_total 0\n") {
		t.Errorf("evictions are not counted:\n%s", got)
	}
}

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
	for _, packet := range []string{"short", "xx\x80\x00response....", "xx\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00"} {
		if _, err := io.WriteString(conn, packet); err != nil {
			t.Fatal(err)
		}
	}
	_ = conn.SetReadDeadline(time.Now().Add(5 * time.Second))
	if n, err := conn.Read(make([]byte, 512)); err != nil || n != 12 { // the last one's FORMERR
		t.Fatalf("%d bytes, %v", n, err)
	}
	const want = `pointsman_dnsserver_answers_total backend=b1 host=cdn.example.test. 2
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
pointsman_dnsserver_tcp_connections 0
pointsman_dnsserver_tcp_evicted_total 0
pointsman_dnsserver_truncated_total 1
pointsman_dnsserver_unanswered_total 0
pointsman_dnsserver_unsent_total 0
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

// panicking is a Drawer that fails now and then.
type panicking struct{ n *atomic.Uint64 }

func (p panicking) Next(string, netip.Prefix, uint16, time.Time) uint64 {
	if p.n.Add(1)%2 == 1 {
		panic("planted")
	}
	return 0
}

func TestAPanicIsAnsweredWithSERVFAILAndCounted(t *testing.T) {
	cfg := example(t, pointer(compile(t, 1, 1)))
	cfg.Draws = panicking{new(atomic.Uint64)}
	var log bytes.Buffer
	cfg.Logger = slog.New(slog.NewTextHandler(&log, nil))
	reg := prometheus.NewRegistry()
	cfg.Registerer = reg
	s, stop := launch(t, cfg)
	for i := range 20 {
		for _, network := range []string{"udp", "tcp"} {
			a := query(t, s, network, host, "A")
			want := map[string]int{"udp": dns.RcodeServerFailure, "tcp": dns.RcodeSuccess}[network]
			if a.Rcode != want {
				t.Errorf("query %d over %s: %s", i, network, dns.RcodeToString[a.Rcode])
			}
		}
	}
	if err := stop(); err != nil {
		t.Error(err)
	}
	if got := scrape(t, reg); !strings.Contains(got, "pointsman_dnsserver_panics_total 20\n") ||
		!strings.Contains(got, "queries_total proto=udp rcode=SERVFAIL type=other 20\n") {
		t.Errorf("panics are not counted:\n%s", got)
	}
	if n := strings.Count(log.String(), "query panicked"); n != 1 {
		t.Errorf("%d log lines for 20 panics, want 1", n)
	}
}

func TestUntilATableComesSteeredNamesFailAndThenRecover(t *testing.T) {
	table := pointer(nil)
	cfg := example(t, table)
	reg := prometheus.NewRegistry()
	cfg.Registerer = reg
	s := start(t, cfg)
	if a := query(t, s, "udp", host, "A"); a.Rcode != dns.RcodeServerFailure {
		t.Errorf("without a table: %v", a)
	}
	if a := query(t, s, "udp", "ns1.example.test.", "A"); len(a.Answer) != 1 {
		t.Errorf("a static name without a table: %v", a)
	}
	table.Store(compile(t, 1, 1))
	if a := query(t, s, "udp", host, "A"); len(a.Answer) != 1 {
		t.Errorf("with a table: %v", a)
	}
	if got := scrape(t, reg); !strings.Contains(got, "pointsman_dnsserver_unanswered_total 1\n") {
		t.Errorf("not counted:\n%s", got)
	}
}

func TestMalformedPacketsDoNoHarm(t *testing.T) {
	cfg := example(t, pointer(compile(t, 1, 1)))
	reg := prometheus.NewRegistry()
	cfg.Registerer = reg
	s := start(t, cfg)
	good := new(dns.Msg)
	good.SetQuestion(host, dns.TypeA)
	good.SetEdns0(1232, true)
	opt := good.IsEdns0()
	opt.Option = append(opt.Option, &dns.EDNS0_SUBNET{Code: dns.EDNS0SUBNET, Family: 1,
		SourceNetmask: 24, Address: net.IPv4(192, 0, 2, 0)})
	packet, err := good.Pack()
	if err != nil {
		t.Fatal(err)
	}
	bad, err := net.Dial("udp", s.Addrs()[0].String())
	if err != nil {
		t.Fatal(err)
	}
	defer bad.Close()
	client, err := dns.Dial("udp", s.Addrs()[0].String())
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	rnd := rand.New(rand.NewPCG(1, 2))
	for i := range 12_000 {
		if _, err := bad.Write(mutate(rnd, packet)); err != nil {
			t.Fatal(err)
		}
		if i%20 != 0 {
			continue
		}
		a, err := ask(client, host, dns.TypeA)
		if err != nil || len(a.Answer) != 1 {
			t.Fatalf("after %d bad packets: %v, %v", i, a, err)
		}
	}
	if got := scrape(t, reg); !strings.Contains(got, "pointsman_dnsserver_panics_total 0\n") ||
		strings.Contains(got, "pointsman_dnsserver_malformed_total 0\n") {
		t.Errorf("metrics:\n%s", got)
	}
}

// mutate returns a copy of a packet with some of its bytes changed, cut, repeated or all new.
func mutate(rnd *rand.Rand, packet []byte) []byte {
	out := bytes.Clone(packet)
	switch rnd.IntN(8) {
	case 0:
		out = out[:rnd.IntN(len(out))]
	case 1:
		out = append(out, out[:rnd.IntN(len(out))]...)
	case 2:
		for i := range out {
			out[i] = byte(rnd.Uint32())
		}
	default:
		for range 1 + rnd.IntN(6) {
			out[rnd.IntN(len(out))] = byte(rnd.Uint32())
		}
	}
	return out
}

func TestGarbageOverTCPClosesOnlyItsConnection(t *testing.T) {
	s := start(t, example(t, pointer(compile(t, 1, 1))))
	rnd := rand.New(rand.NewPCG(3, 4))
	for range 100 {
		conn, err := net.Dial("tcp", s.Addrs()[0].String())
		if err != nil {
			t.Fatal(err)
		}
		junk := make([]byte, 2+rnd.IntN(400))
		for i := range junk {
			junk[i] = byte(rnd.Uint32())
		}
		_, _ = conn.Write(junk) // the server may have closed already
		conn.Close()
	}
	if a := query(t, s, "tcp", host, "A"); len(a.Answer) != 1 {
		t.Errorf("afterwards: %v", a)
	}
}

func TestATakenPortIsNamedWithItsProtocol(t *testing.T) {
	udp, err := net.ListenPacket("udp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer udp.Close()
	tcp, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer tcp.Close()
	for addr, proto := range map[string]string{
		udp.LocalAddr().String(): "UDP", tcp.Addr().String(): "TCP",
	} {
		_, err := dnsserver.New(dnsserver.Config{Listen: []string{"127.0.0.1:0", addr}})
		want := fmt.Sprintf("binding %s over %s: address already in use", addr, proto)
		if err == nil || err.Error() != want || !errors.Is(err, syscall.EADDRINUSE) {
			t.Errorf("got %v, want %s", err, want)
		}
	}
}

func TestBadConfigsAreRefused(t *testing.T) {
	local := []string{"127.0.0.1:0"}
	reg := prometheus.NewRegistry()
	first, err := dnsserver.New(dnsserver.Config{Listen: local, Registerer: reg})
	if err != nil {
		t.Fatal(err)
	}
	defer first.Close()
	for _, c := range []struct {
		cfg  dnsserver.Config
		want string
	}{
		{dnsserver.Config{}, "no address to listen on"},
		{dnsserver.Config{Listen: []string{"127.0.0.1"}}, "want IP:PORT"},
		{dnsserver.Config{Listen: []string{"localhost:53"}}, `"localhost" is not an IP address`},
		{dnsserver.Config{Listen: local, UDPSize: 100}, "not between 512 and 4096"},
		{dnsserver.Config{Listen: local, MaxTCP: -1}, "negative limit"},
		{dnsserver.Config{Listen: local, Table: pointer(nil).Load}, "a table needs draws"},
		{dnsserver.Config{Listen: local, Registerer: reg}, "registering metrics"},
	} {
		s, err := dnsserver.New(c.cfg)
		if s != nil || err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("got %v, want %s", err, c.want)
		}
	}
}

func TestAnswersComeFromTheAddressThatWasAsked(t *testing.T) {
	for _, listen := range []string{"0.0.0.0:0", "[::]:0", ":0"} {
		cfg := example(t, pointer(compile(t, 1, 1)))
		cfg.Listen = []string{listen}
		s := start(t, cfg)
		port := s.Addrs()[0].Port()
		addrs := []string{"127.0.0.1", "127.0.0.2", "::1"}
		switch listen {
		case "0.0.0.0:0":
			addrs = addrs[:2]
		case "[::]:0":
			addrs = addrs[2:]
		}
		for _, a := range addrs {
			// A connected socket takes nothing from any other address.
			conn, err := dns.Dial("udp", netip.AddrPortFrom(netip.MustParseAddr(a), port).String())
			if err != nil {
				t.Fatal(err)
			}
			if m, err := ask(conn, host, dns.TypeA); err != nil || len(m.Answer) != 1 {
				t.Errorf("%s asked at %s: %v, %v", listen, a, m, err)
			}
			conn.Close()
		}
	}
}

func TestStoppingAnswersWhatHasCome(t *testing.T) {
	s, stop := launch(t, example(t, pointer(compile(t, 1, 1))))
	tcp, err := dns.Dial("tcp", s.Addrs()[0].String())
	if err != nil {
		t.Fatal(err)
	}
	defer tcp.Close()
	udp, err := dns.Dial("udp", s.Addrs()[0].String())
	if err != nil {
		t.Fatal(err)
	}
	defer udp.Close()
	if _, err := ask(tcp, host, dns.TypeA); err != nil {
		t.Fatal(err)
	}
	const n = 50
	for range n {
		for _, conn := range []*dns.Conn{udp, tcp} {
			m := new(dns.Msg)
			m.SetQuestion(host, dns.TypeA)
			if err := conn.WriteMsg(m); err != nil {
				t.Fatal(err)
			}
		}
	}
	if err := stop(); err != nil {
		t.Fatal(err)
	}
	for _, conn := range []*dns.Conn{udp, tcp} {
		_ = conn.SetReadDeadline(time.Now().Add(5 * time.Second))
		for i := range n {
			if _, err := conn.ReadMsg(); err != nil {
				t.Fatalf("answer %d of %d: %v", i+1, n, err)
			}
		}
	}
	if _, err := net.Dial("tcp", s.Addrs()[0].String()); err == nil {
		t.Error("a stopped server accepts")
	}
	if err := s.Run(context.Background()); err == nil {
		t.Error("a second Run is refused")
	}
	if err := s.Close(); err != nil {
		t.Errorf("closing again: %v", err)
	}
}

func TestDigUnderstandsTheAnswers(t *testing.T) {
	dig, err := exec.LookPath("dig")
	if err != nil {
		t.Fatal("dig is missing: install bind9-dnsutils")
	}
	s := start(t, example(t, pointer(compile(t, 1, 1))))
	for _, c := range []struct {
		args string
		want []string
		not  []string
	}{
		{"+noedns cdn.example.test", []string{"status: NOERROR", "flags: qr aa rd; QUERY: 1, ANSWER: 1",
			"20\tIN\tCNAME\tb0.invalid."}, []string{"OPT PSEUDOSECTION"}},
		{"+edns=0 +nocookie CDN.eXample.test", []string{"EDNS: version: 0, flags:; udp: 1232",
			"CDN.eXample.test.\t20"}, nil},
		{"+edns=1 +noednsneg +nocookie cdn.example.test", []string{"status: BADVERS", "ANSWER: 0",
			"EDNS: version: 0,"}, nil},
		{"+edns=1 +noednsneg +ednsopt=100 +nocookie soa example.test", []string{"status: BADVERS"}, nil},
		{"+ednsopt=100 +nocookie soa example.test", []string{"status: NOERROR", "ANSWER: 1"}, []string{"OPT=100"}},
		{"+ednsflags=0x80 +nocookie soa example.test", []string{"status: NOERROR", "flags:; udp: 1232"}, []string{"MBZ"}},
		{"+nsid +expire +cookie soa example.test", []string{"status: NOERROR"}, []string{"NSID", "EXPIRE"}},
		{"+dnssec +nocookie soa example.test", []string{"flags: do; udp: 1232", "status: NOERROR"}, nil},
		{"+subnet=192.0.2.0/24 +nocookie cdn.example.test", []string{"CLIENT-SUBNET: 192.0.2.0/24/0"}, nil},
		{"+subnet=2001:db8::/56 +nocookie ns1.example.test", []string{"CLIENT-SUBNET: 2001:db8::/56/0"}, nil},
		{"+subnet=0 +nocookie ns1.example.test", []string{"CLIENT-SUBNET: 0.0.0.0/0/0", "status: NOERROR"}, nil},
		{"+cd +ad +zflag +nocookie ns1.example.test", []string{"flags: qr aa rd cd;"}, []string{"MBZ"}},
		{"+norecurse +nocookie ns1.example.test", []string{"flags: qr aa;"}, nil},
		{"+opcode=15 +nocookie +noedns ns1.example.test", []string{"status: NOTIMP", "opcode: RESERVED15", "flags: qr;"}, nil},
		{"+header-only +noedns", []string{"status: FORMERR"}, nil},
		{"type1000 ns1.example.test", []string{"status: NOERROR", "ANSWER: 0", "AUTHORITY: 1", "SOA"}, nil},
		{"no.example.test", []string{"status: NXDOMAIN", "AUTHORITY: 1"}, nil},
		{"example.org", []string{"status: REFUSED", "flags: qr rd;"}, nil},
		{"any example.test +notcp", []string{"status: NOERROR", "ANSWER: 1"}, nil},
		{"txt ch version.bind", []string{"status: REFUSED"}, nil},
		{"+ignore +bufsize=1232 txt big.example.test", []string{"flags: qr aa tc rd;", "ANSWER: 0"}, nil},
		{"+bufsize=4096 txt big.example.test", []string{"retrying in TCP mode", "ANSWER: 1", "(TCP)"}, nil},
		{"+tcp +keepopen cdn.example.test", []string{"ANSWER: 1", "(TCP)"}, nil},
		{"axfr example.test", []string{"Transfer failed"}, nil},
	} {
		args := append([]string{"@127.0.0.1", "-p", fmt.Sprint(s.Addrs()[0].Port()),
			"+tries=1", "+time=5"}, strings.Fields(c.args)...)
		out, err := exec.Command(dig, args...).CombinedOutput()
		if err != nil {
			t.Errorf("dig %s: %v\n%s", c.args, err, out)
		}
		for _, w := range c.want {
			if !strings.Contains(string(out), w) {
				t.Errorf("dig %s: no %q in\n%s", c.args, w, out)
			}
		}
		for _, w := range append(c.not, "malformed", "WARNING: Message") {
			if strings.Contains(string(out), w) {
				t.Errorf("dig %s: %q in\n%s", c.args, w, out)
			}
		}
	}
}

func BenchmarkExchangeOverUDP(b *testing.B) {
	s := start(b, example(b, pointer(compile(b, 1, 70, 20, 10))))
	conn, err := dns.Dial("udp", s.Addrs()[0].String())
	if err != nil {
		b.Fatal(err)
	}
	defer conn.Close()
	for b.Loop() {
		if _, err := ask(conn, host, dns.TypeA); err != nil {
			b.Fatal(err)
		}
	}
}
