// Package whatif weighs a change of the config before it is made. Who asks, and the tables' inputs
// from before and after the change, flow in; shares, churn, cost, capacity and origin load of
// both flow out. It is pure arithmetic over Table.Pick: no clock, no network, no goroutines.
package whatif

import (
	"errors"
	"fmt"
	"math/bits"
	"net/netip"

	"pointsman/steering"
)

// strata is how many draws stand for all the draws of a client at a spread host. They are even, and
// begin elsewhere for each client, so that a share of many is exact far beyond 1/strata.
const strata = 64

// golden is 2^64 by the golden ratio: its multiples are even.
const golden = 0x9e3779b97f4a7c15

// Client is somebody who asks for a host.
type Client struct {
	Host    string // canonical
	Prefix  netip.Prefix
	Country string  // empty: not known
	Weight  float64 // how many queries are meant, more than 0
}

// Moment is a time at which the world was in one state: both inputs have the same health,
// shares and overrides, and differ in what the change changes.
type Moment struct {
	Old, New steering.Inputs
	Clients  []Client
}

// Config says what is known besides the tables.
type Config struct {
	// Miss is the part of a backend's requests that go to the origin, 0 to 1, by name.
	Miss map[string]float64
	// Host keeps to one host (canonical); empty: all.
	Host string
}

// Comparison gathers moments. It belongs to one goroutine.
type Comparison struct {
	cfg      Config
	hosts    map[string]*host
	peaks    []peak
	refused  []Refusal
	old, new *steering.Table // the last ones, whose work on places the next take over
	asked    uint64
	moments  int
}

// Refusal is a moment at which the new config would not have come into force.
type Refusal struct {
	Version uint64 `json:"table_version"` // of the table that was in force
	Err     string `json:"err"`
}

// ErrOld says that the config from before the change makes no table.
var ErrOld = errors.New("the config in force makes no table")

// New returns a comparison of nothing yet.
func New(cfg Config) *Comparison {
	return &Comparison{cfg: cfg, hosts: make(map[string]*host)}
}

// Add weighs a moment. A new config that makes no table then is a refusal, and no error.
func (c *Comparison) Add(m Moment) error {
	m.Old.Prior, m.New.Prior = c.old, c.new
	before, err := steering.Compile(m.Old)
	if err != nil {
		return fmt.Errorf("%w: %w", ErrOld, err)
	}
	after, err := steering.Compile(m.New)
	if err != nil {
		c.refused = append(c.refused, Refusal{Version: m.Old.Version, Err: err.Error()})
		return nil
	}
	c.old, c.new = before, after
	c.moments++
	c.names(before, after)
	now := make(peak)
	for i := range m.Clients {
		if q := &m.Clients[i]; c.cfg.Host == "" || c.cfg.Host == q.Host {
			c.client(before, after, q, now)
		}
	}
	c.peaks = append(c.peaks, now)
	return nil
}

// names notes the hosts of both tables, those that nobody asks for too.
func (c *Comparison) names(before, after *steering.Table) {
	for i, t := range []*steering.Table{before, after} {
		for _, name := range t.Hosts() {
			if c.cfg.Host != "" && c.cfg.Host != name {
				continue
			}
			h := c.hosts[name]
			if h == nil {
				h = newHost()
				c.hosts[name] = h
			}
			h.in[i] = true
		}
	}
}

// client asks both tables for one client, by the same draws.
func (c *Comparison) client(before, after *steering.Table, q *Client, now peak) {
	h := c.hosts[q.Host]
	if h == nil {
		return // neither steers it
	}
	n := uint64(1)
	if draws(before, q) || draws(after, q) {
		n = strata
	}
	c.asked++
	offset := c.asked * golden >> bits.Len64(n-1)
	place, _ := after.Place(q.Host, q.Prefix)
	for i := range n {
		draw := offset
		if n > 1 {
			draw += i << (64 - bits.Len64(n-1))
		}
		query := steering.Query{Host: q.Host, Client: q.Prefix, Draw: draw}
		was, _ := before.Pick(query)
		is, _ := after.Pick(query)
		part := flow{old: was.Backend, new: is.Backend, weight: q.Weight / float64(n)}
		h.add(q.Country, place, part)
		now.add(q.Host, part)
	}
}

// draws reports whether what a client is answered depends on the draw.
func draws(t *steering.Table, q *Client) bool {
	chooser := t.Chooser(q.Host)
	if chooser == nil {
		return false
	}
	at, _ := chooser.At(q.Prefix)
	return at.Sequence() != 0
}
