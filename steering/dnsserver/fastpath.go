package dnsserver

import (
	"fmt"
	"net/netip"
	"runtime/debug"
	"time"

	"github.com/miekg/dns"

	"pointsman/steering/control"
	"pointsman/steering/cookie"
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
	limits   *limiter  // nil over TCP
	weighs   *weighRing
	lookup   control.Lookup // with a host: to be weighed once its answer has gone out
	// subject is what the answer in hand counts for when answers are limited.
	subject uint64

	// What prove found about the packet in hand.
	proven  bool // the client's address is not forged: TCP, or a valid server cookie
	verdict cookie.Verdict
	cookie  [cookie.Size]byte // goes back, unless there was none
}

// newResponder returns the responder of the n-th UDP goroutine, or with 0 of a TCP connection.
func (s *Server) newResponder(n int) *responder {
	w := &responder{s: s, counters: s.metrics.counters[n], shard: n, tap: s.newObserver(n),
		weighs: s.weigher.ring(n)}
	if n > 0 && len(s.limiters) > 0 {
		w.limits = s.limiters[n-1]
	}
	return w
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
	w.subject, w.proven = 0, in.tcp
	n, p := w.fast(in, st, now)
	if out = w.out[:n]; n == 0 {
		out = w.ordinary(in, st, p, now)
	}
	if w.limits != nil && !w.proven {
		out = w.limits.limit(in, out, w.subject, now)
	}
	if w.lookup.Host != "" {
		w.weigh(out, now)
	}
	if w.tap != nil && out != nil && w.tap.due(n > 0, p.picked) {
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
	w.prove(q.Cookie, &in, now)
	e, p := st.memo.find(q)
	if e == nil {
		return 0, p
	}
	a, scope := e.answer, uint8(0)
	var v *variant
	if a == nil {
		if v, scope = w.pick(e, in.from, st, &p, now); v == nil {
			return 0, p
		}
		a = v.answer
	}
	if a == nil {
		p.at = nil // nothing new can be learned
		return 0, p
	}
	n := w.write(a, &in, scope)
	if n == 0 {
		p.at = nil
		return 0, p
	}
	w.subject = e.subject
	w.counters.answered(q.Type, a.Rcode(), in.proto())
	w.counters.cookie(w.verdict)
	if v != nil {
		v.count.add(w.shard)
		if p.weighed {
			w.heard(e.host, &v.decision, q.Type, q.Client, in.from)
		}
	}
	return n, p
}

// write writes a prepared answer to the query in hand, and returns its length; 0 when it doesn't
// fit.
func (w *responder) write(a *wire.Answer, in *ask, scope uint8) int {
	q, t := &w.query, &w.s.terms
	limit := t.limit(in, q.Limit(t.udpSize), q.Type, q.DO, w.proven)
	if !q.EDNS {
		return a.Write(w.out, in.packet, q, limit, nil)
	}
	opt := wire.OPT{UDPSize: t.udpSize, DO: q.DO, Subnet: q.Subnet}
	if q.Client.IsValid() {
		opt.Scope = scope
	}
	why := a.Why()
	if w.verdict == cookie.None && q.Wants == (wire.Wants{}) && t.agent == nil && why == nil {
		return a.Write(w.out, in.packet, q, limit, &opt)
	}
	more := wire.Options{Cookie: w.ownCookie(), Error: why}
	t.more(&more, in, q.Wants, q.Name())
	opt.More = &more
	return a.Write(w.out, in.packet, q, limit, &opt)
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
	b := e.bind(st, w.s.weigher)
	if b.chooser == nil {
		return nil, 0
	}
	p.weighed = b.weighed
	at, scope := b.chooser.At(client)
	if sequence := at.Sequence(); sequence != 0 {
		p.draw, p.drawn = st.draws.Next(sequence, client, w.query.Type, now), true
	}
	p.picked = true
	d, kept := at.Choose(client, p.draw)
	if d == nil {
		return nil, 0
	}
	v := b.find(d)
	if v == nil {
		v = e.extend(b, d)
	}
	return v, max(scope, kept)
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
	if w.tap != nil {
		w.tap.outcome = outcome{} // what ends below has picked nothing
	}
	if out, ok := w.exchanged(in, st, now); ok {
		return out
	}
	if p.drawn {
		next := *st
		next.draws = &firstDraw{Drawer: st.draws, draw: p.draw}
		st = &next
	}
	learn := func(q *query, r *response) {
		w.subject = r.hash()
		if r.first != nil && w.s.weigher.of(r.picks[0].host) {
			w.heard(r.picks[0].host, r.first, q.qtype, q.subnet(), q.from)
		}
		if p.at != nil {
			st.memo.learn(p, q, r, w.s.metrics)
		}
	}
	out, o, err := w.reply(learn, in, st, now)
	if w.tap != nil {
		w.tap.outcome = o
	}
	if err != nil {
		w.s.metrics.failed.Add(1)
		w.s.faults.Do(func() { w.s.log.Error("query not answered", "err", err) })
		return w.fail(in)
	}
	w.s.metrics.record(w.counters, w.shard, o, in.proto())
	w.counters.cookie(w.verdict)
	return out
}

// reply answers as the function of that name does, on the server's terms and with its cookies.
func (w *responder) reply(learn func(*query, *response), in ask, st *state, now time.Time) (
	[]byte, outcome, error,
) {
	q, v := parseQuery(in.packet, in.from)
	var option []byte
	if v == accepted && q.edns.version == 0 {
		option = q.edns.cookie.raw
	}
	w.prove(option, &in, now)
	return w.s.terms.respond(learn, &q, v, in, proof{w.proven, w.ownCookie()}, st, now)
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
	w.counters.answered(0, dns.RcodeServerFailure, in.proto())
	return bare(&q, dns.RcodeServerFailure)
}

// firstDraw gives the first query a draw that has been taken already.
type firstDraw struct {
	Drawer
	draw uint64
	used bool
}

// Next implements Drawer.
func (d *firstDraw) Next(
	sequence uint64, client netip.Prefix, qtype uint16, now time.Time,
) uint64 {
	if d.used {
		return d.Drawer.Next(sequence, client, qtype, now)
	}
	d.used = true
	return d.draw
}
