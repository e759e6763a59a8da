//go:build !linux

package dnsserver

import "net"

const oobSize = 0

// setUDPOptions does nothing: only Linux is asked for the destination of packets. Elsewhere,
// listen on explicit addresses.
func setUDPOptions(*net.UDPConn, bool) error { return nil }

func answerSource([]byte) []byte { return nil }
