package publish

import (
	"context"
	"log/slog"
	"sync/atomic"
	"time"

	"pointsman/internal/store"
)

// poll is how often the shared store is looked at, besides when it signals.
const poll = 5 * time.Second

// BoardConfig is what a Board needs.
type BoardConfig struct {
	Shared store.Store
	// Changed is called from Run when a zone should be signed again: the server then asks its
	// Node. It must not wait for a Sign.
	Changed func(zone string)
	Logger  *slog.Logger // nil: nothing is logged
}

// Board keeps the Nodes of all zones in step with the shared store. Its methods are safe for
// concurrent use.
type Board struct {
	cfg   BoardConfig
	nodes atomic.Pointer[[]*Node]
	wake  chan struct{}
}

// NewBoard makes a Board without Nodes.
func NewBoard(cfg BoardConfig) *Board {
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	b := &Board{cfg: cfg, wake: make(chan struct{}, 1)}
	b.nodes.Store(new([]*Node))
	return b
}

// Own ties a Node to this Board, before the Node is loaded or signs.
func (b *Board) Own(n *Node) { n.poke = b.poke }

// Set replaces the Nodes, which must have been loaded.
func (b *Board) Set(nodes []*Node) {
	b.nodes.Store(&nodes)
	b.poke()
}

func (b *Board) poke() {
	select {
	case b.wake <- struct{}{}:
	default: // it is awake
	}
}

// Run keeps the Nodes in step until the context ends; then it gives their leases up.
func (b *Board) Run(ctx context.Context) error {
	watching, cancel := context.WithCancel(ctx)
	hints := b.cfg.Shared.Watch(watching, prefix)
	defer func() {
		cancel()
		for range hints { // until the store has let go of it
		}
	}()
	ticker := time.NewTicker(poll)
	defer ticker.Stop()
	watch, away := hints, false
	for {
		away = b.round(ctx, away)
		select {
		case <-ctx.Done():
			b.release(context.WithoutCancel(ctx))
			return nil
		case <-ticker.C:
		case <-b.wake:
		case _, open := <-watch:
			if !open {
				watch = nil // the poll goes on
			}
		}
	}
}

// round syncs all Nodes, and logs when that ceases or begins again to work.
func (b *Board) round(ctx context.Context, away bool) bool {
	var last error
	for _, n := range *b.nodes.Load() {
		changed, err := n.sync(ctx)
		if err != nil {
			last = err
		}
		if changed {
			b.cfg.Changed(n.cfg.Zone)
		}
	}
	switch {
	case ctx.Err() != nil:
	case last != nil && !away:
		b.cfg.Logger.Warn("published signatures lost touch with a store", "err", last)
	case last == nil && away:
		b.cfg.Logger.Info("published signatures found the stores again")
	}
	return last != nil
}

func (b *Board) release(ctx context.Context) {
	for _, n := range *b.nodes.Load() {
		if err := n.release(ctx); err != nil {
			b.cfg.Logger.Warn("lease of signing not released", "zone", n.cfg.Zone, "err", err)
		}
	}
}
