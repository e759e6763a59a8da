package dnsserver

import (
	"io"
	"net"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// quietConn is a TCP connection whose system calls, which never block, are not told to the
// scheduler: told, each that ends an idle time wakes the runtime's monitor thread, which costs as
// much as the call. The runtime's poller waits instead. One goroutine may read and one may write.
type quietConn struct {
	*net.TCPConn
	raw               syscall.RawConn
	receive, transmit func(fd uintptr) bool
	in, out           []byte
	got               int
	inErr, outErr     syscall.Errno
}

func quiet(conn *net.TCPConn) net.Conn {
	raw, err := conn.SyscallConn()
	if err != nil {
		return conn // closed
	}
	c := &quietConn{TCPConn: conn, raw: raw}
	c.receive, c.transmit = c.receiveSome, c.transmitAll // made once
	return c
}

// Read implements net.Conn.
func (c *quietConn) Read(p []byte) (int, error) {
	if len(p) == 0 {
		return 0, nil
	}
	c.in = p
	err := c.raw.Read(c.receive)
	c.in = nil
	switch {
	case err != nil:
		return 0, err
	case c.inErr != 0:
		return 0, c.inErr
	case c.got == 0:
		return 0, io.EOF
	}
	return c.got, nil
}

// receiveSome is for RawConn.Read: false means that there is nothing to read yet.
func (c *quietConn) receiveSome(fd uintptr) bool {
	for {
		n, _, errno := unix.RawSyscall6(unix.SYS_RECVFROM, fd, uintptr(unsafe.Pointer(&c.in[0])),
			uintptr(len(c.in)), unix.MSG_DONTWAIT, 0, 0)
		switch errno {
		case unix.EINTR:
			continue
		case unix.EAGAIN:
			return false
		case 0:
			c.got = int(n)
		}
		c.inErr = errno
		return true
	}
}

// Write implements net.Conn.
func (c *quietConn) Write(p []byte) (int, error) {
	c.out, c.outErr = p, 0
	err := c.raw.Write(c.transmit)
	n := len(p) - len(c.out)
	c.out = nil
	if err == nil && c.outErr != 0 {
		err = c.outErr
	}
	return n, err
}

// transmitAll is for RawConn.Write: false means that there is no room yet.
func (c *quietConn) transmitAll(fd uintptr) bool {
	for len(c.out) > 0 {
		n, _, errno := unix.RawSyscall6(unix.SYS_SENDTO, fd, uintptr(unsafe.Pointer(&c.out[0])),
			uintptr(len(c.out)), unix.MSG_DONTWAIT|unix.MSG_NOSIGNAL, 0, 0)
		switch errno {
		case 0:
			c.out = c.out[n:]
		case unix.EINTR:
		case unix.EAGAIN:
			return false
		default:
			c.outErr = errno
			return true
		}
	}
	return true
}
