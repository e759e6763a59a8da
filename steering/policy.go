package steering

import (
	"cmp"
	"iter"
	"math/bits"
	"slices"
	"time"
)

// node is a pool as one host sees it: a tree whose leaves are backends.
type node struct {
	pool *Pool
	kids []kid
	zone *zone // where its clients are, for pools that choose the nearest
}

// kid is a member of a node: a leaf, or a node of its own.
type kid struct {
	weight uint64 // in weightUnits; 0 takes nothing
	leaf   *standing
	node   *node
}

// node takes stock of a pool's members, and of theirs, for one host.
func (c *compiler) node(h *Host, name, role string, tr *Trace) *node {
	n := &node{pool: c.pools[name]}
	step := tr.pool(n.pool, role)
	step.values(c)
	for _, m := range n.pool.Members {
		if m.Pool != "" {
			n.kids = append(n.kids, kid{weight: scale(m.Weight, 1)})
			continue
		}
		s := c.standing(h, name, m, step)
		n.kids = append(n.kids, kid{weight: s.weight, leaf: s})
	}
	step.close(n)
	for i, m := range n.pool.Members {
		if m.Pool != "" {
			n.kids[i].node = c.node(h, m.Pool, "within "+name, tr)
		}
	}
	return n
}

// standing takes stock of one backend of a pool.
func (c *compiler) standing(h *Host, pool string, m Member, step *poolTrace) *standing {
	s := &standing{backend: m.Backend, pool: pool}
	health := c.in.View.Of(m.Backend)
	s.usable = c.usable(m.Backend, health.State.Usable())
	s.mute = c.answer(h, m.Backend).mute()
	out := c.orders.drain(h.Name, m.Backend)
	weighted := c.orders.weight(h.Name, m.Backend)
	s.drained = out != nil || c.drained(m.Backend, weighted != nil)
	weight := m.Weight
	if weighted != nil {
		weight = min(weighted.Weight, maxWeight)
	}
	factor := c.factor(h, m.Backend)
	s.weight = scale(weight, factor)
	if weighted == nil {
		s.weight = c.fedWeight(m.Backend, s.weight)
	}
	step.member(c.in, m, health, out, weighted, factor)
	step.metadata(c, m.Backend, weighted != nil)
	if h.Flatten {
		step.flattened(c.in, m.Backend, c.answers[m.Backend].cname)
	}
	return s
}

// bar marks the backends that may not answer.
func (n *node) bar(barred []string) {
	for s := range n.leaves() {
		s.barred = slices.Contains(barred, s.backend)
	}
}

// leaves lists the backends of a node, in order.
func (n *node) leaves() iter.Seq[*standing] {
	return func(yield func(*standing) bool) { n.walk(yield) }
}

func (n *node) walk(yield func(*standing) bool) bool {
	for _, k := range n.kids {
		if k.leaf != nil && !yield(k.leaf) || k.node != nil && !k.node.walk(yield) {
			return false
		}
	}
	return true
}

// find returns the first standing of a backend, or nil.
func find(rungs []*node, backend string) *standing {
	for _, n := range rungs {
		for s := range n.leaves() {
			if s.backend == backend {
				return s
			}
		}
	}
	return nil
}

// part is a member of a pool that can answer: its weight in the pool, and how it divides that.
type part struct {
	weight uint64
	mix    []standing
}

// mix returns who answers for a node, each backend once, with weights; nobody when none can.
func (c *compiler) mix(n *node, ignoreHealth bool) []standing {
	return merge(c.divide(n, ignoreHealth))
}

func (c *compiler) divide(n *node, ignoreHealth bool) []standing {
	var parts []part
	for _, k := range n.kids {
		switch {
		case k.leaf != nil && k.leaf.able(ignoreHealth):
			parts = append(parts, part{weight: k.weight, mix: []standing{*k.leaf}})
		case k.node != nil && k.weight > 0:
			if mix := c.divide(k.node, ignoreHealth); len(mix) > 0 {
				parts = append(parts, part{weight: k.weight, mix: mix})
			}
		}
	}
	return combine(c.choose(n, parts))
}

// choose keeps the members that a pool's choice falls on.
func (c *compiler) choose(n *node, parts []part) []part {
	if len(parts) < 2 {
		return parts
	}
	switch p := n.pool; p.Choose {
	case ByOrder:
		return parts[:1]
	case ByLatency:
		return best(parts, p.Within, c.latency)
	case ByCost:
		return best(parts, p.Within, c.cost)
	case Nearest:
		return c.chooseNearest(n.zone, p.Within, parts)
	}
	return parts
}

// best keeps the parts whose mean value is about the lowest. Those without a value are kept only
// if none has one.
func best(parts []part, within Tolerance, value func(backend string) (uint64, bool)) []part {
	values := make([]uint64, len(parts))
	lowest, known := uint64(0), false
	for i, p := range parts {
		v, ok := mean(p.mix, value)
		if !ok {
			values[i] = ^uint64(0)
			continue
		}
		if values[i] = v; !known || v < lowest {
			lowest, known = v, true
		}
	}
	if !known {
		return parts
	}
	bound := within.bound(lowest, uint64(within.Span))
	var kept []part
	for i, p := range parts {
		if values[i] <= bound {
			kept = append(kept, p)
		}
	}
	return kept
}

// mean is the mean of a mix by weight, of those that have a value; false when none has.
func mean(mix []standing, value func(backend string) (uint64, bool)) (uint64, bool) {
	var sum, weights uint64
	for _, s := range mix {
		if v, ok := value(s.backend); ok {
			// Weights count here in millionths of the mix, so that sums can't overflow.
			w := max(1, proportion(s.weight, weightUnit, total(mix)))
			sum, weights = sum+min(v, uint64(time.Hour))*w/weightUnit, weights+w
		}
	}
	if weights == 0 {
		return 0, false
	}
	return proportion(sum, weightUnit, weights), true
}

// latency is the steady latency of a backend, in nanoseconds.
func (c *compiler) latency(backend string) (uint64, bool) {
	d := c.in.Latencies[backend]
	return uint64(max(d, 0)), d > 0
}

// combine divides among parts by their weights, and within each as its mix says.
func combine(parts []part) []standing {
	if len(parts) == 1 {
		return parts[0].mix
	}
	var all []standing
	for _, p := range parts {
		sum := total(p.mix)
		for _, s := range p.mix {
			s.weight = max(1, proportion(p.weight, s.weight, sum))
			all = append(all, s)
		}
	}
	return all
}

// merge adds up the weights of backends that stand in several places of a tree.
func merge(list []standing) []standing {
	var out []standing
	at := make(map[string]int, len(list))
	for _, s := range list {
		if i, twice := at[s.backend]; twice {
			out[i].weight += s.weight
			continue
		}
		at[s.backend] = len(out)
		out = append(out, s)
	}
	return out
}

func total(list []standing) (sum uint64) {
	for _, s := range list {
		sum += s.weight
	}
	return sum
}

// proportion returns a·b/c, rounded down, at most the largest number there is; b/c is at most a
// few, and c is not 0.
func proportion(a, b, c uint64) uint64 {
	hi, lo := bits.Mul64(a, b)
	if hi >= c {
		return ^uint64(0)
	}
	q, _ := bits.Div64(hi, lo, c)
	return q
}

// ladder walks the pools down and returns the backends that answer, and why. Its result is never
// empty as long as the first pool has a member.
func (c *compiler) ladder(h *Host, rungs []*node, g *guide) ([]standing, Reason) {
	for i, n := range rungs {
		if able := c.mix(n, false); len(able) > 0 {
			reason := ReasonFallback
			if i == 0 {
				reason = ReasonPool
			}
			kept, spare := c.guided(h, g, n, able)
			return c.spill(h, kept, spare, rungs[i+1:]), reason
		}
	}
	for _, n := range rungs {
		if able := c.mix(n, true); len(able) > 0 {
			kept, _ := c.guided(h, g, n, able)
			return kept, ReasonAllDown
		}
	}
	for _, n := range rungs {
		if all := last(n, false); len(all) > 0 {
			return all, ReasonDrained
		}
	}
	for _, n := range rungs {
		if all := last(n, true); len(all) > 0 {
			return all, ReasonUnresolved
		}
	}
	return nil, ReasonUnresolved // all are barred, which is refused
}

// last is who answers when everything is drained or weighs nothing: the first pool's backends in
// equal parts, by the usable ones if there are any. An answer that may work beats one that is known
// not to, and both beat none. Those of flattened hosts that have no addresses count only when mute.
func last(n *node, mute bool) []standing {
	var all, usable []standing
	for s := range n.leaves() {
		if s.barred || s.mute && !mute {
			continue
		}
		even := *s
		even.weight = weightUnit
		all = append(all, even)
		if s.usable {
			usable = append(usable, even)
		}
	}
	if len(usable) > 0 {
		all = usable
	}
	return slices.CompactFunc(slices.SortedFunc(slices.Values(merge(all)),
		func(a, b standing) int { return cmp.Compare(a.backend, b.backend) }),
		func(a, b standing) bool { return a.backend == b.backend })
}
