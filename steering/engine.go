package steering

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"net/netip"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"pointsman/probes/health"
	"pointsman/steering/control"
	"pointsman/steering/geo"
)

const (
	// coalesce is how long Run gathers inputs after the first that moved.
	coalesce = 10 * time.Millisecond
	// defaultTick is how often Run looks whether time alone has moved something.
	defaultTick = time.Second
	// defaultKeep is how long guidance holds when nobody renews it: a restart or a new leader takes
	// seconds, and caches have long been warm for it.
	defaultKeep = 15 * time.Minute
	// ringSize is how many changes the engine remembers.
	ringSize = 256
)

// EngineConfig is what an engine needs; every field may be zero.
type EngineConfig struct {
	Now        func() time.Time      // nil: time.Now
	Logger     *slog.Logger          // nil: nothing is logged
	Registerer prometheus.Registerer // nil: nothing is registered
	// Version is the last table version known from before the restart; the first table of
	// this engine gets the next.
	Version uint64
	// Tick is how often ramps and the ends of overrides are looked at; 0: 1 s.
	Tick time.Duration
	// GuidanceKeep is how old guidance may be before it fades, which takes as long again; 0: 15 min.
	GuidanceKeep time.Duration
	// OnChange is called once for each change, in order and never twice at a time. It may
	// call the engine. While it blocks, later changes wait for it; tables don't.
	OnChange func(Change)
}

// Engine keeps the table in force. Inputs flow in through SetSpec, SetView, SetOverrides,
// SetGuidance, SetCountries and SetAddresses; Run compiles them. Table never waits. All methods are
// safe for concurrent use.
type Engine struct {
	config  EngineConfig
	log     *slog.Logger
	metrics *metrics
	table   atomic.Pointer[Table]
	moved   chan struct{} // holds one token while inputs wait for Run

	mu         sync.Mutex // guards what follows, and every store to table
	inputs     Inputs     // the latest handed in; Spec is nil before the first SetSpec
	compiled   Inputs     // those behind the last table compiled
	ramps      map[string]time.Duration
	returned   map[string]time.Time // when feeds let backends back; see letBack
	ring       []Change             // the last ringSize, oldest first
	seq        uint64
	pending    []Change // not yet given to OnChange
	delivering bool     // somebody is calling OnChange
}

// NewEngine returns an engine without a table; SetSpec makes the first.
func NewEngine(c EngineConfig) *Engine {
	if c.Now == nil {
		c.Now = time.Now
	}
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	if c.Tick <= 0 {
		c.Tick = defaultTick
	}
	if c.GuidanceKeep <= 0 {
		c.GuidanceKeep = defaultKeep
	}
	return &Engine{
		config:  c,
		log:     c.Logger,
		metrics: newMetrics(c.Registerer),
		moved:   make(chan struct{}, 1),
	}
}

// Table returns the table in force; nil before the first SetSpec.
func (e *Engine) Table() *Table { return e.table.Load() }

// SetSpec compiles a spec with the inputs at hand and puts the table in force before it
// returns. An error changes nothing: the table and the spec before stay. The spec must not
// change afterwards.
func (e *Engine) SetSpec(s *Spec) error {
	e.mu.Lock()
	in := e.inputs
	in.Spec = s
	ramps := hostRamps(s)
	r := e.compile(in, ramps, true)
	if r.err == nil {
		e.ramps = ramps
	}
	e.mu.Unlock()
	e.finish(r)
	return r.err
}

// SetView hands in a view of health; nil is ignored. Run compiles when its version differs
// from the last one's, or when a latency moved so far that pools that go by it may choose others.
func (e *Engine) SetView(v *health.View) {
	if v == nil {
		return
	}
	e.mu.Lock()
	same := e.inputs.View != nil && e.inputs.View.Version == v.Version
	e.inputs.View = v
	if now := control.Steady(e.inputs.Latencies, latencies(v)); !maps.Equal(
		now, e.inputs.Latencies) {
		e.inputs.Latencies = now
		same = same && !e.inputs.Spec.byLatency()
	}
	e.mu.Unlock()
	if !same {
		e.move()
	}
}

// SetOverrides hands in all overrides there are; those that ended or have ended by the time
// of a compilation don't count in it. The engine keeps a copy.
func (e *Engine) SetOverrides(list []Override) {
	e.mu.Lock()
	same := slices.Equal(e.inputs.Overrides, list)
	if !same {
		e.inputs.Overrides = slices.Clone(list)
	}
	e.mu.Unlock()
	if !same {
		e.move()
	}
}

// SetFed hands in what feeds say of backends, all of it. Run compiles when other values hold;
// those that were merely said again show in explanations. The engine keeps a copy.
func (e *Engine) SetFed(list []FedValue) {
	now := e.config.Now()
	e.mu.Lock()
	same := sameFed(e.inputs.Fed, now, list, now)
	e.inputs.Fed = slices.Clone(list)
	e.mu.Unlock()
	if !same {
		e.move()
	}
}

// SetCountries hands in country data; nil takes it away. Run compiles when it is another. In
// force with a spec at once is what was handed in before SetSpec.
func (e *Engine) SetCountries(l *geo.Locator) {
	e.mu.Lock()
	same := e.inputs.Countries == l
	e.inputs.Countries = l
	e.mu.Unlock()
	if !same {
		e.move()
	}
}

// SetAddresses hands in the addresses behind CNAMEs. Run compiles when others would be answered;
// those that were merely confirmed show in explanations. They must not change afterwards. In
// force with a spec at once is what was handed in before SetSpec.
func (e *Engine) SetAddresses(a Addresses) {
	e.mu.Lock()
	same := e.inputs.Addresses.same(a)
	e.inputs.Addresses = a
	e.mu.Unlock()
	if !same {
		e.move()
	}
}

// move leaves a token for Run.
func (e *Engine) move() {
	select {
	case e.moved <- struct{}{}:
	default: // one is there already
	}
}

// Changes returns the remembered changes with a Seq above after, oldest first. The engine
// remembers the last 256.
func (e *Engine) Changes(after uint64) []Change {
	e.mu.Lock()
	defer e.mu.Unlock()
	i, _ := slices.BinarySearchFunc(e.ring, after, func(c Change, seq uint64) int {
		if c.Seq <= seq {
			return -1
		}
		return 1
	})
	return slices.Clone(e.ring[i:])
}

// Publish puts a table in force that somebody else compiled. It refuses one that is nil, has
// no hosts, or whose version is not above that of the table in force; the latter stays then.
func (e *Engine) Publish(t *Table) error {
	e.mu.Lock()
	r := report{cause: "published"}
	if r.err = e.admit(t); r.err == nil {
		e.install(t, r.cause)
		r.table = t
	}
	e.mu.Unlock()
	e.finish(r)
	return r.err
}

// Explain explains a decision of the table in force. When compiling the newest inputs would
// give the same answers, the inputs shown are those: a state that was confirmed a second ago
// isn't shown as old as the table is. It returns false when the name isn't steered.
func (e *Engine) Explain(host string, client netip.Prefix, draw uint64) (Explanation, bool) {
	t := e.Table()
	if t == nil {
		return Explanation{}, false
	}
	now := e.config.Now()
	e.mu.Lock()
	in := e.inputs
	e.mu.Unlock()
	in.Version, in.Now, in.Prior = t.Version, now, t
	if fresh, err := Compile(in); err == nil && fresh.Hash == t.Hash {
		fresh.CompiledAt = t.CompiledAt
		t = fresh
	}
	return Explain(t, host, client, draw, now)
}

// Run compiles when inputs moved, until ctx ends; then it returns nil. It gathers bursts for
// 10 ms. On each tick it moves ramps on and drops overrides that
// ended and guidance that fades. Call it once.
func (e *Engine) Run(ctx context.Context) error {
	ticker := time.NewTicker(e.config.Tick)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-ticker.C:
			e.tick()
		case <-e.moved:
			if !sleep(ctx, coalesce) {
				return nil
			}
			select { // what moved meanwhile is compiled now
			case <-e.moved:
			default:
			}
			e.recompile()
		}
	}
}

// sleep waits, and returns false when ctx ended first.
func sleep(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-timer.C:
		return true
	}
}

// tick compiles if time alone has moved something.
func (e *Engine) tick() {
	e.mu.Lock()
	now := e.config.Now()
	e.metrics.guidance(e.inputs.Guidance, now, e.config.GuidanceKeep)
	due := e.inputs.Spec != nil &&
		(e.step(e.inputs, e.ramps, now).Epoch != e.inputs.Shares.Epoch || e.ended(now))
	e.mu.Unlock()
	if due {
		e.recompile()
	}
}

// ended reports whether an override, or what a feed said, began or ceased to hold since the last
// compilation.
func (e *Engine) ended(now time.Time) bool {
	if !sameFed(e.compiled.Fed, e.compiled.Now, e.inputs.Fed, now) {
		return true
	}
	return slices.ContainsFunc(e.compiled.Overrides, func(o Override) bool {
		return o.Active(e.compiled.Now) != o.Active(now)
	})
}

// recompile compiles the inputs at hand. Without a spec there is nothing to do yet.
func (e *Engine) recompile() {
	e.mu.Lock()
	if e.inputs.Spec == nil {
		e.mu.Unlock()
		return
	}
	r := e.compile(e.inputs, e.ramps, false)
	e.mu.Unlock()
	e.finish(r)
}

// report is what is to be logged of a compilation once the mutex is free.
type report struct {
	table *Table // nil when no new table came into force
	cause string
	took  time.Duration
	err   error
}

// compile compiles inputs and puts the table in force if its content is new, or always when
// forced. A table with the content of the one in force takes its place under its version, so
// that explanations see the newest inputs. The caller holds e.mu.
func (e *Engine) compile(in Inputs, ramps map[string]time.Duration, force bool) report {
	in.Now = e.config.Now()
	e.letBack(in)
	in.Shares = e.step(in, ramps, in.Now)
	current := e.table.Load()
	in.Version = e.config.Version + 1
	if current != nil {
		in.Version = current.Version + 1
	}
	began := time.Now()
	in.Prior = current
	t, err := Compile(in)
	in.Prior = nil
	r := report{took: time.Since(began), cause: cause(e.compiled, in)}
	e.metrics.duration.Observe(r.took.Seconds())
	if err != nil {
		r.err = err
		e.metrics.refused.Inc()
		return r
	}
	e.inputs, e.compiled = in, in
	e.metrics.active(in)
	if current != nil && current.Hash == t.Hash && !force {
		t.Version = current.Version
		e.table.Store(t)
		e.metrics.table(current, t)
		return r
	}
	e.install(t, r.cause)
	r.table = t
	return r
}

// admit says why a table can't come into force. The caller holds e.mu.
func (e *Engine) admit(t *Table) error {
	var err error
	switch current := e.table.Load(); {
	case t == nil || len(t.hosts) == 0:
		err = errors.New("publishing table: it has no hosts")
	case current != nil && t.Version <= current.Version:
		err = fmt.Errorf("publishing table %d: version %d is in force",
			t.Version, current.Version)
	}
	if err != nil {
		e.metrics.refused.Inc()
	}
	return err
}

// install puts a table in force and records what it changes. The caller holds e.mu.
func (e *Engine) install(t *Table, cause string) {
	before := e.table.Load()
	e.table.Store(t)
	e.metrics.table(before, t)
	e.metrics.published.Inc()
	for _, c := range changes(before, t, cause, e.config.Now()) {
		e.seq++
		c.Seq = e.seq
		e.ring = append(e.ring, c)
		if e.config.OnChange != nil {
			e.pending = append(e.pending, c)
		}
	}
	if over := len(e.ring) - ringSize; over > 0 {
		e.ring = slices.Clone(e.ring[over:])
	}
}

// finish logs a report and hands out changes. The caller doesn't hold e.mu.
func (e *Engine) finish(r report) {
	switch {
	case r.err != nil:
		e.log.Error("table refused", "reason", r.cause, "err", r.err)
	case r.table != nil:
		e.log.Info("table published", "table_version", r.table.Version,
			"reason", r.cause, "hash", r.table.Hash, "took", r.took)
	}
	e.deliver()
}

// deliver calls OnChange for what is pending. If another goroutine is at it, that one does
// the rest: so the order holds, and OnChange may itself cause changes.
func (e *Engine) deliver() {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.delivering {
		return
	}
	e.delivering = true
	defer func() { e.delivering = false }()
	for len(e.pending) > 0 {
		batch := e.pending
		e.pending = nil
		e.mu.Unlock()
		for _, c := range batch {
			e.config.OnChange(c)
		}
		e.mu.Lock()
	}
}
