package steering

import (
	"encoding/binary"
	"math/bits"
	"net/netip"

	"pointsman/steering/geo"
)

// How much of a client's address a sticky host looks at. They are also its ECS scopes: /24
// and /56 are the source lengths RFC 7871 §11.1 recommends to resolvers.
const (
	stickyBits4 = 24
	stickyBits6 = 56
)

// plan is one host, compiled. Later policies become nodes in it; what stands here is the leaf.
type plan struct {
	host       string
	place      string   // empty for clients who are at no place of the host
	spot       locale   // where its clients are
	barred     []string // backends that may not answer these clients, in order
	ttl        uint32
	sticky     bool
	reason     Reason
	candidates []candidate
	shares     []Share

	// places are the plans of the host's places, in their order, and then those of places, or of
	// none, at which some backends may not answer. classes say which of them a client belongs to;
	// class 0 is this plan. Both are nil for a host without places and constraints.
	places  []*plan
	classes *geo.Classes
	// sequence is Sequence.
	sequence uint64
	// assigned are the heavy resolvers at the place; nil: there are none.
	assigned *assignments
}

// candidate is a backend that answers, ready to be copied out.
type candidate struct {
	decision Decision
	weight   uint64
	last     uint64 // the highest draw it answers
	seed     uint64 // of its rendezvous hash; from its name alone, so that it never moves
}

// Chooser picks for one steered name at one place, in two steps, so that a caller can draw between
// them, and can keep what it knows about a name and a decision for as long as a table holds. It is
// immutable; its methods are pure, allocate nothing and take no lock.
type Chooser interface {
	// At returns the chooser for the place where a client is, or for the client itself when it is
	// one of those who are assigned an answer of their own; it may be the same one. It also returns
	// the length of the shortest prefix around the client of which that is true as a whole; 0: of
	// all clients.
	At(client netip.Prefix) (Chooser, uint8)
	// Sequence tells the draws of this name and place from those of others (see Draws); 0: it
	// needs none.
	Sequence() uint64
	// Choose returns the decision for a client and a draw, and the length of the prefix around the
	// client for which it is the same; 0: for all clients at the place. It doesn't see the type of
	// the query, so that all types of one draw (or, on a sticky host, of one client) agree. The
	// decision belongs to the table, is the same pointer each time, and has no scope. It is nil
	// when there is none, which no table that Compile made has.
	Choose(client netip.Prefix, draw uint64) (*Decision, uint8)
}

// Chooser returns what picks for a steered name; nil when it isn't steered.
func (t *Table) Chooser(host string) Chooser {
	if p := t.plans[host]; p != nil {
		return p
	}
	return nil
}

// Pick answers a query about a steered name, or returns false when the name is not steered.
// It is pure, allocates nothing and takes no lock; any number of goroutines may call it.
func (t *Table) Pick(q Query) (Decision, bool) {
	p := t.plans[q.Host]
	if p == nil {
		return Decision{}, false
	}
	at, scope := p.at(q.Client)
	own, around := at.assigned.find(q.Client)
	if own != nil {
		d, _ := own.Choose(q.Client, q.Draw)
		return scoped(d, max(scope, around)), true
	}
	d, kept := at.Choose(q.Client, q.Draw)
	return scoped(d, max(scope, around, kept)), true
}

// scoped is a decision with its scope.
func scoped(d *Decision, scope uint8) Decision {
	out := *d
	out.Scope = scope
	return out
}

// At implements Chooser.
func (p *plan) At(client netip.Prefix) (Chooser, uint8) {
	at, scope := p.at(client)
	own, around := at.assigned.find(client)
	if own != nil {
		return own, max(scope, around)
	}
	return at, max(scope, around)
}

// at returns the plan for the place where a client is, and how wide a prefix around it is there
// as a whole.
func (p *plan) at(client netip.Prefix) (*plan, uint8) {
	if p.classes == nil {
		return p, 0
	}
	class, scope := p.classes.Find(client)
	if class == 0 {
		return p, scope
	}
	return p.places[class-1], scope
}

// Sequence implements Chooser.
func (p *plan) Sequence() uint64 { return p.sequence }

// Choose implements Chooser.
func (p *plan) Choose(client netip.Prefix, draw uint64) (*Decision, uint8) {
	if p.sticky {
		return p.stick(client)
	}
	return &p.candidates[p.spread(draw)].decision, 0
}

// spread cuts the range of the draw into one piece for each candidate, and returns whose piece it
// fell into.
func (p *plan) spread(draw uint64) int {
	for i := range p.candidates {
		if draw <= p.candidates[i].last {
			return i
		}
	}
	return len(p.candidates) - 1
}

// stick answers by the client's prefix. With one candidate the answer holds for everyone,
// and so does its scope: RFC 7871 §7.2.1 lets caches keep one copy then.
func (p *plan) stick(client netip.Prefix) (*Decision, uint8) {
	if len(p.candidates) == 1 {
		return &p.candidates[0].decision, 0
	}
	key, scope := stickyKey(client)
	return &p.rendezvous(key).decision, scope
}

// rendezvous returns the candidate with the lowest −log(u)/weight, where u is a hash of key
// and candidate: weighted rendezvous hashing. A candidate whose weight falls loses clients
// and nobody else's clients move, so a change of weights moves no more than it must.
func (p *plan) rendezvous(key uint64) *candidate {
	best := &p.candidates[0]
	bestLog := negLog2(mix(key ^ best.seed))
	for i := 1; i < len(p.candidates); i++ {
		c := &p.candidates[i]
		l := negLog2(mix(key ^ c.seed))
		// l/c.weight < bestLog/best.weight, multiplied out in 128 bits.
		hi1, lo1 := bits.Mul64(l, best.weight)
		hi2, lo2 := bits.Mul64(bestLog, c.weight)
		if hi1 < hi2 || (hi1 == hi2 && lo1 < lo2) {
			best, bestLog = c, l
		}
	}
	return best
}

// stickyKey hashes the part of a client's prefix that counts, and says how long that part is.
// IPv4 in IPv6 counts as IPv4. A client that is not valid gets one fixed key and scope 0.
func stickyKey(client netip.Prefix) (key uint64, scope uint8) {
	addr := client.Addr()
	length := client.Bits()
	if addr.Is4In6() {
		addr, length = addr.Unmap(), length-96
	}
	if length < 0 {
		length = addr.BitLen()
	}
	switch {
	case addr.Is4():
		a := addr.As4()
		prefix := binary.BigEndian.Uint32(a[:])
		prefix &= ^uint32(0) << (32 - min(length, stickyBits4))
		return mix(uint64(prefix)<<8 | 4), stickyBits4
	case addr.Is6():
		a := addr.As16()
		prefix := binary.BigEndian.Uint64(a[:8])
		prefix &= ^uint64(0) << (64 - min(length, stickyBits6))
		return mix(prefix | 6), stickyBits6
	}
	return mix(0), 0
}

// threshold returns the highest draw below sum/total of the range of draws.
func threshold(sum, total uint64) uint64 {
	if sum >= total {
		return ^uint64(0)
	}
	quotient, _ := bits.Div64(sum, 0, total)
	return quotient - 1
}

// logCells is how many pieces the logarithm's table has; between two it is interpolated, at
// an error below 3e-6.
const logCells = 256

// log2Table holds log2(1 + i/logCells) in units of 2^-32. It is made by integer arithmetic,
// so that every machine picks alike. Never written after it was made.
var log2Table = newLog2Table()

func newLog2Table() (table [logCells + 1]uint64) {
	for i := range logCells {
		x := uint64(logCells+i) << 55 // 1 + i/256 in units of 2^-63
		for range 32 {
			hi, _ := bits.Mul64(x, x) // the square in units of 2^-62
			table[i] <<= 1
			if hi >= 1<<63 {
				table[i] |= 1
				x = hi
			} else {
				x = hi << 1
			}
		}
	}
	table[logCells] = 1 << 32
	return table
}

// negLog2 returns −log2(u/2^64) in units of 2^-32; u = 0 counts as 1.
func negLog2(u uint64) uint64 {
	if u == 0 {
		u = 1
	}
	zeros := bits.LeadingZeros64(u)
	fraction := u << zeros << 1 // what follows the leading one
	cell := fraction >> 56
	within := fraction << 8 >> 32
	low, high := log2Table[cell], log2Table[cell+1]
	return uint64(zeros+1)<<32 - (low + (high-low)*within>>32)
}

// mix spreads every bit of x over the whole word: the finaliser of SplitMix64 (Steele, Lea,
// Flood, "Fast splittable pseudorandom number generators", 2014).
func mix(x uint64) uint64 {
	x += golden
	x = (x ^ x>>30) * 0xbf58476d1ce4e5b9
	x = (x ^ x>>27) * 0x94d049bb133111eb
	return x ^ x>>31
}

// hashString is 64-bit FNV-1a; mix its result before using single bits of it.
func hashString(s string) uint64 {
	h := uint64(0xcbf29ce484222325)
	for i := range len(s) {
		h = (h ^ uint64(s[i])) * 0x100000001b3
	}
	return h
}
