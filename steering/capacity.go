package steering

import (
	"fmt"
	"slices"
	"strings"
)

// capacities returns, for each backend that has a capacity, how large its share of any of its
// hosts may be, in millionths: its capacity by the load of all hosts that may use it, so that it
// can't be exceeded however their shares fall. Backends whose hosts' loads aren't known are missing.
func (c *compiler) capacities() map[string]uint64 {
	loads := make(map[string]uint64)
	for i := range c.in.Spec.Hosts {
		h := &c.in.Spec.Hosts[i]
		if h.Load == 0 {
			continue
		}
		seen := make(map[string]bool)
		for _, pool := range h.allPools() {
			c.backends(pool, func(m Member) {
				if !seen[m.Backend] {
					seen[m.Backend] = true
					loads[m.Backend] += h.Load
				}
			})
		}
	}
	caps := make(map[string]uint64)
	for i := range c.in.Spec.Backends {
		b := &c.in.Spec.Backends[i]
		if load, most := loads[b.Name], c.capacity(b); most > 0 && load > most {
			caps[b.Name] = proportion(most, weightUnit, load)
		}
	}
	return caps
}

// capacities writes down how much of a host its backends may have at most.
func (tr *Trace) capacities(c *compiler, h *Host, rungs []*node) {
	if tr == nil || h.Load == 0 {
		return
	}
	var notes []string
	var inputs []Input
	seen := make(map[string]bool)
	for _, n := range rungs {
		for s := range n.leaves() {
			most, bounded := c.caps[s.backend]
			if !seen[s.backend] {
				inputs = append(inputs, c.fedInputs(s.backend, FieldCapacity)...)
			}
			if bounded && !seen[s.backend] {
				notes = append(notes, fmt.Sprintf("%s %.1f%%", s.backend, float64(most)*100/weightUnit))
			}
			seen[s.backend] = true
		}
	}
	switch {
	case notes != nil:
		tr.add("capacity", "at most "+strings.Join(notes, ", ")+", by the load of all hosts that "+
			"may use them; what is above goes to the others, then to the pools after", inputs...)
	case inputs != nil:
		tr.add("capacity", "none of the backends is bounded", inputs...)
	}
}

// backends calls f for each backend of a pool and of the pools within it.
func (c *compiler) backends(pool string, f func(Member)) {
	for _, m := range c.pools[pool].Members {
		if m.Pool != "" {
			c.backends(m.Pool, f)
		} else {
			f(m)
		}
	}
}

// spill bounds the shares of a mix by the capacities of its backends. What they can't take goes to
// the others of the mix in proportion, then to those whom guidance spared, then to the pools after
// it. What nobody can take is
// divided as the mix says: an overload is better borne by all than by the last.
func (c *compiler) spill(h *Host, mix, spare []standing, rest []*node) []standing {
	if h.Load == 0 || len(c.caps) == 0 {
		return mix
	}
	room := make(map[string]uint64, len(mix)) // what each may still take, in millionths
	filled, left := c.pour(mix, weightUnit, room)
	if left > 0 && len(spare) > 0 {
		var more []standing
		more, left = c.pour(spare, left, room)
		filled = append(filled, more...)
	}
	for _, n := range rest {
		if left == 0 {
			break
		}
		var more []standing
		more, left = c.pour(c.mix(n, false), left, room)
		for i := range more {
			more[i].reason = ReasonSpill
		}
		filled = append(filled, more...)
	}
	if left > 0 {
		over := total(mix)
		for _, s := range mix {
			s.weight = proportion(left, s.weight, over)
			filled = append(filled, s)
		}
	}
	filled = slices.DeleteFunc(merge(filled), func(s standing) bool { return s.weight == 0 })
	if len(filled) == 0 {
		return mix
	}
	return filled
}

// pour divides an amount among backends by their weights, as far as each has room, and returns
// what each took and how much is left.
func (c *compiler) pour(
	mix []standing, amount uint64, room map[string]uint64,
) (filled []standing, left uint64) {
	took := make([]uint64, len(mix))
	open := make([]bool, len(mix))
	for i, s := range mix {
		if _, known := room[s.backend]; !known {
			room[s.backend] = weightUnit
			if most, bounded := c.caps[s.backend]; bounded {
				room[s.backend] = most
			}
		}
		open[i] = room[s.backend] > 0
	}
	for amount > 0 {
		given := c.round(mix, amount, room, took, open)
		if given == 0 {
			break
		}
		amount -= given
	}
	for i, s := range mix {
		if s.weight = took[i]; s.weight > 0 {
			filled = append(filled, s)
		}
	}
	return filled, amount
}

// round gives each open backend its part of an amount, or what it has room for, and then closes
// it. It returns how much was given.
func (c *compiler) round(
	mix []standing, amount uint64, room map[string]uint64, took []uint64, open []bool,
) (given uint64) {
	var sum uint64
	for i, s := range mix {
		if open[i] {
			sum += s.weight
		}
	}
	if sum == 0 {
		return 0
	}
	for i, s := range mix {
		if !open[i] {
			continue
		}
		part := min(max(1, proportion(amount, s.weight, sum)), amount-given, room[s.backend])
		took[i] += part
		room[s.backend] -= part
		given += part
		open[i] = room[s.backend] > 0
	}
	return given
}
