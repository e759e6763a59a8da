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
	// In says for each set whether its rule holds.
	In []bool
}

// Partition tells clients apart by places, of which the first that holds counts, as for Classify,
// and by sets, each of which holds or doesn't. It returns the classes, and what each of them means:
// combinations[0] is class 0. They are in the order in which they begin in the space of addresses,
// but for class 0, which is that of clients for whom nothing holds, whether or not there are any.
func (l *Locator) Partition(places, sets []Rule) (*Classes, []Combination, error) {
	if len(places) > MostRules {
		return nil, nil, fmt.Errorf("%d places, at most %d", len(places), MostRules)
	}
	all := l.Classify(places)
	combos := make([]Combination, 1, len(places)+1)
	for i := range places {
		combos = append(combos, Combination{Place: uint8(i + 1)})
	}
	for i := range sets {
		in := l.Classify(sets[i : i+1])
		next := interner{from: combos, ids: map[[2]uint8]uint8{{0, 0}: 0}}
		next.list = []Combination{next.combine(0, 0)}
		all.v4 = merge(all.v4, in.v4, next.id)
		all.v6 = merge(all.v6, in.v6, next.id)
		if next.full {
			return nil, nil, errors.New("more than 255 combinations of places and constraints")
		}
		combos = next.list
	}
	if len(sets) > 0 {
		all.v4.finish()
		all.v6.finish()
		all.complete()
	}
	return all, combos, nil
}

// interner numbers pairs of a combination and whether one more set holds.
type interner struct {
	from, list []Combination
	ids        map[[2]uint8]uint8
	full       bool
}

func (n *interner) combine(combo, in uint8) Combination {
	c := n.from[combo]
	c.In = append(c.In[:len(c.In):len(c.In)], in != 0)
	return c
}

func (n *interner) id(combo, in uint8) uint8 {
	key := [2]uint8{combo, in}
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
	n.list = append(n.list, n.combine(combo, in))
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
