package geo

import (
	"crypto/sha256"
	"encoding/binary"
	"net/netip"
)

// MostRules is how many rules one set of classes may have.
const MostRules = 250

// Rule says which clients belong to a class: those in one of the prefixes, and those whose
// country is one of the codes, in upper case. IPv6 prefixes longer than /64 count as their /64.
type Rule struct {
	Countries []string
	Prefixes  []netip.Prefix
}

// Classes tell which rule an address belongs to. They are immutable; any number of goroutines
// may ask them.
type Classes struct {
	v4     segments[uint32]
	v6     segments[uint64]
	floor  uint8 // the least scope of an answer
	digest [sha256.Size]byte
}

// Classify makes the classes of rules, of which there are at most MostRules. Prefixes come
// before countries, since what an operator wrote of an address is worth more than what a data
// set says; of prefixes, and of countries, the first rule that holds wins. Without rules, or by
// a nil Locator without prefixes, everyone is in class 0.
func (l *Locator) Classify(rules []Rule) *Classes {
	if l == nil {
		l = &Locator{countries: []string{""}}
		l.v4.add(0, 0)
		l.v6.add(0, 0)
	}
	byCode := map[string]uint8{}
	var prefixes4 []span[uint32]
	var prefixes6 []span[uint64]
	for i, r := range rules[:min(len(rules), MostRules)] {
		class := uint8(i + 1)
		for _, code := range r.Countries {
			if byCode[code] == 0 {
				byCode[code] = class
			}
		}
		for _, p := range r.Prefixes {
			if p.Addr().Is4() {
				prefixes4 = append(prefixes4, span4(p, class))
			} else {
				prefixes6 = append(prefixes6, span6(p, class))
			}
		}
	}
	var byValue [256]uint8
	for value, code := range l.countries {
		byValue[value] = byCode[code]
	}
	c := &Classes{v4: flatten(l.v4, &byValue, prefixes4), v6: flatten(l.v6, &byValue, prefixes6)}
	c.complete()
	return c
}

// flatten turns countries into classes, with the prefixes laid over them.
func flatten[K key](
	countries segments[K], byValue *[256]uint8, prefixes []span[K],
) segments[K] {
	ranges, last := 1, byValue[countries.values[0]]
	for _, value := range countries.values {
		if class := byValue[value]; class != last {
			ranges, last = ranges+1, class
		}
	}
	s := segments[K]{starts: make([]K, 0, ranges), values: make([]uint8, 0, ranges)}
	for i, value := range countries.values {
		if class := byValue[value]; i == 0 || class != s.values[len(s.values)-1] {
			s.starts, s.values = append(s.starts, countries.starts[i]), append(s.values, class)
		}
	}
	if len(prefixes) > 0 {
		first := func(around, inside uint8) uint8 { return min(around, inside) }
		s = merge(s, sweep(prefixes, first), func(country, prefix uint8) uint8 {
			if prefix != 0 {
				return prefix
			}
			return country
		})
	}
	s.finish()
	return s
}

func appendStarts[K key](b []byte, s segments[K]) []byte {
	b = binary.BigEndian.AppendUint64(b, uint64(len(s.starts)))
	for _, start := range s.starts {
		if size[K]() == 32 {
			b = binary.BigEndian.AppendUint32(b, uint32(start))
		} else {
			b = binary.BigEndian.AppendUint64(b, uint64(start))
		}
	}
	return append(b, s.values...)
}

// Find returns the class of a client: 1 for the first rule, 0 for none. Scope is the length of
// the shortest prefix around the client's address in which everybody has the same class, as
// RFC 7871 §7.2.1 wants it: it may be longer than the client's own prefix, which then isn't
// narrow enough to know. A client that is not valid has class 0 and scope 0.
//
// It allocates nothing. IPv4 in IPv6 counts as IPv4. Of a prefix its first address is looked
// at; bits behind the prefix don't count.
func (c *Classes) Find(client netip.Prefix) (class, scope uint8) {
	a, length := client.Addr(), client.Bits()
	if a.Is4In6() {
		a, length = a.Unmap(), length-96
	}
	switch {
	case a.Is4():
		k := key4(a)
		if length >= 0 && length < 32 {
			k &^= ^uint32(0) >> length
		}
		i := c.v4.find(k)
		return c.v4.values[i], max(c.floor, c.v4.scope(k, i))
	case a.Is6():
		k := key6(a)
		if length >= 0 && length < 64 {
			k &^= ^uint64(0) >> length
		}
		i := c.v6.find(k)
		return c.v6.values[i], max(c.floor, c.v6.scope(k, i))
	}
	return 0, 0
}

// Digest is a hash of all that Find can answer: equal digests answer alike.
func (c *Classes) Digest() [sha256.Size]byte { return c.digest }

// Ranges counts the ranges of IPv4 and IPv6 addresses that the classes tell apart.
func (c *Classes) Ranges() (v4, v6 int) { return len(c.v4.starts), len(c.v6.starts) }
