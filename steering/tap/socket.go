package tap

import (
	"context"
	"errors"
	"net"
	"time"
)

// Waits of a socket. None holds up a query; the events of the meantime find their rings full.
const (
	socketTimeout = 2 * time.Second // for a connection, a handshake, a write
	firstRetry    = 100 * time.Millisecond
	lastRetry     = 30 * time.Second
)

// errAway says that an output is not there and not yet to be tried again.
var errAway = errors.New("waiting to try again")

// retry says when an output that failed is tried again: after longer and longer.
type retry struct {
	wait  time.Duration
	until time.Time
}

func (r *retry) due(now time.Time) bool { return !now.Before(r.until) }

func (r *retry) failed(now time.Time) {
	r.wait = min(max(2*r.wait, firstRetry), lastRetry)
	r.until = now.Add(r.wait)
}

func (r *retry) worked() { *r = retry{} }

// socket writes frames to a reader that listens on a unix or TCP socket, as a bidirectional Frame
// Stream: READY, ACCEPT, START, the frames, STOP, FINISH.
type socket struct {
	network, address string
	connected        func() // told after each handshake
	conn             net.Conn
	retry            retry
}

// write writes whole frames. After an error the connection is given up and made anew later; how
// much of b had left is not known.
func (s *socket) write(ctx context.Context, b []byte) error {
	if s.conn == nil {
		if ctx.Err() != nil || !s.retry.due(time.Now()) {
			return errAway
		}
		if err := s.connect(ctx); err != nil {
			s.retry.failed(time.Now())
			return err
		}
		s.connected()
	}
	_ = s.conn.SetDeadline(time.Now().Add(socketTimeout)) // a closed one fails at the write
	if _, err := s.conn.Write(b); err != nil {
		_ = s.conn.Close()
		s.conn = nil
		s.retry.failed(time.Now())
		return err
	}
	s.retry.worked()
	return nil
}

func (s *socket) connect(ctx context.Context) error {
	d := net.Dialer{Timeout: socketTimeout}
	conn, err := d.DialContext(ctx, s.network, s.address)
	if err != nil {
		return err
	}
	_ = conn.SetDeadline(time.Now().Add(socketTimeout))
	if err := handshake(conn); err != nil {
		return errors.Join(err, conn.Close())
	}
	s.conn = conn
	return nil
}

func handshake(conn net.Conn) error {
	if _, err := conn.Write(control(controlReady)); err != nil {
		return err
	}
	if err := expectControl(conn, controlAccept); err != nil {
		return err
	}
	_, err := conn.Write(control(controlStart))
	return err
}

// close ends the stream and waits for the reader to say that it has it all.
func (s *socket) close() error {
	if s.conn == nil {
		return nil
	}
	_ = s.conn.SetDeadline(time.Now().Add(socketTimeout))
	_, err := s.conn.Write(control(controlStop))
	if err == nil {
		err = expectControl(s.conn, controlFinish)
	}
	err = errors.Join(err, s.conn.Close())
	s.conn = nil
	return err
}
