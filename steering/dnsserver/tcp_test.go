package dnsserver_test

import (
	"encoding/binary"
	"errors"
	"io"
	"math/rand/v2"
	"net"
	"net/netip"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/miekg/dns"
	"github.com/prometheus/client_golang/prometheus"

	"pointsman/steering/dnsserver"
)

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
		if _, err := conn.Read(make([]byte, 1)); errors.Is(err,
			os.ErrDeadlineExceeded) || err == nil {
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

func TestAClientWithTooManyConnectionsIsRefused(t *testing.T) {
	cfg := example(t, pointer(compile(t, 1, 1)))
	reg := prometheus.NewRegistry()
	cfg.Registerer, cfg.TCPPerClient, cfg.TCPIdle = reg, 3, time.Minute
	s := start(t, cfg)
	var open []*dns.Conn
	for range 3 {
		c, err := dns.Dial("tcp", s.Addrs()[0].String())
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		if _, err := ask(c, host, dns.TypeA); err != nil {
			t.Fatal(err)
		}
		open = append(open, c)
	}
	refused, err := dns.Dial("tcp", s.Addrs()[0].String())
	if err != nil {
		t.Fatal(err)
	}
	defer refused.Close()
	if a, err := ask(refused, host, dns.TypeA); err == nil {
		t.Errorf("the fourth connection: %v", a)
	}
	for _, c := range open {
		if _, err := ask(c, host, dns.TypeA); err != nil {
			t.Errorf("an earlier connection: %v", err)
		}
	}
	if got := scrape(t, reg); !strings.Contains(got, "pointsman_dnsserver_tcp_refused_total 1\n") {
		t.Errorf("not counted:\n%s", got)
	}
	if err := s.SetRateLimit(&dnsserver.RateLimit{
		Exempt: []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}}); err != nil {
		t.Fatal(err)
	}
	if a := query(t, s, "tcp", host, "A"); len(a.Answer) != 1 {
		t.Errorf("an exempt client: %v", a)
	}
}

// A client that sends but reads nothing is closed, and holds no more than its buffers meanwhile.
func TestAClientThatTakesNoAnswersIsClosed(t *testing.T) {
	cfg := example(t, pointer(compile(t, 1, 1)))
	cfg.TCPIdle = 300 * time.Millisecond
	s := start(t, cfg)
	conn, err := net.Dial("tcp", s.Addrs()[0].String())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	m := new(dns.Msg)
	m.SetQuestion("big.example.test.", dns.TypeTXT)
	packet, _ := m.Pack()
	framed := append(binary.BigEndian.AppendUint16(nil, uint16(len(packet))), packet...)
	_ = conn.SetWriteDeadline(time.Now().Add(20 * time.Second))
	for sent := 0; ; sent++ {
		if _, err := conn.Write(framed); errors.Is(err, os.ErrDeadlineExceeded) {
			t.Fatalf("open after %d queries", sent)
		} else if err != nil {
			return
		}
	}
}
