package feed

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/goleak"

	"pointsman/internal/secret"
	"pointsman/internal/store"
	"pointsman/internal/store/storetest"
	"pointsman/steering"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// server answers pulls without a socket. It is safe for concurrent use.
type server struct {
	mu     sync.Mutex
	answer func(*http.Request) *http.Response
	asked  []time.Time
	tokens []string
	etags  []string
}

// RoundTrip implements http.RoundTripper.
func (s *server) RoundTrip(r *http.Request) (*http.Response, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.asked = append(s.asked, time.Now())
	s.tokens = append(s.tokens, r.Header.Get("Authorization"))
	s.etags = append(s.etags, r.Header.Get("If-None-Match"))
	resp := s.answer(r)
	if resp == nil {
		return nil, errors.New("connection refused")
	}
	resp.Request = r
	return resp, nil
}

func (s *server) set(f func(*http.Request) *http.Response) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.answer = f
}

func (s *server) count() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.asked)
}

func reply(status int, body string, header ...string) func(*http.Request) *http.Response {
	return func(*http.Request) *http.Response {
		h := http.Header{}
		for i := 0; i < len(header); i += 2 {
			h.Set(header[i], header[i+1])
		}
		return &http.Response{StatusCode: status, Header: h, Body: io.NopCloser(strings.NewReader(body))}
	}
}

func refused(*http.Request) *http.Response { return nil }

// node is a keeper that runs, with what it told last.
type node struct {
	*Keeper
	mu   sync.Mutex
	told []steering.FedValue
	log  bytes.Buffer
	stop func()
}

// Write implements io.Writer, for the log.
func (n *node) Write(p []byte) (int, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.log.Write(p)
}

func (n *node) logged() string {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.log.String()
}

// inForce is what a node told last, as text.
func (n *node) inForce() string {
	n.mu.Lock()
	defer n.mu.Unlock()
	out := ""
	for _, v := range n.told {
		if v.Active(time.Now()) {
			out += " " + v.Backend + "." + string(v.Field) + "=" + v.Text()
		}
	}
	return strings.TrimSpace(out)
}

// run starts a keeper in a bubble; its stop is called at the latest when the test ends.
func run(t *testing.T, c Config, feeds ...Feed) *node {
	t.Helper()
	n := &node{}
	c.Jitter = func() float64 { return 0.5 }
	c.Logger = slog.New(slog.NewTextHandler(n, nil))
	c.OnChange = func(list []steering.FedValue) {
		n.mu.Lock()
		defer n.mu.Unlock()
		n.told = list
	}
	if c.Local == nil {
		c.Local = memory(t)
	}
	n.Keeper = New(c)
	n.SetFeeds(feeds)
	if err := n.Load(t.Context()); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- n.Run(ctx) }()
	n.stop = sync.OnceFunc(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	t.Cleanup(n.stop)
	synctest.Wait()
	return n
}

func memory(t *testing.T) *storetest.Memory {
	t.Helper()
	s := storetest.NewMemory(nil)
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return s
}

// pulledFeed is noc, pulled every 10 s.
func pulledFeed() Feed {
	f := noc(func(f *Feed) {
		f.URL, f.Interval, f.Timeout = "https://noc.example.test/feed?key=canary", 10*time.Second,
			3*time.Second
		f.Token = secret.New("hush")
	})
	return *f
}

const down = `{"backends": {"a": {"up": false}}}`

func TestAFeedIsPulledAndItsLastValuesHoldForKeepWhenItFails(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &server{answer: reply(200, down, "ETag", `"1"`)}
		n := run(t, Config{Transport: s}, pulledFeed())
		if got := n.inForce(); got != "a.up=false" {
			t.Errorf("in force: %q", got)
		}
		s.set(func(r *http.Request) *http.Response {
			if r.Header.Get("If-None-Match") != `"1"` {
				t.Error("asked without the ETag")
			}
			return reply(304, "")(r)
		})
		time.Sleep(20 * time.Minute) // only 304s: said again, each time
		if got := n.inForce(); got != "a.up=false" || s.count() < 115 || s.count() > 125 {
			t.Errorf("in force: %q after %d pulls", got, s.count())
		}
		s.set(refused)
		before := s.count()
		time.Sleep(4*time.Minute + 40*time.Second) // the last success may be more than 10 s old
		if got := n.inForce(); got != "a.up=false" {
			t.Errorf("within keep, in force: %q", got)
		}
		if pulls := s.count() - before; pulls > 6 {
			t.Errorf("%d pulls of a server that is gone in five minutes", pulls)
		}
		time.Sleep(30 * time.Second)
		if got := n.inForce(); got != "" {
			t.Errorf("after keep, in force: %q", got)
		}
		s.set(reply(200, `{"backends": {"a": {"weight": 50}}}`))
		time.Sleep(6 * time.Minute)
		if got := n.inForce(); got != "a.weight=50%" {
			t.Errorf("back again, in force: %q", got)
		}
		for _, want := range []string{"feed not pulled", "connection refused", "feed pulled again",
			"feed fell silent", "feed value came into force"} {
			if strings.Count(n.logged(), want) == 0 {
				t.Errorf("%q is not in the log", want)
			}
		}
		if strings.Count(n.logged(), "feed not pulled") != 1 {
			t.Error("one failure was logged again and again")
		}
		if strings.Contains(n.logged(), "canary") || strings.Contains(n.logged(), "hush") {
			t.Errorf("a secret is in the log:\n%s", n.logged())
		}
		if s.tokens[0] != "Bearer hush" {
			t.Errorf("asked with %q", s.tokens[0])
		}
	})
}

func TestAnswersThatAreNoDocumentChangeNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &server{answer: reply(200, `{"backends": {"a": {"up": false}, "b": {"weight": 10}}}`)}
		n := run(t, Config{Transport: s}, pulledFeed())
		const want = "a.up=false b.weight=10%"
		for about, bad := range map[string]func(*http.Request) *http.Response{
			"redirect":    reply(302, "", "Location", "https://elsewhere.example.test/"),
			"500":         reply(500, `{"backends": {"a": {"up": true}}}`),
			"204":         reply(204, ""),
			"304 unasked": reply(304, ""),
			"HTML":        reply(200, "<html>login</html>"),
			"too large":   reply(200, `{"backends": {"a": {"up": true}}}`+strings.Repeat(" ", MaxDocument)),
			"cut":         reply(200, `{"backends": {"a": {"up": true}`),
			"bad values":  reply(200, `{"backends": {"a": {"up": "yes"}, "b": {"weight": 1e9}}}`),
		} {
			s.set(bad)
			before := s.count()
			time.Sleep(25 * time.Second)
			if got := n.inForce(); got != want || s.count() == before {
				t.Errorf("%s: in force: %q after %d pulls", about, got, s.count()-before)
			}
			s.set(reply(200, `{"backends": {"a": {"up": false}, "b": {"weight": 10}}}`))
			time.Sleep(time.Minute)
		}
		if !strings.Contains(n.logged(), "give the final URL") {
			t.Error("the redirect's fix is not in the log")
		}
	})
}

func TestPausesGrowWithFailuresAndKeepToWhatTheServerAsks(t *testing.T) {
	const s = time.Second
	for _, c := range []struct {
		interval time.Duration
		failures int
		later    time.Duration
		jitter   float64
		want     time.Duration
	}{
		{10 * s, 0, 0, 0.5, 10 * s}, {10 * s, 0, 0, 0, 9 * s}, {10 * s, 0, 0, 1, 11 * s},
		{10 * s, 1, 0, 0.5, 20 * s}, {10 * s, 3, 0, 0.5, 80 * s}, {10 * s, 99, 0, 0.5, 300 * s},
		{600 * s, 5, 0, 0.5, 600 * s}, {10 * s, 1, 60 * s, 0.5, 60 * s},
		{10 * s, 1, 9000 * s, 0.5, 300 * s},
	} {
		if got := pause(c.interval, c.failures, c.later, c.jitter); got != c.want {
			t.Errorf("%+v: %s", c, got)
		}
	}
}

func TestAPushCountsAtOnceAndTheSameAgainIsNoChange(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := run(t, Config{}, *noc())
		push := func(doc string) Outcome {
			t.Helper()
			out, err := n.Push(t.Context(), "noc", []byte(doc), "kim")
			if err != nil {
				t.Error(err)
			}
			return out
		}
		if yes, err := n.Changes("noc", []byte(down)); !yes || err != nil {
			t.Errorf("a new value is no change: %v", err)
		}
		if out := push(down); out.Taken != 1 || out.Local || out.Unsaved {
			t.Errorf("%+v", out)
		}
		if got := n.inForce(); got != "a.up=false" {
			t.Errorf("in force: %q", got)
		}
		if yes, err := n.Changes("noc", []byte(down)); yes || err != nil {
			t.Errorf("the same again is a change: %v", err)
		}
		if yes, _ := n.Changes("noc", []byte(`{"backends": {"a": {"load": 7}}}`)); yes {
			t.Error("a load is a change of metadata")
		}
		time.Sleep(time.Minute)
		push(`{"backends": {"a": {"up": true}}}`)
		push(down) // within hold
		if got := n.inForce(); got != "a.up=true" {
			t.Errorf("within hold, in force: %q", got)
		}
		time.Sleep(11 * time.Second)
		if got := n.inForce(); got != "a.up=false" {
			t.Errorf("after hold, in force: %q", got)
		}
		out := push(`{"backends": {"a": {"up": true, "at": "1999-12-31T23:00:00Z"}, "b": {"cost": 1}}}`)
		if out.Taken != 1 || len(out.Refused) != 1 {
			t.Errorf("%+v", out)
		}
		_, err := n.Clear(t.Context(), "noc", "a", "kim")
		if got := n.inForce(); err != nil || got != "b.cost=1.000000" {
			t.Errorf("cleared, in force: %q, %v", got, err)
		}
	})
}

func TestPushesToFeedsThatAreNotToBePushedSayWhatToDo(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		pulled := pulledFeed()
		pulled.Name = "pulled"
		n := run(t, Config{Transport: &server{answer: refused}}, pulled, *noc())
		for feed, c := range map[string]struct {
			want error
			text string
		}{
			"nok":    {ErrUnknown, "the config has noc, pulled; add it under feeds"},
			"pulled": {ErrPulled, "leave url out of it"},
		} {
			_, err := n.Push(t.Context(), feed, []byte(down), "kim")
			if !errors.Is(err, c.want) || !strings.Contains(err.Error(), c.text) {
				t.Errorf("%s: %v", feed, err)
			}
		}
		for _, doc := range []string{"", `{"backends": {"c": {"up": true}}}`} {
			if _, err := n.Push(t.Context(), "noc", []byte(doc), "kim"); !errors.Is(err, ErrInvalid) {
				t.Errorf("%q: %v", doc, err)
			}
		}
		old := time.Now().Add(-time.Minute).UTC().Format(time.RFC3339)
		if _, err := n.Push(t.Context(), "noc", []byte(down), "kim"); err != nil {
			t.Fatal(err)
		}
		_, err := n.Push(t.Context(), "noc", []byte(`{"backends": {"a": {"up": true, "at": "`+old+`"}}}`),
			"kim")
		if !errors.Is(err, ErrInvalid) || !strings.Contains(err.Error(), "is known already") {
			t.Errorf("older than what is known: %v", err)
		}
	})
}

func TestValuesSurviveARestartAndGoOnAgeing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		local := memory(t)
		s := &server{answer: reply(200, `{"backends": {"b": {"cost": 0.5}}}`)}
		pushed := *noc()
		pulled := pulledFeed()
		pulled.Name, pulled.Fields = "prices", []steering.Field{steering.FieldCost}
		pushed.Fields = []steering.Field{steering.FieldUp}
		n := run(t, Config{Local: local, Transport: s}, pushed, pulled)
		if _, err := n.Push(t.Context(), "noc", []byte(down), "kim"); err != nil {
			t.Fatal(err)
		}
		time.Sleep(2 * time.Second)
		n.stop()
		s.set(refused)
		time.Sleep(4 * time.Minute)
		n = run(t, Config{Local: local, Transport: s}, pushed, pulled)
		if got := n.inForce(); got != "a.up=false b.cost=0.500000" {
			t.Errorf("after the restart: %q", got)
		}
		time.Sleep(time.Minute)
		if got := n.inForce(); got != "" {
			t.Errorf("they should have ended: %q", got)
		}
	})
}

func TestNodesShareWhatIsPushedAndAStoreThatIsAwayIsMadeUpForLater(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		shared := memory(t)
		away := storetest.NewFaulty(shared)
		n := run(t, Config{Shared: away}, *noc())
		other := run(t, Config{Shared: shared}, *noc())
		push := func(n *node, doc string) Outcome {
			t.Helper()
			out, err := n.Push(t.Context(), "noc", []byte(doc), "kim")
			if err != nil {
				t.Error(err)
			}
			return out
		}
		push(n, `{"backends": {"a": {"up": false, "weight": 50}}}`)
		push(other, `{"backends": {"a": {"cost": 0.5}, "b": {"drain": true}}}`)
		time.Sleep(2 * time.Second)
		const all = "a.cost=0.500000 a.up=false a.weight=50% b.drain=true"
		if got := []string{n.inForce(), other.inForce()}; got[0] != all || got[1] != all {
			t.Errorf("in force: %q", got)
		}
		if diff := cmp.Diff(n.Values(), other.Values()); diff != "" {
			t.Errorf("the nodes differ:\n%s", diff)
		}
		away.Down(true)
		time.Sleep(time.Minute)
		if out := push(n, `{"backends": {"a": {"weight": 10}}}`); !out.Local || out.Unsaved {
			t.Errorf("with the store away: %+v", out)
		}
		if got := other.inForce(); got != all {
			t.Errorf("the other knows: %q", got)
		}
		away.Down(false)
		time.Sleep(2 * time.Second)
		if got := other.inForce(); !strings.Contains(got, "a.weight=10%") {
			t.Errorf("the other doesn't know: %q", got)
		}
	})
}

func TestBadRecordsInAStoreAreCountedAndHarmNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		local := memory(t)
		for name, value := range map[string]string{
			"feeds/noc": "{}", "feeds/noc/a": "[", "feeds/noc/b": `{"values": [{"field": "up", "value": 7}]}`,
			"feeds/noc/c": `{"values": [{"field": "upp"}]}`,
		} {
			if _, err := local.Put(t.Context(), name, []byte(value), store.PutOptions{}); err != nil {
				t.Fatal(err)
			}
		}
		n := run(t, Config{Local: local}, *noc())
		if _, err := n.Push(t.Context(), "noc", []byte(down), "kim"); err != nil {
			t.Fatal(err)
		}
		if got := n.inForce(); got != "a.up=false" {
			t.Errorf("in force: %q", got)
		}
	})
}

func TestAReloadKeepsWhatWasSaidAndAsksNoMoreOften(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &server{answer: reply(200, down)}
		n := run(t, Config{Transport: s}, pulledFeed())
		for range 100 { // somebody reloads each second
			time.Sleep(time.Second)
			n.SetFeeds([]Feed{pulledFeed()})
		}
		if s.count() > 12 || n.inForce() != "a.up=false" {
			t.Errorf("%d pulls in 100 s, in force: %q", s.count(), n.inForce())
		}
		n.SetFeeds(nil)
		synctest.Wait()
		before := s.count()
		time.Sleep(time.Minute)
		if n.inForce() != "" || s.count() != before {
			t.Errorf("a feed that is gone: %d pulls, in force: %q", s.count()-before, n.inForce())
		}
	})
}

func TestFeedsShowInMetricsAndGoWithTheConfig(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := prometheus.NewRegistry()
		n := run(t, Config{Registerer: r}, *noc())
		doc := `{"backends": {"a": {"cost": 0.5, "hosts": {"cdn.example.test": {"load": 3}}}, "c": {}}}`
		if _, err := n.Push(t.Context(), "noc", []byte(doc), "kim"); err != nil {
			t.Fatal(err)
		}
		time.Sleep(2 * time.Second)
		for name, want := range map[string]string{
			"pointsman_feed_value":          "[noc a cost 0.5] [noc a load cdn.example.test 3]",
			"pointsman_feed_values":         "[noc held 2] [noc silent 0] [noc waiting 0]",
			"pointsman_feed_age_seconds":    "[noc 2]",
			"pointsman_feed_refusals_total": "[noc backend 1]",
		} {
			if got := seriesOf(t, r, name); got != want {
				t.Errorf("%s: %s, want %s", name, got, want)
			}
		}
		n.SetFeeds(nil)
		time.Sleep(2 * time.Second)
		for _, name := range []string{"pointsman_feed_value", "pointsman_feed_values",
			"pointsman_feed_age_seconds", "pointsman_feed_refusals_total"} {
			if got := seriesOf(t, r, name); got != "" {
				t.Errorf("%s is still there: %s", name, got)
			}
		}
	})
}

// seriesOf is a metric's series, as text.
func seriesOf(t *testing.T, r *prometheus.Registry, name string) string {
	t.Helper()
	families, err := r.Gather()
	if err != nil {
		t.Fatal(err)
	}
	var out []string
	for _, f := range families {
		if f.GetName() != name {
			continue
		}
		for _, m := range f.GetMetric() {
			labels := map[string]string{}
			for _, l := range m.GetLabel() {
				labels[l.GetName()] = l.GetValue()
			}
			text := ""
			for _, l := range []string{"feed", "backend", "field", "state", "reason"} {
				if labels[l] != "" {
					text += labels[l] + " "
				}
			}
			out = append(out, fmt.Sprintf("[%s%v]", text, m.GetGauge().GetValue()+m.GetCounter().GetValue()))
		}
	}
	return strings.Join(out, " ")
}
