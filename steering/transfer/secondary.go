package transfer

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net"
	"reflect"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// maxFetches bounds the zones that are fetched at the same time.
const maxFetches = 4

// Config is what a Secondary needs.
type Config struct {
	// Dir is the folder for copies; it is made when the first one comes.
	Dir string
	// Take puts a new copy in force, or says why it can't be; then the old one stays.
	Take func(*Copy) error
	// Absent reports whether a zone, by its canonical name, is answered without content; nil: one
	// without a copy is.
	Absent func(zone string) bool
	// Logger gets changes of state; nil: nothing is logged.
	Logger *slog.Logger
	// Registerer gets the metrics; nil: they are not registered.
	Registerer prometheus.Registerer

	dial dialer // nil: the network
}

// Zone is a zone that is fetched, by its canonical name. Primaries are asked in their order until
// one answers.
type Zone struct {
	Name      string
	Primaries []Primary
}

// Secondary fetches zones. Its methods are safe for concurrent use.
type Secondary struct {
	cfg     Config
	metrics *metrics
	fetches chan struct{}
	changed chan struct{}

	mu     sync.Mutex // guards the rest
	zones  map[string]Zone
	wakes  map[string]chan struct{}
	copies map[string]*Copy
	// damaged holds the zones whose copy on disk is known to be unreadable.
	damaged map[string]bool
}

// New makes a Secondary. It starts nothing: Run does.
func New(cfg Config) (*Secondary, error) {
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	if cfg.dial == nil {
		cfg.dial = &net.Dialer{Timeout: readLimit}
	}
	m, err := newMetrics(cfg.Registerer)
	if err != nil {
		return nil, err
	}
	return &Secondary{cfg: cfg, metrics: m, fetches: make(chan struct{}, maxFetches),
		changed: make(chan struct{}, 1), zones: make(map[string]Zone),
		wakes: make(map[string]chan struct{}), copies: make(map[string]*Copy), damaged: make(map[string]bool)}, nil
}

// SetZones replaces the zones that are fetched. Those that stay as they are go on, and are asked
// for soon: what was refused may be good now.
func (s *Secondary) SetZones(zones []Zone) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.zones = make(map[string]Zone, len(zones))
	for _, z := range zones {
		s.zones[z.Name] = z
	}
	for name := range s.copies {
		if _, ok := s.zones[name]; !ok {
			delete(s.copies, name)
		}
	}
	for _, wake := range s.wakes {
		poke(wake)
	}
	poke(s.changed)
}

// Current returns the newest copy of a zone: the one in force, else the one on disk; nil when
// there is none.
func (s *Secondary) Current(zone string) *Copy {
	s.mu.Lock()
	c := s.copies[zone]
	s.mu.Unlock()
	if c != nil {
		return c
	}
	c, err := Load(s.cfg.Dir, zone) // Notify must not wait for the disk
	if err != nil {
		s.unread(zone, err)
		return nil
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if newer := s.copies[zone]; newer != nil {
		return newer
	}
	s.copies[zone] = c
	return c
}

// Notify says that a primary has a new version of a zone (RFC 1996). It doesn't wait.
func (s *Secondary) Notify(zone string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if wake := s.wakes[zone]; wake != nil {
		poke(wake)
	}
}

func poke(ch chan struct{}) {
	select {
	case ch <- struct{}{}:
	default: // it has been told
	}
}

// Run fetches zones until the context ends.
func (s *Secondary) Run(ctx context.Context) error {
	var wg sync.WaitGroup
	defer wg.Wait()
	type worker struct {
		zone Zone
		stop context.CancelFunc
		done chan struct{}
	}
	workers := make(map[string]worker)
	defer func() {
		for _, w := range workers {
			w.stop()
		}
	}()
	for {
		want := s.wanted()
		for name, w := range workers {
			if z, ok := want[name]; ok && reflect.DeepEqual(z, w.zone) {
				continue
			}
			w.stop()
			<-w.done
			delete(workers, name)
			s.metrics.forget(name)
		}
		for name, z := range want {
			if _, ok := workers[name]; ok {
				continue
			}
			zoneCtx, stop := context.WithCancel(ctx)
			w := worker{z, stop, make(chan struct{})}
			workers[name] = w
			wake := s.wake(name)
			wg.Go(func() { defer close(w.done); s.follow(zoneCtx, z, wake) })
		}
		select {
		case <-ctx.Done():
			return nil
		case <-s.changed:
		}
	}
}

func (s *Secondary) wanted() map[string]Zone {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.zones // replaced as a whole
}

func (s *Secondary) wake(zone string) chan struct{} {
	s.mu.Lock()
	defer s.mu.Unlock()
	wake := make(chan struct{}, 1)
	s.wakes[zone] = wake
	return wake
}

// follow asks a zone's primaries whenever it is time.
func (s *Secondary) follow(ctx context.Context, z Zone, wake <-chan struct{}) {
	var at schedule
	if c := s.Current(z.Name); c != nil {
		at.timers, at.heard = c.Timers, heard(s.cfg.Dir, z.Name)
	}
	for {
		s.metrics.shown(z.Name, s.Current(z.Name), at, time.Now())
		if !sleep(ctx, time.Until(at.next(rand.Float64())), wake) {
			return
		}
		if !sleep(ctx, time.Until(at.asked.Add(notifyGap)), nil) {
			return
		}
		at = s.look(ctx, z, at)
	}
}

// sleep waits for a time or to be woken, and returns false when the context has ended.
func sleep(ctx context.Context, d time.Duration, wake <-chan struct{}) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
	case <-wake:
	case <-t.C:
	}
	return ctx.Err() == nil
}

// look asks the primaries once.
func (s *Secondary) look(ctx context.Context, z Zone, at schedule) schedule {
	select {
	case s.fetches <- struct{}{}:
		defer func() { <-s.fetches }()
	case <-ctx.Done():
		return at
	}
	have := s.Current(z.Name)
	got, err := s.ask(ctx, z, have)
	now := time.Now()
	switch {
	case ctx.Err() != nil:
		return at
	case err != nil:
		s.metrics.looked(z.Name, "failed")
		return s.complain(z.Name, at, now, err).failed(false, now)
	case got == nil:
		s.metrics.looked(z.Name, "current")
		if err := touch(s.cfg.Dir, z.Name, now); err != nil {
			s.unsaved(have, err)
		}
		s.recovered(z.Name, at)
		return at.answered(have.Timers, now)
	}
	got.Fetched = now
	if err := s.cfg.Take(got); err != nil {
		s.metrics.looked(z.Name, "refused")
		s.refuse(got, err)
		return at.failed(true, now)
	}
	s.keep(got)
	s.recovered(z.Name, at)
	return at.answered(got.Timers, now)
}

// ask tries one primary after the other.
func (s *Secondary) ask(ctx context.Context, z Zone, have *Copy) (*Copy, error) {
	var errs []error
	for _, p := range z.Primaries {
		got, err := fetch(ctx, s.cfg.dial, p, z.Name, have)
		if err == nil {
			return got, nil
		}
		errs = append(errs, fmt.Errorf("asking %s: %w", p.Server, err))
	}
	return nil, errors.Join(errs...)
}

// keep remembers a copy that is in force.
func (s *Secondary) keep(c *Copy) {
	s.mu.Lock()
	if _, ok := s.zones[c.Zone]; ok {
		s.copies[c.Zone] = c
	}
	s.mu.Unlock()
	s.metrics.looked(c.Zone, "taken")
	s.cfg.Logger.Info("zone fetched", "zone", c.Zone, "serial", c.Serial, "bytes", len(c.Data))
	if err := c.save(s.cfg.Dir); err != nil {
		s.unsaved(c, err)
	}
}

func (s *Secondary) unsaved(c *Copy, err error) {
	s.metrics.unsaved.Inc()
	s.cfg.Logger.Error("copy of a zone not written, a restart would serve an older one",
		"zone", c.Zone, "serial", c.Serial, "err", err)
}

// complain logs the first failure, and the one with which the copy becomes stale; without a copy
// one every so often.
func (s *Secondary) complain(zone string, at schedule, now time.Time, err error) schedule {
	switch stale := at.stale(now); {
	case s.absent(zone):
		return s.remind(zone, at, now, err)
	case stale && !at.heard.IsZero() && (at.asked.IsZero() || !at.stale(at.asked)):
		s.cfg.Logger.Error("zone stale, its primaries were not heard for longer than its SOA's "+
			"expire; it is served on", "zone", zone, "heard", at.heard, "err", err)
	case at.failures == 0:
		s.cfg.Logger.Warn("primaries of a zone not heard, its copy serves on", "zone", zone, "err", err)
	}
	return at
}

func (s *Secondary) recovered(zone string, at schedule) {
	if at.failures > 0 {
		s.cfg.Logger.Info("primary of a zone heard again", "zone", zone)
	}
}
