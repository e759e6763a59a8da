package app_test

import (
	"bytes"
	"context"
	"encoding/base64"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/miekg/dns"

	"pointsman/internal/app"
	"pointsman/internal/config"
)

var sharedKey = base64.StdEncoding.EncodeToString(bytes.Repeat([]byte("key."), 8))

// named is a BIND that runs.
type named struct {
	t    *testing.T
	dir  string
	addr string
	log  *buffer
	stop func()
	hup  func()
}

const namedConfig = `options {
	directory %q; listen-on port %s { 127.0.0.1; }; listen-on-v6 { none; };
	pid-file "named.pid"; session-keyfile "session.key"; recursion no; dnssec-validation no;
	notify explicit; ixfr-from-differences yes; notify-delay 0; serial-query-rate 100;
	minimal-responses yes; allow-new-zones no;
};
controls { };
key "transfer.key" { algorithm hmac-sha256; secret %q; };
`

// startNamed runs BIND at an address with zones in the form of its config.
func startNamed(t *testing.T, addr, zones string, files map[string]string) *named {
	t.Helper()
	path, err := exec.LookPath("named")
	if err != nil {
		path = "/usr/sbin/named"
	}
	n := &named{t: t, dir: t.TempDir(), addr: addr, log: &buffer{}}
	_, port, _ := net.SplitHostPort(n.addr)
	for name, data := range files {
		n.put(name, data)
	}
	n.put("named.conf", fmt.Sprintf(namedConfig, n.dir, port, sharedKey)+zones)
	ctx, cancel := context.WithCancel(context.Background())
	cmd := exec.CommandContext(ctx, path, "-g", "-n", "1", "-c", filepath.Join(n.dir, "named.conf"))
	cmd.Stdout, cmd.Stderr = n.log, n.log
	if err := cmd.Start(); err != nil {
		t.Fatalf("starting named (install bind9): %v", err)
	}
	stopped := false
	n.stop = func() {
		if !stopped {
			stopped = true
			cancel()
			_ = cmd.Wait() // it was killed
		}
	}
	n.hup = func() { _ = cmd.Process.Signal(syscall.SIGHUP) }
	t.Cleanup(func() {
		n.stop()
		if t.Failed() {
			t.Logf("named:\n%s", n.log)
		}
	})
	eventually(t, "the start of named", func() bool {
		return strings.Contains(n.log.String(), "running")
	})
	return n
}

func (n *named) put(name, data string) {
	n.t.Helper()
	if err := os.WriteFile(filepath.Join(n.dir, name), []byte(data), 0o600); err != nil {
		n.t.Fatal(err)
	}
}

// ask returns the addresses that BIND answers.
func (n *named) ask(name string) string {
	m := new(dns.Msg)
	m.SetQuestion(name, dns.TypeA)
	in, _, err := (&dns.Client{Timeout: time.Second}).Exchange(m, n.addr)
	if err != nil || len(in.Answer) == 0 {
		return ""
	}
	a, ok := in.Answer[0].(*dns.A)
	if !ok {
		return ""
	}
	return a.A.String()
}

// withKey is the site's config with the shared key and its nameserver at an address.
func (s *site) withKey(listen string, pairs ...string) string {
	s.environ = append(s.environ, "TRANSFER_KEY="+sharedKey)
	return s.with(append([]string{`dns: {listen: ["127.0.0.1:0"]}`,
		`dns: {listen: ["` + listen + `"]}` +
			"\ntsig_keys:\n  - {name: transfer.key, secret_env: TRANSFER_KEY}"}, pairs...)...)
}

const plainZone = `    ttl: 1m
    ns: [ns1]
    records:
      - {name: ns1, type: A, data: 192.0.2.53}
      - {name: www, type: A, data: 192.0.2.80}
`

func fileOf(serial int, more string) string {
	return fmt.Sprintf("$TTL 60\n@ SOA ns1 hostmaster %d 3600 600 604800 30\n@ NS ns1\n"+
		"ns1 A 192.0.2.53\nwww A 192.0.2.80\ncdn A 203.0.113.9\ncdn TXT kept\n", serial) + more
}

func TestANodeSteersNamesOfAZoneThatItFetchesFromBIND(t *testing.T) {
	s := newSite(t)
	listen := free(t)
	_, port, _ := net.SplitHostPort(listen)
	bind := startNamed(t, free(t), `zone "example.test" { type primary; file "example.zone";
		allow-transfer { key "transfer.key"; };
		also-notify { 127.0.0.1 port `+port+` key "transfer.key"; }; };`,
		map[string]string{"example.zone": fileOf(1, "")})
	s.write(s.withKey(listen, plainZone,
		`    primary: {servers: ["`+bind.addr+`"], key: transfer.key}`+"\n"))
	n := s.start()
	www := func(want ...string) func() bool {
		return func() bool { return cmp.Equal(n.ask("www.example.test."), want) }
	}
	eventually(t, "the transfer", www("192.0.2.80"))
	if got := n.ask("cdn.example.test."); len(got) != 1 || !strings.HasPrefix(got[0], "192.0.2.") {
		t.Errorf("the steered name is answered %v", got)
	}
	if got := n.status().Warnings; !strings.Contains(strings.Join(got, "\n"),
		"records that the primary has at steered names are not served: cdn.example.test.") {
		t.Errorf("warnings: %q", got)
	}

	bind.put("example.zone", fileOf(2, "new A 192.0.2.99\n"))
	bind.hup()
	eventually(t, "the change by NOTIFY", func() bool {
		return cmp.Equal(n.ask("new.example.test."), []string{"192.0.2.99"})
	})
	if !strings.Contains(bind.log.String(), "IXFR started: TSIG transfer.key") {
		t.Error("the change did not come by IXFR")
	}

	// A zone that can't be served is refused: the old one stays.
	bind.put("example.zone", fileOf(3, "bad CNAME cdn\nloop CNAME loop\n"))
	bind.hup()
	eventually(t, "the refusal", func() bool {
		return strings.Contains(s.log.String(), "fetched zone refused, the old one serves on")
	})
	if got := n.ask("bad.example.test."); !cmp.Equal(got, []string{"NXDOMAIN"}) {
		t.Errorf("a name of the refused zone is answered %v", got)
	}

	// A restart without the primary serves at once, and a reload keeps what there is.
	bind.stop()
	if err := n.stop(); err != nil {
		t.Fatal(err)
	}
	n = s.start()
	for range 2 {
		if got := n.ask("new.example.test."); !cmp.Equal(got, []string{"192.0.2.99"}) {
			t.Errorf("without the primary the zone is answered %v", got)
		}
		if _, err := n.Reload(t.Context()); err != nil {
			t.Error(err)
		}
	}
}

func TestASteeredNameIsAnsweredBeforeItsZoneHasEverCome(t *testing.T) {
	s := newSite(t)
	s.write(s.withKey("127.0.0.1:0", plainZone,
		`    primary: {servers: ["`+free(t)+`"], key: transfer.key}`+"\n"))
	n := s.start()
	if got := n.ask("cdn.example.test."); len(got) != 1 || !strings.HasPrefix(got[0], "192.0.2.") {
		t.Errorf("the steered name is answered %v", got)
	}
	if got := n.ask("www.example.test."); !cmp.Equal(got, []string{"SERVFAIL"}) {
		t.Errorf("an unknown name is answered %v", got)
	}
	eventually(t, "the complaint", func() bool {
		return strings.Contains(s.log.String(), "msg=\"zone has no copy yet")
	})
	const lack = "zone example.test. has no copy yet, it answers SERVFAIL except for steered names"
	if got := n.status().Warnings; !slices.Contains(got, lack) {
		t.Errorf("the status warns of %v", got)
	}
	m := new(dns.Msg).SetQuestion("www.example.test.", dns.TypeA).SetEdns0(1232, false)
	in, _, err := new(dns.Client).ExchangeContext(t.Context(), m, n.dns)
	if err != nil || !strings.Contains(in.String(), "EDE: 14 (Not Ready)") {
		t.Errorf("an unknown name is answered %v, %v", in, err)
	}
}

func TestCheckTellsOfACopyThatAStartCannotServe(t *testing.T) {
	s := newSite(t)
	s.write(s.withKey("127.0.0.1:0", plainZone,
		`    primary: {servers: ["127.0.0.1:1"], key: transfer.key}`+"\n"))
	const lack = "zone example.test. has no copy yet, it answers SERVFAIL except for steered names"
	got, err := app.Check(s.options())
	if err != nil || len(got.Notes) != 1 || !strings.Contains(got.Notes[0].String(), lack) {
		t.Errorf("without a copy: %+v, %v", got, err)
	}
	if err := os.MkdirAll(filepath.Join(s.state(), "zones"), 0o700); err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(s.state(), "zones", "example.test.zone")
	if err := os.WriteFile(file, []byte("rubbish"), 0o600); err != nil {
		t.Fatal(err)
	}
	if got, err = app.Check(s.options()); err != nil || len(got.Notes) != 0 {
		t.Errorf("with a damaged copy: %+v, %v", got, err)
	}
	if i := slices.IndexFunc(got.Warnings, func(f config.Finding) bool {
		return strings.HasSuffix(f.String(), lack+": reading "+file+": the copy is damaged")
	}); i < 0 {
		t.Errorf("with a damaged copy: %+v", got.Warnings)
	}
}

func TestBINDFollowsAZoneOfANode(t *testing.T) {
	s := newSite(t)
	listen := free(t)
	host, port, _ := net.SplitHostPort(listen)
	at := free(t)
	transfer := "    transfer: {keys: [transfer.key], notify: [\"" + at + "\"]}\n"
	s.write(s.withKey(listen, "    ttl: 1m\n", "    ttl: 1m\n"+transfer))
	n := s.start() // first: BIND leaves a primary alone for minutes that it could not reach
	bind := startNamed(t, at, `zone "example.test" { type secondary; file "copy.zone";
		masterfile-format text; request-ixfr yes;
		primaries { `+host+` port `+port+` key "transfer.key"; }; };`, nil)
	eventually(t, "the transfer", func() bool { return bind.ask("www.example.test.") == "192.0.2.80" })
	if got := bind.ask("cdn.example.test."); got != "" {
		t.Errorf("a steered name was transferred: %s", got)
	}
	for i, want := range []string{"192.0.2.81", "192.0.2.82"} {
		s.write(s.withKey(listen, "    ttl: 1m\n", "    ttl: 1m\n"+transfer, "192.0.2.80", want))
		if _, err := n.Reload(t.Context()); err != nil {
			t.Fatal(err)
		}
		eventually(t, fmt.Sprintf("change %d", i), func() bool {
			return bind.ask("www.example.test.") == want
		})
	}
	if got := s.log.String(); strings.Count(got, "reason=sent") != 3 ||
		strings.Contains(got, "reason=whole") {
		t.Errorf("not one AXFR and two IXFR in the node's log:\n%s", got)
	}
}
