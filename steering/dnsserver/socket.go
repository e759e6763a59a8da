package dnsserver

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"syscall"
	"time"
)

const (
	// maxUDPQuery bounds a query over UDP; what is longer arrives cut and is malformed. No more is
	// ever announced to clients.
	maxUDPQuery = maxUDPSize
	// receiveBuffer is asked of the system for each UDP socket, which may grant less.
	receiveBuffer = 1 << 20
)

// socket is one address, bound for UDP and TCP.
type socket struct {
	addr netip.AddrPort
	// udp holds one socket for each worker, among which the system divides the clients; or, where
	// that can't be had, one for all.
	udp []*net.UDPConn
	tcp *net.TCPListener
	// anyAddr is true when the socket receives for several addresses: an answer must then be
	// told which one to come from.
	anyAddr bool
}

// family returns the suffix of Go's networks for a host: an explicit address gets a socket
// of its family alone, the empty one a socket for both.
func family(host string) (string, error) {
	if host == "" {
		return "", nil
	}
	addr, err := netip.ParseAddr(host)
	if err != nil {
		return "", fmt.Errorf("%q is not an IP address", host)
	}
	if addr.Is4() {
		return "4", nil
	}
	return "6", nil
}

// bind opens an address for UDP, for so many workers, and TCP.
func bind(address string, workers int) (*socket, error) {
	host, port, err := net.SplitHostPort(address)
	if err != nil {
		return nil, fmt.Errorf("reading the address %q: want IP:PORT", address)
	}
	suffix, err := family(host)
	if err != nil {
		return nil, fmt.Errorf("reading the address %q: %w", address, err)
	}
	for try := 1; ; try++ {
		sock, err := bindBoth(address, suffix, workers)
		// The system chose the port for UDP alone; it may be taken for TCP.
		if err != nil && port == "0" && errors.Is(err, syscall.EADDRINUSE) && try < 10 {
			continue
		}
		return sock, err
	}
}

func bindBoth(address, suffix string, workers int) (*socket, error) {
	// This fails if anybody else has the port, also one that would share it: with two servers on
	// one port each would silently get half of the queries.
	pc, err := net.ListenPacket("udp"+suffix, address)
	if err != nil {
		return nil, bindError(address, "UDP", err)
	}
	udp := pc.(*net.UDPConn)
	addr := udp.LocalAddr().(*net.UDPAddr).AddrPort()
	addr = netip.AddrPortFrom(addr.Addr().Unmap(), addr.Port())
	ln, err := net.Listen("tcp"+suffix, addr.String())
	if err != nil {
		return nil, errors.Join(bindError(addr.String(), "TCP", err), udp.Close())
	}
	sock := &socket{
		addr: addr, udp: []*net.UDPConn{udp}, tcp: ln.(*net.TCPListener),
		anyAddr: addr.Addr().IsUnspecified(),
	}
	if workers > 1 {
		more, err := share(udp, "udp"+suffix, addr, workers-1)
		sock.udp = append(sock.udp, more...)
		if err != nil {
			return nil, errors.Join(bindError(addr.String(), "UDP", err), sock.close())
		}
	}
	for _, udp := range sock.udp {
		_ = udp.SetReadBuffer(receiveBuffer) // less is slower, not wrong
		if err := setUDPOptions(udp, sock.anyAddr); err != nil {
			return nil, errors.Join(bindError(address, "UDP", err), sock.close())
		}
	}
	return sock, nil
}

// bindError names the address and the protocol, and says the rest once.
func bindError(address, proto string, err error) error {
	var op *net.OpError
	if errors.As(err, &op) {
		err = op.Err
	}
	var sys *os.SyscallError
	if errors.As(err, &sys) {
		err = sys.Err
	}
	return fmt.Errorf("binding %s over %s: %w", address, proto, err)
}

// stop ends accepting, and reading at a given time.
func (s *socket) stop(until time.Time) {
	for _, udp := range s.udp {
		_ = udp.SetReadDeadline(until) // fails only on a closed socket
	}
	_ = s.tcp.Close()
}

func (s *socket) close() error {
	var errs []error
	for _, udp := range s.udp {
		errs = append(errs, ignoreClosed(udp.Close()))
	}
	return errors.Join(append(errs, ignoreClosed(s.tcp.Close()))...)
}

func ignoreClosed(err error) error {
	if errors.Is(err, net.ErrClosed) {
		return nil
	}
	return err
}

// servePackets reads and answers packets, one at a time; several may run on one socket.
func (s *Server) servePackets(
	ctx context.Context, sock *socket, udp *net.UDPConn, answers *responder,
) error {
	buf := make([]byte, maxUDPQuery)
	oob := make([]byte, oobSize)
	answers.out = make([]byte, maxPrepared)
	var pause backoff
	for {
		n, oobn, _, from, err := udp.ReadMsgUDPAddrPort(buf, oob)
		if err != nil {
			if errors.Is(err, os.ErrDeadlineExceeded) || errors.Is(err, net.ErrClosed) {
				return nil
			}
			s.faults.Do(func() { s.log.Warn("udp read failed", "err", err) })
			pause.wait(ctx)
			continue
		}
		pause.reset()
		if from.Port() == 0 {
			s.metrics.ignored.Add(1)
			continue // nobody can be answered there
		}
		start := time.Now()
		in := ask{packet: buf[:n], from: from.Addr(), port: from.Port()}
		out := answers.answer(in, s.load(), s.now(start))
		answers.counters.took(1, time.Since(start))
		if out == nil {
			continue
		}
		var source []byte
		if sock.anyAddr {
			source = answerSource(oob[:oobn])
		}
		if _, _, err := udp.WriteMsgUDPAddrPort(out, source, from); err != nil {
			s.metrics.unsent.Add(1)
		}
	}
}

// backoff slows down a loop whose calls fail again and again.
type backoff struct{ next time.Duration }

func (b *backoff) reset() { b.next = 0 }

// wait pauses, each time for longer, up to a second, or until the context ends.
func (b *backoff) wait(ctx context.Context) {
	b.next = min(max(2*b.next, 5*time.Millisecond), time.Second)
	t := time.NewTimer(b.next)
	defer t.Stop()
	select {
	case <-t.C:
	case <-ctx.Done():
	}
}
