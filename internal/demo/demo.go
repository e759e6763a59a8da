package demo

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"time"

	"golang.org/x/sync/errgroup"
)

// stopLimit is how long the demo's servers may take to finish what is in hand.
const stopLimit = 3 * time.Second

// Demo is everything around the node: origin, stand-ins and clients.
type Demo struct {
	ports    Ports
	standins []*standin
	clients  *clients
	servers  []*http.Server
	sockets  []net.Listener
	runs     []func(context.Context) error
}

// New binds every socket of the demo, so that a port which is taken is told at once with the
// flag that changes it. It starts nothing.
func New(p Ports, log *slog.Logger) (*Demo, error) {
	d := &Demo{ports: p, clients: newClients(p)}
	if err := d.build(log); err != nil {
		return nil, errors.Join(err, d.Close())
	}
	return d, nil
}

func (d *Demo) build(log *slog.Logger) error {
	site := newOrigin(time.Now)
	if err := d.serve(originIP, d.ports.HTTP, "--http-port", site); err != nil {
		return err
	}
	for i, c := range cdns() {
		s, err := newStandin(c, i, d.originURL(), log)
		if err != nil {
			return err
		}
		d.standins = append(d.standins, s)
		d.runs = append(d.runs, s.cache.Run)
		if err := d.serve(c.IP, d.ports.HTTP, "--http-port", s); err != nil {
			return err
		}
		if err := d.serve(c.IP, d.ports.API, "--api-port", s.control()); err != nil {
			return err
		}
	}
	return nil
}

func (d *Demo) originURL() string { return fmt.Sprintf("http://%s:%d", originIP, d.ports.HTTP) }

// serve binds one address and remembers the server for Run.
func (d *Demo) serve(ip string, port uint16, flag string, h http.Handler) error {
	addr := netip.AddrPortFrom(netip.MustParseAddr(ip), port)
	l, err := net.Listen("tcp", addr.String())
	if err != nil {
		return fmt.Errorf("binding %s (change it with %s): %w", addr, flag, err)
	}
	d.sockets = append(d.sockets, l)
	d.servers = append(d.servers, &http.Server{Handler: h, ReadHeaderTimeout: 5 * time.Second})
	return nil
}

// Run serves until ctx ends, then stops everything it started.
func (d *Demo) Run(ctx context.Context) error {
	g, ctx := errgroup.WithContext(ctx)
	for i, s := range d.servers {
		g.Go(func() error {
			if err := s.Serve(d.sockets[i]); !errors.Is(err, http.ErrServerClosed) {
				return fmt.Errorf("serving %s: %w", d.sockets[i].Addr(), err)
			}
			return nil
		})
	}
	for _, run := range d.runs {
		g.Go(func() error { return run(ctx) })
	}
	g.Go(func() error { return d.clients.run(ctx) })
	g.Go(func() error {
		<-ctx.Done()
		return d.stop(context.WithoutCancel(ctx))
	})
	return g.Wait()
}

func (d *Demo) stop(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, stopLimit)
	defer cancel()
	for _, s := range d.servers {
		if s.Shutdown(ctx) != nil {
			s.Close() // a client that holds on is cut off
		}
	}
	return nil
}

// Close frees what a demo that never ran holds; after Run it does nothing.
func (d *Demo) Close() error {
	var errs []error
	for _, l := range d.sockets {
		if err := l.Close(); !errors.Is(err, net.ErrClosed) {
			errs = append(errs, err)
		}
	}
	for _, s := range d.standins {
		errs = append(errs, s.cache.Close())
	}
	return errors.Join(errs...)
}

// Env is what the node's config needs in its environment.
func Env() []string { return []string{tokenEnv + "=" + tokenValue} }

// Toggle breaks or heals the stand-in with this number, from 0; it answers 503 while broken.
// It returns its name and whether it is broken now; ok is false when there is no such stand-in.
func (d *Demo) Toggle(n int) (name string, broken, ok bool) {
	if n < 0 || n >= len(d.standins) {
		return "", false, false
	}
	s := d.standins[n]
	return s.name, s.toggle(), true
}

// Clients counts what the demo's clients saw.
func (d *Demo) Clients() ClientCounts { return d.clients.counts() }
