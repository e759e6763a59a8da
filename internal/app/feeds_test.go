package app_test

import (
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"

	"pointsman/internal/admin/api"
)

func TestFeedsSteerANodeAndTheirWordOutlivesItsRestart(t *testing.T) {
	var document atomic.Pointer[string]
	say := func(text string) { document.Store(&text) }
	say(`{"backends": {"one": {"weight": 0}}}`)
	noc := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Authorization") != "Bearer canary-of-noc" {
			w.WriteHeader(http.StatusUnauthorized)
			return
		}
		_, _ = io.WriteString(w, *document.Load())
	}))
	t.Cleanup(noc.Close)
	s := newSite(t)
	s.environ = append(s.environ, "NOC_TOKEN=canary-of-noc")
	s.config = s.with("pools:\n", `feeds:
  - {name: noc, url: "`+noc.URL+`", interval: 1s, hold: 0s, fields: [weight], token_env: NOC_TOKEN}
  - {name: hand, fields: [up, drain], hold: 0s}
pools:
`)
	s.write(s.config)
	n := s.start()
	eventually(t, "the pulled weight", func() bool { return n.target("one") == 0 })
	say(`{"backends": {"one": {"weight": 100}}}`)
	eventually(t, "the weight that it has by the config", func() bool { return n.target("one") == 0.7 })

	push := func(doc string) api.FeedOutcome {
		t.Helper()
		out, err := n.admin.PushFeed(t.Context(), "hand", json.RawMessage(doc))
		if err != nil {
			t.Fatal(err)
		}
		return out
	}
	push(`{"backends": {"two": {"up": false}}}`)
	eventually(t, "the pushed state", func() bool { return n.target("two") == 0 })
	for range 3 { // no more acts
		push(`{"backends": {"two": {"up": false}}}`)
	}
	acts, err := n.admin.Audit(t.Context(), 100)
	if err != nil || len(acts) != 1 || acts[0].Action != "feed" || acts[0].Target != "hand" {
		t.Errorf("audited: %+v, %v", acts, err)
	}
	e, err := n.admin.Explain(t.Context(), "cdn.example.test", "192.0.2.7")
	if text, _ := json.Marshal(e); err != nil || !strings.Contains(string(text), "two is out by feed hand") {
		t.Errorf("explained: %s, %v", text, err)
	}
	_, err = n.admin.PushFeed(t.Context(), "noc", json.RawMessage(`{"backends": {}}`))
	if err == nil || !strings.Contains(err.Error(), "leave url out") {
		t.Errorf("pushed to a feed that is pulled: %v", err)
	}

	if err := n.stop(); err != nil {
		t.Fatal(err)
	}
	n = s.start()
	if got := n.target("two"); got != 0 {
		t.Errorf("right after the restart two has %g", got)
	}
	if _, err := n.admin.ClearFeed(t.Context(), "hand", "two"); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the config's word", func() bool { return n.target("two") == 0.3 })
	if strings.Contains(s.log.String(), "canary") {
		t.Error("a token is in the log")
	}
}

func TestABackendThatIsUpByTheConfigNeedsNoProbe(t *testing.T) {
	s := newSite(t)
	probe := `    probe: {url: "` + s.two.URL + "\"}\n"
	s.config = s.with(probe, "    up: true\n")
	s.write(s.config)
	s.one.breakIt(true)
	n := s.start()
	eventually(t, "the probed one to leave", func() bool { return n.target("two") == 1 })
	s.write(strings.Replace(s.config, "up: true", "up: false", 1))
	s.one.breakIt(false)
	eventually(t, "the reload", func() bool { return n.target("one") == 1 })
}
