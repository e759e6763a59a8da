package edge_test

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httptrace"
	"net/textproto"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"

	"pointsman/edge"
)

// running is a server on a socket before a real origin.
type running struct {
	*edge.Server
	address string
	client  *http.Client
	stop    func() error
}

// run starts a server for the host 127.0.0.1 before handler.
func run(t *testing.T, handler http.HandlerFunc) *running {
	t.Helper()
	o := httptest.NewServer(handler)
	t.Cleanup(o.Close)
	s, err := edge.New(edge.Config{
		Listen: []string{"127.0.0.1:0"}, Node: "n1", Memory: 8 << 20,
		Sites: []edge.Site{{Hosts: []string{"127.0.0.1"}, Origin: o.URL}},
	})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	var wg sync.WaitGroup
	wg.Go(func() { done <- s.Run(ctx) })
	transport := &http.Transport{}
	stop := sync.OnceValue(func() error {
		transport.CloseIdleConnections()
		cancel()
		wg.Wait()
		return <-done
	})
	t.Cleanup(func() {
		if err := stop(); err != nil {
			t.Error(err)
		}
	})
	return &running{s, s.Addrs()[0].String(), &http.Client{Transport: transport}, stop}
}

func (r *running) get(t *testing.T, path string) *http.Response {
	t.Helper()
	p, err := r.client.Get("http://" + r.address + path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = p.Body.Close() }) // its end was read or does not matter
	return p
}

func TestARunningServerCachesAndStops(t *testing.T) {
	asked := 0
	s := run(t, func(w http.ResponseWriter, _ *http.Request) {
		asked++
		w.Header().Set("Cache-Control", "max-age=600")
		_, _ = io.WriteString(w, "hello")
	})
	for range 3 {
		if p := s.get(t, "/"); text(p) != "hello" {
			t.Errorf("got %d", p.StatusCode)
		}
	}
	if p := s.get(t, edge.DefaultHealth); p.StatusCode != 200 || text(p) != "ok\n" {
		t.Errorf("health: %d", p.StatusCode)
	}
	if err := s.stop(); err != nil || asked != 1 {
		t.Errorf("stopped with %v, asked %d times", err, asked)
	}
	if c, err := net.DialTimeout("tcp", s.address, time.Second); err == nil {
		_ = c.Close()
		t.Error("the socket is still open")
	}
	if p := do(s.Server, "GET", "http://127.0.0.1"+edge.DefaultHealth); p.StatusCode != 503 {
		t.Errorf("health after the end: %d", p.StatusCode)
	}
}

func TestStoppingLetsRequestsUnderWayFinish(t *testing.T) {
	arrived, answer := make(chan struct{}), make(chan struct{})
	s := run(t, func(w http.ResponseWriter, _ *http.Request) {
		close(arrived)
		<-answer
		_, _ = io.WriteString(w, "late")
	})
	var wg sync.WaitGroup
	wg.Go(func() {
		if got := text(s.get(t, "/")); got != "late" {
			t.Errorf("got %q", got)
		}
	})
	<-arrived
	wg.Go(func() {
		if err := s.stop(); err != nil {
			t.Error(err)
		}
	})
	for { // until it has noticed that it is to stop
		p := do(s.Server, "GET", "http://127.0.0.1"+edge.DefaultHealth)
		if p.StatusCode == 503 {
			break
		}
	}
	close(answer)
	wg.Wait()
}

func TestEarlyHintsGoThrough(t *testing.T) {
	s := run(t, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Link", "</a.css>; rel=preload")
		w.WriteHeader(http.StatusEarlyHints)
		w.Header().Del("Link")
		w.Header().Set("Cache-Control", r.URL.RawQuery)
		_, _ = io.WriteString(w, "x")
	})
	for _, control := range []string{"max-age=600", "private", "private"} { // the last passes
		var hints []string
		ctx := httptrace.WithClientTrace(t.Context(), &httptrace.ClientTrace{
			Got1xxResponse: func(code int, h textproto.MIMEHeader) error {
				hints = append(hints, fmt.Sprint(code, h.Get("Link")))
				return nil
			}})
		r, err := http.NewRequestWithContext(ctx, "GET", "http://"+s.address+"/?"+control, nil)
		if err != nil {
			t.Fatal(err)
		}
		p, err := s.client.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		if text(p) != "x" || p.Header.Get("Link") != "" {
			t.Errorf("got %d %v", p.StatusCode, p.Header)
		}
		_ = p.Body.Close()
		if d := cmp.Diff([]string{"103</a.css>; rel=preload"}, hints); d != "" {
			t.Errorf("%s: (-want +got)\n%s", control, d)
		}
	}
}

func TestBodiesOfRequestsReachTheOrigin(t *testing.T) {
	s := run(t, func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/duplex" {
			_ = http.NewResponseController(w).EnableFullDuplex() // it is HTTP/1: it can
			_, _ = io.Copy(w, r.Body)
			return
		}
		b, _ := io.ReadAll(r.Body)
		_, _ = w.Write(b)
	})
	body := strings.Repeat("upload", 100_000)
	for path, reader := range map[string]io.Reader{
		"/": strings.NewReader(body), "/chunked": io.MultiReader(strings.NewReader(body)),
		"/duplex": strings.NewReader(body),
	} {
		p, err := s.client.Post("http://"+s.address+path, "text/plain", reader)
		if err != nil {
			t.Fatal(err)
		}
		if got := text(p); got != body {
			t.Errorf("%d bytes came back", len(got))
		}
		_ = p.Body.Close()
	}
}

func TestASlowSocketHoldsUpNobody(t *testing.T) {
	body := strings.Repeat("0123456789abcdef", 100_000)
	s := run(t, func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Cache-Control", "max-age=600")
		w.Header().Set("Content-Length", fmt.Sprint(len(body)))
		_, _ = io.WriteString(w, body)
	})
	slow, err := net.Dial("tcp", s.address)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = slow.Close() }()
	if _, err := io.WriteString(slow, "GET / HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n"); err != nil {
		t.Fatal(err)
	}
	if _, err := bufio.NewReaderSize(slow, 16).ReadByte(); err != nil {
		t.Fatal(err)
	}
	for range 5 { // while the slow one reads no further
		if got := text(s.get(t, "/")); got != body {
			t.Fatalf("got %d bytes", len(got))
		}
	}
}

func TestTheByteLimitHoldsWhileManyFetch(t *testing.T) {
	const limit = 500_000
	body := strings.Repeat("x", 20_000)
	s := newEdge(t, always(200, body, "Cache-Control: max-age=600"),
		func(c *edge.Config) { c.Memory, c.MaxObject = limit, 50_000 })
	var wg sync.WaitGroup
	for worker := range 8 {
		wg.Go(func() {
			for i := range 200 {
				get(s, fmt.Sprintf("/%d/%d", worker%4, i))
				if st := s.Stats(); st.Bytes > limit {
					t.Errorf("%d bytes are stored", st.Bytes)
					return
				}
			}
		})
	}
	wg.Wait()
	st := s.Stats()
	if st.Objects < 15 || st.Evicted == 0 || st.Limit != limit {
		t.Errorf("at the end: %+v", st)
	}
}

func TestNewSitesKeepTheCacheAndBadOnesChangeNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := always(200, "x", "Cache-Control: max-age=600")
		s := newEdge(t, o)
		get(s, "/")
		good := edge.Site{Hosts: []string{"a.test"}, Origin: "https://other.test"}
		for name, sites := range map[string][]edge.Site{
			"no host":       {{Origin: "http://o.test"}},
			"no origin":     {{Hosts: []string{"b.test"}}},
			"a path":        {{Hosts: []string{"b.test"}, Origin: "http://o.test/x"}},
			"a password":    {{Hosts: []string{"b.test"}, Origin: "http://u:secret@o.test"}},
			"another wire":  {{Hosts: []string{"b.test"}, Origin: "ftp://o.test"}},
			"a port":        {{Hosts: []string{"b.test:80"}, Origin: "http://o.test"}},
			"a wildcard":    {{Hosts: []string{"*.b.test"}, Origin: "http://o.test"}},
			"a host twice":  {good, {Hosts: []string{"A.test"}, Origin: "http://o.test"}},
			"a bare health": {{Hosts: []string{"b.test"}, Origin: "http://o.test", Health: "ok"}},
		} {
			err := s.SetSites(sites)
			if err == nil || strings.Contains(err.Error(), "secret") {
				t.Errorf("%s: %v", name, err)
			}
			check(t, get(s, "/"), 200, "x", "n1; hit; ttl=600")
		}
		if err := s.SetSites([]edge.Site{good}); err != nil {
			t.Fatal(err)
		}
		check(t, get(s, "/"), 200, "x", "n1; hit; ttl=600")
		if p := do(s, "GET", "http://www.a.test/"); p.StatusCode != 421 {
			t.Errorf("a host that left: %d", p.StatusCode)
		}
	})
}

func TestNewNamesWhatIsWrong(t *testing.T) {
	for _, c := range []edge.Config{
		{Node: "a b"}, {Listen: []string{"127.0.0.1:99999"}}, {Sites: []edge.Site{{}}},
	} {
		if _, err := edge.New(c); err == nil {
			t.Errorf("%+v was accepted", c)
		}
	}
}

func TestRequestsAreCountedByHowTheyWereAnswered(t *testing.T) {
	registry := prometheus.NewPedanticRegistry()
	o := always(200, "hello", "Cache-Control: max-age=600", "Surrogate-Key: red")
	s := newEdge(t, o, func(c *edge.Config) { c.Registerer = registry })
	get(s, "/")
	get(s, "/")
	do(s, "POST", "http://a.test/other")
	do(s, "GET", "http://unknown.test/")
	get(s, edge.DefaultHealth)
	if _, err := s.Purge("tag", []string{"none"}, true); err != nil {
		t.Fatal(err)
	}
	st := s.Stats()
	want := map[string]edge.SiteStats{
		"a.test": {Requests: 3, Hits: 1, Misses: 1, Passes: 1, Bytes: 15, Objects: 1,
			StoredBytes: st.Bytes},
		"(none)": {Requests: 1, Errors: 1, Bytes: uint64(len("no site has this host\n"))},
	}
	if d := cmp.Diff(want, st.Sites); d != "" {
		t.Errorf("(-want +got)\n%s", d)
	}
	families, err := registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	got := map[string]float64{}
	for _, f := range families {
		for _, m := range f.GetMetric() {
			got[f.GetName()] += m.GetCounter().GetValue() + m.GetGauge().GetValue() +
				float64(m.GetHistogram().GetSampleCount())
		}
	}
	wantMetrics := map[string]float64{
		"pointsman_edge_requests_total":           4,
		"pointsman_edge_sent_bytes_total":         37,
		"pointsman_edge_origin_fetch_seconds":     2,
		"pointsman_edge_purges_total":             1,
		"pointsman_edge_stored_objects":           1,
		"pointsman_edge_stored_bytes":             float64(st.Bytes),
		"pointsman_edge_inflight_bytes":           0,
		"pointsman_edge_unbuffered_fetches_total": 0,
		"pointsman_edge_limit_bytes":              8 << 20,
		"pointsman_edge_evictions_total":          0,
	}
	if d := cmp.Diff(wantMetrics, got); d != "" {
		t.Errorf("(-want +got)\n%s", d)
	}
	other := edge.Site{Hosts: []string{"b.test"}, Origin: "http://o.test"}
	if err := s.SetSites([]edge.Site{other}); err != nil {
		t.Fatal(err)
	}
	if families, err = registry.Gather(); err != nil {
		t.Fatal(err)
	}
	for _, f := range families {
		if strings.Contains(f.String(), `"a.test"`) {
			t.Errorf("%s still has a site that left", f.GetName())
		}
	}
}
