package steering

import (
	"fmt"
	"maps"
	"math"
	"slices"
	"strings"

	"pointsman/steering/control"
)

// guide is the slow loop's word on one host and place. Nil: the configured weights stand.
type guide struct {
	scope   control.Scope
	split   control.Split
	weights map[string]uint32 // the split in whole parts
	// ignored says why the split doesn't count; empty: it does.
	ignored string
	// applied is true once the split has taken the place of weights.
	applied bool
}

// guide finds the split for a host's clients at a place, in a zone of it, who some backends may not
// answer. One for the place as a whole holds for its parts too.
func (c *compiler) guide(h *Host, place, zone string, barred []string) *guide {
	if len(c.in.Shares.Splits) == 0 {
		return nil
	}
	for _, name := range c.scopes(place, zone, barred) {
		if split, ok := c.in.Shares.Split(h.Name, name); ok {
			return &guide{scope: control.Scope{Host: h.Name, Place: name}, split: split}
		}
	}
	return nil
}

// scopes are the names that a split for a place may have, the closest first.
func (c *compiler) scopes(place, zone string, barred []string) []string {
	names := []string{placeName(place, zone, barred), placeName(place, "", barred), place}
	if names[0] == "" && c.constrained {
		names[0] = unconstrained
	}
	return slices.Compact(names)
}

// check says why a split can't count at all: it would answer with backends that aren't there.
func (g *guide) check(rungs []*node) {
	if g == nil {
		return
	}
	known := make(map[string]bool)
	for _, n := range rungs {
		for s := range n.leaves() {
			known[s.backend] = true
		}
	}
	var strange []string
	for backend, share := range g.split {
		if share > 0 && !known[backend] {
			strange = append(strange, backend)
		}
	}
	if len(strange) > 0 {
		slices.Sort(strange)
		g.ignored = "it names " + strings.Join(strange, ", ") + ", which these pools do not have"
		return
	}
	if g.weights = g.split.Weights(); len(g.weights) == 0 {
		g.ignored = "it gives nothing to anybody"
	}
}

// guided puts the split in the place of the weights of a mix that the tree would answer with. Those
// to whom the split gives nothing are spare. The mix stays as it is when the split doesn't count.
func (c *compiler) guided(h *Host, g *guide, n *node, mix []standing) (kept, spare []standing) {
	if g == nil || g.ignored != "" {
		return mix, nil
	}
	for s := range n.leaves() {
		if c.orders.weight(h.Name, s.backend) != nil {
			g.ignored = "an operator's weight holds for " + s.backend
			return mix, nil
		}
	}
	weights, sum := make([]uint64, len(mix)), uint64(0)
	for i, s := range mix {
		weights[i] = scale(g.weights[s.backend], c.factor(h, s.backend))
		sum += weights[i]
	}
	if sum == 0 {
		g.ignored = "it gives nothing to those who can answer"
		return mix, nil
	}
	g.applied = true
	faded, all := c.faded(), total(mix)
	for i, s := range mix {
		guided := s
		guided.weight = blend(weights[i], sum, blendUnit-faded) + blend(s.weight, all, faded)
		if guided.weight == 0 {
			spare = append(spare, s)
			continue
		}
		kept = append(kept, guided)
	}
	return kept, spare
}

// blendUnit is what the weights of a guided mix add up to, but for rounding. It leaves a part of
// the smallest share by the slowest factor.
const blendUnit = weightUnit * weightUnit

// faded is the part of the guidance that no longer counts, in blendUnits.
func (c *compiler) faded() uint64 {
	f := c.in.Shares.Faded
	if !(f > 0) {
		return 0
	}
	return uint64(math.Round(min(f, 1)*weightUnit)) * weightUnit
}

// blend is the part that a weight of a sum has of an amount: 0 only when one of the two is.
func blend(weight, sum, amount uint64) uint64 {
	if weight == 0 || amount == 0 {
		return 0
	}
	return max(1, proportion(amount, weight, sum))
}

// guidance writes down what became of the slow loop's word.
func (tr *Trace) guidance(in Inputs, g *guide) {
	if tr == nil || g == nil {
		return
	}
	name := "guidance " + guidanceName(in.Guidance)
	var inputs []Input
	for _, backend := range slices.Sorted(maps.Keys(g.split)) {
		inputs = append(inputs, Input{Kind: "split", Backend: backend, Source: name,
			Value: fmt.Sprintf("%.2f%%", 100*g.split[backend]), Seen: in.Guidance.At,
			Reason: in.Guidance.Why[g.scope]})
	}
	detail := name + " for " + g.scope.String()
	switch {
	case g.ignored != "":
		detail += " is ignored: " + g.ignored
	case !g.applied:
		detail += " is ignored: no weights divide these answers"
	default:
		detail += " divides what the pools leave, in place of the weights"
		if f := in.Shares.Faded; f > 0 {
			detail += fmt.Sprintf("; %.0f%% of it has faded, as nobody has renewed it", 100*f)
		}
	}
	tr.add("guidance", detail, inputs...)
}

// guidanceName is how people tell guidance apart: leader and number.
func guidanceName(g control.Guidance) string { return fmt.Sprintf("%d.%d", g.Epoch, g.Seq) }

// guidanceCauses says that other guidance came in.
func guidanceCauses(before, after control.Guidance) []string {
	if before.Epoch == after.Epoch && before.Seq == after.Seq && before.Zero() == after.Zero() {
		return nil
	}
	if after.Zero() {
		return []string{"guidance ended"}
	}
	return []string{"guidance " + guidanceName(after)}
}

// limitOf is the limit of a backend with a cold cache, as control wants it: 0 for none. What fades
// of the guidance it gets back.
func limitOf(g control.Guidance, faded float64, backend string) float64 {
	limit, ok := g.Limits[backend]
	if !ok || faded >= 1 {
		return 0
	}
	return limit + (1-limit)*faded
}
