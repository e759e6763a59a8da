package dnsserver_test

import (
	"testing"

	"github.com/miekg/dns"
)

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
