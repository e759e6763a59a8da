package app

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"
)

// stopLimit is how long one stage of the stop may take before the next begins.
const stopLimit = 15 * time.Second

// stage is a group of Runs that are stopped together.
type stage struct {
	name string
	runs []named
}

type named struct {
	name string
	run  func(context.Context) error
}

// Run runs every part until ctx ends or one of them fails, then stops them stage by stage:
// first what answers users, last what keeps their purges. It returns the first failure; a
// stop that was asked for is none.
func (a *App) Run(ctx context.Context) error {
	stages := a.parts.stages(a)
	failed := make(chan error, 64) // one slot for each run: nobody waits to report
	var stops []func()
	for _, s := range stages {
		stops = append(stops, a.start(ctx, s, failed))
	}
	a.ready.Store(true)
	a.metrics.ready.Set(1)
	a.logStart()

	var err error
	select {
	case <-ctx.Done():
	case err = <-failed:
	}
	a.ready.Store(false)
	a.metrics.ready.Set(0)
	if err != nil {
		a.log.Error("node stopping", "err", err)
	} else {
		a.log.Info("node stopping")
	}
	for _, stop := range stops {
		stop()
	}
	return errors.Join(err, a.closers.close())
}

// logStart says where the node serves: the first thing to look for when it is not reached. The
// nameserver says so of its own sockets.
func (a *App) logStart() {
	at := a.Addrs()
	for _, addr := range at.Edge {
		a.log.Info("edge socket opened", "address", addr.String())
	}
	if at.Admin != nil {
		a.log.Info("admin socket opened", "address", at.Admin.String())
	}
	a.log.Info("node started", "node", a.loaded.Load().config.Node, "took", time.Since(a.started))
}

// start runs a stage and returns what stops it. Its context does not end with ctx: the stop
// goes stage by stage.
func (a *App) start(ctx context.Context, s stage, failed chan<- error) (stop func()) {
	ctx, cancel := context.WithCancel(context.WithoutCancel(ctx))
	var wg sync.WaitGroup
	for _, r := range s.runs {
		wg.Go(func() {
			if err := r.run(ctx); err != nil {
				failed <- fmt.Errorf("running %s: %w", r.name, err)
				return
			}
			if ctx.Err() == nil {
				failed <- fmt.Errorf("running %s: it ended by itself", r.name)
			}
		})
	}
	return func() {
		cancel()
		done := make(chan struct{})
		var waiter sync.WaitGroup
		waiter.Go(func() { wg.Wait(); close(done) })
		select {
		case <-done:
		case <-time.After(stopLimit):
			a.log.Error("stage did not stop in time", "reason", s.name)
		}
	}
}

// stages lists the parts in the order in which they are stopped.
func (p *parts) stages(a *App) []stage {
	front := stage{name: "answering"}
	if p.dns != nil {
		front.runs = append(front.runs, named{"the nameserver", p.dns.Run})
	}
	serve := stage{name: "serving"}
	if p.edge != nil {
		serve.runs = append(serve.runs, named{"the edge", p.edge.Run})
	}
	if p.admin != nil {
		serve.runs = append(serve.runs, named{"the admin API", p.admin.Run})
	}
	decide := stage{name: "deciding", runs: []named{
		{"the drills", p.drills.Run}, {"the reloads", a.watchConfig},
	}}
	if p.secondary != nil {
		decide.runs = append(decide.runs, named{"the fetching of zones", p.secondary.Run},
			named{"the notifying of secondaries", p.notifier.Run})
	}
	if p.scheduler != nil {
		decide.runs = append(decide.runs, named{"the probes", p.scheduler.Run})
	}
	keep := stage{name: "keeping", runs: []named{
		{"the health tracker", func(ctx context.Context) error {
			return p.tracker.Run(ctx, p.samples())
		}},
		{"the country data", p.geo.Run}, {"the published signatures", p.board.Run},
		{"the names behind hosts", p.alias.Run},
		{"the feeds", p.feeds.Run}, {"the engine", p.engine.Run}, {"the slow loop", p.slow.Run},
		{"the overrides", p.book.Run}, {"the audit log", p.audit.Run},
		{"the purges", p.purge.Run}, {"the state keeper", a.keepState},
	}}
	if p.cookies != nil {
		keep.runs = append(keep.runs, named{"the cookie secrets", p.cookies.Run})
	}
	return []stage{front, serve, decide, keep}
}
