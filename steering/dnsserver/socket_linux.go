package dnsserver

import (
	"context"
	"encoding/binary"
	"fmt"
	"net"
	"net/netip"
	"syscall"

	"golang.org/x/sys/unix"
)

// oobSize holds the control message that says which address a packet came to.
const oobSize = 64

// setUDPOptions keeps answers from being fragmented (RFC 9715 §3.1), and asks for the address
// that each packet came to, if it can differ.
func setUDPOptions(conn *net.UDPConn, anyAddr bool) error {
	raw, err := conn.SyscallConn()
	if err != nil {
		return err
	}
	var optErr error
	err = raw.Control(func(fd uintptr) {
		optErr = setOptions(int(fd), anyAddr)
	})
	if err != nil {
		return err
	}
	return optErr
}

func setOptions(fd int, anyAddr bool) error {
	domain, err := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_DOMAIN)
	if err != nil {
		return fmt.Errorf("reading the socket's family: %w", err)
	}
	level, discover, info := unix.IPPROTO_IP, unix.IP_MTU_DISCOVER, unix.IP_PKTINFO
	// Over IPv4 with DF; what routers say of the path's MTU, which anybody can forge, is ignored.
	mode := unix.IP_PMTUDISC_PROBE
	if domain == unix.AF_INET6 {
		level, discover, info = unix.IPPROTO_IPV6, unix.IPV6_MTU_DISCOVER, unix.IPV6_RECVPKTINFO
		mode = unix.IPV6_PMTUDISC_OMIT // IPv6 fragments at the sender, and only by a path's MTU
	}
	// Some container sandboxes don't know this option; answers are small without it, too. A
	// socket for both families has both.
	_ = unix.SetsockoptInt(fd, unix.IPPROTO_IP, unix.IP_MTU_DISCOVER, unix.IP_PMTUDISC_PROBE)
	_ = unix.SetsockoptInt(fd, level, discover, mode)
	if !anyAddr {
		return nil
	}
	if err := unix.SetsockoptInt(fd, level, info, 1); err != nil {
		return fmt.Errorf("asking for the packets' destination: %w", err)
	}
	return nil
}

// share opens n more sockets on the address of conn, among which the system divides the clients.
// conn was bound before it could share its port, so that nobody else has it. Where ports can't be
// shared there are none.
func share(conn *net.UDPConn, network string, addr netip.AddrPort, n int) (
	more []*net.UDPConn, err error,
) {
	raw, err := conn.SyscallConn()
	if err != nil {
		return nil, err
	}
	if reusePort(raw) != nil {
		return nil, nil // a sandbox without the option
	}
	config := net.ListenConfig{Control: func(_, _ string, c syscall.RawConn) error {
		return reusePort(c)
	}}
	for range n {
		pc, err := config.ListenPacket(context.Background(), network, addr.String())
		if err != nil {
			return more, err
		}
		more = append(more, pc.(*net.UDPConn))
	}
	return more, nil
}

func reusePort(c syscall.RawConn) error {
	var optErr error
	if err := c.Control(func(fd uintptr) {
		optErr = unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_REUSEPORT, 1)
	}); err != nil {
		return err
	}
	return optErr
}

// answerSource turns the control message of a packet, in place, into that of its answer: sent
// from the address that the packet came to, over whichever interface the route says.
func answerSource(oob []byte) []byte {
	for rest := oob; len(rest) >= unix.CmsgLen(0); {
		h, data, next, err := unix.ParseOneSocketControlMessage(rest)
		if err != nil {
			return nil
		}
		switch {
		case h.Level == unix.IPPROTO_IP && h.Type == unix.IP_PKTINFO &&
			len(data) >= unix.SizeofInet4Pktinfo:
			binary.NativeEndian.PutUint32(data, 0)
			return oob
		case h.Level == unix.IPPROTO_IPV6 && h.Type == unix.IPV6_PKTINFO &&
			len(data) >= unix.SizeofInet6Pktinfo:
			addr := netip.AddrFrom16([16]byte(data[:16]))
			if !addr.IsLinkLocalUnicast() { // that one means nothing without its interface
				binary.NativeEndian.PutUint32(data[16:], 0)
			}
			return oob
		}
		rest = next
	}
	return nil
}
