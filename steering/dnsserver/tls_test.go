package dnsserver_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"math/big"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/miekg/dns"
	"github.com/prometheus/client_golang/prometheus"

	"pointsman/steering/dnsserver"
)

// selfSigned makes a certificate for ns1.example.test that ends at a given time.
func selfSigned(t testing.TB, serial int64, ends time.Time) (*tls.Config, *x509.CertPool) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(serial), IsCA: true,
		NotBefore: ends.Add(-48 * time.Hour), NotAfter: ends, BasicConstraintsValid: true,
		DNSNames: []string{"ns1.example.test"}}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	leaf, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	pool := x509.NewCertPool()
	pool.AddCert(leaf)
	return &tls.Config{Certificates: []tls.Certificate{{Certificate: [][]byte{der},
		PrivateKey: key}}}, pool
}

func dialTLS(t testing.TB, addr string, pool *x509.CertPool) (*tls.Conn, error) {
	t.Helper()
	return tls.DialWithDialer(&net.Dialer{Timeout: 5 * time.Second}, "tcp", addr,
		&tls.Config{RootCAs: pool, ServerName: "ns1.example.test", NextProtos: []string{"dot"}})
}

func TestQueriesOverTLSAreAnswered(t *testing.T) {
	cfg := example(t, pointer(compile(t, 1, 1)))
	reg := prometheus.NewRegistry()
	cfg.Registerer = reg
	var pool *x509.CertPool
	cfg.TLS, pool = selfSigned(t, 1, time.Now().Add(time.Hour))
	cfg.TLSListen = []string{"127.0.0.1:0"}
	s := start(t, cfg)
	c, err := dialTLS(t, s.TLSAddrs()[0].String(), pool)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if got := c.ConnectionState().NegotiatedProtocol; got != "dot" {
		t.Errorf("ALPN %q", got)
	}
	for range 20 {
		if a, err := ask(&dns.Conn{Conn: c}, host, dns.TypeA); err != nil || len(a.Answer) != 1 {
			t.Fatalf("%v, %v", a, err)
		}
	}
	if a, err := ask(&dns.Conn{Conn: c}, "big.example.test.", dns.TypeTXT); err != nil ||
		a.Truncated || len(a.Answer) != 1 {
		t.Errorf("%v, %v", a, err)
	}
	if got := scrape(t, reg); !strings.Contains(got, "proto=tls rcode=NOERROR type=A 20") {
		t.Errorf("not counted:\n%s", got)
	}
}

func TestARotatedCertificateIsForNewConnections(t *testing.T) {
	cfg := example(t, pointer(compile(t, 1, 1)))
	ended, endedPool := selfSigned(t, 1, time.Now().Add(-time.Hour))
	fresh, freshPool := selfSigned(t, 2, time.Now().Add(time.Hour))
	cfg.TLS, cfg.TLSListen = ended, []string{"127.0.0.1:0"}
	s := start(t, cfg)
	addr := s.TLSAddrs()[0].String()
	if _, err := dialTLS(t, addr, endedPool); err == nil ||
		!strings.Contains(err.Error(), "expired") {
		t.Errorf("a certificate that has ended: %v", err)
	}
	s.SetTLS(fresh)
	before, err := dialTLS(t, addr, freshPool)
	if err != nil {
		t.Fatal(err)
	}
	defer before.Close()
	next, nextPool := selfSigned(t, 3, time.Now().Add(time.Hour))
	s.SetTLS(next)
	if a, err := ask(&dns.Conn{Conn: before}, host, dns.TypeA); err != nil || len(a.Answer) != 1 {
		t.Errorf("a connection from before: %v, %v", a, err)
	}
	after, err := dialTLS(t, addr, nextPool)
	if err != nil {
		t.Fatal(err)
	}
	after.Close()
}

func TestAHandshakeThatStallsOrFailsEndsTheConnection(t *testing.T) {
	cfg := example(t, pointer(compile(t, 1, 1)))
	reg := prometheus.NewRegistry()
	cfg.Registerer, cfg.TCPIdle = reg, 200*time.Millisecond
	cfg.TLS, _ = selfSigned(t, 1, time.Now().Add(time.Hour))
	cfg.TLSListen = []string{"127.0.0.1:0"}
	s := start(t, cfg)
	for _, begin := range []string{"", "\x16\x03", "\x00\x1dplain DNS, and no handshake"} {
		c, err := net.Dial("tcp", s.TLSAddrs()[0].String())
		if err != nil {
			t.Fatal(err)
		}
		if _, err := c.Write([]byte(begin)); err != nil {
			t.Fatal(err)
		}
		_ = c.SetReadDeadline(time.Now().Add(5 * time.Second))
		buf := make([]byte, 100)
		for err == nil {
			_, err = c.Read(buf)
		}
		if ne, ok := err.(net.Error); ok && ne.Timeout() {
			t.Errorf("after %q the connection is open", begin)
		}
		c.Close()
	}
}

func TestTLSWithoutACertificateIsRefused(t *testing.T) {
	cfg := example(t, pointer(compile(t, 1, 1)))
	cfg.Listen, cfg.TLSListen = []string{"127.0.0.1:0"}, []string{"127.0.0.1:0"}
	if s, err := dnsserver.New(cfg); err == nil {
		_ = s.Close()
		t.Error("no error")
	}
}

func TestATakenPortForTLSIsToldApartFromThoseWithoutTLS(t *testing.T) {
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	cfg := example(t, pointer(compile(t, 1, 1)))
	cfg.TLS, _ = selfSigned(t, 1, time.Now().Add(time.Hour))
	cfg.Listen, cfg.TLSListen = []string{"127.0.0.1:0"}, []string{taken.Addr().String()}
	if _, err := dnsserver.New(cfg); !errors.Is(err, dnsserver.ErrTLSListen) {
		t.Errorf("for TLS: %v", err)
	}
	cfg.TLSListen, cfg.Listen = nil, cfg.TLSListen
	if _, err := dnsserver.New(cfg); err == nil || errors.Is(err, dnsserver.ErrTLSListen) {
		t.Errorf("without TLS: %v", err)
	}
}
