package geo

import (
	"crypto/sha256"
	"errors"
	"fmt"
)

// MostCombinations is how many combinations of a place and sets a partition may tell apart.
const MostCombinations = 255

// Combination is what a class of a partition has in common.
type Combination struct {
	// Place is the first of the places' rules that holds, from 1; 0: none.
	Place uint8
	// Zone is the zone of the clients' spots, by the zones of the place.
	Zone uint8
	// In says for each set whether its rule holds.
	In []bool
}

// Partition tells clients apart by places, of which the first that holds counts, as for Classify;
// at each place by zones of their own; and by sets, each of which holds or doesn't. Zones are by
// place, the first being for clients at none, and then by the numbers of Spots; nil: all is zone 0.
// That of spot 0 must be 0.
//
// It returns the classes, and what each of them means: combinations[0] is class 0. They are in the
// order in which they begin in the space of addresses, but for class 0, which is that of clients
// for whom nothing holds, whether or not there are any.
func (l *Locator) Partition(
	places, sets []Rule, zones [][]uint8,
) (*Classes, []Combination, error) {
	if len(places) > MostRules {
		return nil, nil, fmt.Errorf("%d places, at most %d", len(places), MostRules)
	}
	all := l.Classify(places)
	combos := make([]Combination, 1, len(places)+1)
	for i := range places {
		combos = append(combos, Combination{Place: uint8(i + 1)})
	}
	full := false
	if zones != nil && l != nil {
		next := newInterner(combos, func(c Combination, spot uint32) (Combination, uint32) {
			if of := zones[c.Place]; of != nil {
				c.Zone = of[spot]
			}
			return c, uint32(c.Zone)
		})
		all.v4 = merge(all.v4, spotsOf(l, l.country.v4, l.subdivision.v4, l.point.v4), next.id)
		all.v6 = merge(all.v6, spotsOf(l, l.country.v6, l.subdivision.v6, l.point.v6), next.id)
		combos, full = next.list, next.full
	}
	for i := range sets {
		in := l.Classify(sets[i : i+1])
		next := newInterner(combos, func(c Combination, in uint32) (Combination, uint32) {
			c.In = append(c.In[:len(c.In):len(c.In)], in != 0)
			return c, in
		})
		all.v4 = merge(all.v4, wide(in.v4), next.id)
		all.v6 = merge(all.v6, wide(in.v6), next.id)
		combos, full = next.list, full || next.full
	}
	if full {
		return nil, nil, errors.New(
			"more than 255 combinations of places, constraints and distances")
	}
	if len(sets) > 0 || zones != nil {
		all.v4.finish()
		all.v6.finish()
		all.complete()
	}
	return all, combos, nil
}

// spotsOf are the numbers of the spots of all addresses.
func spotsOf[K key](
	l *Locator, country segments[K, uint8], subdivision, point segments[K, uint32],
) segments[K, uint32] {
	byCentre := merge(country, subdivision, func(c uint8, s uint32) uint32 { return l.spot(c, s, 0) })
	first := l.spot(0, 0, 1) - 1
	return merge(byCentre, point, func(spot, point uint32) uint32 {
		if point != 0 {
			return first + point
		}
		return spot
	})
}

// wide makes the values of segments larger.
func wide[K key](s segments[K, uint8]) segments[K, uint32] {
	out := segments[K, uint32]{starts: s.starts, values: make([]uint32, len(s.values))}
	for i, v := range s.values {
		out.values[i] = uint32(v)
	}
	return out
}

// interner numbers pairs of a combination and what else is known of a client.
type interner struct {
	from, list []Combination
	join       func(c Combination, fact uint32) (Combination, uint32)
	ids        map[[2]uint32]uint8 // by the combination and what counts of the fact
	full       bool
}

// newInterner returns one whose first combination is that of the first one and fact 0. Join adds a
// fact to a combination, and says what of the fact counts there.
func newInterner(
	from []Combination, join func(c Combination, fact uint32) (Combination, uint32),
) *interner {
	n := &interner{from: from, join: join, ids: make(map[[2]uint32]uint8)}
	n.id(0, 0)
	return n
}

func (n *interner) id(combo uint8, fact uint32) uint8 {
	c := n.from[combo]
	joined, counts := n.join(c, fact)
	key := [2]uint32{uint32(combo), counts}
	id, known := n.ids[key]
	if known {
		return id
	}
	if len(n.list) >= MostCombinations {
		n.full = true
		return 0
	}
	id = uint8(len(n.list))
	n.ids[key] = id
	n.list = append(n.list, joined)
	return id
}

// complete sets the floor and the digest of finished classes.
func (c *Classes) complete() {
	c.floor = 0
	if len(c.v4.starts) > 1 || len(c.v6.starts) > 1 || c.v4.values[0] != c.v6.values[0] {
		// Scope 0 tells caches that an answer is for everyone, IPv4 and IPv6 alike (RFC 7871
		// §7.3.1). While one family is all of one class and the other isn't, /1 is as wide as
		// the truth goes.
		c.floor = 1
	}
	text := make([]byte, 0, 5*len(c.v4.starts)+9*len(c.v6.starts)+16)
	c.digest = sha256.Sum256(appendStarts(appendStarts(text, c.v4), c.v6))
}
