package dnsserver

import (
	"bufio"
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"
)

// connection is an open TCP connection.
type connection struct {
	net.Conn
	from netip.AddrPort
	used atomic.Int64 // when the last query came, in nanoseconds since 1970
}

// connections holds the open TCP connections and bounds their number.
type connections struct {
	limit int
	idle  time.Duration

	mu    sync.Mutex // guards the fields below
	open  map[*connection]struct{}
	until time.Time // when all reading ends; zero unless the server stops
}

// add takes in a connection. With the limit reached it returns the longest idle one, which is
// no longer counted and must be closed (RFC 7766 §6.2.3 lets a server do so when short of
// resources).
func (c *connections) add(conn *connection) (evicted *connection) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.open) >= c.limit {
		for other := range c.open {
			if evicted == nil || other.used.Load() < evicted.used.Load() {
				evicted = other
			}
		}
		delete(c.open, evicted)
	}
	if c.open == nil {
		c.open = make(map[*connection]struct{})
	}
	conn.used.Store(time.Now().UnixNano())
	c.open[conn] = struct{}{}
	return evicted
}

func (c *connections) remove(conn *connection) {
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.open, conn)
}

// await sets the time by which the next query must have come whole.
func (c *connections) await(conn *connection) {
	c.mu.Lock()
	defer c.mu.Unlock()
	until := c.until
	if until.IsZero() {
		until = time.Now().Add(c.idle)
	}
	_ = conn.SetReadDeadline(until) // a closed connection fails at its next read
}

// stop ends the reading of every connection, open or yet to come, at a given time.
func (c *connections) stop(until time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.until = until
	for conn := range c.open {
		_ = conn.SetReadDeadline(until)
	}
}

// serveTCP accepts connections, and returns when all it accepted have ended.
func (s *Server) serveTCP(ctx context.Context, sock *socket) error {
	var wg sync.WaitGroup
	defer wg.Wait()
	var pause backoff
	for {
		nc, err := sock.tcp.AcceptTCP()
		if errors.Is(err, net.ErrClosed) {
			return nil
		}
		if err != nil { // such as no free file descriptor
			s.faults.Do(func() { s.log.Warn("tcp accept failed", "err", err) })
			pause.wait(ctx)
			continue
		}
		pause.reset()
		conn := &connection{Conn: nc, from: nc.RemoteAddr().(*net.TCPAddr).AddrPort()}
		if old := s.conns.add(conn); old != nil {
			s.metrics.evicted.Add(1)
			_ = old.Close()
		}
		s.metrics.connections.Add(1)
		wg.Go(func() { s.serveConnection(conn) })
	}
}

// serveConnection answers the queries of one connection in their order, each as soon as it is
// read, and sends answers together while further queries are already there (RFC 7766 §6.2.1.1).
func (s *Server) serveConnection(conn *connection) {
	defer s.metrics.connections.Add(-1)
	defer s.conns.remove(conn)
	defer conn.Close()
	r, w := bufio.NewReader(conn), bufio.NewWriter(conn)
	var message bytes.Buffer
	answers := s.newResponder(0)
	answers.servedAt(conn.LocalAddr())
	answers.out = make([]byte, maxPrepared)
	for {
		s.conns.await(conn)
		if readMessage(r, &message) != nil {
			return
		}
		start := time.Now()
		conn.used.Store(start.UnixNano())
		in := ask{packet: message.Bytes(), from: conn.from.Addr(), tcp: true, port: conn.from.Port()}
		out := answers.answer(in, s.load(), s.now(start))
		answers.counters.took(1, time.Since(start))
		if out == nil {
			return // no DNS client
		}
		_ = conn.SetWriteDeadline(time.Now().Add(s.cfg.TCPIdle))
		if writeMessage(w, out, !messageReady(r)) != nil {
			s.metrics.unsent.Add(1)
			return
		}
	}
}

// readMessage reads one message with its length before it (RFC 1035 §4.2.2). Memory grows with
// what has come, not with what was announced.
func readMessage(r *bufio.Reader, message *bytes.Buffer) error {
	var length [2]byte
	if _, err := io.ReadFull(r, length[:]); err != nil {
		return err
	}
	message.Reset()
	_, err := io.CopyN(message, r, int64(binary.BigEndian.Uint16(length[:])))
	return err
}

// messageReady reports whether a whole message has come already.
func messageReady(r *bufio.Reader) bool {
	if r.Buffered() < 2 {
		return false
	}
	length, err := r.Peek(2)
	return err == nil && r.Buffered() >= 2+int(binary.BigEndian.Uint16(length))
}

func writeMessage(w *bufio.Writer, out []byte, flush bool) error {
	var length [2]byte
	binary.BigEndian.PutUint16(length[:], uint16(len(out)))
	if _, err := w.Write(length[:]); err != nil {
		return err
	}
	if _, err := w.Write(out); err != nil {
		return err
	}
	if !flush {
		return nil
	}
	return w.Flush()
}
