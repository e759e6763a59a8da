package app

import (
	"context"
	"encoding/json"
	"errors"
	"sync"
	"time"

	"pointsman/internal/admin/api"
	"pointsman/internal/config"
	"pointsman/internal/store"
	"pointsman/probes/health"
)

const (
	stateKey   = "node/state"
	stateEvery = time.Second
	votesTTL   = 30 * time.Second
	pingLimit  = time.Second
)

// state is what a node needs to answer well right after a restart, with nothing in reach.
type state struct {
	Table uint64       `json:"table"` // the last version published
	View  *health.View `json:"view"`
}

// readState returns the last known good state. None, or one that can't be read, means that
// every backend counts as usable until it was probed.
func (a *App) readState(ctx context.Context, s store.Store) state {
	var st state
	e, err := s.Get(ctx, stateKey)
	if err == nil {
		err = json.Unmarshal(e.Value, &st)
	}
	if err != nil && !errors.Is(err, store.ErrNotFound) {
		a.log.Warn("last known state not read", "err", err)
		return state{}
	}
	return st
}

// keepState writes the state when it changed, looks whether the shared store is there, and
// writes once more at the end. A failed write costs freshness after the next start, no more.
func (a *App) keepState(ctx context.Context) error {
	t := time.NewTicker(stateEvery)
	defer t.Stop()
	var last state
	guidance := a.parts.engine.Guidance() // it came from the store
	for {
		select {
		case <-ctx.Done():
			a.writeState(context.WithoutCancel(ctx), &last)
			a.writeGuidance(context.WithoutCancel(ctx), &guidance)
			return nil
		case <-t.C:
			a.parts.showView()
			a.writeState(ctx, &last)
			a.writeGuidance(ctx, &guidance)
			a.lookAtStore(ctx)
			a.metrics.local(a.parts.local.Fault() == nil && !a.store.failing())
		}
	}
}

func (a *App) writeState(ctx context.Context, last *state) {
	now := state{View: a.parts.tracker.View()}
	if t := a.parts.engine.Table(); t != nil {
		now.Table = t.Version
	}
	same := last.Table == now.Table && last.View != nil && now.View != nil &&
		last.View.Version == now.View.Version
	if same || now.View == nil {
		return
	}
	raw, err := json.Marshal(now)
	if err != nil {
		a.log.Error("last known state not encoded", "err", err)
		return
	}
	ctx, cancel := context.WithTimeout(ctx, pingLimit)
	defer cancel()
	_, err = a.parts.local.Put(ctx, stateKey, raw, store.PutOptions{})
	if err != nil {
		a.metrics.stateFailures.Inc()
	} else {
		*last = now
	}
	if a.store.unwritten(err) { // once for all the attempts that a broken disk will see
		a.log.Warn("last known state not written", "err", err)
	}
}

// storeWatch remembers whether the shared store is within reach, and this node's own writable.
type storeWatch struct {
	mu     sync.Mutex // guards the rest
	status api.StoreStatus
	failed bool // the last write of the state
}

// unwritten takes the outcome of a write of the state in and reports whether it is the first
// that failed.
func (w *storeWatch) unwritten(err error) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	was := w.failed
	w.failed = err != nil
	return w.failed && !was
}

// failing reports whether the last write of the state failed.
func (w *storeWatch) failing() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.failed
}

func (w *storeWatch) begin(kind string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.status = api.StoreStatus{Kind: kind, Reachable: kind == config.StoreBolt, Since: time.Now()}
	if !w.status.Reachable {
		w.status.Error = "not asked yet"
	}
}

// set takes a result in and reports whether reachability changed.
func (w *storeWatch) set(err error) (changed bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	reachable := err == nil
	changed = reachable != w.status.Reachable
	if changed {
		w.status.Reachable, w.status.Since = reachable, time.Now()
	}
	w.status.Error = ""
	if err != nil {
		w.status.Error = err.Error()
	}
	return changed
}

func (w *storeWatch) get() api.StoreStatus {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.status
}

func (a *App) lookAtStore(ctx context.Context) {
	if a.parts.shared == nil {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, pingLimit)
	defer cancel()
	err := a.parts.shared.Ping(ctx)
	changed := a.store.set(err)
	switch {
	case !changed:
	case err == nil:
		a.log.Info("shared store came within reach")
		a.parts.events.Add("store", "the shared store is within reach again", nil)
		for _, w := range a.parts.shared.CheckServer(ctx) {
			a.log.Warn("shared store may lose data", "reason", w)
		}
	default:
		a.log.Warn("shared store went out of reach", "err", err)
		a.parts.events.Add("store", "the shared store is out of reach: "+err.Error(), nil)
	}
	a.metrics.store(err == nil)
}
