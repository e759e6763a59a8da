package steering

import (
	"encoding/binary"
	"fmt"
	"math/bits"
	"net/netip"
	"slices"
	"strings"
	"time"

	"pointsman/steering/control"
)

// assigned is what the clients in one prefix are answered with: the resolvers that are so heavy
// that the slow loop hands them out by name. It is a Chooser of its own, below that of the place.
type assigned struct {
	plan     *plan
	prefix   netip.Prefix
	ttl      uint32
	sequence uint64
	// turns are the answers in turn, by their index among answers; below 0 the backend can't
	// answer, and the plan says who does.
	turns   []int16
	answers []*Decision // of each of the plan's candidates, with the TTL of these clients
}

// At implements Chooser.
func (a *assigned) At(netip.Prefix) (Chooser, uint8) { return a, 0 }

// Sequence implements Chooser. It counts, see Draws.
func (a *assigned) Sequence() uint64 { return a.sequence }

// Choose implements Chooser.
func (a *assigned) Choose(_ netip.Prefix, draw uint64) (*Decision, uint8) {
	turn := a.turns[draw%uint64(len(a.turns))]
	if turn < 0 {
		// Counted draws lie side by side; as multiples of the golden ratio they are even.
		turn = int16(a.plan.spread(draw * golden))
	}
	return a.answers[turn], 0
}

// assignments are the assigned clients of one place. They cut the space of addresses, IPv4 in its
// IPv6 form, into ranges that are all of one of them, or of none.
type assignments struct {
	list   []assigned
	parent []int32 // the one whose prefix is around; below 0: none
	starts []wide
	values []int32 // of the range from that start on; below 0: none
}

// wide is an address of 128 bits.
type wide struct{ hi, lo uint64 }

func wideOf(a netip.Addr) wide {
	b := a.As16()
	return wide{binary.BigEndian.Uint64(b[:8]), binary.BigEndian.Uint64(b[8:])}
}

func (w wide) less(o wide) bool { return w.hi < o.hi || w.hi == o.hi && w.lo < o.lo }

// after is the next address; the one after the last is the first.
func (w wide) after() wide {
	lo, carry := bits.Add64(w.lo, 1, 0)
	return wide{w.hi + carry, lo}
}

// before is the address before.
func (w wide) before() wide {
	lo, borrow := bits.Sub64(w.lo, 1, 0)
	return wide{w.hi - borrow, lo}
}

// end returns w with all bits behind a length set.
func (w wide) end(length int) wide {
	if length < 64 {
		return wide{w.hi | ^uint64(0)>>length, ^uint64(0)}
	}
	return wide{w.hi, w.lo | ^uint64(0)>>(length-64)}
}

// begin returns w with all bits behind a length cleared.
func (w wide) begin(length int) wide {
	if length < 64 {
		return wide{w.hi &^ (^uint64(0) >> length), 0}
	}
	return wide{w.hi, w.lo &^ (^uint64(0) >> (length - 64))}
}

// common counts the leading bits that two share.
func (w wide) common(o wide) int {
	if w.hi != o.hi {
		return bits.LeadingZeros64(w.hi ^ o.hi)
	}
	return 64 + bits.LeadingZeros64(w.lo^o.lo)
}

// wideBits is the length of a prefix with IPv4 in its IPv6 form.
func wideBits(p netip.Prefix) int {
	if p.Addr().Is4() {
		return p.Bits() + 96
	}
	return p.Bits()
}

// find returns who is assigned to a client, nil when nobody is, and the length of the shortest
// prefix around the client of which that is true as a whole. The clients must be told apart no
// wider than an assignment: one whose prefix is wider than that is not assigned, and the scope
// says that it is too wide to know. It allocates nothing.
func (s *assignments) find(client netip.Prefix) (*assigned, uint8) {
	a := client.Addr()
	if s == nil || !a.IsValid() {
		return nil, 0
	}
	length := 128
	if client.Bits() >= 0 {
		length = wideBits(client)
	}
	at := wideOf(a).begin(length)
	low, high := 0, len(s.starts) // starts[low] ≤ at < starts[high]
	for high-low > 1 {
		if middle := int(uint(low+high) / 2); at.less(s.starts[middle]) {
			high = middle
		} else {
			low = middle
		}
	}
	scope := s.scope(at, low, a.Is4() || a.Is4In6())
	for v := s.values[low]; v >= 0; v = s.parent[v] {
		if wideBits(s.list[v].prefix) <= length {
			return &s.list[v], scope
		}
	}
	return nil, scope
}

// scope is the length of the shortest prefix around an address that lies in a range. Scope 0 would
// be for IPv4 and IPv6 alike (RFC 7871 §7.3.1), which is never so where anybody is assigned.
func (s *assignments) scope(at wide, i int, v4 bool) uint8 {
	n := 1
	if i > 0 {
		n = at.common(s.starts[i].before()) + 1
	}
	if i+1 < len(s.starts) {
		n = max(n, at.common(s.starts[i+1])+1)
	}
	if v4 {
		n -= 96
	}
	return uint8(max(1, n))
}

// assign compiles the assignments of a plan's clients; nil when there are none. A backend that
// can't answer, or that has not its full share at the moment, has no turns.
func (c *compiler) assign(h *Host, p *plan, g *guide) *assignments {
	if g == nil || !g.applied || p.sticky {
		return nil
	}
	given := c.in.Guidance.Traffic[g.scope]
	index := make(map[string]int16, len(p.candidates))
	for i, s := range p.candidates {
		if i <= mostAssignable && c.factor(h, s.decision.Backend) >= 1 {
			index[s.decision.Backend] = int16(i)
		}
	}
	out := &assignments{list: make([]assigned, 0, min(len(given), control.MostAssigned))}
	faded := c.in.Shares.Faded
	for _, a := range given[:cap(out.list)] {
		if !wellFormed(a) || float64(keyOf(a.Prefix)%1000) < faded*1000 {
			continue // they leave one by one
		}
		if turns := turnsOf(a.Cycle, index); turns != nil {
			out.list = append(out.list, assigned{plan: p, prefix: a.Prefix, turns: turns,
				ttl: uint32(min(a.TTL.Seconds(), float64(p.ttl)))})
		}
	}
	if len(out.list) == 0 {
		return nil
	}
	out.sort()
	out.number(p)
	out.cut()
	return out
}

// mostAssignable bounds the candidates that can be assigned.
const mostAssignable = 1<<15 - 1

// wellFormed is what an engine makes sure of; inputs may come from elsewhere.
func wellFormed(a control.Assigned) bool {
	return a.Prefix.IsValid() && a.Prefix == a.Prefix.Masked() && !a.Prefix.Addr().Is4In6() &&
		len(a.Cycle) > 0 && a.TTL >= time.Second
}

// turnsOf turns names into indices; nil when none of them can answer.
func turnsOf(cycle []string, index map[string]int16) []int16 {
	turns, able := make([]int16, len(cycle)), false
	for i, backend := range cycle {
		at, ok := index[backend]
		if !ok {
			at = -1
		}
		turns[i], able = at, able || ok
	}
	if !able {
		return nil
	}
	if at := slices.IndexFunc(turns, func(t int16) bool { return t != turns[0] }); at < 0 {
		return turns[:1]
	}
	return turns
}

// sort puts the wider before the narrower, by address, and keeps the first of equals.
func (s *assignments) sort() {
	slices.SortStableFunc(s.list, func(a, b assigned) int {
		x, y := wideOf(a.prefix.Addr()), wideOf(b.prefix.Addr())
		switch {
		case x.less(y):
			return -1
		case y.less(x):
			return 1
		}
		return wideBits(a.prefix) - wideBits(b.prefix)
	})
	s.list = slices.CompactFunc(s.list, func(a, b assigned) bool { return a.prefix == b.prefix })
}

// number gives answers to all, and counters to those with several. Of TTL and backend there is one
// answer, which the nameserver remembers by its address.
func (s *assignments) number(p *plan) {
	answers := make(map[uint32][]*Decision)
	divided := 0
	for i := range s.list {
		a := &s.list[i]
		if answers[a.ttl] == nil {
			for _, c := range p.candidates {
				d := c.decision
				d.TTL = min(d.TTL, a.ttl)
				answers[a.ttl] = append(answers[a.ttl], &d)
			}
		}
		if a.answers = answers[a.ttl]; len(a.turns) > 1 {
			// By rank, not by prefix, so that there are no more counters than such resolvers at a
			// time: whoever takes over one begins somewhere else in its turn, that is all.
			divided++
			a.sequence = counted(sequence(p.host, fmt.Sprintf("%s\x00%d", p.place, divided)))
		}
	}
}

// cut makes the ranges from the sorted list.
func (s *assignments) cut() {
	s.add(wide{}, -1)
	var open []int32
	end := func(v int32) wide {
		p := s.list[v].prefix
		return wideOf(p.Addr()).end(wideBits(p))
	}
	shut := func() {
		last := end(open[len(open)-1])
		open = open[:len(open)-1]
		if last.after() != (wide{}) {
			s.add(last.after(), top(open))
		}
	}
	s.parent = make([]int32, len(s.list))
	for i := range s.list {
		first := wideOf(s.list[i].prefix.Addr())
		for len(open) > 0 && end(top(open)).less(first) {
			shut()
		}
		s.parent[i] = top(open)
		open = append(open, int32(i))
		s.add(first, int32(i))
	}
	for len(open) > 0 {
		shut()
	}
}

// top is the last of a list, or -1.
func top(list []int32) int32 {
	if len(list) == 0 {
		return -1
	}
	return list[len(list)-1]
}

// add begins a range, or says otherwise of one that begins there.
func (s *assignments) add(start wide, value int32) {
	if n := len(s.starts); n > 0 && s.starts[n-1] == start {
		s.values[n-1] = value
		return
	}
	s.starts, s.values = append(s.starts, start), append(s.values, value)
}

// keyOf is a number that belongs to a prefix.
func keyOf(p netip.Prefix) uint64 { return mix(clientKey(p)) }

// assignments writes who is assigned what into a hash.
func (w *canon) assignments(s *assignments) {
	if s == nil {
		w.number(0)
		return
	}
	w.number(uint64(len(s.list)))
	for i := range s.list {
		a := &s.list[i]
		w.text(string(a.prefix.Addr().AsSlice()))
		w.number(uint64(a.prefix.Bits()))
		w.number(uint64(a.ttl))
		w.number(uint64(len(a.turns)))
		for _, t := range a.turns {
			w.number(uint64(t + 1))
		}
	}
}

// step says that a client is one of those that are assigned.
func (a *assigned) step(in Inputs) Step {
	var names []string
	for _, t := range a.turns {
		name := "whoever the split falls on"
		if t >= 0 {
			name = a.answers[t].Backend
		}
		names = append(names, name)
	}
	how := "is always answered "
	if len(names) > 1 {
		how = "is answered in turn "
	}
	return Step{What: "resolver", Detail: fmt.Sprintf("%s carries much of the traffic: it %s%s, "+
		"TTL %ds, by guidance %s", a.prefix, how, strings.Join(names, ", "), a.ttl,
		guidanceName(in.Guidance))}
}

// pickStep says whose turn it was.
func (a *assigned) pickStep(draw uint64, d Decision) Step {
	turn := draw % uint64(len(a.turns))
	detail := fmt.Sprintf("turn %d of %d is %s's", turn+1, len(a.turns), d.Backend)
	switch {
	case a.turns[turn] < 0:
		detail = fmt.Sprintf("turn %d of %d is that of one who can't answer now; %s does",
			turn+1, len(a.turns), d.Backend)
	case len(a.turns) == 1:
		detail = d.Backend + " is assigned to the resolver"
	}
	return Step{What: "pick", Detail: detail}
}
