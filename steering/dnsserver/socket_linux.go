package dnsserver

import (
	"encoding/binary"
	"fmt"
	"net"
	"net/netip"

	"golang.org/x/sys/unix"
)

// oobSize holds the control message that says which address a packet came to.
const oobSize = 64

// setUDPOptions keeps answers from being fragmented by a forged path MTU (RFC 9715 §3.1), and
// asks for the address that each packet came to, if it can differ.
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
	omit := unix.IP_PMTUDISC_OMIT
	if domain == unix.AF_INET6 {
		level, discover, info = unix.IPPROTO_IPV6, unix.IPV6_MTU_DISCOVER, unix.IPV6_RECVPKTINFO
		omit = unix.IPV6_PMTUDISC_OMIT
	}
	// Some container sandboxes don't know this option; answers are small without it, too.
	_ = unix.SetsockoptInt(fd, level, discover, omit)
	if !anyAddr {
		return nil
	}
	if err := unix.SetsockoptInt(fd, level, info, 1); err != nil {
		return fmt.Errorf("asking for the packets' destination: %w", err)
	}
	return nil
}

// answerSource turns the control message of a packet, in place, into that of its answer: sent
// from the address that the packet came to, over whichever interface the route says.
func answerSource(oob []byte) []byte {
	msgs, err := unix.ParseSocketControlMessage(oob)
	if err != nil {
		return nil
	}
	for _, m := range msgs {
		switch {
		case m.Header.Level == unix.IPPROTO_IP && m.Header.Type == unix.IP_PKTINFO &&
			len(m.Data) >= unix.SizeofInet4Pktinfo:
			binary.NativeEndian.PutUint32(m.Data, 0)
			return oob
		case m.Header.Level == unix.IPPROTO_IPV6 && m.Header.Type == unix.IPV6_PKTINFO &&
			len(m.Data) >= unix.SizeofInet6Pktinfo:
			addr := netip.AddrFrom16([16]byte(m.Data[:16]))
			if !addr.IsLinkLocalUnicast() { // that one means nothing without its interface
				binary.NativeEndian.PutUint32(m.Data[16:], 0)
			}
			return oob
		}
	}
	return nil
}
