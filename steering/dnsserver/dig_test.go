package dnsserver_test

import (
	"fmt"
	"os/exec"
	"strings"
	"testing"
)

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
		{"+noedns cdn.example.test", []string{"status: NOERROR",
			"flags: qr aa rd; QUERY: 1, ANSWER: 1",
			"20\tIN\tCNAME\tb0.invalid."}, []string{"OPT PSEUDOSECTION"}},
		{"+edns=0 +nocookie CDN.eXample.test", []string{"EDNS: version: 0, flags:; udp: 1232",
			"CDN.eXample.test.\t20"}, nil},
		{"+edns=1 +noednsneg +nocookie cdn.example.test", []string{"status: BADVERS", "ANSWER: 0",
			"EDNS: version: 0,"}, nil},
		{"+edns=1 +noednsneg +ednsopt=100 +nocookie soa example.test",
			[]string{"status: BADVERS"}, nil},
		{"+ednsopt=100 +nocookie soa example.test", []string{"status: NOERROR", "ANSWER: 1"},
			[]string{"OPT=100"}},
		{"+ednsflags=0x80 +nocookie soa example.test",
			[]string{"status: NOERROR", "flags:; udp: 1232"}, []string{"MBZ"}},
		{"+nsid +expire +cookie soa example.test", []string{"status: NOERROR"},
			[]string{"NSID", "EXPIRE"}},
		{"+dnssec +nocookie soa example.test", []string{"flags: do; udp: 1232",
			"status: NOERROR"}, nil},
		{"+subnet=192.0.2.0/24 +nocookie cdn.example.test",
			[]string{"CLIENT-SUBNET: 192.0.2.0/24/0"}, nil},
		{"+subnet=2001:db8::/56 +nocookie ns1.example.test",
			[]string{"CLIENT-SUBNET: 2001:db8::/56/0"}, nil},
		{"+subnet=0 +nocookie ns1.example.test",
			[]string{"CLIENT-SUBNET: 0.0.0.0/0/0", "status: NOERROR"}, nil},
		{"+dnssec +cd +nocookie ns1.example.test",
			[]string{"flags: qr aa rd cd;", "flags: do; udp"}, nil},
		{"+cd +ad +zflag +nocookie ns1.example.test", []string{"flags: qr aa rd cd;"},
			[]string{"MBZ"}},
		{"+norecurse +nocookie ns1.example.test", []string{"flags: qr aa;"}, nil},
		{"+opcode=15 +nocookie +noedns ns1.example.test",
			[]string{"status: NOTIMP", "opcode: RESERVED15", "flags: qr;"}, nil},
		{"+header-only +noedns", []string{"status: FORMERR"}, nil},
		{"type1000 ns1.example.test", []string{"status: NOERROR", "ANSWER: 0", "AUTHORITY: 1",
			"SOA"}, nil},
		{"no.example.test", []string{"status: NXDOMAIN", "AUTHORITY: 1"}, nil},
		{"example.org", []string{"status: REFUSED", "flags: qr rd;"}, nil},
		{"any example.test +notcp", []string{"status: NOERROR", "ANSWER: 1"}, nil},
		{"txt ch version.bind", []string{"status: REFUSED"}, nil},
		{"+ignore +bufsize=1232 txt big.example.test",
			[]string{"flags: qr aa tc rd;", "ANSWER: 0"}, nil},
		{"+bufsize=4096 txt big.example.test", []string{"retrying in TCP mode", "ANSWER: 1",
			"(TCP)"}, nil},
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
