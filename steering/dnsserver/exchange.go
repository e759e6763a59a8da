package dnsserver

import (
	"encoding/binary"
	"net/netip"
	"slices"
	"sync/atomic"
	"time"

	"github.com/miekg/dns"

	"pointsman/steering/tsig"
	"pointsman/steering/wire"
)

// Exchange says with which other servers zones are exchanged. It must not change once it was
// given to SetExchange.
type Exchange struct {
	// Keys are those that signed messages (RFC 8945) are checked and answered by.
	Keys tsig.Ring
	// Zones holds the policy of each zone that is exchanged, by canonical name. Transfers of
	// others are refused, and NOTIFY for them.
	Zones map[string]Policy
	// Notified is called, by a goroutine that must not wait, for each NOTIFY (RFC 1996) that a
	// primary sent; nil: they are refused.
	Notified func(zone string, from netip.Addr)
	// MaxTransfers bounds the zones that are sent at the same time; more are refused.
	MaxTransfers int
}

// Policy says who may have a zone, and from whom it comes.
type Policy struct {
	// To holds the clients that may transfer the zone, Keys the names of the keys by which the
	// request must be signed. With both, both are needed; with neither, nobody may.
	To   []netip.Prefix
	Keys []string
	// From are the primaries whose NOTIFY is heeded, signed by the key named NotifyKey; empty:
	// it need not be signed.
	From      []netip.Addr
	NotifyKey string
}

// sends reports whether anybody may transfer the zone.
func (p Policy) sends() bool { return len(p.To) > 0 || len(p.Keys) > 0 }

// allows reports whether a client may transfer the zone. Its signature, if any, was checked.
func (p Policy) allows(from netip.Addr, s *tsig.Session) bool {
	if !p.sends() {
		return false
	}
	within := func(p netip.Prefix) bool { return p.Contains(from.Unmap()) }
	if len(p.To) > 0 && !slices.ContainsFunc(p.To, within) {
		return false
	}
	return len(p.Keys) == 0 || s != nil && slices.Contains(p.Keys, s.Key().Name())
}

// heeds reports whether a NOTIFY comes from a primary (RFC 1996 §3.11).
func (p Policy) heeds(from netip.Addr, s *tsig.Session) bool {
	if !slices.Contains(p.From, from.Unmap()) {
		return false
	}
	return p.NotifyKey == "" || s != nil && s.Key().Name() == p.NotifyKey
}

// exchanger is the part of a Server that talks to other servers.
type exchanger struct {
	rules     atomic.Pointer[Exchange]
	histories atomic.Pointer[map[string]*history] // by zone, for IXFR
	sending   atomic.Int64                        // zones that are being sent
}

// SetExchange replaces whom zones are exchanged with, from the next message on.
func (s *Server) SetExchange(x Exchange) { s.peers.rules.Store(&x) }

func (s *Server) exchangeRules() *Exchange {
	if x := s.peers.rules.Load(); x != nil {
		return x
	}
	return new(Exchange)
}

// special reports whether a packet may be for exchanged: it has more than a question and OPT, or
// another opcode than QUERY.
func special(packet []byte) bool {
	return len(packet) >= headerSize && packet[2]&0x80 == 0 &&
		(packet[2]&0x78 != 0 || packet[9] != 0 || packet[11] != 0)
}

// exchanged answers packets of other servers: NOTIFY, IXFR over UDP, and whatever is signed. It
// returns false when the packet is an ordinary query.
func (w *responder) exchanged(in ask, st *state, now time.Time) ([]byte, bool) {
	if !special(in.packet) {
		return nil, false
	}
	x := w.s.exchangeRules()
	body, session, fault := tsig.Accept(in.packet, x.Keys, now)
	if fault != nil {
		q, v := parseQuery(in.packet, in.from)
		if v != accepted {
			return nil, false // answered like all that can't be read
		}
		w.s.metrics.malformed.Add(1)
		w.counters.answered(q.qtype, dns.RcodeFormatError, in.proto())
		return bare(&q, dns.RcodeFormatError), true
	}
	q, v := parseQuery(body, in.from)
	// What no policy is about is refused like any query.
	policy, plain := x.Zones[q.name], q.edns.version == 0 && !q.edns.subnet.bad
	notify := plain && q.opcode == dns.OpcodeNotify && len(policy.From) > 0
	ixfr := plain && q.opcode == dns.OpcodeQuery && q.qtype == dns.TypeIXFR && policy.sends()
	r := &response{}
	switch {
	case v != accepted, session == nil && !notify && !ixfr:
		return nil, false
	case session != nil && session.Fault() != 0:
		w.s.metrics.exchange.badSignature(session.Fault())
		r.msg.Rcode = dns.RcodeNotAuth // RFC 8945 §5.2
	case notify:
		r.msg.Rcode = w.s.notified(x, &q, session)
		r.msg.Authoritative = r.msg.Rcode == dns.RcodeSuccess
	case ixfr:
		w.s.soaOnly(r, x, &q, st, session)
	default:
		in.packet, in.reserve = body, session.Room()
		return session.Sign(w.ordinary(in, st, place{}, now), now), true
	}
	return w.signed(&q, r, session, now, in.proto()), true
}

// signed packs a small answer, and signs it if the query was signed.
func (w *responder) signed(q *query, r *response, s *tsig.Session, now time.Time, proto int) []byte {
	w.counters.answered(q.qtype, r.msg.Rcode, proto)
	q.edns.subnet = subnet{} // nothing here depends on it
	out, _, err := pack(q, r, dns.MaxMsgSize, q.plainOPT(&w.s.terms))
	if err != nil {
		out = bare(q, dns.RcodeServerFailure)
	}
	if s != nil {
		out = s.Sign(out, now)
	}
	return out
}

// plainOPT is the OPT record without options of an answer to another server; nil: without EDNS.
func (q *query) plainOPT(t *terms) *wire.OPT {
	if !q.edns.present {
		return nil
	}
	return &wire.OPT{UDPSize: t.udpSize, DO: q.edns.do}
}

// notified takes a NOTIFY in and returns the code of its answer.
func (s *Server) notified(x *Exchange, q *query, session *tsig.Session) int {
	policy := x.Zones[q.name]
	if q.qtype != dns.TypeSOA || x.Notified == nil || !policy.heeds(q.from, session) {
		s.metrics.exchange.notified("refused")
		return dns.RcodeRefused
	}
	s.metrics.exchange.notified("taken")
	x.Notified(q.name, q.from)
	return dns.RcodeSuccess
}

// soaOnly answers IXFR over UDP with the SOA alone: a client that has less comes over TCP
// (RFC 1995 §2).
func (s *Server) soaOnly(r *response, x *Exchange, q *query, st *state, session *tsig.Session) {
	z := st.zones[q.name]
	if z == nil || z.absent || q.qclass != dns.ClassINET || !x.Zones[q.name].allows(q.from, session) {
		s.metrics.exchange.transferred("ixfr", "refused")
		r.msg.Rcode = dns.RcodeRefused
		return
	}
	s.metrics.exchange.transferred("ixfr", "current")
	r.msg.Authoritative = true
	r.msg.Answer = []dns.RR{z.soa()}
}

// asksForZone reports whether a packet is a query of type AXFR or IXFR.
func asksForZone(packet []byte) bool {
	if len(packet) < headerSize || packet[2]&0xF8 != 0 {
		return false
	}
	end, ok := skipName(packet, headerSize)
	if !ok || end+4 > len(packet) {
		return false
	}
	qtype := binary.BigEndian.Uint16(packet[end:])
	return qtype == dns.TypeAXFR || qtype == dns.TypeIXFR
}
