package browser_test

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

	"github.com/chromedp/chromedp"

	"pointsman/internal/admin/api"
	"pointsman/internal/app"
	"pointsman/internal/secret"
)

// site is a config of a node with two steered names, and the backends behind it.
type site struct {
	t       *testing.T
	admin   string
	dir     string
	backend *httptest.Server
	token   string // of the admin API; empty: none is asked for

	mu     sync.Mutex // guards broken
	broken map[string]bool
}

func newSite(t *testing.T, token string) *site {
	t.Helper()
	s := &site{t: t, dir: t.TempDir(), token: token, broken: map[string]bool{}}
	s.backend = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s.mu.Lock()
		defer s.mu.Unlock()
		if s.broken[strings.Trim(r.URL.Path, "/")] {
			w.WriteHeader(http.StatusServiceUnavailable)
		}
	}))
	t.Cleanup(s.backend.Close)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s.admin = l.Addr().String()
	l.Close()
	return s
}

func (s *site) breakIt(backend string, broken bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.broken[backend] = broken
}

func (s *site) config() []byte {
	var b bytes.Buffer
	fmt.Fprintf(&b, "node: fra-1\nstate_dir: %q\nlog: {level: error}\ndns: {listen: [\"127.0.0.1:0\"]}\n",
		filepath.Join(s.dir, "state"))
	b.WriteString("zones:\n  - {name: example.test, ns: [ns.example.net]}\n" +
		"probing: {interval: 200ms, timeout: 190ms, rise: 2, fall: 2}\nbackends:\n")
	for i, name := range []string{"fastly", "cloudflare", "edge", "origin"} {
		fmt.Fprintf(&b, "  - {name: %s, addresses: [192.0.2.%d], probe: {url: \"%s/%s\"}}\n", name, i+1,
			s.backend.URL, name)
	}
	b.WriteString(`pools:
  - {name: cdns, members: [{backend: fastly, weight: 70}, {backend: cloudflare, weight: 30}]}
  - {name: edge, members: [{backend: edge, weight: 1}]}
  - {name: origin, members: [{backend: origin, weight: 1}]}
hosts:
  - {name: cdn.example.test, ttl: 20s, pools: [cdns, edge, origin], ramp: 0s}
  - {name: img.example.test, ttl: 5s, pools: [edge, origin], ramp: 0s}
`)
	fmt.Fprintf(&b, "admin:\n  listen: %q\n", s.admin)
	if s.token != "" {
		b.WriteString("  tokens:\n    - {name: ops, token_env: OPS_TOKEN, scopes: [read, steer]}\n")
	}
	return b.Bytes()
}

// start runs a node until the returned func.
func (s *site) start() (stop func()) {
	s.t.Helper()
	a, err := app.New(s.t.Context(), app.Options{Data: s.config(), Name: "node.yaml",
		Env: []string{"OPS_TOKEN=" + s.token}, LogWriter: s.t.Output()})
	if err != nil {
		s.t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	var run sync.WaitGroup
	run.Go(func() {
		if err := a.Run(ctx); err != nil {
			s.t.Error(err)
		}
	})
	stop = func() { cancel(); run.Wait() }
	s.t.Cleanup(stop)
	return stop
}

func (s *site) api() *api.Client {
	s.t.Helper()
	c, err := api.New(api.Config{BaseURL: "http://" + s.admin, Token: secret.New(s.token),
		Actor: "eve"})
	if err != nil {
		s.t.Fatal(err)
	}
	return c
}

func (s *site) drain(backend, reason string) string {
	s.t.Helper()
	o, err := s.api().AddOverride(s.t.Context(), api.Override{Kind: "drain", Backend: backend,
		Reason: reason, For: "1h"})
	if err != nil {
		s.t.Fatal(err)
	}
	return o.ID
}

// page is a browser's page and what it complained of.
type page struct {
	context.Context
	t *testing.T

	mu         sync.Mutex // guards complaints
	complaints []string
}

// open starts a browser with an empty profile and goes to the site's console.
func (s *site) open() *page {
	s.t.Helper()
	path := "/usr/bin/chromium"
	if _, err := os.Stat(path); err != nil {
		s.t.Fatal("chromium is missing: apt-get install chromium")
	}
	options := []chromedp.ExecAllocatorOption{chromedp.ExecPath(path), chromedp.Headless,
		chromedp.NoSandbox, chromedp.UserDataDir(filepath.Join(s.dir, "profile"))}
	for _, flag := range []string{"disable-gpu", "disable-quic", "no-first-run",
		"disable-background-networking", "disable-component-update", "disable-sync",
		"disable-dev-shm-usage", "disable-default-apps", "disable-extensions"} {
		options = append(options, chromedp.Flag(flag, true))
	}
	browser, end := chromedp.NewExecAllocator(context.Background(), options...)
	tab, leave := chromedp.NewContext(browser)
	p := &page{Context: tab, t: s.t}
	messages := chromedp.Console(tab) // this starts the browser
	var listening sync.WaitGroup
	listening.Go(func() {
		for m, err := range messages {
			if err != nil {
				return
			}
			p.hear(m)
		}
	})
	s.t.Cleanup(func() {
		if s.t.Failed() {
			p.mu.Lock()
			s.t.Logf("it complained of %q", p.complaints)
			p.mu.Unlock()
			text, _ := chromedp.Run(p, chromedp.Text("body"))
			s.t.Logf("the page says:\n%s", text)
		}
		leave()
		end()
		listening.Wait()
	})
	p.do(chromedp.EmulateViewport(1280, 900), chromedp.Navigate("http://"+s.admin+"/"))
	return p
}

// hear keeps what a browser complains of: errors, exceptions, violations of the policy.
func (p *page) hear(m chromedp.ConsoleMessage) {
	switch m.Type {
	case chromedp.ConsoleError, chromedp.ConsoleWarning, chromedp.ConsoleException:
		p.mu.Lock()
		defer p.mu.Unlock()
		p.complaints = append(p.complaints, fmt.Sprintf("%s %s %s", m.Source, m, m.URL))
	}
}

// silent fails the test when the page complained of anything that is not expected.
func (p *page) silent(expected ...string) {
	p.t.Helper()
	p.mu.Lock()
	defer p.mu.Unlock()
next:
	for _, c := range p.complaints {
		for _, e := range expected {
			if strings.Contains(c, e) {
				continue next
			}
		}
		p.t.Errorf("the page complained: %s", c)
	}
}

// do runs actions, which must all work within 20 s.
func (p *page) do(actions ...chromedp.Action[chromedp.Void]) {
	p.t.Helper()
	ctx, cancel := context.WithTimeout(p, 20*time.Second)
	defer cancel()
	if err := chromedp.Do(ctx, actions...); err != nil {
		p.t.Fatal(err)
	}
}

// eval evaluates an expression to a value.
func eval[T any](p *page, expression string) T {
	p.t.Helper()
	ctx, cancel := context.WithTimeout(p, 20*time.Second)
	defer cancel()
	v, err := chromedp.Run(ctx, chromedp.Evaluate[T](expression))
	if err != nil {
		p.t.Fatalf("%s: %v", expression, err)
	}
	return v
}

// eventually waits until an expression is true, and returns how long that took.
func (p *page) eventually(what, expression string) time.Duration {
	p.t.Helper()
	began := time.Now()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for !eval[bool](p, expression) {
		if time.Since(began) > 15*time.Second {
			p.t.Fatalf("%s: not within 15 s", what)
		}
		<-tick.C
	}
	return time.Since(began)
}

// picture writes a screenshot into the folder that POINTSMAN_SCREENSHOTS names, for people.
func (p *page) picture(name string) {
	p.t.Helper()
	dir := os.Getenv("POINTSMAN_SCREENSHOTS")
	if dir == "" {
		return
	}
	png, err := chromedp.Run(p, chromedp.FullScreenshot(100))
	if err != nil {
		p.t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, name+".png"), png, 0o644); err != nil {
		p.t.Fatal(err)
	}
}
