package slow

import (
	"cmp"
	"context"
	"errors"
	"io"
	"log/slog"
	"maps"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"pointsman/internal/store"
	"pointsman/steering/control"
)

// RunnerConfig is what a runner needs. Functions may be nil: then nothing is known of it.
type RunnerConfig struct {
	Node string
	// Shared is where nodes find one leader; nil: the node leads itself. Local keeps what is in
	// force over a restart.
	Shared, Local store.Store
	Now           func() time.Time // nil: time.Now
	Logger        *slog.Logger     // nil: nothing is logged
	Registerer    prometheus.Registerer
	// Policies are those of all scopes; empty: there is no table yet, and no step is made.
	Policies func() []Policy
	// Latencies and Loads are the same wherever they are asked for, such as providers' statistics.
	Latencies, Loads func() map[string]Measured
	// HostLoads are the parts of Loads that are known by host.
	HostLoads func() map[string]map[string]Measured
	// Own are requests/s that this node's edge serves, by backend; those of all nodes add up.
	Own func() map[string]float64
	// Resolvers are those who ask this node.
	Resolvers func() map[control.Scope]ResolverLoads
	// Apply puts guidance in force on this node.
	Apply func(control.Guidance) error
}

// Runner makes the steps when this node leads, and follows the leader otherwise. Its methods are
// safe for concurrent use; Run is called once.
type Runner struct {
	cfg     RunnerConfig
	log     *slog.Logger
	metrics *metrics

	mu     sync.Mutex // guards config and status
	config Config
	status Status

	// Of Run's goroutine alone.
	reports map[string]report
	known   record // the newest that this node has seen or made
	term    term
	saved   time.Time       // when known was last kept in Local
	faults  map[string]bool // what has failed and was logged
}

// errLost says that another node has published since: this one leads no more.
var errLost = errors.New("another node leads")

// term is one node's time as the leader.
type term struct {
	token    uint64 // of the lease; 0: this node does not lead
	epoch    uint64
	seq      uint64
	revision uint64 // of the record that the next one replaces
	sure     bool   // the revision is known
}

const (
	// callLimit bounds one call of a store.
	callLimit = 3 * time.Second
	// saveEvery is how often the record is kept in the node's own store.
	saveEvery = time.Minute
)

// NewRunner returns a runner with a config that Check has accepted.
func NewRunner(cfg RunnerConfig, c Config) *Runner {
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.NewTextHandler(io.Discard, nil))
	}
	return &Runner{cfg: cfg, log: cfg.Logger, metrics: newMetrics(cfg.Registerer), config: c,
		reports: make(map[string]report), faults: make(map[string]bool)}
}

// SetConfig takes another config over with the next step; Check must have accepted it.
func (r *Runner) SetConfig(c Config) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.config = c
}

func (r *Runner) current() Config {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.config
}

// Run makes a step or follows the leader once in each interval, until ctx ends; then it keeps
// what is in force, gives the lease up and returns nil.
func (r *Runner) Run(ctx context.Context) error {
	r.load(ctx)
	for {
		c := r.current()
		r.round(ctx, c)
		timer := time.NewTimer(c.Loop.Interval)
		select {
		case <-ctx.Done():
			timer.Stop()
			r.end(context.WithoutCancel(ctx))
			return nil
		case <-timer.C:
		}
	}
}

// load puts in force what the node had before it was restarted, however old that is: tables let
// old guidance decay.
func (r *Runner) load(ctx context.Context) {
	if r.cfg.Local == nil {
		return
	}
	err := r.call(ctx, func(ctx context.Context) error {
		rec, _, err := readRecord(ctx, r.cfg.Local)
		if rec != nil {
			r.take(*rec)
		}
		return err
	})
	r.fault("last guidance not read", err)
}

// call bounds a call of a store.
func (r *Runner) call(ctx context.Context, f func(context.Context) error) error {
	ctx, cancel := context.WithTimeout(ctx, callLimit)
	defer cancel()
	return f(ctx)
}

// round is what happens once in each interval.
func (r *Runner) round(ctx context.Context, c Config) {
	if !c.Active() && len(r.known.Guidance.Splits)+len(r.known.Guidance.Limits) == 0 {
		r.show(c, nil) // nothing to do, and nothing to take back
		return
	}
	now := r.cfg.Now()
	own := r.own(now)
	keep := 6 * c.Loop.Interval
	policies := r.cfg.Policies()
	err := r.call(ctx, func(ctx context.Context) error { return r.tell(ctx, own, keep) })
	if err == nil && len(policies) > 0 { // a node without a table can't lead
		err = r.call(ctx, func(ctx context.Context) error { return r.elect(ctx, c) })
	}
	switch {
	case err != nil:
		r.term = term{}
	case r.term.token > 0 && len(policies) > 0:
		err = r.lead(ctx, c, own, policies, now)
	case r.cfg.Shared != nil:
		err = r.call(ctx, r.follow)
	}
	if ctx.Err() != nil {
		return
	}
	r.fault("shared store lost by the slow loop, the last guidance stays", err)
	if now.Sub(r.saved).Abs() >= saveEvery {
		r.save(ctx, now)
	}
	r.show(c, err)
}

// elect takes or renews the lease. A node without a shared store is its own leader.
func (r *Runner) elect(ctx context.Context, c Config) error {
	if r.cfg.Shared == nil {
		if r.term.token == 0 {
			r.begin(1, r.known, 0)
		}
		return nil
	}
	lease, err := r.cfg.Shared.Acquire(ctx, leaseName, r.cfg.Node, 3*c.Loop.Interval)
	if errors.Is(err, store.ErrHeld) {
		r.term = term{}
		return nil
	}
	if err != nil {
		return err
	}
	if lease.Token == r.term.token && r.term.sure {
		return nil
	}
	rec, revision, err := readRecord(ctx, r.cfg.Shared)
	if err != nil && revision == 0 {
		return err
	}
	r.fault("guidance in the shared store replaced, it can't be read", err)
	stored := r.known
	if rec != nil {
		stored = *rec
	}
	if lease.Token == r.term.token && stored.Guidance.Epoch <= r.term.epoch {
		r.term.revision, r.term.sure = revision, true // ours, or one before: go on
		if stored.Guidance.Newer(r.known.Guidance) {
			r.take(stored) // it was written, though the store said no
		}
		return nil
	}
	r.begin(lease.Token, stored, revision)
	return nil
}

// begin starts a term. Its epoch is above all that this node and the store know: a token alone
// would start anew when the store lost its data.
func (r *Runner) begin(token uint64, stored record, revision uint64) {
	epoch := max(token, stored.Guidance.Epoch+1, r.known.Guidance.Epoch+1)
	r.term = term{token: token, epoch: epoch, revision: revision, sure: true}
	if stored.Guidance.Newer(r.known.Guidance) {
		r.take(stored)
	}
	r.log.Info("slow loop led by this node", "epoch", epoch)
	r.metrics.leaders.Inc()
}

// lead makes a step, publishes it and puts it in force.
func (r *Runner) lead(ctx context.Context, c Config, own report, policies []Policy,
	now time.Time) error {
	if err := r.call(ctx, func(ctx context.Context) error {
		return r.gather(ctx, own, c.Loop.Fresh+c.Loop.Hold)
	}); err != nil {
		return err
	}
	in := r.inputs(now)
	in.Policies = policies
	state, g := c.Next(r.known.State, in)
	r.term.seq++
	g.Epoch, g.Seq = r.term.epoch, r.term.seq
	state.Last = g
	next := record{Node: r.cfg.Node, Guidance: g, State: state}
	err := r.call(ctx, func(ctx context.Context) error { return r.publish(ctx, next) })
	switch {
	case errors.Is(err, errLost):
		return r.call(ctx, r.follow)
	case err != nil:
		return err
	}
	r.tellMoves(r.known.State, next.State)
	r.take(next)
	return nil
}

// inputs are what a step sees.
func (r *Runner) inputs(now time.Time) Inputs {
	loads, resolvers := merge(r.reports, now)
	in := Inputs{Now: now, Loads: loads, Resolvers: resolvers}
	if r.cfg.Loads != nil {
		maps.Copy(in.Loads, r.cfg.Loads()) // what a provider says of a backend is all of it
	}
	if r.cfg.HostLoads != nil {
		in.HostLoads = r.cfg.HostLoads()
	}
	if r.cfg.Latencies != nil {
		in.Latencies = r.cfg.Latencies()
	}
	return in
}

// publish writes a record in the place of the one that this node knows. A leader that comes late
// finds another's there, and leads no more.
func (r *Runner) publish(ctx context.Context, next record) error {
	if r.cfg.Shared == nil {
		return nil
	}
	raw, err := pack(next)
	if err != nil {
		return err
	}
	revision, err := r.cfg.Shared.Put(ctx, recordKey, raw,
		store.PutOptions{Expect: store.Expect(r.term.revision)})
	switch {
	case errors.Is(err, store.ErrConflict):
		r.log.Warn("step of the slow loop refused, another node leads", "epoch", r.term.epoch)
		r.metrics.refused.Inc()
		r.term = term{}
		return errLost
	case err != nil:
		r.term.sure = false // it may have been written all the same
		return err
	}
	r.term.revision = revision
	return nil
}

// follow puts in force what the leader has published.
func (r *Runner) follow(ctx context.Context) error {
	rec, _, err := readRecord(ctx, r.cfg.Shared)
	if err != nil || rec == nil {
		return err
	}
	if r.known.Guidance.Newer(rec.Guidance) {
		if rec.Guidance.Epoch < r.known.Guidance.Epoch {
			r.metrics.refused.Inc()
		}
		return nil
	}
	if rec.Guidance.Newer(r.known.Guidance) {
		r.take(*rec)
	}
	return nil
}

// take puts a record in force that is newer than the one known.
func (r *Runner) take(rec record) {
	if rec.Node != r.known.Node || rec.Guidance.Epoch != r.known.Guidance.Epoch {
		r.log.Info("slow loop leader changed", "node", rec.Node, "epoch", rec.Guidance.Epoch)
		r.saved = time.Time{}
	}
	r.known = rec
	var err error
	if r.cfg.Apply != nil {
		err = r.cfg.Apply(rec.Guidance)
	}
	if err != nil {
		r.metrics.refused.Inc()
	}
	r.fault("guidance refused by the table's engine", err)
}

// save keeps the record in the node's own store.
func (r *Runner) save(ctx context.Context, now time.Time) {
	if r.cfg.Local == nil || r.known.Guidance.Epoch == 0 {
		return
	}
	raw, err := pack(r.known)
	if err == nil {
		err = r.call(ctx, func(ctx context.Context) error {
			_, err := r.cfg.Local.Put(ctx, recordKey, raw, store.PutOptions{})
			return err
		})
	}
	r.fault("guidance not kept on this node", err)
	r.saved = now
}

// end keeps what is in force and lets another node lead at once.
func (r *Runner) end(ctx context.Context) {
	r.save(ctx, r.cfg.Now())
	if r.cfg.Shared == nil || r.term.token == 0 {
		return
	}
	_ = r.call(ctx, func(ctx context.Context) error { // else it runs out by itself
		return r.cfg.Shared.Release(ctx, store.Lease{Name: leaseName, Holder: r.cfg.Node,
			Token: r.term.token})
	})
	r.term = term{}
}

// fault logs a failure once, until it is over.
func (r *Runner) fault(what string, err error) {
	if (err != nil) == r.faults[what] {
		return
	}
	r.faults[what] = err != nil
	if err != nil {
		r.metrics.failures.Inc()
		r.log.Warn(what, "err", err)
		return
	}
	r.log.Info("slow loop recovered", "reason", what)
}

// tellMoves logs scopes whose moves are held or let go, and backends that are held back.
func (r *Runner) tellMoves(before, after State) {
	for scope, is := range after.Steps {
		r.metrics.steps.WithLabelValues(string(is)).Inc()
		was := cmp.Or(before.Steps[scope], control.Settled)
		blind := func(v control.Verdict) bool {
			return v == control.Frozen || v == control.Decayed
		}
		switch {
		case is == was:
		case blind(is):
			r.log.Warn("shares held without measurements", "host", scope.Host, "place", scope.Place,
				"reason", after.Last.Why[scope])
		case blind(was):
			r.log.Info("shares move again", "host", scope.Host, "place", scope.Place,
				"reason", after.Last.Why[scope])
		case is == control.Limited:
			r.log.Info("shares move as fast as the rate allows", "host", scope.Host,
				"place", scope.Place, "reason", after.Last.Why[scope])
		}
	}
	for b, limit := range after.Last.Limits {
		if _, was := before.Last.Limits[b]; !was {
			r.log.Info("backend held back until its cache is warm", "backend", b, "limit", limit)
		}
	}
}
