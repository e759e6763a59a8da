package app_test

import (
	"fmt"
	"os"
	"strings"
	"testing"
)

func TestTheConfigSaysHowManySocketsAnswer(t *testing.T) {
	s := newSite(t)
	s.write(s.with("dns: {listen:", "dns: {udp_workers: 3, listen:"))
	n := s.start()
	eventually(t, "readiness", func() bool { return n.status().Ready })
	raw, err := os.ReadFile("/proc/net/udp")
	if err != nil {
		t.Fatal(err)
	}
	local := fmt.Sprintf(" 0100007F:%04X ", n.Addrs().DNS[0].Port())
	if got := strings.Count(string(raw), local); got != 3 {
		t.Errorf("%d sockets on the port, want 3:\n%s", got, raw)
	}
	if err := n.stop(); err != nil {
		t.Error(err)
	}
}
