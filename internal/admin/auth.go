package admin

import (
	"cmp"
	"context"
	"crypto/sha256"
	"crypto/subtle"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"slices"
	"strings"

	"golang.org/x/time/rate"

	"pointsman/internal/admin/api"
)

// Scope is a right that a route demands.
type Scope string

// The scopes. Admin holds all the others.
const (
	ScopePublic Scope = "public" // no credentials: liveness and the console's files
	ScopeRead   Scope = "read"
	ScopePurge  Scope = "purge"
	ScopeSteer  Scope = "steer" // overrides and drills
	ScopeFeed   Scope = "feed"  // saying what backends' metadata are
	ScopeConfig Scope = "config"
	ScopeAdmin  Scope = "admin"
)

// caller is who a request comes from.
type caller struct {
	actor string // the token's name, else what the client says, else anonymous
	from  string // remote address
}

type callerKey struct{}

func callerOf(ctx context.Context) caller {
	c, _ := ctx.Value(callerKey{}).(caller)
	return c
}

// authorizer decides whether a request may use a route.
type authorizer struct {
	tokens []hashedToken
	log    *slog.Logger
	// refused allows one log line a second: whoever guesses must not fill the log.
	refused *rate.Limiter
}

// hashedToken keeps a token as its SHA-256 only.
type hashedToken struct {
	name   string
	hash   [sha256.Size]byte
	scopes []Scope
}

func newAuthorizer(c Config) *authorizer {
	a := &authorizer{log: c.Logger, refused: rate.NewLimiter(1, 1)}
	for _, t := range c.Tokens {
		a.tokens = append(a.tokens, hashedToken{name: t.Name,
			hash: sha256.Sum256([]byte(t.Token.Reveal())), scopes: t.Scopes})
	}
	return a
}

// check returns who calls, or the problem that keeps the caller out: 401 without good
// credentials, 403 with good ones that lack the scope.
func (a *authorizer) check(r *http.Request, need Scope) (caller, *api.Problem) {
	c := caller{actor: cmp.Or(api.CleanActor(r.Header.Get(api.ActorHeader)), "anonymous"),
		from: r.RemoteAddr}
	if p := foreign(r); p != nil {
		return c, p
	}
	if need == ScopePublic {
		return c, nil
	}
	if len(a.tokens) == 0 {
		return c, a.checkLoopback(r)
	}
	t := a.find(bearer(r))
	if t == nil {
		if bearer(r) != "" && a.refused.Allow() {
			a.log.Warn("unknown token refused", "from", r.RemoteAddr)
		}
		return c, problem(http.StatusUnauthorized, api.CodeUnauthorized,
			"this needs a token: Authorization: Bearer TOKEN (pointsman --token-file FILE)")
	}
	c.actor = t.name
	if !slices.Contains(t.scopes, need) && !slices.Contains(t.scopes, ScopeAdmin) {
		return c, problem(http.StatusForbidden, api.CodeForbidden,
			fmt.Sprintf("token %q has no scope %q", t.name, need))
	}
	return c, nil
}

// checkLoopback lets a request without a token through when it was addressed to loopback: a
// name in the Host header means that somebody's page rebound its name to this machine.
func (a *authorizer) checkLoopback(r *http.Request) *api.Problem {
	host := r.Host
	if h, _, err := net.SplitHostPort(host); err == nil {
		host = h
	}
	ip, err := netip.ParseAddr(strings.Trim(host, "[]"))
	if host == "localhost" || (err == nil && ip.Unmap().IsLoopback()) {
		return nil
	}
	return problem(http.StatusForbidden, api.CodeForbidden,
		"without tokens the API answers to loopback addresses only, not to Host "+host)
}

// foreign refuses requests that another site's page made a browser send.
func foreign(r *http.Request) *api.Problem {
	switch r.Header.Get("Sec-Fetch-Site") {
	case "same-origin", "none":
		return nil
	case "": // no browser, or an old one: that tells where the page is from, if not how
		o, err := url.Parse(r.Header.Get("Origin"))
		if err == nil && (o.Host == r.Host || r.Header.Get("Origin") == "") {
			return nil
		}
	}
	if r.Method == http.MethodGet && r.Header.Get("Sec-Fetch-Mode") == "navigate" {
		return nil // a link to the console
	}
	return problem(http.StatusForbidden, api.CodeForbidden, "requests from other sites are refused")
}

// find compares in constant time with every token, so that time tells nothing.
func (a *authorizer) find(token string) *hashedToken {
	sum := sha256.Sum256([]byte(token))
	var found *hashedToken
	for i := range a.tokens {
		if subtle.ConstantTimeCompare(sum[:], a.tokens[i].hash[:]) == 1 && token != "" {
			found = &a.tokens[i]
		}
	}
	return found
}

func bearer(r *http.Request) string {
	scheme, token, _ := strings.Cut(r.Header.Get("Authorization"), " ")
	if !strings.EqualFold(scheme, "bearer") {
		return ""
	}
	return strings.TrimSpace(token)
}

// scopedMux is a multiplexer in which every pattern has a scope, or building it fails.
type scopedMux struct {
	mux    *http.ServeMux
	auth   *authorizer
	scopes map[string]Scope
	err    error // the first pattern without a scope
}

func newScopedMux(a *authorizer) *scopedMux {
	return &scopedMux{mux: http.NewServeMux(), auth: a, scopes: map[string]Scope{}}
}

func (m *scopedMux) declare(pattern string, s Scope) { m.scopes[pattern] = s }

// HandleFunc registers a handler behind its scope.
func (m *scopedMux) HandleFunc(pattern string, h func(http.ResponseWriter, *http.Request)) {
	need, ok := m.scopes[pattern]
	if !ok || need == "" {
		if m.err == nil {
			m.err = fmt.Errorf("route %q has no scope", pattern)
		}
		return
	}
	m.mux.HandleFunc(pattern, func(w http.ResponseWriter, r *http.Request) {
		c, p := m.auth.check(r, need)
		if p != nil {
			writeProblem(w, p)
			return
		}
		h(w, r.WithContext(context.WithValue(r.Context(), callerKey{}, c)))
	})
}

// ServeHTTP implements http.Handler. What no route takes is answered with a problem.
func (m *scopedMux) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	h, pattern := m.mux.Handler(r)
	if pattern != "" {
		m.mux.ServeHTTP(w, r)
		return
	}
	// The multiplexer's own answer says whether the path or the method is wrong.
	said := &refusal{header: http.Header{}, status: http.StatusNotFound}
	h.ServeHTTP(said, r)
	if allow := said.header.Get("Allow"); allow != "" {
		w.Header().Set("Allow", allow)
	}
	writeProblem(w, problem(said.status, api.CodeNotFound, r.Method+" "+r.URL.Path+
		" is no route of this API"))
}

// refusal catches the multiplexer's answer to what no route takes.
type refusal struct {
	header http.Header
	status int
}

// Header implements http.ResponseWriter.
func (r *refusal) Header() http.Header { return r.header }

// Write implements http.ResponseWriter.
func (r *refusal) Write(b []byte) (int, error) { return len(b), nil }

// WriteHeader implements http.ResponseWriter.
func (r *refusal) WriteHeader(status int) { r.status = status }
