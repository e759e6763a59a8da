package drill

import (
	"context"
	"errors"
	"time"

	"pointsman/internal/store"
	"pointsman/steering"
)

// seen is what one look at the node found.
type seen struct {
	now       time.Time
	table     *steering.Table
	usable    bool  // this node holds the backend usable
	gone      bool  // no answer names it
	back      bool  // its shares are what they were
	share     bool  // it has some share
	guardErr  error // why the drill must not go on
	stopped   string
	leaseLost error
	quit      bool // the node is stopping
}

// step moves a drill's report by one look at the node. It is pure but for the report it edits.
func step(rep *Report, s seen, limit time.Duration) {
	switch rep.State {
	case Running:
		stepRunning(rep, s)
	case Restoring:
		stepRestoring(rep, s, limit)
	}
}

func stepRunning(rep *Report, s seen) {
	since := s.now.Sub(rep.Started)
	if rep.Detected == 0 && !s.usable {
		rep.Detected = max(since, time.Millisecond)
	}
	if rep.Shifted == 0 && s.gone {
		rep.Shifted = max(since, time.Millisecond)
		rep.Message = "no answer names " + rep.Plan.Backend + " any more"
	}
	switch {
	case s.quit:
		lift(rep, s.now, Aborted, "the node is stopping; the fault was lifted")
		rep.Message, rep.Ended = rep.Aborted, s.now
	case s.stopped != "":
		lift(rep, s.now, Restoring, s.stopped)
	case s.leaseLost != nil:
		lift(rep, s.now, Restoring, "aborted: the store is out of reach")
	case s.guardErr != nil:
		lift(rep, s.now, Restoring, "aborted: "+s.guardErr.Error())
	case !s.now.Before(rep.Ends):
		lift(rep, s.now, Restoring, "")
	}
}

// lift ends the fault; why is empty when its time has come.
func lift(rep *Report, now time.Time, to State, why string) {
	rep.State, rep.Lifted, rep.Aborted = to, now, why
	rep.Message = "fault lifted; waiting for the share to come back"
	if why != "" {
		rep.Ends = earlier(rep.Ends, now)
		rep.Message = why + "; waiting for the share to come back"
	}
}

func stepRestoring(rep *Report, s seen, limit time.Duration) {
	since := s.now.Sub(rep.Lifted)
	if rep.Returned == 0 && s.share {
		rep.Returned = max(since, time.Millisecond)
	}
	switch {
	case s.back:
		rep.Restored = max(since, time.Millisecond)
		finish(rep, s.now)
	case s.quit:
		rep.State, rep.Ended = Aborted, s.now
		rep.Message = "the node is stopping; the fault was lifted, the share was still returning"
	case since > limit:
		rep.State, rep.Ended = Failed, s.now
		rep.Message = "the share of " + rep.Plan.Backend + " did not come back within " +
			limit.String()
	}
}

// finish decides how a drill that restored everything ended.
func finish(rep *Report, now time.Time) {
	rep.Ended = now
	switch {
	case rep.Aborted != "":
		rep.State, rep.Message = Aborted, rep.Aborted+"; restored"
	case rep.Shifted == 0:
		rep.State = Failed
		rep.Message = rep.Plan.Backend + " never left the answers; its share is unchanged"
	default:
		rep.State, rep.Message = Done, "everything shifted and came back"
	}
}

// observe looks at the node until the drill is over.
func (r *Runner) observe(ctx context.Context, d *run) {
	t := time.NewTicker(tick)
	defer t.Stop()
	look := looker{runner: r, run: d, renewed: r.cfg.Now(), counted: r.counts(d.brief().Plan.Backend)}
	for {
		quit := false
		select {
		case <-ctx.Done():
			quit = true
		case <-t.C:
		}
		s := look.look(ctx)
		s.quit = quit
		d.mu.Lock()
		before := d.report.State
		step(&d.report, s, r.cfg.ReturnLimit)
		after := d.report.State
		if after.Final() && look.pointed != s.now { // whoever reads the end sees the last share
			look.point(s)
		}
		d.mu.Unlock()
		if after != before {
			r.fault.Store(nil) // whatever the new state is, the fault is over
		}
		if after.Final() {
			return
		}
		if after != before {
			r.lifted(ctx, d.snapshot())
		}
	}
}

// lifted tells everyone that the fault is over. Both writes are made again at the drill's end.
func (r *Runner) lifted(ctx context.Context, rep Report) {
	ctx, cancel := context.WithTimeout(ctx, ioLimit)
	defer cancel()
	r.changed(rep)
	_ = errors.Join(r.retract(ctx, rep.ID), r.save(ctx, rep))
}

// looker gathers what one look needs and remembers between looks.
type looker struct {
	runner  *Runner
	run     *run
	renewed time.Time
	pointed time.Time
	counted map[string][2]uint64 // by host: answers naming the backend, all answers
}

func (l *looker) look(ctx context.Context) seen {
	r, d := l.runner, l.run
	now, table := r.cfg.Now(), r.cfg.Table()
	rep := d.brief()
	s := seen{now: now, table: table, usable: r.cfg.Usable(rep.Plan.Backend)}
	s.gone, s.back = d.base.gone(table, rep.Plan.Backend), d.base.back(table, rep.Plan.Backend)
	s.share = !s.gone
	if rep.State == Running {
		s.guardErr = guard(d.base, rep.Plan, r.cfg.Usable)
	}
	if now.Sub(l.renewed) >= leaseTTL/3 {
		s.leaseLost = l.renew(ctx, now)
	}
	if now.Sub(l.pointed) >= pointEvery {
		l.pointed = now
		l.run.mu.Lock()
		l.point(s)
		l.run.mu.Unlock()
		if by := r.stopRequest(ctx, rep.ID); by != "" {
			s.stopped = "stopped by " + by
		}
	}
	select {
	case s.stopped = <-d.stop:
	default:
	}
	return s
}

// renew keeps the lease. Only its loss for good counts: one late answer does not, another
// holder does.
func (l *looker) renew(ctx context.Context, now time.Time) error {
	c, cancel := context.WithTimeout(ctx, ioLimit)
	defer cancel()
	lease, err := l.runner.cfg.Store.Acquire(c, leaseName, l.run.lease.Holder, leaseTTL)
	if err == nil {
		l.run.lease, l.renewed = lease, now
		return nil
	}
	if now.Sub(l.renewed) < leaseTTL*2/3 && !errors.Is(err, store.ErrHeld) {
		return nil
	}
	return err
}

// point adds the shares of every drilled name to the report. The caller holds the run's mutex.
func (l *looker) point(s seen) {
	rep := &l.run.report
	counts := l.runner.counts(rep.Plan.Backend)
	for _, host := range rep.Hosts {
		answered := -1.0
		was, is := l.counted[host], counts[host]
		if all := is[1] - was[1]; all > 0 {
			answered = float64(is[0]-was[0]) / float64(all)
		}
		reason, _ := s.table.Reason(host)
		rep.Points = append(rep.Points, Point{After: s.now.Sub(rep.Started), Host: host,
			Reason: string(reason), Shares: s.table.Shares(host), Answered: answered})
	}
	l.counted = counts
}

// counts are the answers so far, by host: those that name the backend, and all.
func (r *Runner) counts(backend string) map[string][2]uint64 {
	out := map[string][2]uint64{}
	if r.cfg.Served == nil {
		return out
	}
	for _, s := range r.cfg.Served() {
		c := out[s.Host]
		c[1] += s.Count
		if s.Backend == backend {
			c[0] += s.Count
		}
		out[s.Host] = c
	}
	return out
}
