package dnsserver

import (
	"context"
	"encoding/binary"
	"errors"
	"net"
	"net/netip"
	"os"
	"runtime"
	"sync/atomic"
	"syscall"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

const (
	// batchSize is how many packets one system call reads or writes at most.
	batchSize = 64
	// packetStride is the room of one query: close together, so that a batch lies on few pages.
	packetStride = maxUDPQuery + cacheLine
)

// Coalescing: a worker with at least busyRate packets a second sleeps when it got fewer than
// shortBatch at once, up to maxNaps times in a row for nothing. Below that rate a nap would
// gather little more than one packet; batches that are long already have nothing to gain.
const (
	busyRate   = 5000
	shortBatch = 8
	maxNaps    = 3
	rateWindow = 5 * time.Millisecond
	// timerSlack is how much later than asked the system wakes a thread (prctl(2),
	// PR_SET_TIMERSLACK: 50 µs unless changed).
	timerSlack = 50 * time.Microsecond
)

// mmsghdr is struct mmsghdr of recvmmsg(2).
type mmsghdr struct {
	hdr unix.Msghdr
	len uint32
}

// batch holds the packets that one worker reads, answers and writes at once. Its memory is set up
// once. The system calls never block: RawSyscall is right for them, and the runtime's poller
// waits instead.
type batch struct {
	received, ready [batchSize]mmsghdr
	inVec, outVec   [batchSize]unix.Iovec
	from            [batchSize]unix.RawSockaddrInet6 // or Inet4, which is smaller
	control         [batchSize][oobSize]byte
	in              [batchSize * packetStride]byte
	out             [batchSize * maxPrepared]byte // answers, one behind the other

	n     int           // packets received, or to be written
	sent  int           // packets written
	lost  uint64        // answers that the system did not take
	errno syscall.Errno // of a failed read

	nap     unix.Timespec // 0: no coalescing
	short   bool          // the last batch was short
	busy    bool          // packets come faster than busyRate, and nappers has room
	since   time.Time     // start of the window in which the rate is measured
	counted int           // packets within it
	nappers *nappers
}

// nappers bounds how many workers coalesce at a time. One that does keeps its processor from
// looking for other goroutines' packets and timers, for up to 10 ms (then the runtime preempts
// it); with one processor left, that one looks.
type nappers struct{ left atomic.Int32 }

func newNappers() *nappers {
	n := new(nappers)
	n.left.Store(int32(max(1, runtime.GOMAXPROCS(0)-1)))
	return n
}

func (n *nappers) enter() bool {
	if n.left.Add(-1) >= 0 {
		return true
	}
	n.left.Add(1)
	return false
}

func (n *nappers) leave() { n.left.Add(1) }

func newBatch(control bool, coalesce time.Duration, nappers *nappers) *batch {
	b := &batch{nappers: nappers}
	if coalesce > 0 {
		b.nap = unix.NsecToTimespec(int64(max(coalesce-timerSlack, time.Microsecond)))
	}
	for i := range batchSize {
		b.inVec[i].Base = &b.in[i*packetStride]
		b.inVec[i].SetLen(maxUDPQuery)
		h := &b.received[i].hdr
		h.Name, h.Iov = (*byte)(unsafe.Pointer(&b.from[i])), &b.inVec[i]
		h.SetIovlen(1)
		if control {
			h.Control = &b.control[i][0]
		}
		b.ready[i].hdr.Iov = &b.outVec[i]
		b.ready[i].hdr.SetIovlen(1)
	}
	b.rewind(batchSize)
	return b
}

// rewind makes the first n headers ready for the next read.
func (b *batch) rewind(n int) {
	for i := range n {
		h := &b.received[i].hdr
		h.Namelen = uint32(unsafe.Sizeof(b.from[i]))
		if h.Control != nil {
			h.SetControllen(oobSize)
		}
	}
}

// receive reads a batch; false means that there is nothing to read yet.
func (b *batch) receive(fd uintptr) bool {
	naps := 0
	if b.busy && b.short {
		b.sleep()
		naps++
	}
	for b.errno = 0; ; {
		n, _, errno := unix.RawSyscall6(unix.SYS_RECVMMSG, fd,
			uintptr(unsafe.Pointer(&b.received[0])), batchSize, unix.MSG_DONTWAIT, 0, 0)
		switch errno {
		case 0:
			b.n = int(n)
			return true
		case unix.EINTR:
		case unix.EAGAIN:
			if !b.busy || naps == maxNaps {
				b.short = false // read at once when the next packet comes
				return false
			}
			b.sleep()
			naps++
		default:
			b.n, b.errno = 0, errno
			return true
		}
	}
}

// sleep naps without telling the scheduler, which would wake other threads for nothing. It ends
// early when the garbage collector or another goroutine wants the processor.
func (b *batch) sleep() {
	_, _, _ = unix.RawSyscall(unix.SYS_NANOSLEEP, uintptr(unsafe.Pointer(&b.nap)), 0, 0)
}

// observe notes a batch of n packets, to decide whether naps would pay.
func (b *batch) observe(n int, now time.Time) {
	if b.nap.Nsec == 0 {
		return
	}
	b.short = n < shortBatch
	b.counted += n
	if elapsed := now.Sub(b.since); elapsed >= rateWindow {
		busy := time.Duration(b.counted)*time.Second >= busyRate*elapsed
		switch {
		case busy && !b.busy:
			b.busy = b.nappers.enter()
		case !busy && b.busy:
			b.busy = false
			b.nappers.leave()
		}
		b.since, b.counted = now, 0
	}
}

// source returns the address that the i-th packet came from, and false when none can be
// answered there.
func (b *batch) source(i int) (netip.Addr, bool) {
	from := &b.from[i]
	if b.port(i) == 0 {
		return netip.Addr{}, false
	}
	if from.Family == unix.AF_INET {
		return netip.AddrFrom4((*unix.RawSockaddrInet4)(unsafe.Pointer(from)).Addr), true
	}
	return netip.AddrFrom16(from.Addr).Unmap(), true
}

// port returns the port that the i-th packet came from.
func (b *batch) port(i int) uint16 {
	return binary.BigEndian.Uint16((*[2]byte)(unsafe.Pointer(&b.from[i].Port))[:])
}

// add makes the answer to the i-th packet the k-th to be written.
func (b *batch) add(k, i int, out []byte) {
	b.outVec[k].Base = &out[0]
	b.outVec[k].SetLen(len(out))
	h, in := &b.ready[k].hdr, &b.received[i].hdr
	h.Name, h.Namelen = in.Name, in.Namelen
	if in.Control == nil {
		return
	}
	h.Control = nil
	source := answerSource(b.control[i][:in.Controllen])
	h.SetControllen(len(source))
	if len(source) > 0 {
		h.Control = &source[0]
	}
}

// write is for RawConn.Write: false means that there is no room yet.
func (b *batch) write(fd uintptr) bool {
	for b.sent < b.n {
		n, _, errno := unix.RawSyscall6(unix.SYS_SENDMMSG, fd,
			uintptr(unsafe.Pointer(&b.ready[b.sent])), uintptr(b.n-b.sent), unix.MSG_DONTWAIT, 0, 0)
		switch errno {
		case 0:
			b.sent += int(n)
		case unix.EINTR:
		case unix.EAGAIN:
			return false
		default: // it concerns the first answer; the others may still go out
			b.sent++
			b.lost++
		}
	}
	return true
}

// udpWorker is what one goroutine does with one socket.
type udpWorker struct {
	s       *Server
	b       *batch
	answers *responder
}

// turn is for RawConn.Read: it reads a batch, answers it, and writes the answers as far as there
// is room. With false the runtime calls it again when the next packet comes, also if that one has
// come since the read: its poller is told of every packet (EPOLLET). So when one came alone,
// asking whether there are more would nearly always be in vain.
func (w *udpWorker) turn(fd uintptr) bool {
	b := w.b
	if !b.receive(fd) {
		return false
	}
	received := b.n
	w.answerBatch()
	if !b.write(fd) || b.errno != 0 {
		return true
	}
	return received > 1 || b.busy
}

// serveUDP reads and answers packets, as many at a time as there are.
func (s *Server) serveUDP(
	ctx context.Context, sock *socket, udp *net.UDPConn, answers *responder,
) error {
	raw, err := udp.SyscallConn()
	if err != nil {
		return err
	}
	w := udpWorker{s: s, b: newBatch(sock.anyAddr, s.cfg.Coalesce, s.nappers), answers: answers}
	b, turn, write := w.b, w.turn, w.b.write
	var pause backoff
	for {
		err := raw.Read(turn)
		if errors.Is(err, os.ErrDeadlineExceeded) || errors.Is(err, net.ErrClosed) {
			return nil
		}
		if err == nil && b.errno != 0 {
			err = b.errno
		}
		if err == unix.ENOSYS { // some sandboxes
			return s.servePackets(ctx, sock, udp, answers)
		}
		if err != nil {
			s.faults.Do(func() { s.log.Warn("udp read failed", "err", err) })
			pause.wait(ctx)
			continue
		}
		pause.reset()
		if b.sent < b.n {
			if err := raw.Write(write); err != nil {
				s.metrics.unsent.Add(uint64(b.n - b.sent))
			}
		}
		if b.lost > 0 {
			s.metrics.unsent.Add(b.lost)
			b.lost = 0
		}
	}
}

// answerBatch turns the packets of a batch into answers to be written.
func (w *udpWorker) answerBatch() {
	s, b := w.s, w.b
	start := time.Now()
	b.observe(b.n, start)
	st, now := s.load(), s.now(start)
	received, k, end := b.n, 0, 0
	for i := range received {
		from, ok := b.source(i)
		if !ok {
			s.metrics.ignored.Add(1)
			continue
		}
		w.answers.out = b.out[end:][:maxPrepared]
		packet := b.in[i*packetStride:][:b.received[i].len]
		in := ask{packet: packet, from: from, port: b.port(i)}
		if out := w.answers.answer(in, st, now); out != nil {
			b.add(k, i, out)
			k++
			if &out[0] == &b.out[end] {
				end += (len(out) + cacheLine - 1) &^ (cacheLine - 1)
			}
		}
	}
	w.answers.counters.took(received, time.Since(start))
	b.rewind(received)
	b.n, b.sent = k, 0
}
