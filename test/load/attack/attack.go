// Package attack floods a nameserver on loopback while a well-behaved client asks it, and says
// what became of both. It is for tests and measurements alone: it refuses to send anywhere else,
// and ends by itself. Run owns its goroutines and returns when they have ended.
package attack

import (
	"context"
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"net"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"github.com/miekg/dns"
)

// Kind is what a flood consists of.
type Kind string

// The kinds of flood.
const (
	Valid     Kind = "valid"     // names that exist
	Malformed Kind = "malformed" // valid queries with a few octets changed, cut or added
	Random    Kind = "random"    // names that don't exist, all of them different
)

// Kinds are all of them.
func Kinds() []Kind { return []Kind{Valid, Malformed, Random} }

// Config says what to do to whom.
type Config struct {
	// Server is the nameserver, on loopback.
	Server netip.AddrPort
	Kind   Kind
	// Zone is a zone of the server's, with a final dot; Names exist in it and have an A record or
	// an alias.
	Zone  string
	Names []string
	// For is how long the flood lasts, at most ten minutes.
	For time.Duration
	// Rate is how many queries a second the client asks, at most 10,000.
	Rate int
	// Seed makes the flood the same again.
	Seed uint64
}

// Report is what became of it.
type Report struct {
	Sent, Got           uint64        // the flood's packets to the server, and from it
	BytesSent, BytesGot uint64        // their payload
	Asked, Answered     uint64        // the client's queries; those answered at the first try
	Wrong               uint64        // answers to the client that were no good answer
	Slowest             time.Duration // of the client's answers
}

// FirstTry is the part of the client's queries that was answered at the first try.
func (r Report) FirstTry() float64 { return float64(r.Answered) / float64(max(1, r.Asked)) }

// Amplification is how many octets came back for each one that the flood sent.
func (r Report) Amplification() float64 { return float64(r.BytesGot) / float64(max(1, r.BytesSent)) }

// A flood comes from this many sockets, each at an address of its own. Each sends a burst that
// ends with a valid query, and the next burst when that one is answered: the server is kept as
// busy as it can be, and what is measured is the server, not how soon the kernel's buffers are
// full. Without an answer the next burst comes after a second, as dnsperf would have it.
const (
	sockets = 8
	burst   = 16
	silence = time.Second
)

// patience is how late an answer to the client may come. A resolver would have asked again, but
// a machine that is busy with other things must not look like a server that drops.
const patience = 5 * time.Second

// Run floods until the time is over or ctx ends, then waits for the client's last answers.
func Run(ctx context.Context, c Config) (Report, error) {
	if !c.Server.Addr().Unmap().Is4() || !c.Server.Addr().IsLoopback() {
		return Report{}, fmt.Errorf("%v is not an IPv4 loopback address", c.Server)
	}
	if c.For <= 0 || c.For > 10*time.Minute || c.Rate <= 0 || c.Rate > 10_000 || len(c.Names) == 0 {
		return Report{}, fmt.Errorf("nothing to do, or too much: %+v", c)
	}
	ctx, cancel := context.WithTimeout(ctx, c.For)
	defer cancel()
	f := &flood{Config: c}
	var conns []*net.UDPConn
	defer func() {
		for _, conn := range conns {
			conn.Close()
		}
	}()
	server := net.UDPAddrFromAddrPort(c.Server)
	for i := range sockets + 1 {
		// The client has a prefix of its own: 127.101.0.1, the flood 127.102.n.1.
		from := net.IPv4(127, 102, byte(i), 1)
		if i == sockets {
			from = net.IPv4(127, 101, 0, 1)
		}
		conn, err := net.DialUDP("udp4", &net.UDPAddr{IP: from}, server)
		if err != nil {
			return Report{}, fmt.Errorf("opening a socket at %v: %w", from, err)
		}
		conns = append(conns, conn)
	}
	var wg sync.WaitGroup
	for i := range sockets {
		wg.Go(func() { f.pour(ctx, conns[i], rand.New(rand.NewPCG(c.Seed, uint64(i)))) })
	}
	asked := &client{Config: c, conn: conns[sockets]}
	wg.Go(func() { asked.run(ctx) })
	wg.Wait()
	return Report{Sent: f.sent.Load(), Got: f.got.Load(), BytesSent: f.bytesSent.Load(),
		BytesGot: f.bytesGot.Load(), Asked: asked.asked, Answered: asked.answered,
		Wrong: asked.wrong, Slowest: asked.slowest}, nil
}

// flood counts over all its sockets.
type flood struct {
	Config
	sent, got, bytesSent, bytesGot atomic.Uint64
}

// pour sends burst after burst.
func (f *flood) pour(ctx context.Context, conn *net.UDPConn, r *rand.Rand) {
	buf := make([]byte, 65535)
	for id := uint16(0); ctx.Err() == nil; id++ {
		for i := range burst {
			p := f.packet(r)
			if i == burst-1 {
				p = query(f.Names[0], id)
			}
			if _, err := conn.Write(p); err != nil {
				continue // a full queue of the kernel's: this packet was never sent
			}
			f.sent.Add(1)
			f.bytesSent.Add(uint64(len(p)))
		}
		_ = conn.SetReadDeadline(time.Now().Add(silence)) // the socket is open
		for last := false; !last; {
			n, err := conn.Read(buf)
			if err != nil {
				break
			}
			f.got.Add(1)
			f.bytesGot.Add(uint64(n))
			last = n > 1 && binary.BigEndian.Uint16(buf) == id
		}
	}
}

// packet makes the next packet of a flood.
func (f *flood) packet(r *rand.Rand) []byte {
	name := f.Names[r.IntN(len(f.Names))]
	if f.Kind == Random {
		name = fmt.Sprintf("x%016x.%s", r.Uint64(), f.Zone)
	}
	p := query(name, uint16(r.Uint32()))
	if f.Kind == Malformed {
		p = mutate(p, r)
	}
	return p
}

// mutate spoils a packet: some octets change, and it may be cut or grow.
func mutate(p []byte, r *rand.Rand) []byte {
	for range 1 + r.IntN(4) {
		p[r.IntN(len(p))] = byte(r.Uint32())
	}
	switch r.IntN(4) {
	case 0:
		return p[:r.IntN(len(p)+1)]
	case 1:
		for range r.IntN(600) {
			p = append(p, byte(r.Uint32()))
		}
	}
	return p
}

// query is a question for a name's address with EDNS.
func query(name string, id uint16) []byte {
	m := new(dns.Msg)
	m.SetQuestion(name, dns.TypeA)
	m.Id = id
	m.SetEdns0(1232, false)
	p, err := m.Pack()
	if err != nil {
		return nil // a name that cannot be written; an empty packet is what is sent
	}
	return p
}
