// Package alias keeps the addresses behind host names that can't be answered as CNAMEs: it asks
// recursive resolvers in the background and holds the last good answer for as long as nothing
// better comes. Names flow in by SetTargets, an immutable Snapshot flows out by pointer and by a
// callback. Resolver.Run owns all goroutines.
package alias

import (
	"context"
	"log/slog"
	"maps"
	"math/rand/v2"
	"net/netip"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"pointsman/internal/store"
)

// Answer is what a name led to.
type Answer struct {
	V4, V6 []netip.Addr  // in order; either may be empty, not both
	TTL    time.Duration // the shorter of the two families', at least a second
	At     time.Time     // when the older of the two families was last confirmed
}

// Snapshot holds the last good answers by canonical name. A name that was never resolved is
// missing. It is immutable.
type Snapshot map[string]Answer

// Config is what a Resolver needs; every field may be zero.
type Config struct {
	// Servers are the recursive resolvers, in the order in which they are tried; empty: those
	// of /etc/resolv.conf, as it is at each look-up.
	Servers []netip.AddrPort
	// Store keeps the last good answers over a restart; nil: nothing does. The home's limit of
	// 1 MiB is enough for some 4,000 names.
	Store  store.Store
	Now    func() time.Time // nil: time.Now
	Logger *slog.Logger     // nil: nothing is logged
	// Registerer takes the metrics; nil: nobody sees them.
	Registerer prometheus.Registerer
	// OnChange gets each new snapshot, in order and never two at a time. It must not call the
	// Resolver.
	OnChange func(Snapshot)
}

// Resolver resolves names again and again. Its methods are safe for concurrent use.
type Resolver struct {
	config   Config
	log      *slog.Logger
	metrics  *metrics
	snapshot atomic.Pointer[Snapshot]
	wake     chan struct{} // holds one token while Run must look what is due
	servers  atomic.Pointer[[]netip.AddrPort]

	mu      sync.Mutex // guards what follows, and every store to snapshot
	records map[string]*entry
	saved   map[string]record // what the store held and no target has taken yet
}

// entry is a target with its record and whether a look-up is under way.
type entry struct {
	record
	busy bool
}

// New returns a resolver without targets.
func New(c Config) *Resolver {
	if c.Now == nil {
		c.Now = time.Now
	}
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	r := &Resolver{config: c, log: c.Logger, wake: make(chan struct{}, 1),
		records: map[string]*entry{}}
	r.snapshot.Store(&Snapshot{})
	r.SetServers(c.Servers)
	r.metrics = newMetrics(c.Registerer, r.Snapshot, c.Now)
	return r
}

// Snapshot returns the last good answers of the targets.
func (r *Resolver) Snapshot() Snapshot { return *r.snapshot.Load() }

// SetServers replaces Config.Servers from the next look-up on. When they are others, what could
// not be resolved is tried again at once.
func (r *Resolver) SetServers(servers []netip.AddrPort) {
	servers = slices.Clone(servers)
	if old := r.servers.Swap(&servers); old == nil || slices.Equal(*old, servers) {
		return
	}
	r.mu.Lock()
	for _, e := range r.records {
		if e.Failures > 0 {
			e.Due = time.Time{}
		}
	}
	r.mu.Unlock()
	r.stir()
}

// SetTargets says which names are wanted: canonical, lower case with the final dot. Those that
// are new have what the store kept of them, and are resolved by Run at once. Those that are gone
// are forgotten.
func (r *Resolver) SetTargets(names []string) {
	wanted := make(map[string]bool, len(names))
	for _, name := range names {
		wanted[name] = true
	}
	r.mu.Lock()
	r.add(names)
	for name := range r.records {
		if !wanted[name] {
			delete(r.records, name)
			r.metrics.forget(name)
		}
	}
	r.publish()
	r.mu.Unlock()
	r.stir()
}

// add adds targets. The caller holds r.mu.
func (r *Resolver) add(names []string) {
	for _, name := range names {
		if r.records[name] == nil {
			r.records[name] = &entry{record: r.saved[name]}
			delete(r.saved, name)
		}
	}
}

// Add adds targets, and waits until those that have no answer were looked up once, or ctx ends.
// A config that is about to come into force finds their addresses there.
func (r *Resolver) Add(ctx context.Context, names []string) {
	r.mu.Lock()
	r.add(names)
	var unknown []string
	for _, name := range names {
		if e := r.records[name]; e != nil && !e.known() && !e.busy {
			e.busy = true
			unknown = append(unknown, name)
		}
	}
	r.publish()
	r.mu.Unlock()
	var wg sync.WaitGroup
	slots := make(chan struct{}, mostLookUps)
	for _, name := range unknown {
		wg.Go(func() {
			slots <- struct{}{}
			defer func() { <-slots }()
			r.take(name, r.lookUp(ctx, name))
		})
	}
	wg.Wait()
	r.stir()
}

// stir leaves a token for Run.
func (r *Resolver) stir() {
	select {
	case r.wake <- struct{}{}:
	default: // one is there already
	}
}

// publish makes a snapshot of the records and hands it out. The caller holds r.mu.
func (r *Resolver) publish() {
	next := make(Snapshot, len(r.records))
	for name, e := range r.records {
		if e.known() {
			next[name] = e.answer()
		}
	}
	if maps.EqualFunc(next, r.Snapshot(), Answer.equal) {
		return
	}
	r.snapshot.Store(&next)
	if r.config.OnChange != nil {
		r.config.OnChange(next)
	}
}

func (a Answer) equal(b Answer) bool { return a.At.Equal(b.At) && a.same(b) }

// same reports whether two answers give the same addresses for the same time.
func (a Answer) same(b Answer) bool {
	return a.TTL == b.TTL && slices.Equal(a.V4, b.V4) && slices.Equal(a.V6, b.V6)
}

// take takes the outcome of a look-up in.
func (r *Resolver) take(name string, got lookUp) {
	r.mu.Lock()
	defer r.mu.Unlock()
	e := r.records[name]
	if e == nil {
		return // the target is gone
	}
	e.busy = false
	if got.cancelled {
		return
	}
	was := e.record
	result := ""
	e.record, result = step(was, got.v4, got.v6, r.config.Now(), rand.Float64())
	r.metrics.count(name, result)
	r.tell(name, was, e.record, result, got)
	r.publish()
}

// tell logs what changed for a target, and each trouble once.
func (r *Resolver) tell(name string, was, is record, result string, got lookUp) {
	moved := !slices.Equal(was.V4.Addrs, is.V4.Addrs) || !slices.Equal(was.V6.Addrs, is.V6.Addrs)
	switch {
	case result == resultAnswered && was.Failures > 0:
		r.log.Info("name resolved again", "target", name, "addresses", is.texts())
	case result == resultAnswered && moved:
		r.log.Info("addresses changed", "target", name, "addresses", is.texts())
	case result != resultAnswered && was.Failures == 0 && !is.known():
		r.log.Error("name never resolved: what needs it answers SERVFAIL", "target", name,
			"reason", result, "err", got.err())
	case result != resultAnswered && was.Failures == 0:
		r.log.Warn("name not resolved, its last good addresses stay", "target", name,
			"reason", result, "addresses", is.texts(), "err", got.err())
	}
}
