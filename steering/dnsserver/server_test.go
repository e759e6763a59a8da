package dnsserver_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"net"
	"net/netip"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/miekg/dns"
	"github.com/prometheus/client_golang/prometheus"
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
		spec.Backends = append(spec.Backends, steering.Backend{Name: name, CNAME: name +
			".invalid."})
		spec.Pools[0].Members = append(spec.Pools[0].Members, steering.Member{Backend: name,
			Weight: w})
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

// panicking is a Drawer that fails now and then.
type panicking struct{ n *atomic.Uint64 }

func (p panicking) Next(uint64, netip.Prefix, uint16, time.Time) uint64 {
	if p.n.Add(1)%2 == 1 {
		panic("planted")
	}
	return 0
}

func TestAPanicIsAnsweredWithSERVFAILAndCounted(t *testing.T) {
	cfg := example(t, pointer(compile(t, 1, 1, 1))) // one backend alone needs no draw
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

func TestANameMovesBetweenStaticAndSteeredWithoutAGap(t *testing.T) {
	steered, other := compile(t, 1, 1), otherTable(t)
	table := pointer(steered)
	cfg := example(t, table)
	s := start(t, cfg)
	static, mistakes := dnsserver.ParseZone(dnsserver.ZoneConfig{
		Name: "example.test", NS: []string{"ns.other.invalid"},
		Records: []record{{Name: "cdn", Type: "A", Data: "192.0.2.1"}},
	})
	if mistakes != nil {
		t.Fatal(mistakes)
	}
	var wg sync.WaitGroup
	stop := make(chan struct{})
	var asked atomic.Uint64
	for range 2 {
		wg.Go(func() {
			conn, err := dns.Dial("udp", s.Addrs()[0].String())
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
				if a, err := ask(conn, host, dns.TypeA); err != nil || len(a.Answer) != 1 {
					t.Errorf("answer %v, error %v", a, err)
					return
				}
				asked.Add(1)
			}
		})
	}
	for i := range 200 {
		zones, next := []*dnsserver.Zone{static}, other
		if i%2 == 1 {
			zones, next = cfg.Zones, steered
		}
		if err := s.Reload(zones, func() error {
			table.Store(next)
			for at := asked.Load(); asked.Load() < at+3 && !t.Failed(); {
				runtime.Gosched() // queries go on meanwhile, with the old zones and table
			}
			return nil
		}); err != nil {
			t.Error(err)
		}
	}
	close(stop)
	wg.Wait()
	if err := s.Reload(nil, func() error { return io.EOF }); !errors.Is(err, io.EOF) {
		t.Errorf("got %v", err)
	}
	if a := query(t, s, "udp", host, "A"); len(a.Answer) != 1 {
		t.Errorf("after a reload that failed: %v", a)
	}
}

// otherTable steers a name of another zone.
func otherTable(t testing.TB) *steering.Table {
	t.Helper()
	table, err := steering.Compile(steering.Inputs{Version: 9, Now: time.Now(),
		Spec: &steering.Spec{
			Backends: []steering.Backend{{Name: "x", CNAME: "x.invalid."}},
			Pools: []steering.Pool{
				{Name: "p", Members: []steering.Member{{Backend: "x", Weight: 1}}}},
			Hosts: []steering.Host{{Name: "x.example.org.", TTL: time.Second, Pools: []string{"p"},
				Stickiness: steering.Spread}},
		}})
	if err != nil {
		t.Fatal(err)
	}
	return table
}
