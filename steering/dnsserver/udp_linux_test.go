package dnsserver_test

import (
	"bytes"
	"context"
	"fmt"
	"net"
	"net/netip"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/miekg/dns"
	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/sys/unix"

	"pointsman/steering/dnsserver"
)

// sharing opens sockets that share their port with whoever does so too.
var sharing = net.ListenConfig{Control: func(_, _ string, c syscall.RawConn) error {
	return c.Control(func(fd uintptr) {
		_ = unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_REUSEPORT, 1)
	})
}}

func TestAPortThatSomebodyWouldShareIsNotTaken(t *testing.T) {
	other, err := sharing.ListenPacket(context.Background(), "udp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer other.Close()
	addr := other.LocalAddr().String()
	s, err := dnsserver.New(dnsserver.Config{Listen: []string{addr}, UDPWorkers: 4})
	if err == nil {
		_ = s.Close()
		t.Fatal("two servers would divide the queries among them")
	}
	if want := "binding " + addr + " over UDP: address already in use"; err.Error() != want {
		t.Errorf("got %v, want %s", err, want)
	}
}

func TestASecondServerDoesNotShareThePort(t *testing.T) {
	first, err := dnsserver.New(dnsserver.Config{Listen: []string{"127.0.0.1:0"}, UDPWorkers: 4})
	if err != nil {
		t.Fatal(err)
	}
	defer first.Close()
	addr := first.Addrs()[0].String()
	if s, err := dnsserver.New(dnsserver.Config{Listen: []string{addr}, UDPWorkers: 4}); err == nil {
		_ = s.Close()
		t.Error("it did")
	}
}

// exchange sends packets at once and waits for as many answers.
func exchange(t *testing.T, conn *net.UDPConn, packets [][]byte) map[uint16][]byte {
	t.Helper()
	for _, p := range packets {
		if _, err := conn.Write(p); err != nil {
			t.Fatal(err)
		}
	}
	answers := make(map[uint16][]byte)
	buf := make([]byte, 4096)
	_ = conn.SetReadDeadline(time.Now().Add(10 * time.Second))
	for len(answers) < len(packets) {
		n, err := conn.Read(buf)
		if err != nil {
			t.Fatalf("%d of %d answers: %v", len(answers), len(packets), err)
		}
		answers[uint16(buf[0])<<8|uint16(buf[1])] = bytes.Clone(buf[:n])
	}
	return answers
}

func dial(t *testing.T, addr netip.AddrPort) *net.UDPConn {
	t.Helper()
	conn, err := net.DialUDP("udp", nil, net.UDPAddrFromAddrPort(addr))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	_ = conn.SetReadBuffer(4 << 20)
	return conn
}

// mixed packs n queries: steered, static, denied, truncated and malformed ones in turn.
func mixed(t *testing.T, n int) [][]byte {
	t.Helper()
	packets := make([][]byte, n)
	for i := range packets {
		m := new(dns.Msg)
		switch i % 5 {
		case 0:
			m.SetQuestion(host, dns.TypeA)
		case 1:
			m.SetQuestion("ns1.example.test.", dns.TypeA)
		case 2:
			m.SetQuestion(fmt.Sprintf("nx%d.example.test.", i), dns.TypeA)
		case 3:
			m.SetQuestion("big.example.test.", dns.TypeTXT)
		default:
			m.SetNotify("example.test.")
		}
		m.Id = uint16(i)
		packets[i], _ = m.Pack()
		if i%10 == 4 {
			packets[i] = append(packets[i], 0)
		}
	}
	return packets
}

func TestManyPacketsAtOnceAreAllAnswered(t *testing.T) {
	for _, c := range []struct {
		workers  int
		coalesce time.Duration
	}{{1, 0}, {1, 200 * time.Microsecond}, {4, 0}, {4, time.Millisecond}} {
		t.Run(fmt.Sprint(c), func(t *testing.T) {
			cfg := example(t, pointer(compile(t, 1, 70, 20, 10)))
			cfg.UDPWorkers, cfg.Coalesce = c.workers, c.coalesce
			reg := prometheus.NewRegistry()
			cfg.Registerer = reg
			s := start(t, cfg)
			var wg sync.WaitGroup
			for range 8 {
				conn := dial(t, s.Addrs()[0])
				wg.Go(func() {
					for range 5 {
						for id, a := range exchange(t, conn, mixed(t, 200)) {
							want := [...]int{dns.RcodeSuccess, dns.RcodeSuccess, dns.RcodeNameError,
								dns.RcodeSuccess, dns.RcodeRefused}[id%5]
							if id%10 == 4 {
								want = dns.RcodeFormatError
							}
							if got := int(a[3] & 0xF); got != want {
								t.Errorf("packet %d: rcode %d, want %d", id, got, want)
							}
						}
					}
				})
			}
			wg.Wait()
			var steered uint64
			for _, served := range s.Served() {
				steered += served.Count
			}
			if steered != 8*5*40 {
				t.Errorf("%d steered answers were counted, want %d", steered, 8*5*40)
			}
			for _, want := range []string{"query_duration_seconds n=8000\n", "malformed_total 800\n",
				"truncated_total 1600\n", "rcode=NXDOMAIN type=A 1600\n", "unsent_total 0\n"} {
				if got := scrape(t, reg); !strings.Contains(got, want) {
					t.Errorf("no %q in\n%s", want, got)
				}
			}
		})
	}
}

func TestAWildcardSocketAnswersFromTheAddressThatWasAsked(t *testing.T) {
	cfg := example(t, pointer(compile(t, 1, 1)))
	cfg.Listen, cfg.UDPWorkers = []string{":0"}, 3
	s := start(t, cfg)
	port := s.Addrs()[0].Port()
	for _, addr := range []string{"127.0.0.1", "127.0.0.7", "127.1.2.3", "::1"} {
		to := netip.AddrPortFrom(netip.MustParseAddr(addr), port)
		// A connected socket takes answers from the address it asked only.
		if n := len(exchange(t, dial(t, to), mixed(t, 200))); n != 200 {
			t.Errorf("%s: %d answers", addr, n)
		}
	}
}

func TestTablesAreSwappedWithoutALostOrSlowQuery(t *testing.T) {
	table := pointer(compile(t, 1, 70, 20, 10))
	cfg := example(t, table)
	cfg.UDPWorkers = 2
	s := start(t, cfg)
	var done atomic.Bool
	var worst atomic.Int64
	var asked atomic.Uint64
	var wg sync.WaitGroup
	for range 4 {
		conn := dial(t, s.Addrs()[0])
		wg.Go(func() {
			for !done.Load() {
				begin := time.Now()
				for id, a := range exchange(t, conn, mixed(t, 20)) {
					if id%5 == 0 && (a[3]&0xF != 0 || a[7] != 1) {
						t.Errorf("a steered answer with rcode %d and %d records", a[3]&0xF, a[7])
					}
				}
				asked.Add(20)
				worst.Store(max(worst.Load(), int64(time.Since(begin))))
			}
		})
	}
	for version := range uint64(1000) {
		// Every tenth table lacks a backend, so that the counters of one are dropped.
		weights := []uint32{uint32(version%7) + 1, 2, 3}
		if version%10 == 9 {
			weights = weights[:2]
		}
		table.Store(compile(t, version+2, weights...))
		for before := asked.Load(); asked.Load() < before+20 && !t.Failed(); {
			runtime.Gosched() // until this table has been asked
		}
	}
	done.Store(true)
	wg.Wait()
	// A resolver asks again after a second or so; a busy machine alone can cost half of one.
	if w := time.Duration(worst.Load()); w > 2*time.Second {
		t.Errorf("20 exchanges took %v at worst", w)
	}
	t.Logf("%d queries while 1000 tables were swapped, at worst %v for 20", asked.Load(),
		time.Duration(worst.Load()))
}
