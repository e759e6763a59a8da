package admin

import (
	"context"
	"net/http"

	"github.com/danielgtaylor/huma/v2"
	"github.com/prometheus/client_golang/prometheus/promhttp"
)

// route is one method and path with the scope that it demands.
type route struct {
	method, path string
	scope        Scope
	register     func(huma.API, *scopedMux)
}

func (r route) pattern() string { return r.method + " " + r.path }

// table lists every route of the API. A route without a scope cannot be built.
func (s *Server) table() []route {
	return []route{
		raw("GET", "/healthz", ScopePublic, s.healthz),
		raw("GET", "/readyz", ScopePublic, s.readyz),
		raw("GET", "/metrics", ScopeRead, promhttp.HandlerFor(s.cfg.Gatherer,
			promhttp.HandlerOpts{}).ServeHTTP),
		raw("GET", "/", ScopePublic, s.console),
		raw("GET", "/v1/", ScopePublic, s.noRoute),

		op("GET", "/v1/status", "What the node knows and does", ScopeRead, s.status),
		op("GET", "/v1/explain", "Why a client gets its answer", ScopeRead, s.explain),
		op("GET", "/v1/loop", "What the slow loop moves, and why", ScopeRead, s.loop),
		op("GET", "/v1/events", "Events after a sequence", ScopeRead, s.events),
		raw("GET", "/v1/stream", ScopeRead, s.stream),
		op("GET", "/v1/audit", "Who did what", ScopeAdmin, s.auditLog),

		op("GET", "/v1/overrides", "Overrides in force", ScopeRead, s.overrides),
		op("POST", "/v1/overrides", "Put an override in force", ScopeSteer, s.addOverride),
		op("DELETE", "/v1/overrides/{id}", "End an override", ScopeSteer, s.removeOverride),

		op("GET", "/v1/feeds", "Feeds and what they say", ScopeRead, s.feeds),
		op("PUT", "/v1/feeds/{name}", "Say what backends' metadata are", ScopeFeed, s.pushFeed),
		op("DELETE", "/v1/feeds/{name}", "Forget what a feed said", ScopeSteer, s.clearFeed),

		op("GET", "/v1/drills", "Drills, newest first", ScopeRead, s.drills),
		op("POST", "/v1/drills", "Start a failover drill", ScopeSteer, s.startDrill),
		op("GET", "/v1/drills/{id}", "A drill and its report", ScopeRead, s.drill),
		op("DELETE", "/v1/drills/{id}", "End a drill early", ScopeSteer, s.stopDrill),

		op("GET", "/v1/purges", "Purges, newest first", ScopeRead, s.purges),
		op("POST", "/v1/purges", "Purge every provider", ScopePurge, s.addPurge),
		op("GET", "/v1/purges/{id}", "What became of a purge", ScopeRead, s.purge),
		op("POST", "/v1/purges/{id}/retry", "Try failed deliveries again", ScopePurge, s.retryPurge),
		op("GET", "/v1/providers", "Providers and what they can purge", ScopeRead, s.providers),
		op("POST", "/v1/edge/purge", "Purge this node's edge cache", ScopePurge, s.edgePurge),

		op("POST", "/v1/reload", "Read the config again", ScopeConfig, s.reload),
	}
}

// op is a route of the described API: in and out are structs that huma reads and writes.
func op[I, O any](
	method, path, summary string, scope Scope, h func(context.Context, *I) (*O, error),
) route {
	return route{method: method, path: path, scope: scope, register: func(a huma.API, _ *scopedMux) {
		huma.Register(a, huma.Operation{
			Method: method, Path: path, Summary: summary, MaxBodyBytes: maxBody,
			OperationID:   huma.GenerateOperationID(method, path, new(O)),
			Description:   "Scope: " + string(scope),
			DefaultStatus: successOf(method, path),
		}, h)
	}}
}

// successOf is 202 for what is accepted and goes on after the answer, 200 otherwise.
func successOf(method, path string) int {
	if method == http.MethodPost && (path == "/v1/purges" || path == "/v1/drills") {
		return http.StatusAccepted
	}
	return http.StatusOK
}

// raw is a route outside of the described API.
func raw(method, path string, scope Scope, h http.HandlerFunc) route {
	return route{method: method, path: path, scope: scope, register: func(_ huma.API, m *scopedMux) {
		m.HandleFunc(method+" "+path, h)
	}}
}

// body is an answer with a JSON body.
type body[T any] struct{ Body T }

func answer[T any](v T) (*body[T], error) { return &body[T]{Body: v}, nil }

// none is a request without parameters or body.
type none struct{}

// byID is a request about one thing.
type byID struct {
	ID string `path:"id" maxLength:"128"`
}
