//go:build !linux

package dnsserver

import (
	"context"
	"net"
	"net/netip"
)

const oobSize = 0

// setUDPOptions does nothing: only Linux is asked for the destination of packets. Elsewhere,
// listen on explicit addresses.
func setUDPOptions(*net.UDPConn, bool) error { return nil }

func answerSource([]byte) []byte { return nil }

// share opens no socket: all workers read from one.
func share(*net.UDPConn, string, netip.AddrPort, int) ([]*net.UDPConn, error) { return nil, nil }

// nappers is nothing: nobody coalesces.
type nappers struct{}

func newNappers() *nappers { return nil }

// serveUDP reads and answers packets.
func (s *Server) serveUDP(
	ctx context.Context, sock *socket, udp *net.UDPConn, answers *responder,
) error {
	return s.servePackets(ctx, sock, udp, answers)
}

// quiet returns the connection.
func quiet(conn *net.TCPConn) net.Conn { return conn }
