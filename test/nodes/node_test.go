package nodes_test

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/miekg/dns"

	"pointsman/internal/admin/api"
	"pointsman/providers/providertest"
)

// fleet is what two nodes have in common: backends, a purge API and a Redis.
type fleet struct {
	t     *testing.T
	lane  lane
	redis string // address
	site  *httptest.Server
	cdn   *providertest.Fastly
	api   *httptest.Server
	dir   string

	mu     sync.Mutex          // guards what follows
	broken map[string]bool     // by "vantage backend"
	gate   chan struct{}       // while not nil, the purge API waits for its end
	taken  map[string]struct{} // items purged
}

// backends and their weights.
var backends = []struct {
	name   string
	weight int
}{{"one", 40}, {"two", 30}, {"three", 20}, {"four", 10}}

const (
	serviceID = "NodesTestService1"
	token     = "a-token-of-the-nodes-test"
)

func newFleet(t *testing.T) *fleet {
	f := &fleet{t: t, lane: newLane(), dir: t.TempDir(), broken: map[string]bool{},
		taken: map[string]struct{}{}}
	f.redis = f.lane.address(t, 9)
	f.site = httptest.NewServer(http.HandlerFunc(f.serveSite))
	f.cdn = providertest.NewFastly(providertest.FastlyConfig{Token: token, ServiceID: serviceID,
		Apply: func(a providertest.Applied) error {
			f.mu.Lock()
			defer f.mu.Unlock()
			for _, i := range a.Items {
				f.taken[i] = struct{}{}
			}
			return nil
		}})
	f.api = httptest.NewServer(http.HandlerFunc(f.serveAPI))
	t.Cleanup(func() {
		f.open()
		f.site.CloseClientConnections()
		f.site.Close()
		f.api.CloseClientConnections()
		f.api.Close()
	})
	return f
}

// serveSite answers probes: the path is vantage and backend.
func (f *fleet) serveSite(w http.ResponseWriter, r *http.Request) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.broken[strings.ReplaceAll(strings.Trim(r.URL.Path, "/"), "/", " ")] {
		w.WriteHeader(http.StatusServiceUnavailable)
	}
}

// breakFor makes a backend fail, or work again, as seen from one vantage.
func (f *fleet) breakFor(vantage, backend string, broken bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.broken[vantage+" "+backend] = broken
}

// serveAPI is the provider's purge API, behind the gate.
func (f *fleet) serveAPI(w http.ResponseWriter, r *http.Request) {
	f.mu.Lock()
	gate := f.gate
	f.mu.Unlock()
	if gate != nil {
		select {
		case <-gate:
		case <-r.Context().Done():
			return
		}
	}
	f.cdn.ServeHTTP(w, r)
}

// shut makes the purge API hang until open.
func (f *fleet) shut() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.gate = make(chan struct{})
}

func (f *fleet) open() {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.gate != nil {
		close(f.gate)
		f.gate = nil
	}
}

// purged reports whether the provider purged an item.
func (f *fleet) purged(item string) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	_, ok := f.taken[item]
	return ok
}

// node is a pointsman process with its admin API and its nameserver.
type node struct {
	*process
	t        *testing.T
	vantage  string
	admin    string
	dns      string
	config   string
	api      *api.Client
	failures failures
}

// failures counts answers that no client should get.
type failures struct {
	mu    sync.Mutex
	asked int
	bad   []string
}

// prepare writes the config of a node, which is also its vantage.
func (f *fleet) prepare(name string, octet int) *node {
	f.t.Helper()
	n := &node{t: f.t, vantage: name, admin: f.lane.address(f.t, octet),
		dns: f.lane.address(f.t, octet), config: filepath.Join(f.dir, name+".yaml")}
	var b strings.Builder
	fmt.Fprintf(&b, "node: %s\nvantage: %s\nroles: [dns, probe, admin]\nstate_dir: %q\n", name, name,
		filepath.Join(f.dir, name))
	fmt.Fprintf(&b, "store: {kind: redis, redis: {address: %q}}\n", f.redis)
	fmt.Fprintf(&b, "dns: {listen: [%q]}\nadmin: {listen: %q}\n", n.dns, n.admin)
	b.WriteString("zones:\n  - {name: example.test, ns: [ns.example.net]}\n" +
		"probing: {interval: 200ms, timeout: 190ms, rise: 2, fall: 3}\nbackends:\n")
	pool := ""
	for i, be := range backends {
		fmt.Fprintf(&b, "  - {name: %s, addresses: [192.0.2.%d], probe: {url: \"%s/%s/%s\"}}\n",
			be.name, i+1, f.site.URL, name, be.name)
		pool += fmt.Sprintf("{backend: %s, weight: %d}, ", be.name, be.weight)
	}
	fmt.Fprintf(&b, "pools:\n  - {name: cdns, members: [%s]}\n", strings.TrimSuffix(pool, ", "))
	b.WriteString("hosts:\n  - {name: cdn.example.test, ttl: 1s, pools: [cdns], ramp: 2s}\n")
	fmt.Fprintf(&b, "providers:\n  - {name: acme, kind: fastly, base_url: %q, service_id: %s, "+
		"token_env: ACME_TOKEN}\n", f.api.URL, serviceID)
	if err := os.WriteFile(n.config, []byte(b.String()), 0o600); err != nil {
		f.t.Fatal(err)
	}
	var err error
	if n.api, err = api.New(api.Config{BaseURL: "http://" + n.admin}); err != nil {
		f.t.Fatal(err)
	}
	return n
}

// start runs the node and waits until it is ready and has seen all backends healthy.
func (n *node) start() {
	n.t.Helper()
	n.process = launch(n.t, n.vantage, []string{"ACME_TOKEN=" + token}, binary, "serve",
		"--config", n.config)
	await(n.t, 20*time.Second, n.vantage+" is ready with all backends healthy", func() bool {
		select {
		case <-n.done:
			n.t.Fatalf("%s ended at its start:\n%s", n.vantage, n.out.String())
		default:
		}
		st, err := n.api.Status(n.t.Context())
		return err == nil && st.Ready && n.states() == "healthy healthy healthy healthy"
	})
}

func (n *node) status() api.Status {
	n.t.Helper()
	ctx, cancel := context.WithTimeout(n.t.Context(), 5*time.Second)
	defer cancel()
	st, err := n.api.Status(ctx)
	if err != nil {
		n.t.Fatalf("the status of %s: %v", n.vantage, err)
	}
	return st
}

// states are those of all backends, in their order.
func (n *node) states() string {
	by := map[string]string{}
	for _, b := range n.status().Backends {
		by[b.Name] = b.State
	}
	var out []string
	for _, b := range backends {
		out = append(out, by[b.name])
	}
	return strings.Join(out, " ")
}

// target is a backend's share, in per cent.
func (n *node) target(backend string) int {
	n.t.Helper()
	for _, b := range n.status().Hosts[0].Backends {
		if b.Backend == backend {
			return int(b.Target*100 + 0.5)
		}
	}
	return -1
}

// cli runs a command against the node; it must end with a code.
func (n *node) cli(code int, args ...string) string {
	n.t.Helper()
	out, got := command(n.t, []string{"POINTSMAN_ADMIN_URL=http://" + n.admin}, args...)
	if got != code {
		n.t.Fatalf("pointsman %s: exit code %d, want %d:\n%s", strings.Join(args, " "), got, code, out)
	}
	return out
}

// ask asks the nameserver once and returns the backend that the answer names, or what is wrong.
func (n *node) ask() string {
	m := new(dns.Msg)
	m.SetQuestion("cdn.example.test.", dns.TypeA)
	c := &dns.Client{Timeout: 2 * time.Second}
	in, _, err := c.Exchange(m, n.dns)
	switch {
	case err != nil:
		return err.Error()
	case in.Rcode != dns.RcodeSuccess || len(in.Answer) != 1:
		return fmt.Sprintf("%s with %d records", dns.RcodeToString[in.Rcode], len(in.Answer))
	}
	for i, b := range backends {
		if a, ok := in.Answer[0].(*dns.A); ok && a.A.String() == fmt.Sprintf("192.0.2.%d", i+1) {
			return b.name
		}
	}
	return in.Answer[0].String()
}

// without reports whether 40 answers in a row leave a backend out; it has a tenth at least.
func (n *node) without(backend string) bool {
	for range 40 {
		if n.ask() == backend {
			return false
		}
	}
	return true
}

// watch asks the nameserver all the time until the returned func, which tells what was wrong.
func (n *node) watch() (end func()) {
	ctx, cancel := context.WithCancel(context.Background())
	var asking sync.WaitGroup
	asking.Go(func() {
		tick := time.NewTicker(10 * time.Millisecond)
		defer tick.Stop()
		for ctx.Err() == nil {
			got := n.ask()
			n.failures.mu.Lock()
			n.failures.asked++
			if !strings.Contains("one two three four", got) {
				n.failures.bad = append(n.failures.bad, got)
			}
			n.failures.mu.Unlock()
			<-tick.C
		}
	})
	return func() {
		cancel()
		asking.Wait()
		n.t.Logf("%s answered %d queries, %d of them badly", n.vantage, n.failures.asked,
			len(n.failures.bad))
		if len(n.failures.bad) > 0 {
			n.t.Errorf("%s answered %.5v", n.vantage, n.failures.bad)
		}
	}
}
