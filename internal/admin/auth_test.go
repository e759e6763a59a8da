package admin_test

import (
	"crypto/tls"
	"net/http"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"pointsman/internal/admin"
)

// wanted is what each route demands, written down apart from the code: a new route must be
// thought about here too.
func wanted() map[string]admin.Scope {
	return map[string]admin.Scope{
		"GET /": "public", "GET /healthz": "public", "GET /readyz": "public", "GET /v1/": "public",
		"GET /metrics": "read", "GET /v1/status": "read", "GET /v1/explain": "read",
		"GET /v1/loop": "read", "GET /v1/feeds": "read", "PUT /v1/feeds/{name}": "feed",
		"DELETE /v1/feeds/{name}": "steer",
		"GET /v1/events":          "read", "GET /v1/stream": "read", "GET /v1/overrides": "read",
		"GET /v1/drills": "read", "GET /v1/drills/{id}": "read", "GET /v1/purges": "read",
		"GET /v1/purges/{id}": "read", "GET /v1/providers": "read",
		"POST /v1/overrides": "steer", "DELETE /v1/overrides/{id}": "steer",
		"POST /v1/drills": "steer", "DELETE /v1/drills/{id}": "steer",
		"POST /v1/purges": "purge", "POST /v1/purges/{id}/retry": "purge",
		"POST /v1/edge/purge": "purge",
		"POST /v1/reload":     "config", "GET /v1/audit": "admin",
	}
}

func TestEveryRouteHasTheScopeThatWasDecidedForIt(t *testing.T) {
	n := newNode(t)
	if diff := cmp.Diff(wanted(), n.server.Routes()); diff != "" {
		t.Errorf("routes (-decided +served):\n%s", diff)
	}
}

func TestARouteWithoutAScopeCannotBeBuilt(t *testing.T) {
	err := admin.BuildUnscoped()
	if err == nil || !strings.Contains(err.Error(), `"GET /forgotten" has no scope`) {
		t.Errorf("got %v", err)
	}
}

func TestEveryRouteIsOpenToItsScopeAndToAdminAlone(t *testing.T) {
	n := newNode(t, func(c *admin.Config) { c.Tokens = tokens() })
	routes := n.server.Routes()
	for _, p := range []string{"json", "yaml"} { // what the described API adds by itself
		routes["GET /openapi."+p], routes["GET /openapi-3.0."+p] = "read", "read"
	}
	callers := map[string]string{"none": "", "unknown": "Bearer guess", "basic": "Basic cmVhZA==",
		"empty": "Bearer ", "name": "Bearer read"}
	for s := range strings.FieldsSeq(scopes) {
		callers[s] = "Bearer " + s + s
	}
	for pattern, scope := range routes {
		method, path, _ := strings.Cut(pattern, " ")
		path = strings.ReplaceAll(path, "{id}", "no-such-id")
		for caller, header := range callers {
			body := ""
			if method == http.MethodPost && !strings.HasSuffix(path, "/retry") &&
				path != "/v1/reload" {
				body = "{}"
			}
			t.Run(caller+" "+pattern, func(t *testing.T) {
				allowed := check(t, n, method, path, body, header)
				held := strings.Contains(scopes, caller)
				switch {
				case scope == "public" || caller == string(scope) || caller == "admin":
					if allowed == http.StatusUnauthorized || allowed == http.StatusForbidden {
						t.Errorf("it is kept out with %d", allowed)
					}
				case held && allowed != http.StatusForbidden:
					t.Errorf("a token without the scope gets %d, want 403", allowed)
				case !held && allowed != http.StatusUnauthorized:
					t.Errorf("without a good token it gets %d, want 401", allowed)
				}
			})
		}
	}
}

// check sends a request and returns its status, without reading a stream to its end.
func check(t *testing.T, n *node, method, path, body, authorization string) int {
	t.Helper()
	req := n.request(method, path, body)
	if authorization != "" {
		req.Header.Set("Authorization", authorization)
	}
	res, err := n.client.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	if res.StatusCode == http.StatusUnauthorized && res.Header.Get("WWW-Authenticate") == "" {
		t.Error("401 without WWW-Authenticate (RFC 9110 §11.6.1)")
	}
	return res.StatusCode
}

func TestOnlyLoopbackIsServedWithoutTLSAndTokens(t *testing.T) {
	some := &tls.Config{MinVersion: tls.VersionTLS12}
	for listen, guarded := range map[string]bool{
		"127.0.0.1:0": false, "[::1]:0": false, "localhost:0": false, "127.9.9.9:0": false,
		"[::ffff:127.0.0.1]:0": false,
		"0.0.0.0:0":            true, ":0": true, "[::]:0": true, "192.0.2.1:0": true,
		"node.example.test:0": true, "[fe80::1]:0": true, "localhost.example.test:0": true,
	} {
		for _, c := range []struct {
			name   string
			tls    *tls.Config
			tokens []admin.Token
		}{
			{"neither", nil, nil}, {"tls alone", some, nil}, {"tokens alone", nil, tokens()},
			{"both", some, tokens()},
		} {
			t.Run(listen+" "+c.name, func(t *testing.T) {
				if guarded && c.name == "both" {
					listen = strings.TrimSuffix(listen, "0") + "99999" // judged, but never bound
				}
				s, err := admin.New(admin.Config{Listen: listen, TLS: c.tls, Tokens: c.tokens,
					Info: func() admin.Info { return admin.Info{} }})
				if err == nil {
					defer s.Close()
				}
				refused := err != nil && strings.Contains(err.Error(), "is not loopback")
				if want := guarded && c.name != "both"; refused != want {
					t.Errorf("got %v, want it refused: %t", err, want)
				}
			})
		}
	}
	if _, err := admin.New(admin.Config{Listen: "no port"}); err == nil {
		t.Error("an address without a port was taken")
	}
}

func TestRequestsThatAForeignPageMadeABrowserSendAreRefused(t *testing.T) {
	n := newNode(t)
	port := n.base[strings.LastIndex(n.base, ":"):]
	drain := `{"kind":"drain","backend":"a","reason":"x"}`
	for name, c := range map[string]struct {
		method, path, body string
		header             []string
		refused            bool
	}{
		"curl":                  {"GET", "/v1/status", "", nil, false},
		"the console":           {"GET", "/v1/status", "", []string{"Sec-Fetch-Site", "same-origin"}, false},
		"the address bar":       {"GET", "/", "", []string{"Sec-Fetch-Site", "none"}, false},
		"by its other name":     {"GET", "/v1/status", "", []string{"Host", "localhost" + port}, false},
		"by IPv6":               {"GET", "/v1/status", "", []string{"Host", "[::1]" + port}, false},
		"a rebound name":        {"GET", "/v1/status", "", []string{"Host", "evil.example" + port}, true},
		"a name like localhost": {"GET", "/v1/status", "", []string{"Host", "localhost.evil.example"}, true},
		"an address elsewhere":  {"GET", "/v1/status", "", []string{"Host", "192.0.2.1" + port}, true},
		"no name":               {"GET", "/v1/status", "", []string{"Host", "[]"}, true},
		"a link to the console": {"GET", "/", "", []string{"Sec-Fetch-Site", "cross-site",
			"Sec-Fetch-Mode", "navigate"}, false},
		"an image of a foreign page": {"GET", "/v1/status", "", []string{"Sec-Fetch-Site", "cross-site",
			"Sec-Fetch-Mode", "no-cors"}, true},
		"a form of a foreign page": {"POST", "/v1/overrides", drain, []string{"Sec-Fetch-Site",
			"cross-site", "Sec-Fetch-Mode", "navigate"}, true},
		"a page of another port": {"POST", "/v1/overrides", drain, []string{"Sec-Fetch-Site",
			"same-site"}, true},
		"an old browser's foreign form": {"POST", "/v1/overrides", drain, []string{"Origin",
			"http://evil.example"}, true},
		"an old browser's sandbox": {"POST", "/v1/overrides", drain, []string{"Origin", "null"}, true},
		"an old browser's own page": {"POST", "/v1/overrides", drain, []string{"Origin", n.base},
			false},
		"a form's content type": {"POST", "/v1/overrides", drain, []string{"Content-Type",
			"text/plain"}, true},
	} {
		t.Run(name, func(t *testing.T) {
			a := n.do(c.method, c.path, c.body, c.header...)
			if got := a.status/100 == 4; got != c.refused {
				t.Errorf("got %d %s, want it refused: %t", a.status, a.body, c.refused)
			}
			if c.refused {
				a.problem(t)
			}
		})
	}
}

func TestAnswersCarryTheHeadersThatGuardABrowser(t *testing.T) {
	n := newNode(t)
	for _, path := range []string{"/", "/v1/status", "/healthz", "/nothing"} {
		h := n.do("GET", path, "").header
		for name, want := range map[string]string{"X-Content-Type-Options": "nosniff",
			"Cache-Control": "no-store", "Referrer-Policy": "no-referrer"} {
			if got := h.Get(name); got != want {
				t.Errorf("%s: %s is %q, want %q", path, name, got, want)
			}
		}
		csp := h.Get("Content-Security-Policy")
		if strings.Contains(csp, "unsafe") || !strings.Contains(csp, "default-src 'self'") ||
			!strings.Contains(csp, "frame-ancestors 'none'") {
			t.Errorf("%s: the policy is %q", path, csp)
		}
	}
}

func TestGuessesOfATokenAreLoggedAndDoNotFillTheLog(t *testing.T) {
	n := newNode(t, func(c *admin.Config) { c.Tokens = tokens() })
	for range 50 {
		if got := check(t, n, "GET", "/v1/status", "", "Bearer guess"); got != http.StatusUnauthorized {
			t.Fatalf("a guess gets %d", got)
		}
	}
	lines := strings.Count(n.log.String(), "unknown token refused")
	if lines < 1 || lines > 5 {
		t.Errorf("50 guesses made %d lines", lines)
	}
	if strings.Contains(n.log.String(), "guess") {
		t.Error("the log holds the guess: it may be a real token with a typo")
	}
}
