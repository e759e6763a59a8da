package admin_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/goleak"

	"pointsman/edge"
	"pointsman/internal/admin"
	"pointsman/internal/admin/api"
	"pointsman/internal/audit"
	"pointsman/internal/secret"
	"pointsman/internal/store/boltstore"
	"pointsman/internal/store/storetest"
	"pointsman/probes/health"
	"pointsman/providers"
	"pointsman/purge"
	"pointsman/steering"
	"pointsman/steering/drill"
	"pointsman/steering/override"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// node is an admin API with the real parts behind it, on a store that fails on demand.
type node struct {
	t        *testing.T
	base     string
	client   *http.Client
	store    *storetest.Faulty // of the audit log
	events   *admin.Events
	audit    *audit.Log
	provider *provider
	registry *prometheus.Registry
	log      *buffer
	server   *admin.Server
	config   admin.Config
	stop     func()
}

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

// provider takes every purge.
type provider struct {
	mu    sync.Mutex // guards taken
	taken []providers.Batch
}

func (*provider) Name() string   { return "acme" }
func (*provider) Vendor() string { return "fake" }

func (*provider) Capabilities() providers.Capabilities {
	c := providers.Capabilities{Kinds: map[providers.Kind]providers.Capability{}}
	for _, k := range providers.Kinds() {
		c.Kinds[k] = providers.Capability{Native: true, Soft: true, MaxBatch: 100}
	}
	return c
}

func (p *provider) Purge(_ context.Context, b providers.Batch) (providers.Receipt, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.taken = append(p.taken, b)
	return providers.Receipt{Ref: "r1", Confirmed: true}, nil
}

func (p *provider) count() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return len(p.taken)
}

const scopes = "read purge steer config admin"

// tokens has one caller for each scope, named as it; its token is the name twice.
func tokens() []admin.Token {
	var out []admin.Token
	for s := range strings.FieldsSeq(scopes) {
		out = append(out, admin.Token{Name: s, Token: secret.New(s + s),
			Scopes: []admin.Scope{admin.Scope(s)}})
	}
	return out
}

func spec() *steering.Spec {
	s := &steering.Spec{
		Pools: []steering.Pool{
			{Name: "cdns", Members: []steering.Member{{Backend: "a", Weight: 70},
				{Backend: "b", Weight: 30}}},
			{Name: "other", Members: []steering.Member{{Backend: "c", Weight: 1}}}},
		Hosts: []steering.Host{
			{Name: "cdn.example.test.", TTL: 20 * time.Second, Pools: []string{"cdns"},
				Stickiness: steering.Spread},
			{Name: "img.example.test.", TTL: time.Second, Pools: []string{"other"},
				Stickiness: steering.Spread}},
	}
	for _, b := range []string{"a", "b", "c"} {
		s.Backends = append(s.Backends, steering.Backend{Name: b, CNAME: b + ".cdn.test."})
	}
	return s
}

func openStore(t *testing.T) *storetest.Faulty {
	t.Helper()
	s, err := boltstore.Open(boltstore.Config{Path: filepath.Join(t.TempDir(), "s.db")})
	if err != nil {
		t.Fatal(err)
	}
	f := storetest.NewFaulty(s)
	t.Cleanup(func() { _ = f.Close() })
	return f
}

// newNode starts a node; change may change its config before.
func newNode(t *testing.T, change ...func(*admin.Config)) *node {
	t.Helper()
	n := &node{t: t, client: &http.Client{Transport: &http.Transport{}}, store: openStore(t),
		registry: prometheus.NewRegistry(), log: &buffer{}, provider: &provider{},
		events: admin.NewEvents(nil)}
	shared := openStore(t)
	log := slog.New(slog.NewTextHandler(n.log, &slog.HandlerOptions{Level: slog.LevelDebug}))
	view := &health.View{Version: 1, At: time.Now(), Backends: map[string]health.Health{
		"a": {Backend: "a", State: health.Healthy, Latency: 12 * time.Millisecond,
			LastSample: time.Now()}}}
	engine := steering.NewEngine(steering.EngineConfig{})
	engine.SetView(view)
	if err := engine.SetSpec(spec()); err != nil {
		t.Fatal(err)
	}
	book := override.New(override.Config{Local: shared, Node: "n1", OnChange: engine.SetOverrides})
	purges, err := purge.New(purge.Config{Node: "n1", Local: shared,
		Targets: []purge.Target{{Provider: n.provider}}})
	if err != nil {
		t.Fatal(err)
	}
	cache, err := edge.New(edge.Config{Sites: []edge.Site{{Hosts: []string{"cdn.example.test"},
		Origin: "http://127.0.0.1:1"}}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = cache.Close() })
	drills := drill.New(drill.Config{Node: "n1", Store: shared, Table: engine.Table,
		Usable: func(string) bool { return true }})
	n.audit = audit.New(audit.Config{Local: n.store, Node: "n1"})
	n.config = admin.Config{Listen: "127.0.0.1:0", Node: "n1", Version: "v1", Logger: log,
		Registerer: n.registry, Gatherer: n.registry, Engine: engine, Overrides: book,
		View: func() *health.View { return view }, Purge: purges, Drills: drills, Edge: cache,
		Providers: func() []providers.Provider { return []providers.Provider{n.provider} },
		Audit:     n.audit, Events: n.events, Info: func() admin.Info {
			return admin.Info{Ready: true, ConfigHash: "abc", Roles: []string{"dns"},
				Answers: map[string]string{"a": "a.cdn.test", "b": "b.cdn.test", "c": "c.cdn.test"}}
		},
		Reload:  func(context.Context) (api.Reloaded, error) { return api.Reloaded{Changed: true}, nil },
		Console: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, "page") })}
	for _, f := range change {
		f(&n.config)
	}
	n.server, err = admin.New(n.config)
	if err != nil {
		t.Fatal(err)
	}
	n.base = "http://" + n.server.Addr().String()
	n.run(engine.Run, book.Run, purges.Run, drills.Run, n.server.Run)
	return n
}

// run runs the parts until stop, or the test's end.
func (n *node) run(runs ...func(context.Context) error) {
	ctx, cancel := context.WithCancel(context.Background())
	var all sync.WaitGroup
	for _, run := range runs {
		all.Go(func() {
			if err := run(ctx); err != nil && !errors.Is(err, context.Canceled) {
				n.t.Error(err)
			}
		})
	}
	n.stop = func() { cancel(); all.Wait() }
	n.t.Cleanup(func() {
		n.client.CloseIdleConnections()
		n.stop()
	})
}

// answer is what a request got.
type answer struct {
	status int
	header http.Header
	body   string
}

// problem decodes the answer as a problem, which it must be.
func (a answer) problem(t *testing.T) api.Problem {
	t.Helper()
	var p api.Problem
	if err := json.Unmarshal([]byte(a.body), &p); err != nil || p.Code == "" || p.Title == "" ||
		p.Status != a.status || a.header.Get("Content-Type") != "application/problem+json" {
		t.Errorf("no good problem (%v): %d %s %q", err, a.status, a.header.Get("Content-Type"), a.body)
	}
	return p
}

func (n *node) request(method, path, body string, header ...string) *http.Request {
	n.t.Helper()
	var r io.Reader
	if body != "" {
		r = strings.NewReader(body)
	}
	req, err := http.NewRequestWithContext(n.t.Context(), method, n.base+path, r)
	if err != nil {
		n.t.Fatal(err)
	}
	if body != "" {
		req.Header.Set("Content-Type", "application/json")
	}
	for i := 0; i < len(header); i += 2 {
		if header[i] == "Host" {
			req.Host = header[i+1]
		}
		req.Header.Set(header[i], header[i+1])
	}
	return req
}

// do sends a request; header holds names and values by turns.
func (n *node) do(method, path, body string, header ...string) answer {
	n.t.Helper()
	res, err := n.client.Do(n.request(method, path, body, header...))
	if err != nil {
		n.t.Fatal(err)
	}
	defer res.Body.Close()
	raw, err := io.ReadAll(res.Body)
	if err != nil {
		n.t.Fatal(err)
	}
	return answer{res.StatusCode, res.Header, string(raw)}
}

// get sends a request that must succeed and decodes its answer.
func get[T any](n *node, method, path, body string, header ...string) (v T) {
	n.t.Helper()
	a := n.do(method, path, body, header...)
	if a.status/100 != 2 {
		n.t.Fatalf("%s %s: %d %s", method, path, a.status, a.body)
	}
	if err := json.Unmarshal([]byte(a.body), &v); err != nil {
		n.t.Fatalf("%s %s: %v: %s", method, path, err, a.body)
	}
	return v
}

// eventually waits for a condition.
func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	deadline := time.NewTimer(5 * time.Second)
	defer deadline.Stop()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for !ok() {
		select {
		case <-deadline.C:
			t.Fatalf("%s did not happen within 5 s", what)
		case <-tick.C:
		}
	}
}

// actions are the recorded acts, oldest first.
func (n *node) actions() []string {
	n.t.Helper()
	list, err := n.audit.Recent(n.t.Context(), 1000)
	if err != nil {
		n.t.Fatal(err)
	}
	out := []string{}
	for _, e := range list {
		out = append([]string{e.Actor + " " + e.Action + " " + strings.TrimSpace(e.Target)}, out...)
	}
	return out
}
