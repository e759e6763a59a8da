package purge

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"pointsman/internal/store"
)

// Service accepts purges and sees them through. All methods are safe for concurrent use. Run
// must be going for anything to be delivered; the other methods work without it.
type Service struct {
	cfg     Config
	log     *slog.Logger
	metrics *metrics
	ids     *ids
	away    atomic.Bool // the shared store is
	// unwritten says that the last write to the local store failed.
	unwritten atomic.Bool
	moved     chan struct{} // capacity 1: the lanes have changed

	mu    sync.Mutex // guards all below; held over no I/O
	open  map[string]*entry
	lanes map[string]*lane
	order []*lane // as configured
}

// New checks the config and returns a service. It starts no goroutine and reads nothing.
func New(c Config) (*Service, error) {
	c, err := c.withDefaults()
	if err != nil {
		return nil, fmt.Errorf("configuring purge: %w", err)
	}
	s := &Service{
		cfg: c, log: c.Logger, metrics: newMetrics(c.Registerer),
		ids: &ids{rand: c.Rand}, moved: make(chan struct{}, 1),
		open: map[string]*entry{}, lanes: map[string]*lane{},
	}
	return s, s.SetTargets(c.Targets)
}

// SetTargets replaces the providers. Deliveries to one that is gone wait for its return until
// their deadline; a call in hand is finished. On an error nothing has changed.
func (s *Service) SetTargets(targets []Target) error {
	if err := checkTargets(targets); err != nil {
		return fmt.Errorf("configuring purge: %w", err)
	}
	s.mu.Lock()
	lanes := make(map[string]*lane, len(targets))
	var order []*lane
	for _, t := range targets {
		name := t.Provider.Name()
		l := s.lanes[name]
		if l == nil || l.workers != t.workers() {
			l = newLane(t, s.cfg.Now, s.log)
		}
		l.set(t)
		lanes[name] = l
		order = append(order, l)
	}
	for name := range s.lanes {
		if lanes[name] == nil {
			s.metrics.forget(name)
		}
	}
	s.lanes, s.order = lanes, order
	s.mu.Unlock()
	for _, id := range s.openIDs() {
		s.schedule(id)
	}
	select {
	case s.moved <- struct{}{}:
	default:
	}
	return nil
}

// Plan says what a request would do, and sends nothing.
func (s *Service) Plan(req Request) ([]Planned, error) {
	_, plan, err := s.prepare(req)
	return plan, err
}

func (s *Service) prepare(req Request) (Request, []Planned, error) {
	targets := s.targets()
	names := make([]string, len(targets))
	for i, t := range targets {
		names[i] = t.Provider.Name()
	}
	req, err := normalise(req, names)
	if err != nil {
		return Request{}, nil, err
	}
	plan := Plan(req, targets)
	calls := 0
	for _, p := range plan {
		calls += len(p.Batches)
	}
	if calls > maxBatches {
		return Request{}, nil, fmt.Errorf("%w: it takes %d calls to providers, at most %d in one "+
			"purge; send several", ErrInvalid, calls, maxBatches)
	}
	return req, plan, nil
}

// Submit journals a purge and returns what is known of it. No error means that it is durable:
// every provider will be told, or its result will say why not. With an idempotency key that
// was used before it returns that purge. The errors are ErrInvalid, ErrIdempotencyMismatch,
// ErrJournal, ErrNotDurable and ErrOverloaded; after any of them the purge is not accepted.
func (s *Service) Submit(ctx context.Context, req Request) (Status, error) {
	st, err := s.submit(ctx, req)
	if err != nil {
		s.metrics.refused(err)
		return Status{}, fmt.Errorf("accepting purge: %w", err)
	}
	return st, nil
}

func (s *Service) submit(ctx context.Context, req Request) (Status, error) {
	req, plan, err := s.prepare(req)
	if err != nil {
		return Status{}, err
	}
	if !s.room() {
		return Status{}, fmt.Errorf("%w: %d", ErrOverloaded, s.cfg.MaxOpen)
	}
	now := s.cfg.Now()
	r := begin(s.ids.next(now), req, plan, s.verifiable(), now, s.cfg)
	if req.IdempotencyKey != "" {
		var known bool
		if r.ID, known, err = s.reserve(ctx, req, r.ID); err != nil {
			return Status{}, err
		}
		if known {
			return s.Get(ctx, r.ID)
		}
	}
	return s.accept(ctx, r)
}

// accept makes a record durable and starts it.
func (s *Service) accept(ctx context.Context, r Record) (Status, error) {
	raw, err := encode(r)
	if err != nil {
		return Status{}, err
	}
	calls := 0
	for _, d := range r.Deliveries {
		calls += len(d.Batches)
	}
	if n := len(raw) + calls*maxGrowth; n > store.MaxValueBytes {
		return Status{}, fmt.Errorf("%w: its items and %d calls to providers are too much for one "+
			"purge; send several", ErrInvalid, calls)
	}
	o := store.PutOptions{Expect: store.Expect(0)}
	_, err = s.cfg.Local.Put(ctx, openPrefix+r.ID, raw, o)
	if errors.Is(err, store.ErrConflict) {
		return s.Get(ctx, r.ID) // the same key at the same time: the other was first
	}
	if err != nil {
		return Status{}, s.journalError(ctx, "journaling", r.ID, err)
	}
	s.journalWorks()
	if s.reachable() {
		err = s.publish(ctx, r)
		r.Replicated = err == nil
	}
	if s.cfg.RequireReplicated && !r.Replicated {
		gone := s.cfg.Local.Delete(context.WithoutCancel(ctx), openPrefix+r.ID, nil)
		return Status{}, errors.Join(ErrNotDurable, err, gone)
	}
	s.insert(r, true, r.Replicated)
	s.metrics.accepted(r.Request.Kind)
	s.log.Info("purge accepted", "purge_id", r.ID, "kind", r.Request.Kind,
		"items", len(r.Request.Items), "actor", r.Request.Actor, "reason", r.Request.Reason,
		"replicated", r.Replicated)
	if r.Final() {
		s.record(ctx, r.ID) // no provider can do it
	} else {
		s.schedule(r.ID)
	}
	return statusOf(r), nil
}

// room reports whether another unfinished purge may be taken.
func (s *Service) room() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.open) < s.cfg.MaxOpen
}

// Get returns what is known of a purge, or ErrNotFound. A purge of another node is looked up
// in the shared store.
func (s *Service) Get(ctx context.Context, id string) (Status, error) {
	r, err := s.find(ctx, id)
	if err != nil {
		return Status{}, err
	}
	return statusOf(r), nil
}

func (s *Service) find(ctx context.Context, id string) (Record, error) {
	if !validID(id) {
		return Record{}, fmt.Errorf("%w: %.40q is no purge id", ErrNotFound, id)
	}
	if r, ok := s.lookup(id); ok {
		return r, nil
	}
	r, err := stored(ctx, s.cfg.Local, id)
	if err == nil || !errors.Is(err, ErrNotFound) || !s.reachable() {
		return r, err
	}
	err = s.call(ctx, func(ctx context.Context, from store.Store) error {
		r, err = stored(ctx, from, id)
		return err
	})
	return r, err
}

// List returns up to limit purges that this node knows, newest first; a limit below 1 means
// 100.
func (s *Service) List(ctx context.Context, limit int) ([]Status, error) {
	if limit < 1 {
		limit = 100
	}
	// The unfinished are looked at before the finished: a purge that finishes in between is
	// then seen twice, not never.
	open := s.unfinished()
	records, err := s.history(ctx, limit)
	if err != nil {
		return nil, err
	}
	records = slices.DeleteFunc(records, func(r Record) bool { return open[r.ID].ID != "" })
	records = slices.AppendSeq(records, maps.Values(open))
	slices.SortFunc(records, func(x, y Record) int { return strings.Compare(y.ID, x.ID) })
	var out []Status
	for _, r := range records[:min(limit, len(records))] {
		out = append(out, statusOf(r))
	}
	return out, nil
}

// unfinished copies the records that are not final, by id.
func (s *Service) unfinished() map[string]Record {
	s.mu.Lock()
	defer s.mu.Unlock()
	out := make(map[string]Record, len(s.open))
	for id, e := range s.open {
		out[id] = e.record
	}
	return out
}

// Retry sends the failed batches of a purge again and verifies anew what is unverified, with a
// fresh deadline. What is under way or done is left alone. It returns ErrNotFound, ErrJournal
// or ErrOverloaded.
func (s *Service) Retry(ctx context.Context, id string) (Status, error) {
	r, err := s.find(ctx, id)
	if err != nil {
		return Status{}, fmt.Errorf("retrying purge: %w", err)
	}
	again := false
	edit := func(r *Record) bool {
		again = r.retry(s.cfg.Now(), s.cfg.Deadline)
		return again
	}
	if _, here := s.lookup(id); here {
		s.change(id, edit)
		err = s.save(ctx, id)
	} else if r = r.clone(); edit(&r) {
		err = s.revive(ctx, r)
	}
	if err != nil {
		return Status{}, fmt.Errorf("retrying purge: %w", err)
	}
	if !again {
		return s.Get(ctx, id)
	}
	s.log.Info("purge retried", "purge_id", id)
	if err := s.share(ctx, id); err != nil {
		s.log.Debug("purge not shared yet", "purge_id", id, "err", err)
	}
	s.schedule(id)
	return s.Get(ctx, id)
}

// revive journals a finished purge as an unfinished one.
func (s *Service) revive(ctx context.Context, r Record) error {
	if !s.room() {
		return fmt.Errorf("purge %s: %w", r.ID, ErrOverloaded)
	}
	if err := s.write(ctx, r); err != nil {
		return s.journalError(ctx, "journaling", r.ID, err)
	}
	s.insert(r, true, false)
	return nil
}

// Changed returns a channel that is closed at the next change of an unfinished purge. For any
// other id it is closed already.
func (s *Service) Changed(id string) <-chan struct{} {
	s.mu.Lock()
	defer s.mu.Unlock()
	if e, ok := s.open[id]; ok {
		return e.changed
	}
	closed := make(chan struct{})
	close(closed)
	return closed
}

// Wait returns the status once it is final, or what it was when ctx ended, with ctx's error.
func (s *Service) Wait(ctx context.Context, id string) (Status, error) {
	for {
		changed := s.Changed(id)
		st, err := s.Get(ctx, id)
		if err != nil || st.Final() {
			return st, err
		}
		if _, here := s.lookup(id); !here {
			changed = nil // another node's: ask again after a while
		}
		select {
		case <-ctx.Done():
			return st, fmt.Errorf("waiting for purge %s: %w", id, ctx.Err())
		case <-changed:
		case <-time.After(s.cfg.Tick):
		}
	}
}

func (s *Service) targets() []Target {
	s.mu.Lock()
	defer s.mu.Unlock()
	out := make([]Target, len(s.order))
	for i, l := range s.order {
		out[i] = *l.target.Load()
	}
	return out
}

// verifiable names the providers that the config gives a backend to fetch through.
func (s *Service) verifiable() map[string]bool {
	out := map[string]bool{}
	for _, t := range s.targets() {
		out[t.Provider.Name()] = len(t.Backends) > 0
	}
	return out
}

func (s *Service) openIDs() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	out := make([]string, 0, len(s.open))
	for id := range s.open {
		out = append(out, id)
	}
	slices.Sort(out)
	return out
}
