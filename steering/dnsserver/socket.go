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
	// maxUDPQuery bounds a query over UDP; what is longer arrives cut and is malformed.
	maxUDPQuery = 4096
	// receiveBuffer is asked of the system for each UDP socket, which may grant less.
	receiveBuffer = 1 << 20
)

// socket is one address, bound for UDP and TCP.
type socket struct {
	addr netip.AddrPort
	udp  *net.UDPConn
	tcp  *net.TCPListener
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

// bind opens an address for UDP and TCP.
func bind(address string) (*socket, error) {
	host, port, err := net.SplitHostPort(address)
	if err != nil {
		return nil, fmt.Errorf("reading the address %q: want IP:PORT", address)
	}
	suffix, err := family(host)
	if err != nil {
		return nil, fmt.Errorf("reading the address %q: %w", address, err)
	}
	for try := 1; ; try++ {
		sock, err := bindBoth(address, suffix)
		// The system chose the port for UDP alone; it may be taken for TCP.
		if err != nil && port == "0" && errors.Is(err, syscall.EADDRINUSE) && try < 10 {
			continue
		}
		return sock, err
	}
}

func bindBoth(address, suffix string) (*socket, error) {
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
		addr: addr, udp: udp, tcp: ln.(*net.TCPListener), anyAddr: addr.Addr().IsUnspecified(),
	}
	_ = udp.SetReadBuffer(receiveBuffer) // less is slower, not wrong
	if err := setUDPOptions(udp, sock.anyAddr); err != nil {
		return nil, errors.Join(bindError(address, "UDP", err), sock.close())
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
	_ = s.udp.SetReadDeadline(until) // fails only on a closed socket
	_ = s.tcp.Close()
}

func (s *socket) close() error {
	var errs []error
	for _, err := range []error{s.udp.Close(), s.tcp.Close()} {
		if err != nil && !errors.Is(err, net.ErrClosed) {
			errs = append(errs, err)
		}
	}
	return errors.Join(errs...)
}

// serveUDP reads and answers packets, one at a time; several may run on one socket.
func (s *Server) serveUDP(ctx context.Context, sock *socket) error {
	buf := make([]byte, maxUDPQuery)
	oob := make([]byte, oobSize)
	var pause backoff
	for {
		n, oobn, _, from, err := sock.udp.ReadMsgUDPAddrPort(buf, oob)
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
		out := s.handle(ask{packet: buf[:n], from: from.Addr()})
		if out == nil {
			continue
		}
		var source []byte
		if sock.anyAddr {
			source = answerSource(oob[:oobn])
		}
		if _, _, err := sock.udp.WriteMsgUDPAddrPort(out, source, from); err != nil {
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
