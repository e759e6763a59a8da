package attack

import (
	"context"
	"errors"
	"net"
	"os"
	"sync"
	"time"

	"github.com/miekg/dns"
)

// client asks at a steady rate, each query once.
type client struct {
	Config
	conn *net.UDPConn

	mu       sync.Mutex           // guards what follows until run has returned
	open     map[uint16]time.Time // when each open query was sent
	asked    uint64
	answered uint64
	wrong    uint64
	slowest  time.Duration
}

// run asks until ctx ends, then waits for what is open.
func (c *client) run(ctx context.Context) {
	c.open = map[uint16]time.Time{}
	stop := make(chan struct{})
	var reading sync.WaitGroup
	reading.Go(func() { c.read(stop) })
	tick := time.NewTicker(time.Second / time.Duration(c.Rate))
	defer tick.Stop()
	for ctx.Err() == nil {
		select {
		case <-ctx.Done():
		case <-tick.C:
			c.send()
		}
	}
	close(stop)
	reading.Wait()
}

func (c *client) send() {
	c.mu.Lock()
	id := uint16(c.asked)
	p := query(c.Names[c.asked%uint64(len(c.Names))], id)
	c.asked++
	c.open[id] = time.Now()
	c.mu.Unlock()
	_, _ = c.conn.Write(p) // what is not sent is not answered, and counts as that
}

// read takes answers until stop is closed and all are there, or none came for patience.
func (c *client) read(stop <-chan struct{}) {
	buf := make([]byte, 65535)
	last := time.Now()
	for {
		_ = c.conn.SetReadDeadline(time.Now().Add(20 * time.Millisecond)) // the socket is open
		n, err := c.conn.Read(buf)
		if err == nil {
			last = time.Now()
			c.take(buf[:n], last)
			continue
		}
		if !errors.Is(err, os.ErrDeadlineExceeded) {
			continue // refused for a moment: what is lost is counted
		}
		select {
		case <-stop:
			c.mu.Lock()
			left := len(c.open)
			c.mu.Unlock()
			if left == 0 || time.Since(last) > patience {
				return
			}
		default:
		}
	}
}

func (c *client) take(p []byte, at time.Time) {
	m := new(dns.Msg)
	err := m.Unpack(p)
	c.mu.Lock()
	defer c.mu.Unlock()
	sent, ok := c.open[m.Id]
	if err != nil || !ok || m.Rcode != dns.RcodeSuccess || len(m.Answer) == 0 {
		c.wrong++
		return
	}
	delete(c.open, m.Id)
	c.answered++
	c.slowest = max(c.slowest, at.Sub(sent))
}
