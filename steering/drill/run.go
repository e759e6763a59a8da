package drill

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"pointsman/internal/store"
	"pointsman/steering"
)

const (
	tick       = 200 * time.Millisecond // how often a drill is looked at
	pointEvery = time.Second
	leaseTTL   = 10 * time.Second
	keepFor    = 90 * 24 * time.Hour
	ioLimit    = 2 * time.Second
	maxBytes   = 900 << 10 // of a stored report; a store takes 1 MiB
	prefix     = "drills/"
	leaseName  = "drill"
)

// Served counts the answers given for a steered name and backend since the start.
type Served struct {
	Host, Backend string
	Count         uint64
}

// Config wires a Runner. Every func must be safe for concurrent use.
type Config struct {
	Node string
	// Store is where drills and the right to run one are kept: the one all nodes share.
	Store store.Store
	// Table returns the current table; it may return nil before the first.
	Table func() *steering.Table
	// Usable reports whether this node holds a backend usable.
	Usable func(backend string) bool
	// Served counts answers; nil: the report has no answered shares.
	Served func() []Served
	// ReturnLimit is how long a backend may take to its full share after the fault was lifted
	// before the drill is called failed; 0: 5 minutes.
	ReturnLimit time.Duration
	Now         func() time.Time // nil: time.Now
	Logger      *slog.Logger     // nil: silent
	// OnChange is called after each change of a drill's state; it must not block. May be nil.
	OnChange func(Report)
}

// Runner runs one drill at a time, over all nodes that share its store. It implements
// probes.Fault: drills of other nodes make this node's probes fail too.
type Runner struct {
	cfg   Config
	start chan *run
	fault atomic.Pointer[fault] // nil: none; replaced whole, never edited

	// What Run still owes the store. Only Run's goroutine touches it.
	unsaved []Report // ends that could not be stored yet
	orphans bool     // true until the drills of an earlier process were closed

	mu      sync.Mutex // guards current
	current *run

	naming sync.Mutex // guards named
	named  time.Time  // what the newest ID says
}

// fault is a backend whose probes fail until a time. It ends by itself, whoever began it.
type fault struct {
	backend, reason string
	until           time.Time
}

// run is a drill in hand. report is guarded by mu, but for its ID; the rest is set once.
type run struct {
	lease store.Lease
	base  baseline
	stop  chan string // holds why it must end early; capacity 1

	mu     sync.Mutex
	report Report
}

// New returns a Runner. It starts nothing.
func New(c Config) *Runner {
	if c.Now == nil {
		c.Now = time.Now
	}
	if c.Logger == nil {
		c.Logger = slog.New(slog.NewTextHandler(io.Discard, nil))
	}
	if c.ReturnLimit == 0 {
		c.ReturnLimit = 5 * time.Minute
	}
	return &Runner{cfg: c, start: make(chan *run)}
}

// Inject implements probes.Fault.
func (r *Runner) Inject(backend string, now time.Time) (reason string, failing bool) {
	f := r.fault.Load()
	if f == nil || f.backend != backend || !now.Before(f.until) {
		return "", false
	}
	return f.reason, true
}

// nextID names a drill by the time, and no two drills alike: the lease's holder has it in its
// name, so a second start in the same millisecond would pass for the first one's renewal.
func (r *Runner) nextID() string {
	r.naming.Lock()
	defer r.naming.Unlock()
	now := r.cfg.Now().UTC().Truncate(time.Millisecond)
	if !now.After(r.named) { // not even when the clock was set back
		now = r.named.Add(time.Millisecond)
	}
	r.named = now
	return now.Format("20060102T150405.000Z")
}

// Start begins a drill and returns its first report, or an ErrRefused that says why not. Run
// must be running. The store must be within reach: without it no drill begins.
func (r *Runner) Start(ctx context.Context, p Plan) (Report, error) {
	p, err := p.check()
	if err != nil {
		return Report{}, err
	}
	t := r.cfg.Table()
	base := baselineOf(t, p.Backend)
	if err := guard(base, p, r.cfg.Usable); err != nil {
		return Report{}, err
	}
	id := r.nextID()
	c, cancel := context.WithTimeout(ctx, ioLimit)
	defer cancel()
	lease, err := r.cfg.Store.Acquire(c, leaseName, r.cfg.Node+"/"+id, leaseTTL)
	if errors.Is(err, store.ErrHeld) {
		return Report{}, fmt.Errorf("%w: another drill is running", ErrRefused)
	}
	if err != nil {
		return Report{}, fmt.Errorf("%w: the store is out of reach: %w", ErrRefused, err)
	}
	d := &run{lease: lease, base: base, stop: make(chan string, 1)}
	d.report = newReport(id, r.cfg.Node, p, r.cfg.Now(), base, t)
	if err := errors.Join(r.save(c, d.report), r.announce(c, d.report)); err != nil {
		r.withdraw(ctx, d)
		return Report{}, fmt.Errorf("%w: recording it: %w", ErrRefused, err)
	}
	select {
	case r.start <- d:
		return d.snapshot(), nil
	case <-c.Done():
		r.withdraw(ctx, d)
		return Report{}, fmt.Errorf("%w: this node is not running drills: %w", ErrRefused, c.Err())
	}
}

// withdraw takes back what a drill that did not begin left in the store: a write may have
// taken effect although it failed. What cannot be taken back ends with its time to live.
func (r *Runner) withdraw(ctx context.Context, d *run) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), ioLimit)
	defer cancel()
	err := errors.Join(r.cfg.Store.Delete(ctx, noticeKey, nil),
		r.cfg.Store.Delete(ctx, prefix+d.report.ID, nil), r.cfg.Store.Release(ctx, d.lease))
	if err != nil {
		r.cfg.Logger.Warn("refused drill not withdrawn", "drill_id", d.report.ID, "err", err)
	}
}

func newReport(
	id, node string, p Plan, now time.Time, base baseline, t *steering.Table,
) Report {
	rep := Report{ID: id, Plan: p, Node: node, State: Running, Started: now, Ends: now.Add(p.For),
		Message: fmt.Sprintf("probes of %s fail since now", p.Backend)}
	for host, shares := range base {
		rep.Hosts = append(rep.Hosts, host)
		reason, _ := t.Reason(host)
		rep.Before = append(rep.Before, Point{Host: host, Reason: string(reason), Shares: shares,
			Answered: -1})
	}
	slices.Sort(rep.Hosts)
	return rep
}

// Stop ends a running drill early; the backend is restored. A drill of another node stops
// within seconds, its faults on all nodes within reach of the store even when that node died.
// Stopping one that has ended is not an error.
func (r *Runner) Stop(ctx context.Context, id, actor string) (Report, error) {
	r.mu.Lock()
	d := r.current
	r.mu.Unlock()
	if d == nil || d.report.ID != id {
		return r.stopElsewhere(ctx, id, actor)
	}
	select {
	case d.stop <- "stopped by " + actor:
	default: // it is being stopped already
	}
	return d.snapshot(), nil
}

// Current returns the drill that runs on this node, if one does.
func (r *Runner) Current() (Report, bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.current == nil {
		return Report{}, false
	}
	return r.current.snapshot(), true
}

// Get returns a drill, also one of another node.
func (r *Runner) Get(ctx context.Context, id string) (Report, error) {
	if rep, ok := r.Current(); ok && rep.ID == id {
		return rep, nil
	}
	e, err := r.cfg.Store.Get(ctx, prefix+id)
	if errors.Is(err, store.ErrNotFound) {
		return Report{}, fmt.Errorf("%w: %q", ErrNotFound, id)
	}
	if err != nil {
		return Report{}, fmt.Errorf("reading drill %q: %w", id, err)
	}
	var rep Report
	if err := json.Unmarshal(e.Value, &rep); err != nil {
		return Report{}, fmt.Errorf("decoding drill %q: %w", id, err)
	}
	return rep, nil
}

// List returns the drills that are kept, newest first.
func (r *Runner) List(ctx context.Context) ([]Report, error) {
	entries, err := r.cfg.Store.List(ctx, prefix)
	if err != nil {
		return nil, fmt.Errorf("listing drills: %w", err)
	}
	var out []Report
	for _, e := range entries {
		var rep Report
		if json.Unmarshal(e.Value, &rep) == nil && rep.ID != "" { // else it is none of ours
			out = append(out, rep)
		}
	}
	slices.SortFunc(out, func(a, b Report) int { return strings.Compare(b.ID, a.ID) })
	return out, nil
}

// Run carries drills out until ctx ends. A drill in hand is then aborted and its fault lifted.
func (r *Runner) Run(ctx context.Context) error {
	defer r.fault.Store(nil)
	began := r.cfg.Now()
	r.orphans = true
	t := time.NewTicker(time.Second)
	defer t.Stop()
	r.settle(ctx, began)
	for {
		select {
		case <-ctx.Done():
			return nil
		case d := <-r.start:
			r.carryOut(ctx, d)
		case <-t.C:
			r.follow(ctx)
			r.settle(ctx, began)
		}
	}
}

// settle brings the store what it has missed: ends that could not be stored, and the end of
// drills that this node left running when it died. Their faults died with it.
func (r *Runner) settle(ctx context.Context, began time.Time) {
	if len(r.unsaved) == 0 && !r.orphans {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, ioLimit)
	defer cancel()
	for len(r.unsaved) > 0 {
		rep := r.unsaved[0]
		if r.retract(ctx, rep.ID) != nil || r.save(ctx, rep) != nil {
			return // the store is still away; readers see Ends
		}
		r.unsaved = r.unsaved[1:]
	}
	if !r.orphans {
		return
	}
	list, err := r.List(ctx)
	if err != nil {
		return
	}
	r.orphans = false
	for _, rep := range list {
		if rep.Node != r.cfg.Node || rep.State.Final() || rep.Started.After(began) {
			continue
		}
		rep.State, rep.Message = Aborted, "the node restarted; the fault ended with it"
		rep.Ended = r.cfg.Now()
		r.unsaved = append(r.unsaved, rep)
	}
}

func faultOf(rep Report) *fault {
	return &fault{backend: rep.Plan.Backend, until: rep.Ends, reason: "drill " + rep.ID}
}

// carryOut runs one drill to its end.
func (r *Runner) carryOut(ctx context.Context, d *run) {
	r.mu.Lock()
	r.current = d
	r.mu.Unlock()
	rep := d.snapshot()
	r.fault.Store(faultOf(rep))
	r.changed(rep)
	r.observe(ctx, d)
	r.fault.Store(nil)

	// The end is recorded even when ctx has ended: nothing may be left half done.
	end, cancel := context.WithTimeout(context.WithoutCancel(ctx), ioLimit)
	defer cancel()
	if err := errors.Join(r.retract(end, rep.ID), r.save(end, d.snapshot())); err != nil {
		r.cfg.Logger.Warn("drill report not stored", "drill_id", rep.ID, "err", err)
		r.unsaved = append(r.unsaved, d.snapshot())
	}
	if err := r.cfg.Store.Release(end, d.lease); err != nil {
		r.cfg.Logger.Warn("drill lease not released", "drill_id", rep.ID, "err", err)
	}
	r.mu.Lock()
	r.current = nil
	r.mu.Unlock()
	r.changed(d.snapshot())
}

func (r *Runner) changed(rep Report) {
	r.cfg.Logger.Info("drill changed", "drill_id", rep.ID, "backend", rep.Plan.Backend,
		"state", string(rep.State), "reason", rep.Message, "actor", rep.Plan.Actor)
	if r.cfg.OnChange != nil {
		r.cfg.OnChange(rep)
	}
}

// save stores a report. One that grew beyond what a store takes loses every second point of
// its curve, as often as needed.
func (r *Runner) save(ctx context.Context, rep Report) error {
	raw, err := json.Marshal(rep)
	for err == nil && len(raw) > maxBytes && len(rep.Points) > 0 {
		rep.Points = thinned(rep.Points, len(rep.Hosts))
		raw, err = json.Marshal(rep)
	}
	if err != nil {
		return fmt.Errorf("encoding drill %q: %w", rep.ID, err)
	}
	if _, err := r.cfg.Store.Put(ctx, prefix+rep.ID, raw, store.PutOptions{TTL: keepFor}); err != nil {
		return fmt.Errorf("storing drill %q: %w", rep.ID, err)
	}
	return nil
}

// thinned keeps every second moment; each has one point per host.
func thinned(points []Point, hosts int) []Point {
	hosts = max(hosts, 1)
	var out []Point
	for i, p := range points {
		if i/hosts%2 == 1 {
			out = append(out, p)
		}
	}
	return out
}

func (d *run) snapshot() Report {
	d.mu.Lock()
	defer d.mu.Unlock()
	rep := d.report
	rep.Points = slices.Clone(rep.Points)
	return rep
}

// brief is a snapshot without the curve, which can be long.
func (d *run) brief() Report {
	d.mu.Lock()
	defer d.mu.Unlock()
	rep := d.report
	rep.Points = nil
	return rep
}
