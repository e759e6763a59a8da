package demo

import (
	"fmt"
	"log/slog"
	"net/http"
	"sync/atomic"
	"time"

	"pointsman/edge"
	"pointsman/internal/secret"
	"pointsman/providers/providertest"
)

// standin is one stand-in for a commercial CDN: a real caching proxy with a delay, and a purge
// API in the dialect of a vendor that acts on its cache.
type standin struct {
	name   string
	delay  time.Duration
	cache  *edge.Server
	site   http.Handler // what the cache serves
	api    http.Handler
	broken atomic.Bool
}

// newStandin builds the stand-in with this number; the number chooses the API's dialect.
func newStandin(c cdn, n int, origin string, log *slog.Logger) (*standin, error) {
	cache, err := edge.New(edge.Config{
		Memory: 16 << 20, Node: c.Name + "-cdn", Logger: log,
		Sites: []edge.Site{{Hosts: []string{"cdn.example.test", "www.example.test"},
			Origin: origin, StaleIfError: time.Hour}},
	})
	if err != nil {
		return nil, fmt.Errorf("building stand-in %q: %w", c.Name, err)
	}
	s := &standin{name: c.Name, delay: time.Duration(c.DelayMS) * time.Millisecond, cache: cache,
		site: cache.Handler()}
	s.api = s.dialect(n)
	return s, nil
}

// dialect returns the purge API: the first speaks like Fastly, the second like Cloudflare, the
// third like another Pointsman edge.
func (s *standin) dialect(n int) http.Handler {
	apply := func(a providertest.Applied) error {
		_, err := s.cache.Purge(string(a.Kind), a.Items, a.Soft)
		return err
	}
	token := secret.New(tokenValue).Reveal()
	switch n {
	case 0:
		return providertest.NewFastly(providertest.FastlyConfig{
			Token: token, ServiceID: "DemoAlphaService", Scheme: "http", Apply: apply})
	case 1:
		return providertest.NewCloudflare(providertest.CloudflareConfig{
			Token: token, ZoneID: "00000000000000000000000000000b2a", Apply: apply})
	}
	return providertest.NewEdge(providertest.EdgeConfig{Token: token, Apply: apply})
}

// ServeHTTP answers a visitor: after the delay from the cache, or 503 while broken.
func (s *standin) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	t := time.NewTimer(s.delay)
	defer t.Stop()
	select {
	case <-r.Context().Done():
		return
	case <-t.C:
	}
	w.Header().Set("Server", s.name+"-cdn")
	if s.broken.Load() {
		http.Error(w, s.name+"-cdn is broken on purpose", http.StatusServiceUnavailable)
		return
	}
	s.site.ServeHTTP(w, r)
}

// control serves the purge API, and two paths with which to break and heal the stand-in.
func (s *standin) control() http.Handler {
	mux := http.NewServeMux()
	set := func(broken bool) http.HandlerFunc {
		return func(w http.ResponseWriter, _ *http.Request) {
			s.broken.Store(broken)
			fmt.Fprintf(w, "%s-cdn broken: %t\n", s.name, broken)
		}
	}
	mux.HandleFunc("POST /demo/break", set(true))
	mux.HandleFunc("POST /demo/heal", set(false))
	mux.Handle("/", s.api)
	return mux
}

// toggle breaks what works and heals what is broken; it returns the new state.
func (s *standin) toggle() bool {
	for {
		old := s.broken.Load()
		if s.broken.CompareAndSwap(old, !old) {
			return !old
		}
	}
}
