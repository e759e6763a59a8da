package steering

import (
	"fmt"
	"slices"
	"strings"

	"pointsman/steering/control"
)

// verdict is who answers for some pools, and why. It is read-only once made: hosts share it.
type verdict struct {
	chosen []standing
	reason Reason
	shares []Share // of all backends of the pools
	guide  *guide  // nil: there is no split
	down   string  // what keeps the TTL short; empty: nothing
}

// verdicts are those of one compilation, so that hosts that can't differ are judged once.
type verdicts map[verdictKey]verdict

// verdictKey is all of a host that its verdict depends on, but for the overrides that name it.
type verdictKey struct {
	pools, barred, zone      string
	flattened, ramped, bound bool
	degraded                 bool          // the TTL may shorten
	scope                    control.Scope // of the split; none: empty
}

// verdict judges the pools of a host. With a trace it does so afresh, and writes down every step.
func (c *compiler) verdict(
	h *Host, at locale, pools, barred []string, tr *Trace,
) verdict {
	place, z := "", at.zone
	if at.place != nil {
		place = at.place.Name
	}
	g := c.guide(h, place, at.zoneName(), barred)
	if tr != nil || c.verdicts == nil || c.orders.named[h.Name] {
		return c.judge(h, pools, barred, z, g, tr)
	}
	key := verdictKey{pools: strings.Join(pools, "\x00"), barred: strings.Join(barred, "\x00"),
		zone: z.key(), flattened: h.Flatten, ramped: h.Ramp > 0, bound: h.Load > 0,
		degraded: h.TTLDegraded > 0 && h.TTLDegraded < h.TTL}
	if g != nil {
		key.scope = g.scope
	}
	v, known := c.verdicts[key]
	if !known {
		v = c.judge(h, pools, barred, z, g, nil)
		c.verdicts[key] = v
	}
	return v
}

func (c *compiler) judge(
	h *Host, pools, barred []string, z *zone, g *guide, tr *Trace,
) verdict {
	tr.distances(c, pools, z)
	rungs := make([]*node, 0, len(pools))
	for i, name := range pools {
		n := c.node(h, name, fmt.Sprintf("choice %d", i+1), tr)
		n.bar(barred)
		n.locate(z)
		rungs = append(rungs, n)
	}
	g.check(rungs)
	v := verdict{guide: g, down: c.down(h, rungs)}
	if v.chosen, v.reason = c.pinned(h, rungs, tr); v.chosen == nil {
		v.chosen, v.reason = c.ladder(h, rungs, g)
		tr.capacities(c, h, rungs)
		tr.ladder(v.chosen, rungs, v.reason)
	}
	tr.guidance(c.in, g)
	tr.ttl(h, v.down)
	v.shares = sharesOf(v.chosen, rungs)
	return v
}

// sharesOf lists the share of every backend: one row each, by pool in the host's order, then by
// its place in the pool. Whoever appends to the list gets one of its own.
func sharesOf(chosen []standing, rungs []*node) []Share {
	total := total(chosen)
	taken := make(map[string]Share, len(chosen))
	for _, s := range chosen {
		taken[s.backend] = Share{Backend: s.backend, Pool: s.pool,
			Share: float64(s.weight) / float64(total)}
	}
	var rows []Share
	listed := make(map[string]bool)
	for _, rung := range rungs {
		for s := range rung.leaves() {
			if listed[s.backend] {
				continue
			}
			listed[s.backend] = true
			row, ok := taken[s.backend]
			if !ok {
				row = Share{Backend: s.backend, Pool: s.pool}
			}
			rows = append(rows, row)
		}
	}
	return slices.Clip(rows)
}
