package demo_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"

	"pointsman/internal/admin/api"
	"pointsman/internal/app"
	"pointsman/internal/demo"
	"pointsman/steering/drill"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// where lists the demo's own addresses for some ports.
func where(p demo.Ports) []string {
	var out []string
	for _, ip := range []string{"127.0.0.11", "127.0.0.12", "127.0.0.13", "127.0.0.15"} {
		out = append(out, fmt.Sprintf("%s:%d", ip, p.HTTP))
	}
	for _, ip := range []string{"127.0.0.11", "127.0.0.12", "127.0.0.13"} {
		out = append(out, fmt.Sprintf("%s:%d", ip, p.API))
	}
	return out
}

// everywhere lists the node's addresses too.
func everywhere(p demo.Ports) []string {
	return append(where(p), p.DNS.String(), p.Admin.String(), fmt.Sprintf("127.0.0.14:%d", p.HTTP))
}

// freePorts finds ports that are free on all of the demo's addresses.
func freePorts(t *testing.T) demo.Ports {
	t.Helper()
	for range 100 {
		n := uint16(10_000 + rand.IntN(20_000))
		p := demo.Ports{HTTP: n, API: n + 1,
			DNS:   netip.AddrPortFrom(netip.MustParseAddr("127.0.0.1"), n+2),
			Admin: netip.AddrPortFrom(netip.MustParseAddr("127.0.0.1"), n+3)}
		if taken(everywhere(p)) == "" {
			return p
		}
	}
	t.Fatal("no free ports in 100 tries")
	return demo.Ports{}
}

// taken returns the first address that cannot be bound over TCP or UDP, or "".
func taken(addresses []string) string {
	for _, a := range addresses {
		l, err := net.Listen("tcp", a)
		if err != nil {
			return a
		}
		l.Close()
		u, err := net.ListenPacket("udp", a)
		if err != nil {
			return a
		}
		u.Close()
	}
	return ""
}

func TestAPortThatIsTakenNamesTheFlagThatChangesIt(t *testing.T) {
	for name, c := range map[string]struct {
		ip, flag string
		port     func(demo.Ports) uint16
	}{
		"the origin's":       {"127.0.0.15", "--http-port", func(p demo.Ports) uint16 { return p.HTTP }},
		"a stand-in's":       {"127.0.0.12", "--http-port", func(p demo.Ports) uint16 { return p.HTTP }},
		"a stand-in's API's": {"127.0.0.13", "--api-port", func(p demo.Ports) uint16 { return p.API }},
	} {
		t.Run(name, func(t *testing.T) {
			p := freePorts(t)
			address := fmt.Sprintf("%s:%d", c.ip, c.port(p))
			l, err := net.Listen("tcp", address)
			if err != nil {
				t.Fatal(err)
			}
			_, err = demo.New(p, slog.New(slog.DiscardHandler))
			if err == nil || !strings.Contains(err.Error(), address) ||
				!strings.Contains(err.Error(), "change it with "+c.flag) {
				t.Errorf("got %v", err)
			}
			l.Close()
			if a := taken(where(p)); a != "" {
				t.Errorf("%s is still taken", a)
			}
		})
	}
}

func TestADemoThatNeverRanFreesItsPorts(t *testing.T) {
	p := freePorts(t)
	d, err := demo.New(p, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	if taken(where(p)) == "" {
		t.Error("it binds nothing")
	}
	for range 2 {
		if err := d.Close(); err != nil {
			t.Error(err)
		}
	}
	if a := taken(where(p)); a != "" {
		t.Errorf("%s is still taken", a)
	}
}

func TestItsConfigIsGoodAndHoldsNoSecret(t *testing.T) {
	p, state := demo.DefaultPorts(), filepath.Join(t.TempDir(), "state")
	yaml, err := demo.Config(p, state, "info")
	if err != nil {
		t.Fatal(err)
	}
	got, err := app.Check(app.Options{Data: yaml, Name: "demo.yaml", Env: demo.Env()})
	if err != nil {
		t.Fatal(err)
	}
	if len(got.Warnings) > 0 {
		t.Errorf("the demo's config warns: %v", got.Warnings)
	}
	_, token, _ := strings.Cut(demo.Env()[0], "=")
	for _, want := range []string{p.DNS.String(), p.Admin.String(), state} {
		if !bytes.Contains(yaml, []byte(want)) {
			t.Errorf("it has no %s", want)
		}
	}
	if bytes.Contains(yaml, []byte(token)) {
		t.Error("the token stands in the config")
	}
}

// world is the demo with its node, as `pointsman demo` runs them.
type world struct {
	t     *testing.T
	ports demo.Ports
	demo  *demo.Demo
	api   *api.Client
	http  *http.Client
	state string
	stop  func()
}

func newWorld(t *testing.T) *world {
	t.Helper()
	w := &world{t: t, ports: freePorts(t), state: filepath.Join(t.TempDir(), "state"),
		http: &http.Client{Transport: &http.Transport{}}}
	yaml, err := demo.Config(w.ports, w.state, "error")
	if err != nil {
		t.Fatal(err)
	}
	if w.demo, err = demo.New(w.ports, slog.New(slog.DiscardHandler)); err != nil {
		t.Fatal(err)
	}
	node, err := app.New(t.Context(), app.Options{Data: yaml, Name: "demo.yaml", LogWriter: io.Discard,
		Env: demo.Env()})
	if err != nil {
		t.Fatal(err)
	}
	w.api, err = api.New(api.Config{BaseURL: "http://" + w.ports.Admin.String(), HTTPClient: w.http})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	var all sync.WaitGroup
	for _, run := range []func(context.Context) error{w.demo.Run, node.Run} {
		all.Go(func() {
			if err := run(ctx); err != nil {
				t.Error(err)
			}
		})
	}
	w.stop = func() { w.http.CloseIdleConnections(); cancel(); all.Wait() }
	t.Cleanup(w.stop)
	w.eventually("every backend is healthy", func(st api.Status) bool {
		for _, b := range st.Backends {
			if b.State != "healthy" {
				return false
			}
		}
		return st.Ready
	})
	return w
}

func (w *world) status() api.Status {
	w.t.Helper()
	st, err := w.api.Status(w.t.Context())
	if err != nil {
		w.t.Fatal(err)
	}
	return st
}

func (w *world) eventually(what string, ok func(api.Status) bool) {
	w.t.Helper()
	deadline := time.NewTimer(60 * time.Second)
	defer deadline.Stop()
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for !ok(w.status()) {
		select {
		case <-deadline.C:
			w.t.Fatalf("%s: not within a minute: %+v", what, w.status())
		case <-tick.C:
		}
	}
}

// get fetches a page of the demo's site from an address.
func (w *world) get(ip, path string) (string, http.Header) {
	w.t.Helper()
	url := fmt.Sprintf("http://%s:%d%s", ip, w.ports.HTTP, path)
	req, err := http.NewRequestWithContext(w.t.Context(), http.MethodGet, url, nil)
	if err != nil {
		w.t.Fatal(err)
	}
	req.Host = "cdn.example.test"
	res, err := w.http.Do(req)
	if err != nil {
		w.t.Fatal(err)
	}
	defer res.Body.Close()
	raw, err := io.ReadAll(res.Body)
	if err != nil {
		w.t.Fatal(err)
	}
	return string(raw), res.Header
}

// TestADrillOnTheDemoMeasuresEverythingAndLeavesNothing runs the demo as it is, with a drill of
// its largest CDN, and meanwhile a purge.
func TestADrillOnTheDemoMeasuresEverythingAndLeavesNothing(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	before := w.status()
	d, err := w.api.StartDrill(t.Context(), api.DrillRequest{Backend: "alpha", For: "8s",
		Confirm: "alpha", Reason: "a test"})
	if err != nil {
		t.Fatal(err)
	}
	w.purges()
	w.eventually("the drill's end", func(st api.Status) bool {
		got, err := w.api.Drill(t.Context(), d.ID)
		if err != nil {
			t.Fatal(err)
		}
		d = got
		return got.State == "done" || got.State == "failed" || got.State == "aborted"
	})
	var rep drill.Report
	if err := json.Unmarshal(d.Report, &rep); err != nil {
		t.Fatal(err)
	}
	t.Logf("detected %s, shifted %s, first share %s, full share %s", rep.Detected, rep.Shifted,
		rep.Returned, rep.Restored)
	for what, c := range map[string]struct{ got, min, max time.Duration }{
		"detected": {rep.Detected, 2 * time.Second, 6 * time.Second},
		"shifted":  {rep.Shifted, rep.Detected, rep.Detected + time.Second},
		"returned": {rep.Returned, 2 * time.Second, 7 * time.Second},
		"restored": {rep.Restored, 20 * time.Second, 30 * time.Second},
	} {
		if c.got < c.min || c.got > c.max {
			t.Errorf("%s after %s, want %s to %s", what, c.got, c.min, c.max)
		}
	}
	if d.State != "done" || len(rep.Points) < 20 || !strings.Contains(d.Markdown, "cdn.example.test") {
		t.Errorf("it ended %s: %s, with %d points", d.State, d.Message, len(rep.Points))
	}
	w.eventually("no drill", func(st api.Status) bool { return st.Drill == nil })
	after := w.status()
	if after.TableHash != before.TableHash || len(after.Overrides) > 0 {
		t.Errorf("before %+v\nafter %+v", before.Hosts, after.Hosts)
	}
	if c := w.demo.Clients(); c.Requests < 100 || c.NoAnswer > 0 || c.Failed > 0 {
		t.Errorf("the clients saw %+v", c)
	}
	w.stop()
	if a := taken(everywhere(w.ports)); a != "" {
		t.Errorf("%s is still taken", a)
	}
}

// purges caches the price everywhere, waits until the origin has another, and purges it.
func (w *world) purges() {
	w.t.Helper()
	caches := []string{"127.0.0.11", "127.0.0.12", "127.0.0.13", "127.0.0.14"}
	old := map[string]string{}
	for _, ip := range caches {
		old[ip], _ = w.get(ip, "/price.json")
	}
	fresh := ""
	w.eventually("another price", func(api.Status) bool {
		fresh, _ = w.get("127.0.0.15", "/price.json")
		for _, price := range old {
			if price == fresh {
				return false
			}
		}
		return true
	})
	for _, ip := range caches {
		if got, _ := w.get(ip, "/price.json"); got != old[ip] {
			w.t.Errorf("%s does not cache: %q, then %q", ip, old[ip], got)
		}
	}
	st, err := w.api.Purge(w.t.Context(), api.Purge{Kind: "tag", Items: []string{"product-42"},
		VerifyURLs: []string{"http://cdn.example.test/price.json"}}, "")
	if err != nil {
		w.t.Fatal(err)
	}
	if st, err = w.api.PurgeStatus(w.t.Context(), st.ID, 15*time.Second); err != nil || st.Outcome != "done" {
		w.t.Errorf("the purge: %+v, %v", st, err)
	}
	for _, ip := range caches {
		got, _ := w.get(ip, "/price.json")
		if got == old[ip] {
			w.t.Errorf("after the purge %s still says %q", ip, got)
		}
	}
}

func TestAStandInBreaksAndHealsByKeyAndByItsAPI(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	for _, n := range []int{-1, 3, 99} {
		if _, _, ok := w.demo.Toggle(n); ok {
			t.Errorf("there is a stand-in %d", n)
		}
	}
	name, broken, ok := w.demo.Toggle(1)
	if name != "bravo" || !broken || !ok {
		t.Errorf("toggling 1: %s %t %t", name, broken, ok)
	}
	began := time.Now()
	w.eventually("bravo is out", func(st api.Status) bool { return st.Hosts[0].Backends[1].Target == 0 })
	t.Logf("broken, bravo was out after %s", time.Since(began))
	res, err := w.http.Post(fmt.Sprintf("http://127.0.0.12:%d/demo/heal", w.ports.API), "", nil)
	if err != nil {
		t.Fatal(err)
	}
	body, _ := io.ReadAll(res.Body)
	res.Body.Close()
	if want := "bravo-cdn broken: false\n"; string(body) != want {
		t.Errorf("the API says %q, want %q", body, want)
	}
	w.eventually("bravo is back", func(st api.Status) bool { return st.Hosts[0].Backends[1].Target > 0 })
}

func TestTheSiteIsAnHonestOrigin(t *testing.T) {
	now := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	site := demo.NewOrigin(func() time.Time { return now })
	ask := func(method, path string, header ...string) *httptest.ResponseRecorder {
		r := httptest.NewRequest(method, path, nil)
		for i := 0; i < len(header); i += 2 {
			r.Header.Set(header[i], header[i+1])
		}
		w := httptest.NewRecorder()
		site.ServeHTTP(w, r)
		return w
	}
	for path, cache := range map[string]string{"/": "max-age=60", "/product/42": "max-age=300",
		"/assets/app.3f9a1c.css": "immutable", "/img/logo.png": "max-age=86400",
		"/price.json": "max-age=3600", "/account": "no-store", "/healthz": "no-store"} {
		w := ask("GET", path)
		tag := w.Header().Get("ETag")
		if w.Code != 200 || !strings.Contains(w.Header().Get("Cache-Control"), cache) || tag == "" ||
			w.Body.Len() == 0 {
			t.Errorf("%s: %d %v", path, w.Code, w.Header())
		}
		if again := ask("GET", path, "If-None-Match", tag); again.Code != 304 || again.Body.Len() > 0 {
			t.Errorf("%s with its ETag: %d", path, again.Code)
		}
		if head := ask("HEAD", path); head.Code != 200 || head.Body.Len() > 0 {
			t.Errorf("HEAD %s: %d with %d bytes", path, head.Code, head.Body.Len())
		}
		if post := ask("POST", path); post.Code != 405 || post.Header().Get("Allow") != "GET, HEAD" {
			t.Errorf("POST %s: %d", path, post.Code)
		}
	}
	if w := ask("GET", "/nothing"); w.Code != 404 {
		t.Errorf("a page that is not there: %d", w.Code)
	}
	if h := ask("GET", "/product/42").Header(); h.Get("Surrogate-Key") != "page product-42" ||
		h.Get("Cache-Tag") != "page,product-42" {
		t.Errorf("the tags are %v", h)
	}
	price := func() string { return ask("GET", "/price.json").Body.String() }
	first := price()
	now = now.Add(9 * time.Second)
	if diff := cmp.Diff(first, price()); diff != "" {
		t.Errorf("within ten seconds the price changed:\n%s", diff)
	}
	now = now.Add(time.Second)
	if first == price() {
		t.Error("after ten seconds the price is the same")
	}
}
