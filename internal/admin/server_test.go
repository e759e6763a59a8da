package admin_test

import (
	"encoding/json"
	"net/http"
	"strings"
	"testing"
	"time"

	"pointsman/internal/admin"
	"pointsman/internal/admin/api"
	"pointsman/steering"
)

func TestEveryMistakeIsAnsweredByAProblemWithACode(t *testing.T) {
	n := newNode(t)
	long := strings.Repeat("x", 1<<20)
	for name, c := range map[string]struct {
		method, path, body string
		status             int
		code, detail       string
	}{
		"a field nobody knows": {"POST", "/v1/overrides",
			`{"kind":"drain","backend":"a","reason":"r","forr":"1h"}`, 422, "bad-request", "forr"},
		"a field of the wrong type": {"POST", "/v1/overrides",
			`{"kind":"drain","backend":7,"reason":"r"}`, 422, "bad-request", "backend"},
		"a missing field": {"POST", "/v1/overrides", `{"kind":"drain","backend":"a"}`, 422,
			"bad-request", "reason"},
		"a kind that is none": {"POST", "/v1/overrides",
			`{"kind":"fence","backend":"a","reason":"r"}`, 422, "bad-request", "kind"},
		"no JSON":             {"POST", "/v1/overrides", `{`, 400, "bad-request", ""},
		"no body":             {"POST", "/v1/purges", "", 400, "bad-request", "body"},
		"a body too large":    {"POST", "/v1/purges", `{"kind":"tag","items":["` + long + `"]}`, 413, "too-large", ""},
		"a limit too large":   {"GET", "/v1/purges?limit=5000", "", 422, "bad-request", "limit"},
		"a limit in words":    {"GET", "/v1/purges?limit=ten", "", 422, "bad-request", "limit"},
		"no name to explain":  {"GET", "/v1/explain", "", 422, "bad-request", "name"},
		"a client in words":   {"GET", "/v1/explain?name=cdn.example.test&client=bob", "", 400, "bad-request", "bob"},
		"an unknown route":    {"GET", "/v1/nothing", "", 404, "not-found", "/v1/nothing"},
		"a route's parent":    {"POST", "/v1/nothing", "{}", 405, "not-found", "/v1/nothing"},
		"a method too many":   {"PUT", "/v1/overrides", "{}", 405, "not-found", "PUT"},
		"an unknown purge":    {"GET", "/v1/purges/none", "", 404, "not-found", "no such purge"},
		"an unknown drill":    {"GET", "/v1/drills/none", "", 404, "not-found", "no such drill"},
		"an unknown override": {"DELETE", "/v1/overrides/none", "", 404, "not-found", "none"},
		"a retry of none":     {"POST", "/v1/purges/none/retry", "", 404, "not-found", "no such purge"},
		"a purge of nothing":  {"POST", "/v1/purges", `{"kind":"tag"}`, 400, "bad-request", ""},
		"an unknown provider": {"POST", "/v1/purges", `{"kind":"tag","items":["x"],"providers":["nobody"]}`,
			400, "bad-request", "nobody"},
		"a drill too short": {"POST", "/v1/drills", `{"backend":"a","for":"1s","confirm":"a"}`, 409,
			"refused", "lasts"},
		"a drill without an end": {"POST", "/v1/drills", `{"backend":"a","for":"soon","confirm":"a"}`,
			400, "bad-request", "soon"},
		"a drill not confirmed": {"POST", "/v1/drills", `{"backend":"a","for":"10s","confirm":"b"}`,
			400, "bad-request", "confirm"},
		"a drill with too little left": {"POST", "/v1/drills",
			`{"backend":"a","for":"10s","confirm":"a","min_healthy":0.9}`, 409, "refused", "30 %"},
	} {
		t.Run(name, func(t *testing.T) {
			a := n.do(c.method, c.path, c.body)
			p := a.problem(t)
			all := p.Detail + strings.Join(p.Findings, " ")
			if a.status != c.status || p.Code != c.code || !strings.Contains(all, c.detail) {
				t.Errorf("got %d %s %q, want %d %s with %q", a.status, p.Code, all, c.status, c.code,
					c.detail)
			}
		})
	}
	if left := n.do("GET", "/v1/overrides", "").body; strings.TrimSpace(left) != "[]" {
		t.Errorf("a mistake left an override: %s", left)
	}
}

// TestAMistakeIsNotEchoed: what stood in the wrong place may have been meant to be secret.
func TestAMistakeIsNotEchoed(t *testing.T) {
	n := newNode(t)
	for _, body := range []string{`{"token":"hunter2"}`, `"hunter2"`, `["hunter2"]`,
		`{"kind":"hunter2","backend":"a","reason":"r"}`, `{"kind":"drain","backend":["hunter2"]}`} {
		if a := n.do("POST", "/v1/overrides", body); strings.Contains(a.body, "hunter2") {
			t.Errorf("%s is answered with %s", body, a.body)
		}
	}
}

func TestAPartThatTheNodeDoesNotRunSaysSo(t *testing.T) {
	n := newNode(t, func(c *admin.Config) {
		c.Overrides, c.Purge, c.Drills, c.Edge, c.Audit = nil, nil, nil, nil, nil
		c.Reload, c.Console, c.Providers = nil, nil, nil
		c.Engine = steering.NewEngine(steering.EngineConfig{})
	})
	for _, c := range []struct{ method, path, body string }{
		{"GET", "/v1/overrides", ""}, {"DELETE", "/v1/overrides/x", ""},
		{"POST", "/v1/overrides", `{"kind":"drain","backend":"a","reason":"r"}`},
		{"GET", "/v1/purges", ""}, {"GET", "/v1/purges/x", ""}, {"POST", "/v1/purges/x/retry", ""},
		{"POST", "/v1/purges", `{"kind":"tag","items":["x"]}`},
		{"GET", "/v1/drills", ""}, {"GET", "/v1/drills/x", ""}, {"DELETE", "/v1/drills/x", ""},
		{"POST", "/v1/drills", `{"backend":"a","for":"10s","confirm":"a"}`},
		{"POST", "/v1/edge/purge", `{"kind":"everything"}`}, {"POST", "/v1/reload", ""},
		{"GET", "/v1/audit", ""},
	} {
		a := n.do(c.method, c.path, c.body)
		if p := a.problem(t); a.status != 404 || !strings.Contains(p.Detail, "this node runs no") {
			t.Errorf("%s %s: %d %s", c.method, c.path, a.status, p.Detail)
		}
	}
	if a := n.do("GET", "/", ""); a.status != 404 {
		t.Errorf("without a console / answers %d", a.status)
	}
	st := get[api.Status](n, "GET", "/v1/status", "")
	if len(st.Hosts) != 0 || len(st.Backends) != 3 {
		t.Errorf("a node without a table shows %+v", st)
	}
	a := n.do("GET", "/v1/explain?name=cdn.example.test", "")
	if p := a.problem(t); a.status != 404 || !strings.Contains(p.Detail, "no names yet") {
		t.Errorf("explain: %d %s", a.status, p.Detail)
	}
}

func TestAPanicIsAnsweredCountedAndLogged(t *testing.T) {
	broken := false
	n := newNode(t, func(c *admin.Config) {
		info := c.Info
		c.Info = func() admin.Info {
			if broken {
				panic("of its own making")
			}
			return info()
		}
		c.Console = http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			_, _ = w.Write([]byte("half a page"))
			_ = http.NewResponseController(w).Flush()
			panic("another bug")
		})
	})
	broken = true
	a := n.do("GET", "/v1/status", "")
	if p := a.problem(t); a.status != 500 || p.Code != "internal" || strings.Contains(a.body, "making") {
		t.Errorf("got %d %s", a.status, a.body)
	}
	broken = false
	if res, err := n.client.Do(n.request("GET", "/", "")); err == nil {
		_, err = res.Body.Read(make([]byte, 100))
		for err == nil {
			_, err = res.Body.Read(make([]byte, 100))
		}
		if res.Body.Close(); err.Error() == "EOF" {
			t.Error("a page cut by a panic looks whole")
		}
	}
	if a := n.do("GET", "/v1/status", ""); a.status != 200 {
		t.Errorf("after a panic the node answers %d", a.status)
	}
	for _, want := range []string{`reason="of its own making"`, `reason="another bug"`, "server_test.go"} {
		if !strings.Contains(n.log.String(), want) {
			t.Errorf("the log has no %s", want)
		}
	}
	metrics := n.do("GET", "/metrics", "").body
	for _, want := range []string{"pointsman_admin_panics_total 2",
		`pointsman_admin_requests_total{method="GET",status="500"} 1`} {
		if !strings.Contains(metrics, want) {
			t.Errorf("the metrics have no %s", want)
		}
	}
}

func TestMethodsNobodyDefinedShareOneLabel(t *testing.T) {
	n := newNode(t)
	for _, m := range []string{"PUT", "FOO", "PATCH"} {
		if a := n.do(m, "/v1/status", ""); a.status != 405 || a.header.Get("Allow") == "" {
			t.Errorf("%s: %d, allowed %q", m, a.status, a.header.Get("Allow"))
		}
	}
	want := `pointsman_admin_requests_total{method="other",status="405"} 3`
	if metrics := n.do("GET", "/metrics", "").body; !strings.Contains(metrics, want) {
		t.Errorf("the metrics have no %s", want)
	}
}

func TestReadinessIsToldApartFromLife(t *testing.T) {
	ready := false
	n := newNode(t, func(c *admin.Config) {
		c.Info = func() admin.Info { return admin.Info{Ready: ready} }
	})
	if a := n.do("GET", "/healthz", ""); a.status != 200 {
		t.Errorf("a node that lives answers %d", a.status)
	}
	if a := n.do("GET", "/readyz", ""); a.status != 503 {
		t.Errorf("a node that is not ready answers %d", a.status)
	}
	ready = true
	if a := n.do("GET", "/readyz", ""); a.status != 200 {
		t.Errorf("a ready node answers %d", a.status)
	}
}

func TestTheStatusSaysWhatTheNodeKnows(t *testing.T) {
	n := newNode(t)
	st := get[api.Status](n, "GET", "/v1/status", "")
	if st.Node != "n1" || st.Version != "v1" || !st.Ready || st.TableVersion == 0 ||
		st.TableHash == "" || len(st.Hosts) != 2 || st.Edge == nil || st.Drill != nil {
		t.Errorf("got %+v", st)
	}
	h := st.Hosts[0]
	if h.Host != "cdn.example.test" || h.TTL != 20 || h.Reason != "pool" || len(h.Backends) != 2 ||
		h.Backends[0].Target != 0.7 {
		t.Errorf("the name is shown as %+v", h)
	}
	b := st.Backends[0]
	if b.Name != "a" || b.State != "healthy" || b.LatencyMS != 12 || b.Answer != "a.cdn.test" ||
		b.LastSample == nil || time.Since(*b.LastSample) > time.Minute {
		t.Errorf("the backend is shown as %+v", b)
	}
	if c := st.Backends[2]; c.State != "unknown" || c.LastSample != nil || c.CertExpires != nil {
		t.Errorf("a backend never measured is shown as %+v", c)
	}
}

func TestTheDescriptionNamesEveryOperationAndItsScope(t *testing.T) {
	n := newNode(t)
	var d struct {
		Paths map[string]map[string]struct{ Description, OperationID string }
	}
	if err := json.Unmarshal([]byte(n.do("GET", "/openapi.json", "").body), &d); err != nil {
		t.Fatal(err)
	}
	ids := map[string]bool{}
	for pattern, scope := range wanted() {
		method, path, _ := strings.Cut(pattern, " ")
		if !strings.HasPrefix(path, "/v1/") || path == "/v1/" || path == "/v1/stream" {
			continue
		}
		op := d.Paths[path][strings.ToLower(method)]
		if op.Description != "Scope: "+string(scope) || op.OperationID == "" || ids[op.OperationID] {
			t.Errorf("%s is described as %+v", pattern, op)
		}
		ids[op.OperationID] = true
	}
}

func TestACloseAfterTheRunIsNoError(t *testing.T) {
	n := newNode(t)
	n.stop()
	if err := n.server.Close(); err != nil {
		t.Error(err)
	}
	s, err := admin.New(admin.Config{Listen: "127.0.0.1:0"})
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil { // one that never ran
		t.Error(err)
	}
}

func TestAnAddressThatIsTakenNamesItsKey(t *testing.T) {
	n := newNode(t)
	_, err := admin.New(admin.Config{Listen: strings.TrimPrefix(n.base, "http://")})
	if err == nil || !strings.Contains(err.Error(), "admin.listen") {
		t.Errorf("got %v", err)
	}
}
