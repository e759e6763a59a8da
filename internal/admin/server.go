// Package admin serves the admin API, the console and /metrics. Requests flow in and are
// authorised by the scope of their route, recorded when they change something, and handed to
// the part that does it; JSON and server-sent events flow out. Server.Run owns every goroutine.
package admin

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"runtime/debug"
	"time"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humago"
	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/sync/errgroup"

	"pointsman/edge"
	"pointsman/internal/admin/api"
	"pointsman/internal/audit"
	"pointsman/internal/secret"
	"pointsman/probes/health"
	"pointsman/providers"
	"pointsman/purge"
	"pointsman/steering"
	"pointsman/steering/drill"
)

const (
	maxBody   = 1 << 20 // bytes of a request's body
	stopLimit = 3 * time.Second
)

// Info is what the process knows of itself.
type Info struct {
	ConfigHash   string
	ConfigLoaded time.Time
	Ready        bool
	Roles        []string
	Store        api.StoreStatus
	Warnings     []string
	// Providers maps a backend to the provider that purges it.
	Providers map[string]string
	// Answers maps a backend to what it answers, for people.
	Answers map[string]string
}

// Served counts the answers given for a steered name and backend since the start.
type Served struct {
	Host, Backend string
	Count         uint64
}

// Overrides is the book of overrides.
type Overrides interface {
	Add(ctx context.Context, o steering.Override) (steering.Override, error)
	Remove(ctx context.Context, id, actor string) error
	Active(now time.Time) []steering.Override
}

// Config wires the server. Parts that the node does not run are nil; their routes then say so.
type Config struct {
	Listen string // address:port; port 0 takes a free one
	// TLS turns TLS on. Without it and without tokens Listen must be loopback.
	TLS    *tls.Config
	Tokens []Token

	Node, Version string
	Now           func() time.Time // nil: time.Now
	Logger        *slog.Logger     // nil: silent
	Registerer    prometheus.Registerer
	Gatherer      prometheus.Gatherer

	Info      func() Info
	Engine    *steering.Engine
	View      func() *health.View
	Served    func() []Served // nil: the node answers no DNS
	Overrides Overrides
	Feeds     Feeds
	Purge     *purge.Service
	Providers func() []providers.Provider
	Drills    *drill.Runner
	Edge      *edge.Server
	Audit     *audit.Log
	Events    *Events
	Loop      func() api.Loop // nil: there is no slow loop
	Reload    func(ctx context.Context) (api.Reloaded, error)
	Console   http.Handler
}

// Token is a caller of the API.
type Token struct {
	Name   string
	Token  secret.String
	Scopes []Scope
}

// Server is the admin API of one node.
type Server struct {
	cfg     Config
	log     *slog.Logger
	auth    *authorizer
	http    *http.Server
	socket  net.Listener
	actual  *actual
	metrics *metrics
	quit    chan struct{} // closed when Run stops, so that streams end
	started time.Time
}

// New checks that the API is not open to the world, builds the routes and binds the socket.
func New(c Config) (*Server, error) {
	if c.Now == nil {
		c.Now = time.Now
	}
	if c.Logger == nil {
		c.Logger = slog.New(slog.NewTextHandler(io.Discard, nil))
	}
	if c.Events == nil {
		c.Events = NewEvents(c.Now)
	}
	if err := exposed(c); err != nil {
		return nil, err
	}
	s := &Server{cfg: c, log: c.Logger, auth: newAuthorizer(c), actual: newActual(c.Now),
		metrics: newMetrics(c.Registerer), quit: make(chan struct{}), started: c.Now()}
	mux, err := s.routes()
	if err != nil {
		return nil, err
	}
	s.http = &http.Server{Handler: s.shell(mux), ReadHeaderTimeout: 5 * time.Second,
		ReadTimeout: 30 * time.Second, IdleTimeout: 2 * time.Minute, MaxHeaderBytes: 64 << 10,
		ErrorLog: slog.NewLogLogger(c.Logger.Handler(), slog.LevelDebug)}
	s.socket, err = net.Listen("tcp", c.Listen)
	if err != nil {
		return nil, fmt.Errorf("binding the admin API to %s (admin.listen): %w", c.Listen, err)
	}
	if c.TLS != nil {
		s.socket = tls.NewListener(s.socket, c.TLS)
	}
	return s, nil
}

// exposed refuses an address that others can reach unless TLS and tokens guard it.
func exposed(c Config) error {
	host, _, err := net.SplitHostPort(c.Listen)
	if err != nil {
		return fmt.Errorf("admin.listen %q: %w", c.Listen, err)
	}
	ip, err := netip.ParseAddr(host)
	if host == "localhost" || (err == nil && ip.Unmap().IsLoopback()) {
		return nil
	}
	if c.TLS == nil || len(c.Tokens) == 0 {
		return fmt.Errorf("admin.listen %s is not loopback: set admin.tls and admin.tokens, "+
			"or listen on 127.0.0.1", c.Listen)
	}
	return nil
}

// Addr returns the bound address.
func (s *Server) Addr() net.Addr { return s.socket.Addr() }

// Close frees the socket of a server that never ran.
func (s *Server) Close() error {
	if err := s.socket.Close(); err != nil && !errors.Is(err, net.ErrClosed) {
		return fmt.Errorf("closing the admin API's socket: %w", err)
	}
	return nil // Run closes it too, when it ends
}

// Run serves until ctx ends, then finishes what is in hand.
func (s *Server) Run(ctx context.Context) error {
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error { s.actual.run(ctx, s.cfg.Served); return nil })
	g.Go(func() error {
		if err := s.http.Serve(s.socket); !errors.Is(err, http.ErrServerClosed) {
			return fmt.Errorf("serving the admin API: %w", err)
		}
		return nil
	})
	g.Go(func() error {
		<-ctx.Done()
		close(s.quit)
		end, cancel := context.WithTimeout(context.WithoutCancel(ctx), stopLimit)
		defer cancel()
		if err := s.http.Shutdown(end); err != nil {
			s.http.Close() // a client that holds on is cut off
		}
		return nil
	})
	return g.Wait()
}

// shell surrounds every route: limits, headers, a last resort for panics, and counts.
func (s *Server) shell(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		r.Body = http.MaxBytesReader(w, r.Body, maxBody)
		h := w.Header()
		h.Set("X-Content-Type-Options", "nosniff")
		h.Set("Referrer-Policy", "no-referrer")
		h.Set("Cache-Control", "no-store")
		h.Set("Content-Security-Policy",
			"default-src 'self'; frame-ancestors 'none'; base-uri 'none'; form-action 'self'")
		rec := &recorder{ResponseWriter: w}
		defer func() {
			defer func() { s.metrics.count(r, rec.status) }()
			if p := recover(); p != nil {
				s.caught(rec, r, p)
			}
		}()
		next.ServeHTTP(rec, r)
	})
}

// caught answers a request whose handler panicked. When a part of the answer is out already,
// the connection is cut: the client must not take the part for the whole.
func (s *Server) caught(rec *recorder, r *http.Request, p any) {
	s.metrics.panics.Inc()
	s.log.Error("admin request panicked", "reason", fmt.Sprint(p), "path", r.URL.Path,
		"stack", string(debug.Stack()))
	if rec.status != 0 {
		panic(http.ErrAbortHandler)
	}
	writeProblem(rec, problem(http.StatusInternalServerError, api.CodeInternal,
		"this request met a bug; the log says which"))
}

// recorder remembers the status for the counts; 0: nothing was answered yet.
type recorder struct {
	http.ResponseWriter
	status int
}

// WriteHeader implements http.ResponseWriter.
func (r *recorder) WriteHeader(status int) {
	r.status = status
	r.ResponseWriter.WriteHeader(status)
}

// Write implements http.ResponseWriter.
func (r *recorder) Write(b []byte) (int, error) {
	if r.status == 0 {
		r.status = http.StatusOK
	}
	return r.ResponseWriter.Write(b)
}

// Unwrap lets http.ResponseController reach the connection.
func (r *recorder) Unwrap() http.ResponseWriter { return r.ResponseWriter }

// routes builds the multiplexer. Every route passes the scoped mux, which knows its scope.
func (s *Server) routes() (http.Handler, error) {
	mux := newScopedMux(s.auth)
	for _, r := range s.table() {
		mux.declare(r.pattern(), r.scope)
	}
	mux.declare("GET /openapi.json", ScopeRead)
	mux.declare("GET /openapi.yaml", ScopeRead)
	mux.declare("GET /openapi-3.0.json", ScopeRead)
	mux.declare("GET /openapi-3.0.yaml", ScopeRead)
	c := huma.DefaultConfig("Pointsman admin API", s.cfg.Version)
	c.DocsPath, c.SchemasPath, c.CreateHooks = "", "", nil
	c.Transformers = []huma.Transformer{withCode}
	a := humago.New(mux, c)
	for _, r := range s.table() {
		r.register(a, mux)
	}
	return mux, mux.err
}
