package dnsserver

import (
	"fmt"
	"net/netip"
	"runtime/debug"
	"time"

	"github.com/miekg/dns"

	"pointsman/steering"
	"pointsman/steering/wire"
)

// responder answers packets, one at a time. What the memo knows is copied; all else is answered
// by the ordinary path, from which the memo learns. It belongs to one goroutine.
type responder struct {
	s        *Server
	counters *counters
	shard    int // of the counts of picks
	query    wire.Query
	tap      *observer // nil: nothing is written down
	out      []byte    // where answers from the memo are written
}

// newResponder returns the responder of the n-th UDP goroutine, or with 0 of a TCP connection.
func (s *Server) newResponder(n int) *responder {
	return &responder{s: s, counters: s.metrics.counters[n], shard: n, tap: s.newObserver(n)}
}

// answer answers one packet from a state; nil means silence. The answer may lie in w.out. It
// survives whatever happens below it.
func (w *responder) answer(in ask, st *state, now time.Time) (out []byte) {
	defer func() {
		if p := recover(); p != nil {
			w.s.metrics.panics.Add(1)
			w.s.faults.Do(func() {
				w.s.log.Error("query panicked", "err", fmt.Sprint(p), "stack", string(debug.Stack()))
			})
			out = w.fail(in)
		}
	}()
	n, p := w.fast(in, st, now)
	if n > 0 {
		out = w.out[:n]
	} else {
		out = w.ordinary(in, st, p, now)
	}
	if w.tap != nil && out != nil && w.tap.due(n > 0, p.drawn) {
		w.show(&in, out, st, n > 0, &p, now)
	}
	return out
}

// fast answers from the memo. With 0 the packet is for the ordinary path, whose answer belongs
// to the place.
func (w *responder) fast(in ask, st *state, now time.Time) (int, place) {
	q := &w.query
	if st.memo == nil || !q.Read(in.packet) {
		return 0, place{}
	}
	e, p := st.memo.find(q)
	if e == nil {
		return 0, p
	}
	a, opt := e.answer, wire.Options{UDPSize: w.s.cfg.UDPSize}
	var v *variant
	if a == nil {
		if v, opt.Scope = w.pick(e, in.from, st, &p, now); v == nil {
			return 0, p
		}
		a = v.answer
	}
	if a == nil {
		p.at = nil // nothing new can be learned
		return 0, p
	}
	opt.Limit = dns.MaxMsgSize
	if !in.tcp {
		opt.Limit = q.Limit(w.s.cfg.UDPSize)
	}
	n := a.Write(w.out, in.packet, q, opt)
	if n == 0 {
		p.at = nil
		return 0, p
	}
	w.counters.answered(q.Type, a.Rcode(), in.tcp)
	if v != nil {
		v.count.add(w.shard)
	}
	return n, p
}

// now is the time of draws, when the clock shows start.
func (s *Server) now(start time.Time) time.Time {
	if s.cfg.Now == nil {
		return start
	}
	return s.cfg.Now()
}

// pick decides for a steered name, and returns what is known of that decision and its scope. Once
// it has drawn, the place says so. The variant is nil when there is none.
func (w *responder) pick(e *entry, from netip.Addr, st *state, p *place, now time.Time) (
	*variant, uint8,
) {
	if e.host == "" || st.table == nil {
		p.at = nil
		return nil, 0
	}
	client := w.client(from)
	p.draw, p.drawn = st.draws.Next(e.host, client, w.query.Type, now), true
	d, ok := st.table.Pick(steering.Query{Host: e.host, Client: client, Draw: p.draw})
	if !ok {
		return nil, 0
	}
	return e.find(&d), d.Scope
}

// client returns the prefix that a decision about the query is for, which came from an address.
func (w *responder) client(from netip.Addr) netip.Prefix {
	if c := w.query.Client; c.IsValid() {
		return c
	}
	from = from.Unmap()
	return netip.PrefixFrom(from, from.BitLen())
}

// ordinary answers with the whole protocol in view, and lets the memo learn.
func (w *responder) ordinary(in ask, st *state, p place, now time.Time) []byte {
	if p.drawn {
		next := *st
		next.draws = &firstDraw{Drawer: st.draws, draw: p.draw}
		st = &next
	}
	learn := func(q *query, r *response) {
		if p.at != nil {
			st.memo.learn(p, q, r, w.s.metrics)
		}
	}
	out, o, err := replyAnd(learn, in, w.s.cfg.UDPSize, st, now)
	if w.tap != nil {
		w.tap.outcome = o
	}
	if err != nil {
		w.s.metrics.failed.Add(1)
		w.s.faults.Do(func() { w.s.log.Error("query not answered", "err", err) })
		return w.fail(in)
	}
	w.s.metrics.record(w.counters, w.shard, o, in.tcp)
	return out
}

// fail answers SERVFAIL to a packet on which the server itself failed.
func (w *responder) fail(in ask) []byte {
	if len(in.packet) < headerSize {
		return nil
	}
	q := query{
		id:     uint16(in.packet[0])<<8 | uint16(in.packet[1]),
		opcode: int(in.packet[2]>>3) & 0xF,
		rd:     in.packet[2]&1 != 0,
	}
	w.counters.answered(0, dns.RcodeServerFailure, in.tcp)
	return bare(&q, dns.RcodeServerFailure)
}

// firstDraw gives the first query a draw that has been taken already.
type firstDraw struct {
	Drawer
	draw uint64
	used bool
}

// Next implements Drawer.
func (d *firstDraw) Next(host string, client netip.Prefix, qtype uint16, now time.Time) uint64 {
	if d.used {
		return d.Drawer.Next(host, client, qtype, now)
	}
	d.used = true
	return d.draw
}
