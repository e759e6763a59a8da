package transfer

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"time"

	"github.com/miekg/dns"

	"pointsman/steering/tsig"
)

// Limits of one transfer.
const (
	readLimit  = 30 * time.Second // for each message
	fetchLimit = 10 * time.Minute // for all of it
)

// Primary is where a zone comes from.
type Primary struct {
	Server netip.AddrPort
	Key    *tsig.Key // nil: nothing is signed
}

// dialer opens connections; *net.Dialer satisfies it.
type dialer interface {
	DialContext(ctx context.Context, network, address string) (net.Conn, error)
}

// fetch asks a primary for what is newer than a copy; nil: for all. It returns nil when nothing
// is. All goes over one TCP connection, the look at the SOA too: answers over TCP can't be forged
// from afar.
func fetch(ctx context.Context, d dialer, from Primary, zone string, have *Copy) (*Copy, error) {
	ctx, cancel := context.WithTimeout(ctx, fetchLimit)
	defer cancel()
	got, err := connected(ctx, d, from, zone, func(p *peer) (*Copy, error) { return p.update(have) })
	if errors.Is(err, errNoChanges) && ctx.Err() == nil {
		// A server without IXFR, or whose changes don't fit: all of it, where nothing is left over.
		got, err = connected(ctx, d, from, zone, func(p *peer) (*Copy, error) { return p.pull(nil) })
	}
	if err != nil && ctx.Err() != nil {
		err = errors.Join(err, ctx.Err())
	}
	return got, err
}

// connected does something on a new connection to a primary.
func connected(ctx context.Context, d dialer, from Primary, zone string,
	do func(*peer) (*Copy, error),
) (*Copy, error) {
	conn, err := d.DialContext(ctx, "tcp", from.Server.String())
	if err != nil {
		return nil, err
	}
	defer func() { _ = conn.Close() }() // nothing was left to write
	stop := context.AfterFunc(ctx, func() { _ = conn.SetDeadline(time.Unix(1, 0)) })
	defer stop()
	return do(&peer{ctx: ctx, conn: conn, key: from.Key, zone: zone})
}

// peer is a connection to a primary.
type peer struct {
	ctx     context.Context
	conn    net.Conn
	key     *tsig.Key
	zone    string
	id      uint16
	session *tsig.Session // of the request in hand; nil: unsigned
}

// update returns what is newer than a copy; nil when nothing is.
func (p *peer) update(have *Copy) (*Copy, error) {
	if have == nil {
		return p.pull(nil)
	}
	soa, err := p.look()
	if err != nil {
		return nil, err
	}
	switch {
	case soa.Serial == have.Serial:
		return nil, nil
	case !Newer(soa.Serial, have.Serial):
		return nil, fmt.Errorf("%w: %d after %d", errBackwards, soa.Serial, have.Serial)
	}
	got, err := p.pull(have)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", errNoChanges, err)
	}
	return got, nil
}

// errBackwards says that a primary's serial number is before ours (RFC 1982).
var errBackwards = errors.New("the serial number went backwards; to start anew, raise it there " +
	"or remove the copy from state_dir and restart")

// errNoChanges says that IXFR brought nothing of use.
var errNoChanges = errors.New("no changes by IXFR")

// refusedError is an answer with a code other than NOERROR.
type refusedError struct{ rcode int }

func (e *refusedError) Error() string {
	return "the server answers " + dns.RcodeToString[e.rcode]
}

// look asks for the SOA.
func (p *peer) look() (*dns.SOA, error) {
	if err := p.ask(dns.TypeSOA, nil); err != nil {
		return nil, err
	}
	m, err := p.next(dns.TypeSOA, true)
	if err != nil {
		return nil, err
	}
	if !m.Authoritative {
		return nil, errors.New("the server has no authority over the zone: it may have expired there")
	}
	for _, rr := range m.Answer {
		if soa, ok := rr.(*dns.SOA); ok && dns.CanonicalName(soa.Hdr.Name) == p.zone {
			return soa, nil
		}
	}
	return nil, errors.New("the server has no SOA for the zone")
}

// pull transfers the zone: the changes of a copy, or all of it when that is nil.
func (p *peer) pull(have *Copy) (*Copy, error) {
	qtype := dns.TypeAXFR
	if have != nil {
		qtype = dns.TypeIXFR
	}
	if err := p.ask(qtype, have); err != nil {
		return nil, err
	}
	a := assembler{zone: p.zone, have: have}
	for first := true; !a.complete(); first = false {
		m, err := p.next(qtype, first)
		if err != nil {
			return nil, err
		}
		if len(m.Answer) == 0 {
			return nil, errors.New("an answer without records")
		}
		for _, rr := range m.Answer {
			if err := a.add(rr); err != nil {
				return nil, err
			}
		}
		if have != nil && a.alone() && !Newer(a.soa.Serial, have.Serial) {
			return nil, nil // RFC 1995 §2
		}
	}
	if p.session != nil {
		if err := p.session.End(); err != nil {
			return nil, err
		}
	}
	return a.copy()
}

// ask sends a question.
func (p *peer) ask(qtype uint16, have *Copy) error {
	m := new(dns.Msg)
	m.SetQuestion(p.zone, qtype)
	m.RecursionDesired = false
	if have != nil && qtype == dns.TypeIXFR {
		m.Ns = []dns.RR{&dns.SOA{Hdr: dns.RR_Header{Name: p.zone, Rrtype: dns.TypeSOA,
			Class: dns.ClassINET}, Ns: ".", Mbox: ".", Serial: have.Serial}}
	}
	raw, err := m.Pack()
	if err != nil {
		return err
	}
	p.id, p.session = m.Id, nil
	if p.key != nil {
		raw, p.session = p.key.Begin(raw, time.Now())
	}
	p.extend()
	raw = append(binary.BigEndian.AppendUint16(nil, uint16(len(raw))), raw...)
	_, err = p.conn.Write(raw)
	return err
}

// extend gives the peer time for the next message, unless the context has ended.
func (p *peer) extend() {
	if p.ctx.Err() == nil {
		_ = p.conn.SetDeadline(time.Now().Add(readLimit))
	}
	if p.ctx.Err() != nil { // it ended just now: what ends the connection may have been undone
		_ = p.conn.SetDeadline(time.Unix(1, 0))
	}
}

// next reads the next message of an answer. Only the first must repeat the question.
func (p *peer) next(qtype uint16, first bool) (*dns.Msg, error) {
	p.extend()
	var length [2]byte
	if _, err := io.ReadFull(p.conn, length[:]); err != nil {
		return nil, fmt.Errorf("reading an answer: %w", err)
	}
	raw := make([]byte, binary.BigEndian.Uint16(length[:]))
	if _, err := io.ReadFull(p.conn, raw); err != nil {
		return nil, fmt.Errorf("reading an answer: %w", err)
	}
	return p.read(raw, qtype, first)
}

func (p *peer) read(raw []byte, qtype uint16, first bool) (*dns.Msg, error) {
	body, signature := raw, error(nil)
	if p.session != nil {
		if body, signature = p.session.Check(raw, time.Now()); signature != nil {
			body = raw // what it says helps to see why
		}
	}
	m := new(dns.Msg)
	err := m.Unpack(body)
	switch {
	case signature != nil && err == nil && m.Rcode != dns.RcodeSuccess:
		return nil, fmt.Errorf("%w: %w", &refusedError{m.Rcode}, signature)
	case signature != nil:
		return nil, signature
	case err != nil:
		return nil, fmt.Errorf("an answer that can't be read: %w", err)
	case m.Id != p.id || !m.Response || m.Opcode != dns.OpcodeQuery:
		return nil, errors.New("an answer to another question")
	case m.Rcode != dns.RcodeSuccess:
		return nil, &refusedError{m.Rcode}
	case len(m.Question) > 1 || first && len(m.Question) == 0,
		len(m.Question) == 1 && (dns.CanonicalName(m.Question[0].Name) != p.zone ||
			m.Question[0].Qtype != qtype):
		return nil, errors.New("an answer to another question")
	case m.Truncated:
		return nil, errors.New("an answer that is cut")
	}
	return m, nil
}
