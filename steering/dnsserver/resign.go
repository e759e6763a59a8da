package dnsserver

import (
	"context"
	"errors"
	"fmt"
	"time"

	"pointsman/steering"
)

// signTick is how often the server looks whether signatures or keys are due, tableTick whether
// there is a table that needs some: where nobody asks, no query would tell, and the first one
// would be answered by a table as old as the query before.
const (
	signTick  = time.Minute
	tableTick = time.Second
)

// advanceLimit bounds one look at a parent's DS records.
const advanceLimit = 10 * time.Second

// build makes the state for zones and a table, signed. It returns an error, and no state, when
// a signature is missing.
func (s *Server) build(ctx context.Context, zones []*Zone, table *steering.Table) (
	*published, error,
) {
	st := newState(zones, asPicker(table), s.cfg.Draws)
	st.pending = s.cfg.Table != nil && table == nil
	if err := st.sign(ctx, s.current.Load().serves); err != nil {
		return nil, err
	}
	st.memo = newMemo(st, nil)
	return &published{state: st, table: table, zones: zones}, nil
}

// outgrown reports whether a table gives answers that the current state has no signatures for.
// A query doesn't wait for them: Run is told to make them, and the current state serves on.
func (s *Server) outgrown(cur *published, table *steering.Table) bool {
	if s.unsigned.Load() {
		return true
	}
	if !cur.signs() {
		return false
	}
	if s.awaited.Load() == table {
		return true
	}
	if cur.table.SameVariants(table) {
		return false
	}
	s.awaited.Store(table)
	s.SignAgain()
	return true
}

// Resign takes the next step of every signed zone's keys if it is time, and signs again what is
// due. Run does so by itself every minute and whenever a table needs it. On an error the
// signatures that there are serve on.
func (s *Server) Resign(ctx context.Context) error { return s.resign(ctx, false) }

// resign signs again if it must, or always when forced.
func (s *Server) resign(ctx context.Context, force bool) error {
	s.signing.Lock() // signing can take seconds: s.mu stays free for queries meanwhile
	defer s.signing.Unlock()
	defer func() { s.tellWithheld(s.now(time.Now())) }()
	zones := s.zones
	var errs []error
	for _, z := range zones {
		if z.signer == nil {
			continue
		}
		limited, cancel := context.WithTimeout(ctx, advanceLimit)
		changed, err := z.signer.Advance(limited)
		cancel()
		force = force || changed
		if err != nil {
			errs = append(errs, fmt.Errorf("stepping the keys of %s on: %w", z.name, err))
		}
	}
	cur := s.current.Load()
	due := cur.signs() && !s.now(time.Now()).Before(cur.refresh())
	if !force && !due && !s.unsigned.Load() {
		return errors.Join(errs...)
	}
	var table *steering.Table
	if s.cfg.Table != nil {
		table = s.cfg.Table()
	}
	next, err := s.build(ctx, zones, table)
	if err != nil {
		return errors.Join(append(errs, err)...)
	}
	if table != nil {
		s.metrics.drop(func(p pick) bool { return !answers(table, p) })
	}
	s.publish(next)
	return errors.Join(errs...)
}

// publish puts a state in force. The caller holds s.signing.
func (s *Server) publish(p *published) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.current.Store(p)
	s.unsigned.Store(false)
	s.awaited.Store(nil)
}

// SignAgain tells Run to sign again soon, as when another node has published signatures. It
// doesn't wait.
func (s *Server) SignAgain() {
	select {
	case s.outgrew <- struct{}{}:
	default: // it has been told
	}
}

// keepSigned signs again when it is time or a table needs it, until the context ends.
func (s *Server) keepSigned(ctx context.Context) error {
	ticker := time.NewTicker(signTick)
	defer ticker.Stop()
	look := time.NewTicker(tableTick)
	defer look.Stop()
	for {
		force := false
		select {
		case <-ctx.Done():
			return nil
		case <-look.C:
			s.load() // leaves a token in outgrew if need be
			continue
		case <-ticker.C:
		case <-s.outgrew:
			force = true
		}
		if err := s.resign(ctx, force); err != nil && ctx.Err() == nil {
			s.log.Error("zones not signed again, what is signed serves on", "err", err)
		}
	}
}
