package admin

import "time"

// Routes returns every pattern that the server serves, with its scope.
func (s *Server) Routes() map[string]Scope {
	out := map[string]Scope{}
	for _, r := range s.table() {
		out[r.pattern()] = r.scope
	}
	return out
}

// BuildUnscoped builds a multiplexer with one route that nobody gave a scope.
func BuildUnscoped() error {
	m := newScopedMux(newAuthorizer(Config{}))
	m.declare("GET /declared", ScopeRead)
	m.HandleFunc("GET /declared", nil)
	m.HandleFunc("GET /forgotten", nil)
	return m.err
}

// Actual is the counter of actual shares, for tests with a clock of their own.
type Actual struct{ *actual }

// NewActual returns one.
func NewActual(now func() time.Time) Actual { return Actual{newActual(now)} }

// Take takes a mark.
func (a Actual) Take(s ...Served) { a.take(s) }

// Of returns a pair's answers in the window, and those of its host.
func (a Actual) Of(host, backend string) (mine, all uint64) { return a.of(host, backend) }
