package steering

import (
	"encoding/binary"
	"net/netip"
	"sync/atomic"
	"time"
)

// golden is 2^64 divided by the golden ratio. Its multiples, taken as fractions of 2^64, fill
// the unit interval more evenly than those of any other number.
const golden = 0x9e3779b97f4a7c15

// Sizes of the tables; powers of two. Together they take 1.5 MiB.
const (
	counterSlots = 1 << 14
	lookupSlots  = 1 << 16
	maxProbes    = 32
)

// Draws hands out the randomness of queries. For each name and place (see Chooser.Sequence) it
// walks a low-discrepancy sequence (multiples of the golden ratio, from a start that the seed
// decides), so that even a few hundred draws divide as the weights say: over n draws a share is
// off by about log(n)/n, where a coin is off by 1/√n. Each place has its own: clients of one come
// at random among those of others, and a part of an even sequence that is picked at random is no
// longer even. It never waits and never allocates; any number of goroutines may call Next.
//
// The different types of one lookup share a draw: a client that asks for A and, within two
// seconds, for AAAA of the same host gets the same backend for both.
type Draws struct {
	seed     uint64
	counters [counterSlots]counter
	lookups  [lookupSlots]atomic.Uint64
}

// counter counts a sequence's draws. Its slot belongs to the first one that claims it, for good.
type counter struct {
	owner atomic.Uint64
	count atomic.Uint64
}

// NewDraws returns the draws of one node. Equal seeds give equal sequences; nodes that serve
// the same hosts want different ones.
func NewDraws(seed uint64) *Draws { return &Draws{seed: seed} }

// A lookup's word, from the top: 20 bits tell hosts and clients apart that share a slot, 16
// bits say when it was drawn, 4 which types it has answered, 24 which draw of the sequence it is.
// All bits 0 is a word never written: a written one has answered a type.
const (
	indexBits = 24
	typeBits  = 4
	timeBits  = 16
	indexMask = 1<<indexBits - 1
	typeMask  = 1<<typeBits - 1
	timeMask  = 1<<timeBits - 1
	typeShift = indexBits
	timeShift = typeShift + typeBits
	tagShift  = timeShift + timeBits

	// A tick is 2^24 ns (16.8 ms), so the clock in a word comes round every 18 minutes.
	tickShift = 24
	freshness = uint64(2*time.Second) >> tickShift // 119 ticks
)

// Next returns the draw for a query: the one that an earlier query of another type, by this
// client in this sequence within the last two seconds, was answered with; else the next of the
// sequence. A type asked again always gets a new draw.
//
// Sequences must be those of steered names: each takes a counter for the life of d.
func (d *Draws) Next(sequence uint64, client netip.Prefix, qtype uint16, now time.Time) uint64 {
	id := mix(sequence ^ d.seed)
	walk := point
	if sequence&counts != 0 {
		walk = count
	}
	c := d.counter(id)
	lookup := mix(id ^ clientKey(client))
	slot := &d.lookups[lookup&(lookupSlots-1)]
	tag := lookup >> tagShift
	tick := uint64(now.UnixNano()) >> tickShift & timeMask
	bit := typeBit(qtype)

	var drawn uint64 // this query's own place in the sequence, taken at most once
	for {
		word := slot.Load()
		if shares(word, tag, tick, bit) {
			if slot.CompareAndSwap(word, word|bit<<typeShift) {
				return walk(id, widen(word, c.count.Load()))
			}
			continue
		}
		if drawn == 0 {
			drawn = c.count.Add(1)
		}
		fresh := tag<<tagShift | tick<<timeShift | bit<<typeShift | drawn&indexMask
		if slot.CompareAndSwap(word, fresh) {
			return walk(id, drawn)
		}
	}
}

// shares reports whether a word is a draw of the same lookup that has not yet answered a type.
func shares(word, tag, tick, bit uint64) bool {
	answered := word >> typeShift & typeMask
	age := (tick - word>>timeShift) & timeMask
	return answered != 0 && answered&bit == 0 && word>>tagShift == tag && age <= freshness
}

// widen restores the index of a draw from its low bits and the counter now: it is the last
// number not above the counter that ends in those bits.
func widen(word, count uint64) uint64 { return count - (count-word)&indexMask }

// counts is set in the number of a sequence whose draws are 1, 2, 3 and so on.
const counts = 1

// sequence tells the draws of a host at a place from all others. It is never 0.
func sequence(host, place string) uint64 {
	return max(counts+1, (mix(hashString(host))^mix(hashString(place)))&^counts)
}

// counted is a sequence that counts.
func counted(sequence uint64) uint64 { return sequence | counts }

// point is the n-th element of a sequence.
func point(id, n uint64) uint64 { return id + n*golden }

// count is the n-th element of a sequence that counts.
func count(_, n uint64) uint64 { return n }

// counter returns a sequence's counter. When too many were seen in the life of d to give
// this one its own, it shares one: its split is then fair, but no longer to the digit.
func (d *Draws) counter(id uint64) *counter {
	if id == 0 {
		id = 1
	}
	for i := range uint64(maxProbes) {
		c := &d.counters[(id+i)&(counterSlots-1)]
		if owner := c.owner.Load(); owner == id || owner == 0 && c.owner.CompareAndSwap(0, id) {
			return c
		}
		if c.owner.Load() == id {
			return c
		}
	}
	return &d.counters[id&(counterSlots-1)]
}

// typeBit says to which of the types that a lookup asks together a query belongs: A, AAAA,
// CNAME, or any other (HTTPS).
func typeBit(qtype uint16) uint64 {
	switch qtype {
	case 1:
		return 1
	case 28:
		return 2
	case 5:
		return 4
	}
	return 8
}

// clientKey hashes a client's whole prefix, the IPv4 form of IPv4 in IPv6.
func clientKey(client netip.Prefix) uint64 {
	addr := client.Addr()
	if !addr.IsValid() {
		return 0
	}
	a := addr.As16()
	high, low := binary.BigEndian.Uint64(a[:8]), binary.BigEndian.Uint64(a[8:])
	return mix(mix(high)^low) ^ uint64(client.Bits())
}
