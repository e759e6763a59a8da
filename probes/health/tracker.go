package health

import (
	"context"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"pointsman/probes"
)

const (
	// refreshEvery is how often ages and latencies in the view are renewed and states are
	// decided anew, so that stale votes leave the count.
	refreshEvery = time.Second
	// exchangeEvery is how often votes are published and read, whether or not they changed.
	exchangeEvery = time.Second
	// exchangeTimeout bounds one call of the Exchange.
	exchangeTimeout = 2 * time.Second
)

// Config is what a Tracker needs.
type Config struct {
	Vantage  string           // this node's; stands in its votes
	Backends []string         // to track; samples of others are ignored
	Rules    map[string]Rules // by backend; a backend without has DefaultRules
	Exchange Exchange         // nil: this vantage decides alone
	// Control names tracked backends that fail only when our own eyes do, such as the origin.
	// While every backend fails, all of these included, no backend becomes Unhealthy by this
	// vantage's vote. Empty: failures are always believed. A control must be probed often
	// enough to fail before another backend falls: at most (Fall-1) of its intervals apart.
	Control    []string
	Now        func() time.Time      // nil: time.Now; must be the clock of the samples
	Logger     *slog.Logger          // nil: discard
	Registerer prometheus.Registerer // nil: no metrics
	// OnChange is called from Run's goroutine after the view's Version rose, with the newest
	// view; quick changes may share a call. It must not block. nil: not called.
	OnChange func(*View)
}

// Tracker holds the health of all backends. View takes no lock; all methods are safe for
// concurrent use.
type Tracker struct {
	vantage  string
	exchange Exchange
	control  []string
	now      func() time.Time
	log      *slog.Logger
	metrics  *metrics
	onChange func(*View)
	view     atomic.Pointer[View]
	wake     chan struct{} // holds one signal: the view changed outside of Run
	trade    chan struct{} // holds one signal: there is something to publish

	mu       sync.Mutex // guards all below; never held over I/O
	backends map[string]*backend
	others   map[string][]Vote
	version  uint64
	doubt    bool
	logs     []func() // lines to write once the mutex is free
}

// backend is what the tracker remembers of one.
type backend struct {
	rules   Rules
	records map[string]Record // by target
	own     Vote
	health  Health
	saved   *saved // not nil until own samples decide, after a warm start
}

// saved is a state of an earlier process.
type saved struct {
	at     time.Time
	reason string
}

// New returns a tracker to which all backends are Unknown.
func New(c Config) *Tracker {
	t := &Tracker{
		vantage: c.Vantage, exchange: c.Exchange, control: slices.Clone(c.Control), now: c.Now,
		log: c.Logger, metrics: newMetrics(c.Registerer), onChange: c.OnChange,
		wake: make(chan struct{}, 1), trade: make(chan struct{}, 1),
		backends: map[string]*backend{},
	}
	if t.now == nil {
		t.now = time.Now
	}
	if t.log == nil {
		t.log = slog.New(slog.DiscardHandler)
	}
	t.SetBackends(c.Backends, c.Rules)
	return t
}

// View returns the newest view; never nil. Its Version rises only with a change of any
// backend's state, or of the backends themselves. Between such changes a fresh view with the
// same Version is published each second, so that ages, latencies and reasons in it are true.
func (t *Tracker) View() *View { return t.view.Load() }

// SetBackends replaces the backends and their rules. One that was there keeps all that is
// known of it, also under new rules; a removed one is forgotten with its series.
func (t *Tracker) SetBackends(names []string, rules map[string]Rules) {
	t.mu.Lock()
	defer t.unlock()
	now := t.now()
	changed := t.version == 0
	for name := range t.backends {
		if !slices.Contains(names, name) {
			delete(t.backends, name)
			t.metrics.forget(name)
			changed = true
		}
	}
	for _, name := range names {
		b := t.backends[name]
		if b == nil {
			b = &backend{records: map[string]Record{}}
			b.health = Health{Backend: name, State: Unknown, Since: now.UTC()}
			t.backends[name] = b
			changed = true
		}
		b.rules = rules[name].orDefaults()
	}
	if changed {
		t.version++
	}
	t.decideAll(now)
	t.publish(now)
	signal(t.wake)
}

// Restore takes over the states of an earlier process for backends that are still Unknown.
// They count, with their age in the reason, until samples or other vantages decide. A nil view
// is none. The version continues above the saved one.
func (t *Tracker) Restore(v *View) {
	if v == nil {
		return
	}
	t.mu.Lock()
	defer t.unlock()
	now := t.now()
	for name, b := range t.backends {
		h, ok := v.Backends[name]
		if !ok || b.health.State != Unknown || !h.State.known() || h.State == Unknown {
			continue
		}
		b.saved = &saved{at: v.At, reason: h.Reason}
		h.Backend, h.Votes = name, nil
		b.health = h
	}
	t.version = max(t.version, v.Version) + 1
	t.decideAll(now)
	t.publish(now)
	signal(t.wake)
}

// known reports whether s is one of the states.
func (s State) known() bool {
	return s == Unknown || s == Healthy || s == Degraded || s == Unhealthy
}

// Run turns samples into views until ctx ends, and exchanges votes meanwhile. A channel that
// is closed is not an end: what is known then grows old. It returns ctx's error after all it
// started has ended.
func (t *Tracker) Run(ctx context.Context, samples <-chan probes.Sample) error {
	var trader sync.WaitGroup
	defer trader.Wait()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	if t.exchange != nil {
		trader.Go(func() { t.exchangeVotes(ctx) })
	}
	ticker := time.NewTicker(refreshEvery)
	defer ticker.Stop()
	var told uint64
	for {
		if v := t.View(); v.Version != told {
			told = v.Version
			signal(t.trade)
			if t.onChange != nil {
				t.onChange(v)
			}
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("tracking health: %w", context.Cause(ctx))
		case s, ok := <-samples:
			if !ok {
				samples = nil
				continue
			}
			t.observe(s)
		case <-ticker.C:
			t.refresh()
		case <-t.wake:
		}
	}
}

// observe takes one sample in and publishes when a state changed by it.
func (t *Tracker) observe(s probes.Sample) {
	t.mu.Lock()
	defer t.unlock()
	b := t.backends[s.Backend]
	if b == nil {
		return
	}
	b.records[s.Target] = Step(b.rules, b.records[s.Target], s)
	now := t.now()
	t.doubtOurselves()
	if t.decide(b, now) {
		t.publish(now)
	}
}

// refresh decides every backend anew and publishes a view with true ages.
func (t *Tracker) refresh() {
	t.mu.Lock()
	defer t.unlock()
	now := t.now()
	t.decideAll(now)
	t.publish(now)
	t.metrics.votes(t.others, now)
}

func (t *Tracker) decideAll(now time.Time) {
	t.doubtOurselves()
	for _, b := range t.backends {
		t.decide(b, now)
	}
}

// decide renews a backend's health from its records and all votes; it reports whether the
// state is another one, and then raises the version.
func (t *Tracker) decide(b *backend, now time.Time) (changed bool) {
	h := b.health
	summary := summarize(b.records, b.rules)
	b.own = t.vote(b, summary)
	others := t.others[h.Backend]
	state, reason := Decide(b.own, others, h.State, now, b.rules.StaleAfter)
	if b.saved != nil {
		if len(counting(b.own, others, now, b.rules.StaleAfter)) > 0 {
			b.saved = nil
		} else {
			reason = b.saved.say(now)
		}
	}
	changed = state != h.State
	if changed {
		if h.State == Unhealthy {
			h.UsableSince = now.UTC()
		}
		h.State, h.Since = state, now.UTC()
		t.version++
		t.metrics.transitions.WithLabelValues(h.Backend, string(state)).Inc()
		t.later(slog.LevelInfo, "state changed",
			"backend", h.Backend, "state", state, "reason", reason)
	}
	h.Reason = reason
	if !summary.last.IsZero() {
		h.LastSample, h.Latency, h.CertExpires = summary.last, summary.latency, summary.certEnds
	}
	h.Votes = append([]Vote{b.own}, others...)
	b.health = h
	return changed
}

// say explains a saved state by its age.
func (s saved) say(now time.Time) string {
	return fmt.Sprintf("as saved %v ago: %s", now.Sub(s.at).Round(time.Second), s.reason)
}

// publish makes what is known the view.
func (t *Tracker) publish(now time.Time) {
	v := &View{Version: t.version, At: now.UTC(), Backends: make(map[string]Health)}
	for name, b := range t.backends {
		v.Backends[name] = b.health
		t.metrics.backend(b.health, now)
	}
	t.metrics.version.Set(float64(t.version))
	t.metrics.doubt.Set(oneIf(t.doubt))
	t.view.Store(v)
}

// later writes a log line when the mutex is given back: a slow log must not hold it.
func (t *Tracker) later(level slog.Level, message string, attributes ...any) {
	t.logs = append(t.logs, func() {
		t.log.Log(context.Background(), level, message, attributes...)
	})
}

// unlock gives the mutex back and then writes what was logged under it.
func (t *Tracker) unlock() {
	logs := t.logs
	t.logs = nil
	t.mu.Unlock()
	for _, write := range logs {
		write()
	}
}

// signal leaves one signal in a channel that holds one.
func signal(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}
