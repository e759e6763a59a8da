package steering

import (
	"fmt"
	"time"
)

// The TTL of a host's answers shortens while anything is down: what was answered then will be
// wrong again soon, when the backend returns or the next one leaves, and users follow sooner.

// ttl is how long a host's answers hold; down says that something is.
func (h *Host) ttl(down bool) time.Duration {
	if down && h.TTLDegraded > 0 {
		return min(h.TTL, h.TTLDegraded)
	}
	return h.TTL
}

// down names the first backend that a host may use and that is out for a while, with the reason;
// empty when there is none. A backend that is drained, or that weighs 0, is out on purpose: it
// doesn't count.
func (c *compiler) down(h *Host, rungs []*node) string {
	if h.TTLDegraded == 0 || h.TTLDegraded >= h.TTL {
		return ""
	}
	for _, n := range rungs {
		if why := c.downIn(h, n); why != "" {
			return why
		}
	}
	return ""
}

func (c *compiler) downIn(h *Host, n *node) string {
	for _, k := range n.kids {
		why := ""
		switch {
		case k.weight == 0:
		case k.node != nil:
			why = c.downIn(h, k.node)
		case !k.leaf.barred:
			why = c.downLeaf(h, k.leaf)
		}
		if why != "" {
			return why
		}
	}
	return ""
}

func (c *compiler) downLeaf(h *Host, s *standing) string {
	switch {
	case s.drained:
		if o := c.orders.drain(h.Name, s.backend); o != nil && o.Kind == Fence {
			return s.backend + " is fenced"
		}
	case !s.usable:
		return s.backend + " is unhealthy"
	case h.Ramp > 0 && c.in.Shares.Factor(s.backend) < c.in.Shares.Limit(s.backend):
		return s.backend + " is coming back"
	}
	return ""
}

// ttl writes down that a host's answers hold less long than usual.
func (tr *Trace) ttl(h *Host, down string) {
	if tr != nil && down != "" {
		tr.add("ttl", fmt.Sprintf("%s instead of %s, because %s", h.ttl(true), h.TTL, down))
	}
}
