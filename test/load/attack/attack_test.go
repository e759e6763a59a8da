package attack_test

import (
	"net"
	"net/netip"
	"sync"
	"testing"
	"time"

	"pointsman/test/load/attack"
)

// TestAFloodLeavesLoopbackNever gives it addresses of others.
func TestAFloodLeavesLoopbackNever(t *testing.T) {
	for _, to := range []string{"192.0.2.1:53", "[2001:db8::1]:53", "0.0.0.0:53", "[::]:53"} {
		_, err := attack.Run(t.Context(), attack.Config{Server: netip.MustParseAddrPort(to),
			Kind: attack.Valid, Zone: "example.test.", Names: []string{"a.example.test."},
			For: time.Millisecond, Rate: 1})
		if err == nil {
			t.Errorf("%s was attacked", to)
		}
	}
}

// TestAServerThatDropsIsFoundOut answers every second query of the client's with nothing, and
// everything else with what was asked: no good answer.
func TestAServerThatDropsIsFoundOut(t *testing.T) {
	conn, err := net.ListenUDP("udp4", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	wg.Go(func() {
		buf := make([]byte, 65535)
		for {
			n, from, err := conn.ReadFromUDP(buf)
			if err != nil {
				return
			}
			if n > 1 && buf[1]%2 == 0 {
				_, _ = conn.WriteToUDP(buf[:n], from)
			}
		}
	})
	r, err := attack.Run(t.Context(), attack.Config{
		Server: conn.LocalAddr().(*net.UDPAddr).AddrPort(), Kind: attack.Random,
		Zone: "example.test.", Names: []string{"a.example.test."},
		For: 200 * time.Millisecond, Rate: 100})
	conn.Close()
	wg.Wait()
	if err != nil {
		t.Fatal(err)
	}
	if r.Asked == 0 || r.Wrong == 0 || r.FirstTry() > 0 || r.Sent == 0 || r.Got == 0 ||
		r.Amplification() > 1 {
		t.Errorf("%+v", r)
	}
}
