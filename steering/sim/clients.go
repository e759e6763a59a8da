package sim

import (
	"time"

	"pointsman/steering/control"
)

// tick is the step of virtual time.
const tick = time.Second

// clients are the resolvers and browsers between answers and users. They leave an answer as
// control.Residual says, which is what was measured of Bing's users (Flavel, Mani, Maltz 2014,
// with a TTL of 20 s: 90 % off after 60 s, 2 % still there after 15 minutes): most after a time
// that is spread evenly up to the TTL + 40 s, and a tail of slow ones, exponentially. Both are
// linear filters of the answers, so a step costs the same however long the tail.
type clients struct {
	window [][]float64 // the answers of the last TTL + 40 s, as a ring
	sum    []float64   // of the window
	slow   []float64   // the answers of the slow clients, who begin to leave after the window
	at     int
	tail   float64 // the part of slow clients
	keep   float64 // how much of their answers they keep in a tick
	now    []float64
}

// spread is how much longer than the TTL most clients take; that of control.Residual.
const spread = 40 * time.Second

// newClients returns clients who all use these answers, and have for long.
func newClients(ttl time.Duration, answers []float64) *clients {
	end := (ttl + spread).Round(tick)
	c := &clients{
		window: make([][]float64, int(end/tick)),
		sum:    make([]float64, len(answers)),
		slow:   append([]float64(nil), answers...),
		tail:   control.Residual(ttl, ttl+spread),
		now:    make([]float64, len(answers)),
	}
	c.keep = control.Residual(ttl, ttl+spread+tick) / c.tail
	for i := range c.window {
		c.window[i] = append([]float64(nil), answers...)
	}
	for b, a := range answers {
		c.sum[b] = a * float64(len(c.window))
	}
	return c
}

// step lets a tick pass in which these are the answers, and returns which of them clients use.
// The slice is overwritten by the next step.
func (c *clients) step(answers []float64) []float64 {
	oldest := c.window[c.at]
	for b, a := range answers {
		c.slow[b] = c.keep*c.slow[b] + (1-c.keep)*oldest[b]
		c.sum[b] += a - oldest[b]
		oldest[b] = a
		c.now[b] = (1-c.tail)*max(0, c.sum[b])/float64(len(c.window)) + c.tail*c.slow[b]
	}
	c.at = (c.at + 1) % len(c.window)
	return c.now
}
