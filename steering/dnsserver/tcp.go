package dnsserver

import (
	"context"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"net/netip"
	"sync"
	"time"

	"github.com/miekg/dns"
)

// Memory of a connection, in octets, as long as its queries and answers are common ones.
const (
	readSize  = 4096
	writeSize = 2 * (2 + maxPrepared)
	// maxMessage is the longest message with its length before it.
	maxMessage = 2 + dns.MaxMsgSize
)

// serveTCP accepts connections, with TLS in them if secure, and returns when all it accepted have
// ended.
func (s *Server) serveTCP(ctx context.Context, ln *net.TCPListener, secure bool) error {
	var work sync.WaitGroup
	defer work.Wait()
	var pause backoff
	for {
		nc, err := ln.AcceptTCP()
		if errors.Is(err, net.ErrClosed) {
			return nil
		}
		if err != nil { // such as no free file descriptor
			s.faults.Do(func() { s.log.Warn("tcp accept failed", "err", err) })
			pause.wait(ctx)
			continue
		}
		pause.reset()
		from := nc.RemoteAddr().(*net.TCPAddr).AddrPort()
		from = netip.AddrPortFrom(from.Addr().Unmap(), from.Port())
		conn := &connection{Conn: quiet(nc), from: from}
		old, ok := s.conns.add(conn)
		if !ok {
			s.metrics.refused.Add(1)
			_ = nc.Close()
			continue
		}
		if old != nil {
			s.metrics.evicted.Add(1)
			_ = old.Close()
		}
		s.metrics.connections.Add(1)
		work.Go(func() { s.serveConnection(ctx, conn, secure) })
	}
}

func (s *Server) serveConnection(ctx context.Context, conn *connection, secure bool) {
	defer s.metrics.connections.Add(-1)
	defer s.conns.remove(conn)
	defer conn.Close()
	if secure {
		s.serveSecure(ctx, conn)
		return
	}
	s.newStream(conn, conn).serve()
}

// stream answers the queries of one connection in their order. What came together is answered
// together, with one write (RFC 7766 §6.2.1.1). It reads on only when its answers are taken: so
// the queries in flight are those that its buffer holds.
type stream struct {
	s       *Server
	conn    *connection
	rw      io.ReadWriter // conn, or TLS on it
	tls     bool
	answers *responder
	in      []byte
	got     int    // octets in it, none of which belongs to a query that was answered
	out     []byte // answers that wait to be sent
}

func (s *Server) newStream(conn *connection, rw io.ReadWriter) *stream {
	answers := s.newResponder(0)
	answers.servedAt(conn.LocalAddr())
	return &stream{s: s, conn: conn, rw: rw, answers: answers,
		in: make([]byte, readSize), out: make([]byte, 0, writeSize)}
}

// serve returns when the connection ends, or its client is no DNS client.
func (c *stream) serve() {
	for c.read() && c.answer() {
	}
}

// read waits for more. Memory grows with what has come, not with what was announced.
func (c *stream) read() bool {
	if c.got == len(c.in) {
		c.in = append(c.in, make([]byte, min(len(c.in), maxMessage-len(c.in)))...)
	}
	n, err := c.rw.Read(c.in[c.got:])
	c.got += n
	return n > 0 || err == nil
}

// answer answers the queries that have come whole, and sends the answers.
func (c *stream) answer() bool {
	start := time.Now()
	st, now := c.s.load(), c.s.now(start)
	done, queries, ok := 0, 0, true
	for ok {
		message := whole(c.in[done:c.got])
		if message == nil {
			break
		}
		ok = c.one(message, st, now)
		done += 2 + len(message)
		queries++
	}
	if queries > 0 {
		c.conn.used.Store(start.UnixNano())
		c.answers.counters.took(queries, time.Since(start))
	}
	c.got = copy(c.in, c.in[done:c.got])
	return c.flush() && ok
}

// whole returns the first message, without its length (RFC 1035 §4.2.2); nil when it has not come
// yet.
func whole(in []byte) []byte {
	if len(in) < 2 {
		return nil
	}
	if size := 2 + int(binary.BigEndian.Uint16(in)); size <= len(in) {
		return in[2:size:size]
	}
	return nil
}

// one answers one query. What the memo knows is written where it is sent from.
func (c *stream) one(packet []byte, st *state, now time.Time) bool {
	if asksForZone(packet) {
		return c.flush() && c.s.sendZone(c, packet, now)
	}
	if len(c.out)+2+maxPrepared > writeSize && !c.flush() {
		return false
	}
	at := len(c.out)
	c.answers.out = c.out[at+2 : at+2+maxPrepared]
	in := ask{packet: packet, from: c.conn.from.Addr(), port: c.conn.from.Port(), tcp: true,
		tls: c.tls}
	out := c.answers.answer(in, st, now)
	if out == nil {
		return false // no DNS client
	}
	c.out = append(c.out[:at+2], out...) // onto itself, unless the answer lies elsewhere
	binary.BigEndian.PutUint16(c.out[at:], uint16(len(out)))
	return true
}

// flush sends the answers that wait.
func (c *stream) flush() bool {
	if len(c.out) == 0 {
		return true
	}
	_, err := c.rw.Write(c.out)
	c.out = c.out[:0]
	if cap(c.out) > writeSize { // it was a long one
		c.out = make([]byte, 0, writeSize)
	}
	if err != nil {
		c.s.metrics.unsent.Add(1)
	}
	return err == nil
}
