package edge

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"pointsman/edge/freshness"
	"pointsman/edge/storage"

	"golang.org/x/sync/errgroup"
)

type policy = freshness.Policy

// Server is an edge cache. Its methods may be called from many goroutines at once.
type Server struct {
	config    Config
	log       *slog.Logger
	now       func() time.Time
	listeners []net.Listener
	sites     atomic.Pointer[map[string]*site]
	cache     *storage.Cache
	flights   *flights
	budget    *budget // of the flights
	metrics   *metrics
	stats     *statistics
	draining  atomic.Bool
	closeOnce sync.Once
}

// New checks the config and binds the sockets. It starts no goroutine; a Server that is not
// run must be closed.
func New(c Config) (*Server, error) {
	c = c.withDefaults()
	if err := checkNode(c.Node); err != nil {
		return nil, err
	}
	s := &Server{
		config:  c,
		log:     c.Logger,
		now:     c.Now,
		cache:   storage.New(c.Memory),
		flights: newFlights(),
		budget:  &budget{limit: c.InFlight},
		stats:   newStatistics(),
	}
	if err := s.SetSites(c.Sites); err != nil {
		return nil, err
	}
	var err error
	if s.metrics, err = newMetrics(c.Registerer, s.cache, s.budget); err != nil {
		return nil, fmt.Errorf("registering edge metrics: %w", err)
	}
	for _, address := range c.Listen {
		l, err := net.Listen("tcp", address)
		if err != nil {
			return nil, errors.Join(fmt.Errorf("binding the edge: %w", err), s.Close())
		}
		s.listeners = append(s.listeners, l)
	}
	return s, nil
}

// Addrs are the bound addresses, in the order of Config.Listen.
func (s *Server) Addrs() []net.Addr {
	addrs := make([]net.Addr, len(s.listeners))
	for i, l := range s.listeners {
		addrs[i] = l.Addr()
	}
	return addrs
}

// Handler answers requests as the listeners do, for callers with a listener of their own.
func (s *Server) Handler() http.Handler { return http.HandlerFunc(s.serve) }

// SetSites replaces the sites; what is cached stays. On an error nothing has changed.
func (s *Server) SetSites(sites []Site) error {
	byHost, err := newSites(sites)
	if err != nil {
		return err
	}
	old := s.sites.Swap(&byHost)
	if old == nil {
		return nil
	}
	keep := map[string]bool{}
	for _, st := range byHost {
		keep[st.name] = true
	}
	for _, st := range *old {
		if !keep[st.name] {
			s.metrics.forget(st.name)
			s.stats.forget(st.name)
		}
	}
	s.log.Info("edge sites replaced", "sites", len(sites))
	return nil
}

// Run serves the listeners until ctx ends, then lets the requests under way finish, for at most
// Config.ShutdownTimeout. It returns nil when that worked, and closes the server. It may be
// called once.
func (s *Server) Run(ctx context.Context) error {
	server := &http.Server{
		Handler:           s.Handler(),
		ReadHeaderTimeout: s.config.ReadHeaderTimeout,
		IdleTimeout:       s.config.IdleTimeout,
		MaxHeaderBytes:    64 << 10,
		ErrorLog:          slog.NewLogLogger(s.log.Handler(), slog.LevelDebug),
	}
	group, running := errgroup.WithContext(ctx)
	for _, l := range s.listeners {
		group.Go(func() error {
			if err := server.Serve(l); !errors.Is(err, http.ErrServerClosed) {
				return fmt.Errorf("serving the edge on %s: %w", l.Addr(), err)
			}
			return nil
		})
	}
	group.Go(func() error {
		<-running.Done()
		s.draining.Store(true)
		return s.shutdown(server)
	})
	err := group.Wait()
	return errors.Join(err, s.Close())
}

// shutdown stops the HTTP server, gracefully at first.
func (s *Server) shutdown(server *http.Server) error {
	ctx, cancel := context.WithTimeout(context.Background(), s.config.ShutdownTimeout)
	defer cancel()
	if err := server.Shutdown(ctx); err != nil {
		return errors.Join(fmt.Errorf("draining the edge: %w", err), server.Close())
	}
	return nil
}

// Close closes the listeners, cancels the fetches under way and waits for them. Run does it by
// itself.
func (s *Server) Close() error {
	s.closeOnce.Do(func() {
		s.draining.Store(true)
		for _, l := range s.listeners {
			_ = l.Close() // a listener that Serve closed already says so; that is no mistake
		}
		s.flights.close()
		if t, ok := s.config.Transport.(interface{ CloseIdleConnections() }); ok {
			t.CloseIdleConnections()
		}
	})
	return nil
}
