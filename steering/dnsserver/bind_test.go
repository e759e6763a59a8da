package dnsserver_test

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strings"
	"syscall"
	"testing"

	"github.com/miekg/dns"
	"github.com/prometheus/client_golang/prometheus"

	"pointsman/steering/dnsserver"
)

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
		{dnsserver.Config{Listen: local, UDPSize: 100}, "not between 512 and 1232"},
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
