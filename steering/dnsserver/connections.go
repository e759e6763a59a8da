package dnsserver

import (
	"context"
	"net"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"
)

// connection is an open TCP connection, also of one with TLS in it.
type connection struct {
	net.Conn
	from   netip.AddrPort
	client clientPrefix
	used   atomic.Int64 // when the last query came whole, in nanoseconds since 1970
}

// clientPrefix is the prefix that a client's connections are counted for.
type clientPrefix struct{ prefix, family uint64 }

// connections holds the open TCP connections, bounds their number, and closes those that are idle
// or whose client takes no answers: so none needs a timer of its own.
type connections struct {
	limit     int
	perClient int
	idle      time.Duration
	rates     atomic.Pointer[rates] // who is one client, and who is exempt

	mu      sync.Mutex // guards the fields below
	open    map[*connection]struct{}
	clients map[clientPrefix]int
	until   time.Time // when all reading ends; zero unless the server stops
}

// trust takes over who is one client and who is exempt; nil: the defaults, and nobody.
func (c *connections) trust(r *rates) {
	if r == nil {
		r, _ = newRates(RateLimit{}, 1) // the zero value is right
	}
	c.rates.Store(r)
}

// add takes in a connection, and returns false when its client has too many. With the limit
// reached it returns the longest idle one, which is no longer counted and must be closed (RFC 7766
// §6.2.3 lets a server do so when short of resources).
func (c *connections) add(conn *connection) (evicted *connection, ok bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	r := c.rates.Load()
	conn.client.prefix, conn.client.family = r.client(conn.from.Addr())
	if c.clients[conn.client] >= c.perClient && !r.trusts(conn.from.Addr()) {
		return nil, false
	}
	if c.open == nil {
		c.open, c.clients = make(map[*connection]struct{}), make(map[clientPrefix]int)
	}
	if len(c.open) >= c.limit {
		for other := range c.open {
			if evicted == nil || other.used.Load() < evicted.used.Load() {
				evicted = other
			}
		}
		c.forget(evicted)
	}
	conn.used.Store(time.Now().UnixNano())
	if !c.until.IsZero() {
		_ = conn.SetDeadline(c.until) // a closed connection fails at its next read
	}
	c.open[conn] = struct{}{}
	c.clients[conn.client]++
	return evicted, true
}

func (c *connections) remove(conn *connection) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.forget(conn)
}

// forget needs c.mu. A connection may have been forgotten already.
func (c *connections) forget(conn *connection) {
	if _, ok := c.open[conn]; !ok {
		return
	}
	delete(c.open, conn)
	if c.clients[conn.client]--; c.clients[conn.client] == 0 {
		delete(c.clients, conn.client)
	}
}

// patience is how long a connection may be idle while so many of those allowed are open: less and
// less once half of them are, to a tenth of what it is else (RFC 7766 §6.2.3, RFC 9210 §4.4).
func patience(idle time.Duration, open, allowed int) time.Duration {
	if 2*open <= allowed {
		return idle
	}
	return max(idle/10, idle*time.Duration(2*(allowed-open))/time.Duration(allowed))
}

// sweep closes the connections that have been idle for too long.
func (c *connections) sweep(now time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	r, all := c.rates.Load(), patience(c.idle, len(c.open), c.limit)
	for conn := range c.open {
		idle := time.Duration(now.UnixNano() - conn.used.Load())
		if idle < c.idle/10 {
			continue
		}
		allowed := min(all, patience(c.idle, c.clients[conn.client], c.perClient))
		if r.trusts(conn.from.Addr()) {
			allowed = all
		}
		if idle >= allowed {
			_ = conn.Close() // its goroutine does the rest
		}
	}
}

// keepSwept sweeps until the context ends.
func (c *connections) keepSwept(ctx context.Context) error {
	tick := time.NewTicker(min(max(c.idle/10, time.Millisecond), time.Second))
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case now := <-tick.C:
			c.sweep(now)
		}
	}
}

// stop ends every connection, open or yet to come, at a given time.
func (c *connections) stop(until time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.until = until
	for conn := range c.open {
		_ = conn.SetDeadline(until)
	}
}

// stopping reports whether stop was called.
func (c *connections) stopping() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return !c.until.IsZero()
}
