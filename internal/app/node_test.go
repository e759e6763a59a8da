package app_test

import (
	"bytes"
	"context"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/miekg/dns"
	"go.uber.org/goleak"

	"pointsman/internal/admin/api"
	"pointsman/internal/app"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// buffer is a log that can be read while it is written.
type buffer struct {
	mu sync.Mutex // guards b
	b  bytes.Buffer
}

func (b *buffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.Write(p)
}

func (b *buffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.String()
}

// site is a folder with a config for one node, and what its backends are.
type site struct {
	t       *testing.T
	dir     string
	path    string // of the config
	one     *backend
	two     *backend
	origin  *backend
	config  string
	environ []string
	log     *buffer
}

// backend is a web server that can be broken.
type backend struct {
	*httptest.Server
	mu     sync.Mutex // guards broken
	broken bool
}

func newBackend(t *testing.T) *backend {
	b := &backend{}
	b.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		b.mu.Lock()
		defer b.mu.Unlock()
		if b.broken {
			w.WriteHeader(http.StatusServiceUnavailable)
		}
		fmt.Fprintln(w, "ok")
	}))
	t.Cleanup(b.Close)
	return b
}

func (b *backend) breakIt(broken bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.broken = broken
}

// nodeConfig is a config with every part; %q is the state folder, and the URLs follow.
const nodeConfig = `node: n1
vantage: here
state_dir: %q
log: {level: debug, format: text}
dns: {listen: ["127.0.0.1:0"]}
zones:
  - name: example.test
    ttl: 1m
    ns: [ns1]
    records:
      - {name: ns1, type: A, data: 192.0.2.53}
      - {name: www, type: A, data: 192.0.2.80}
probing: {interval: 100ms, timeout: 90ms, rise: 2, fall: 2}
backends:
  - name: one
    addresses: [192.0.2.1]
    provider: acme
    probe: {url: %q}
  - name: two
    addresses: [192.0.2.2]
    probe: {url: %q}
pools:
  - {name: cdns, members: [{backend: one, weight: 70}, {backend: two, weight: 30}]}
hosts:
  - {name: cdn.example.test, ttl: 5s, pools: [cdns], ramp: 0s}
providers:
  - name: acme
    kind: fastly
    service_id: SU1Z0isxPaozGVKXdv0eY
    token_env: ACME_TOKEN
edge:
  listen: ["127.0.0.1:0"]
  memory: 1MiB
  sites:
    - {hosts: [cdn.example.test], origin: %q}
admin: {listen: "127.0.0.1:0"}
`

func newSite(t *testing.T) *site {
	t.Helper()
	s := &site{t: t, dir: t.TempDir(), one: newBackend(t), two: newBackend(t), origin: newBackend(t),
		environ: []string{"ACME_TOKEN=canary-of-acme"}, log: &buffer{}}
	s.path = filepath.Join(s.dir, "node.yaml")
	s.config = fmt.Sprintf(nodeConfig, s.state(), s.one.URL, s.two.URL, s.origin.URL)
	s.write(s.config)
	return s
}

func (s *site) state() string { return filepath.Join(s.dir, "state") }

// write replaces the config file by renaming, as editors do.
func (s *site) write(config string) {
	s.t.Helper()
	next := filepath.Join(s.dir, "next")
	if err := os.WriteFile(next, []byte(config), 0o600); err != nil {
		s.t.Fatal(err)
	}
	if err := os.Rename(next, s.path); err != nil {
		s.t.Fatal(err)
	}
}

// with returns the config with some strings replaced, each of which must be there.
func (s *site) with(pairs ...string) string {
	s.t.Helper()
	out := s.config
	for i := 0; i < len(pairs); i += 2 {
		if !strings.Contains(out, pairs[i]) {
			s.t.Fatalf("the config has no %q", pairs[i])
		}
		out = strings.Replace(out, pairs[i], pairs[i+1], 1)
	}
	return out
}

func (s *site) options() app.Options {
	return app.Options{Path: s.path, Env: s.environ, LogWriter: s.log, Version: "test"}
}

// node is a running app.
type node struct {
	*app.App
	t      *testing.T
	admin  *api.Client
	dns    string
	stop   func() error
	client *http.Client
}

// start makes a node of the site's config and runs it until stop, or the test's end.
func (s *site) start(change ...func(*app.Options)) *node {
	s.t.Helper()
	o := s.options()
	for _, f := range change {
		f(&o)
	}
	a, err := app.New(s.t.Context(), o)
	if err != nil {
		s.t.Fatal(err)
	}
	n := &node{App: a, t: s.t, dns: a.Addrs().DNS[0].String(),
		client: &http.Client{Transport: &http.Transport{}}}
	n.admin, err = api.New(api.Config{BaseURL: "http://" + a.Addrs().Admin.String(),
		HTTPClient: n.client})
	if err != nil {
		s.t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	var run sync.WaitGroup
	var ended error
	run.Go(func() { ended = a.Run(ctx) })
	n.stop = func() error {
		n.client.CloseIdleConnections()
		cancel()
		run.Wait()
		return ended
	}
	s.t.Cleanup(func() {
		if err := n.stop(); err != nil {
			s.t.Error(err)
		}
	})
	return n
}

func (n *node) status() api.Status {
	n.t.Helper()
	st, err := n.admin.Status(n.t.Context())
	if err != nil {
		n.t.Fatal(err)
	}
	return st
}

// target is a backend's target share of the steered name.
func (n *node) target(backend string) float64 {
	n.t.Helper()
	for _, b := range n.status().Hosts[0].Backends {
		if b.Backend == backend {
			return b.Target
		}
	}
	return -1
}

// ask asks the nameserver for an A record over UDP and returns what it says.
func (n *node) ask(name string) []string {
	n.t.Helper()
	m := new(dns.Msg)
	m.SetQuestion(name, dns.TypeA)
	c := &dns.Client{Timeout: 5 * time.Second}
	in, _, err := c.ExchangeContext(n.t.Context(), m, n.dns)
	if err != nil {
		n.t.Fatal(err)
	}
	if in.Rcode != dns.RcodeSuccess {
		return []string{dns.RcodeToString[in.Rcode]}
	}
	var out []string
	for _, rr := range in.Answer {
		if a, ok := rr.(*dns.A); ok {
			out = append(out, a.A.String())
		}
	}
	return out
}

// eventually waits for a condition.
func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	deadline := time.NewTimer(10 * time.Second)
	defer deadline.Stop()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for !ok() {
		select {
		case <-deadline.C:
			t.Fatalf("%s did not happen within 10 s", what)
		case <-tick.C:
		}
	}
}

// take binds a TCP port on loopback and keeps it.
func take(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	return l.Addr().String()
}

// free returns a port on loopback that nothing is bound to, over TCP and UDP.
func free(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}

// bindable fails the test when an address is still taken.
func bindable(t *testing.T, address string) {
	t.Helper()
	l, err := net.Listen("tcp", address)
	if err != nil {
		t.Errorf("over TCP %s is still taken: %v", address, err)
		return
	}
	l.Close()
	p, err := net.ListenPacket("udp", address)
	if err != nil {
		t.Errorf("over UDP %s is still taken: %v", address, err)
		return
	}
	p.Close()
}
