package dnsserver

import (
	"encoding/binary"
	"fmt"
	"net/netip"
	"time"

	"github.com/miekg/dns"

	"pointsman/steering/wire"
)

// minUDPSize is what every client takes (RFC 1035 §4.2.1, RFC 6891 §6.2.5).
const minUDPSize = 512

// outcome is what became of one packet, for the counters.
type outcome struct {
	verdict   verdict
	qtype     uint16
	rcode     int
	truncated bool
	bounded   bool // truncated by terms.most alone
	empty     bool
	picks     []pick
	draws     []uint64     // of the picks
	client    netip.Prefix // that they were for
	ecs, do   bool         // the client is the query's subnet; DO was set
}

// ask is one packet and where it came from.
type ask struct {
	packet []byte
	from   netip.Addr
	tcp    bool
	port   uint16 // of the sender
	tls    bool   // the transport is encrypted; then tcp is true as well
	// reserve is how many octets the answer must leave free.
	reserve int
}

// proto returns the index of the transport in protoLabels.
func (in *ask) proto() int {
	switch {
	case in.tls:
		return 2
	case in.tcp:
		return 1
	}
	return 0
}

// reply turns a packet into an answer, or into nil when there must be none. udpSize bounds
// answers over UDP, and is announced to clients. Like answer, it is pure.
func reply(in ask, udpSize uint16, st *state, now time.Time) ([]byte, outcome, error) {
	q, v := parseQuery(in.packet, in.from)
	t := &terms{udpSize: udpSize}
	return t.respond(func(*query, *response) {}, &q, v, in, proof{proven: in.tcp}, st, now)
}

// proof is what is known of a query's address.
type proof struct {
	proven bool   // it is not forged
	cookie []byte // goes back with the answer; nil: none
}

// respond turns a query and the verdict about it into an answer, as reply does. It shows what it
// found to learn, which must not change it.
func (t *terms) respond(learn func(*query, *response), q *query, v verdict, in ask, p proof,
	st *state, now time.Time,
) ([]byte, outcome, error) {
	switch v {
	case ignored:
		return nil, outcome{verdict: v}, nil
	case malformed:
		return bare(q, dns.RcodeFormatError), outcome{verdict: v, rcode: dns.RcodeFormatError}, nil
	case notImplemented:
		return bare(q, dns.RcodeNotImplemented),
			outcome{verdict: v, rcode: dns.RcodeNotImplemented}, nil
	}
	r := answer(q, st, now)
	t.identify(q, r)
	learn(q, r)
	size := udpLimit(q, t.udpSize)
	limit := t.limit(&in, size, q.qtype, q.edns.do, p.proven)
	out, truncated, err := pack(q, r, limit-in.reserve, q.opt(t, &in, r, p.cookie))
	if err != nil {
		return nil, outcome{}, fmt.Errorf("packing the answer for %q: %w", q.name, err)
	}
	return out, outcome{
		qtype:     q.qtype,
		rcode:     r.msg.Rcode,
		truncated: truncated,
		bounded:   truncated && limit < size,
		empty:     r.empty,
		picks:     r.picks,
		draws:     r.draws,
		client:    q.client(),
		ecs:       q.edns.subnet.usable(),
		do:        q.edns.do,
	}, nil
}

// bare builds an answer of a header alone, to packets that were not understood: it can't
// amplify, and repeats nothing that was not checked.
func bare(q *query, rcode int) []byte {
	out := make([]byte, headerSize)
	binary.BigEndian.PutUint16(out, q.id)
	bits := uint16(bitQR) | uint16(q.opcode)<<11 | uint16(rcode)
	if q.rd {
		bits |= bitRD
	}
	if q.cd {
		bits |= bitCD
	}
	binary.BigEndian.PutUint16(out[2:], bits)
	return out
}

// udpLimit returns the most bytes that an answer over UDP may have.
func udpLimit(q *query, udpSize uint16) int {
	if !q.edns.present {
		return minUDPSize
	}
	return int(max(minUDPSize, min(q.edns.size, udpSize)))
}

// pack puts a response on the wire, with an OPT record unless that is nil. One that doesn't fit
// first loses what it can do without: options, then records; then all its records, and TC tells
// the client to come back over TCP (RFC 2181 §9).
func pack(q *query, r *response, limit int, opt *wire.OPT) ([]byte, bool, error) {
	m := &r.msg
	m.Id, m.Response, m.Opcode, m.Compress = q.id, true, q.opcode, true
	m.RecursionDesired, m.CheckingDisabled = q.rd, q.cd
	m.Question = []dns.Question{{Name: q.name, Qtype: q.qtype, Qclass: q.qclass}}
	glue := m.Extra
	for round := 0; ; round++ {
		switch round {
		case 1:
			glue = glue[:len(glue)-r.optional]
		case 2:
			m.Truncated = true
			m.Answer, m.Ns, glue = nil, nil, nil
		}
		m.Extra = glue
		out, err := packed(m)
		if err != nil {
			return nil, false, err
		}
		size := len(out)
		if opt != nil {
			size = opt.Fit(size, limit)
		}
		if size > limit && round < 2 {
			continue
		}
		out = withOPT(out, limit, opt)
		// The name as it was asked has the same length, and all that equals it points here.
		copy(out[headerSize:], q.asked)
		return out, m.Truncated, nil
	}
}

// withOPT appends an OPT record to a packed message, with what fits of its options; nil: none.
func withOPT(out []byte, limit int, opt *wire.OPT) []byte {
	if opt == nil {
		return out
	}
	bare := len(out)
	out = append(out, make([]byte, opt.Fit(bare, limit)-bare)...)
	opt.Write(out, bare)
	return out
}

// packed packs a message. The upper bits of its code stand in OPT, which comes later.
func packed(m *dns.Msg) ([]byte, error) {
	rcode := m.Rcode
	m.Rcode &= 0xF
	out, err := m.Pack()
	m.Rcode = rcode
	return out, err
}
