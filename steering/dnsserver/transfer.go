package dnsserver

import (
	"encoding/binary"
	"errors"
	"fmt"
	"iter"
	"runtime/debug"
	"time"

	"github.com/miekg/dns"

	"pointsman/steering/tsig"
)

// maxTransferred is how many octets of records, without compression, one message of a transfer
// has: it fits with what else is in it, and is some 16 to 60 kB on the wire.
const maxTransferred = 60_000

var errStopping = errors.New("the server stops")

// transfer is one zone on its way to a client.
type transfer struct {
	s       *Server
	to      *stream
	q       query
	session *tsig.Session // nil: the request wasn't signed
	kind    string        // for the metrics
	sent    int           // messages
}

// sendZone answers AXFR or IXFR on a connection (RFC 5936, RFC 1995). It returns false when the
// connection is of no more use. The zone's content is immutable, so that nothing is locked or
// copied as a whole however slow the client is.
func (s *Server) sendZone(to *stream, packet []byte, now time.Time) (ok bool) {
	defer func() {
		if p := recover(); p != nil {
			s.metrics.panics.Add(1)
			s.faults.Do(func() {
				s.log.Error("transfer panicked", "err", fmt.Sprint(p), "stack", string(debug.Stack()))
			})
		}
	}()
	x := s.exchangeRules()
	body, session, fault := tsig.Accept(packet, x.Keys, now)
	if fault != nil {
		body = packet
	}
	q, v := parseQuery(body, to.conn.from.Addr())
	q.edns.subnet = subnet{} // nothing here depends on it
	t := &transfer{s: s, to: to, q: q, session: session, kind: "axfr"}
	if q.qtype == dns.TypeIXFR {
		t.kind = "ixfr"
	}
	switch {
	case v == ignored:
		return false
	case v != accepted, fault != nil, session != nil && session.Fault() != 0:
		return t.decline(v != accepted || fault != nil)
	}
	st := s.load()
	z := st.zones[q.name]
	if z == nil || z.absent || q.qclass != dns.ClassINET || q.edns.version > 0 ||
		!x.Zones[q.name].allows(q.from, session) {
		s.metrics.exchange.transferred(t.kind, "refused")
		return t.say(dns.RcodeRefused) == nil
	}
	defer s.peers.sending.Add(-1)
	if s.peers.sending.Add(1) > int64(x.MaxTransfers) {
		s.metrics.exchange.transferred(t.kind, "busy")
		s.faults.Do(func() { s.log.Warn("transfer refused, too many at once", "zone", z.name) })
		return t.say(dns.RcodeRefused) == nil
	}
	return t.serve(z, body)
}

// decline answers what can't be read, or isn't signed right.
func (t *transfer) decline(malformed bool) bool {
	if malformed {
		t.s.metrics.malformed.Add(1)
		t.session = nil
		return t.send(bare(&t.q, dns.RcodeFormatError), dns.RcodeFormatError) == nil
	}
	t.s.metrics.exchange.badSignature(t.session.Fault())
	t.s.metrics.exchange.transferred(t.kind, "refused")
	return t.say(dns.RcodeNotAuth) == nil
}

// serve sends the zone, what changed of it, or that nothing did.
func (t *transfer) serve(z *Zone, request []byte) bool {
	start := time.Now()
	records, result := t.plan(z, request)
	if err := t.stream(records); err != nil {
		t.s.metrics.exchange.transferred(t.kind, "broken")
		t.s.log.Warn("transfer broken off", "zone", z.name, "client", t.q.from.String(), "err", err)
		return false
	}
	t.s.metrics.exchange.transferred(t.kind, result)
	t.s.log.Info("zone transferred", "zone", z.name, "client", t.q.from.String(), "reason", result,
		"key", keyName(t.session), "serial", z.Serial(), "messages", t.sent, "took", time.Since(start))
	return true
}

func keyName(s *tsig.Session) string {
	if s == nil {
		return ""
	}
	return s.Key().Name()
}

// plan decides what to send.
func (t *transfer) plan(z *Zone, request []byte) (iter.Seq[dns.RR], string) {
	if t.q.qtype == dns.TypeAXFR {
		return z.transferred(), "sent"
	}
	m := new(dns.Msg)
	if err := m.Unpack(request); err != nil || len(m.Ns) != 1 {
		return z.transferred(), "sent"
	}
	soa, ok := m.Ns[0].(*dns.SOA)
	if !ok {
		return z.transferred(), "sent"
	}
	if soa.Serial == z.Serial() || newer(soa.Serial, z.Serial()) {
		return one(z.soa()), "current" // RFC 1995 §2
	}
	if deltas := t.s.peers.history(z.name).since(soa.Serial, z); deltas != nil {
		return steps(z.soa(), deltas), "sent"
	}
	return z.transferred(), "whole" // RFC 1995 §4
}

func one(rr dns.RR) iter.Seq[dns.RR] { return func(yield func(dns.RR) bool) { yield(rr) } }

// transferred lists a zone's records in the order of AXFR: the SOA comes first and last.
func (z *Zone) transferred() iter.Seq[dns.RR] {
	return func(yield func(dns.RR) bool) {
		if !yield(z.soa()) {
			return
		}
		for _, n := range z.all() {
			for _, set := range n.sets {
				if set.rtype == dns.TypeSOA {
					continue
				}
				for _, rr := range set.rrs {
					if !yield(rr) {
						return
					}
				}
			}
		}
		yield(z.soa())
	}
}

// stream sends records in as few messages as they fit in.
func (t *transfer) stream(records iter.Seq[dns.RR]) error {
	var batch []dns.RR
	size := 0
	for rr := range records {
		n := dns.Len(rr)
		if size+n > maxTransferred && len(batch) > 0 {
			if err := t.message(batch); err != nil {
				return err
			}
			batch, size = batch[:0], 0
		}
		batch, size = append(batch, rr), size+n
	}
	return t.message(batch)
}

// message sends one message. The first one has the question, and OPT if the client sent one
// (RFC 5936 §2.2).
func (t *transfer) message(records []dns.RR) error {
	if t.s.conns.stopping() {
		return errStopping
	}
	m := dns.Msg{Answer: records, Compress: true}
	m.Id, m.Response, m.Authoritative = t.q.id, true, true
	m.RecursionDesired = t.q.rd
	if t.sent == 0 {
		m.Question = []dns.Question{{Name: t.q.name, Qtype: t.q.qtype, Qclass: t.q.qclass}}
	}
	out, err := m.Pack()
	if err != nil {
		return fmt.Errorf("packing message %d: %w", t.sent, err)
	}
	if t.sent == 0 {
		copy(out[headerSize:], t.q.asked)
		out = withOPT(out, dns.MaxMsgSize, t.q.plainOPT(&t.s.terms))
	}
	return t.send(out, dns.RcodeSuccess)
}

// say sends a message of a code alone.
func (t *transfer) say(rcode int) error {
	r := &response{}
	r.msg.Rcode = rcode
	out, _, err := pack(&t.q, r, dns.MaxMsgSize, t.q.plainOPT(&t.s.terms))
	if err != nil {
		out = bare(&t.q, rcode)
	}
	return t.send(out, rcode)
}

// send signs a message and writes it. The client has as long to take it as a connection may idle.
func (t *transfer) send(out []byte, rcode int) error {
	if t.sent == 0 {
		proto := ask{tcp: true, tls: t.to.tls}
		t.s.metrics.counters[0].answered(t.q.qtype, rcode, proto.proto())
	}
	t.sent++
	now := time.Now()
	if t.session != nil {
		out = t.session.Sign(out, t.s.now(now))
	}
	if len(out) > dns.MaxMsgSize {
		return fmt.Errorf("message %d has %d octets", t.sent, len(out))
	}
	t.to.conn.used.Store(now.UnixNano()) // or the connection would be closed as an idle one
	framed := binary.BigEndian.AppendUint16(make([]byte, 0, 2+len(out)), uint16(len(out)))
	_, err := t.to.rw.Write(append(framed, out...))
	return err
}
