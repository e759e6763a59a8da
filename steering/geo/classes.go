package geo

import (
	"crypto/sha256"
	"encoding/binary"
	"net/netip"
)

// MostRules is how many rules one set of classes may have.
const MostRules = 250

// Rule says which clients belong to a class: those in one of the prefixes, those of one of the
// autonomous systems, and those whose subdivision or country is one of the codes, in upper case.
// IPv6 prefixes longer than /64 count as their /64.
type Rule struct {
	Countries    []string
	Subdivisions []string
	ASNs         []uint32
	Prefixes     []netip.Prefix
}

// Classes tell which rule an address belongs to. They are immutable; any number of goroutines
// may ask them.
type Classes struct {
	v4     segments[uint32, uint8]
	v6     segments[uint64, uint8]
	floor  uint8 // the least scope of an answer
	digest [sha256.Size]byte
}

// Classify makes the classes of rules, of which there are at most MostRules. Prefixes come
// first, since what an operator wrote of an address is worth more than what a data set says;
// then the finest data: AS, subdivision, country. Among rules of one kind the first that holds
// wins. Without rules, or by a nil Locator without prefixes, everyone is in class 0.
func (l *Locator) Classify(rules []Rule) *Classes {
	if l == nil {
		l = newLocator()
	}
	var prefixes ranges[uint8]
	for i, r := range rules[:min(len(rules), MostRules)] {
		class := uint8(i + 1)
		for _, p := range r.Prefixes {
			if p.Addr().Is4() {
				prefixes.v4 = append(prefixes.v4, span4(p, class))
			} else {
				prefixes.v6 = append(prefixes.v6, span6(p, class))
			}
		}
	}
	c := &Classes{}
	c.v4, c.v6 = flatten(l.country, byName(l.countries, rules, countriesOf))
	cover(c, l.subdivision, byName(l.subdivisions, rules, subdivisionsOf))
	cover(c, l.asn, byName(l.asns, rules, asnsOf))
	if len(prefixes.v4)+len(prefixes.v6) > 0 {
		first := func(around, inside uint8) uint8 { return min(around, inside) }
		c.v4 = merge(c.v4, sweep(prefixes.v4, first), upper)
		c.v6 = merge(c.v6, sweep(prefixes.v6, first), upper)
	}
	c.v4.finish()
	c.v6.finish()
	c.complete()
	return c
}

func countriesOf(r Rule) []string    { return r.Countries }
func subdivisionsOf(r Rule) []string { return r.Subdivisions }
func asnsOf(r Rule) []uint32         { return r.ASNs }

// upper is the class of an address by what counts more, or else by what counts less.
func upper(below, above uint8) uint8 {
	if above != 0 {
		return above
	}
	return below
}

// byName returns the class of each value of a fact, whose names are listed; nil when no rule
// names any.
func byName[N comparable](list []N, rules []Rule, of func(Rule) []N) []uint8 {
	first := map[N]uint8{}
	for i, r := range rules[:min(len(rules), MostRules)] {
		for _, name := range of(r) {
			if first[name] == 0 {
				first[name] = uint8(i + 1)
			}
		}
	}
	if len(first) == 0 {
		return nil
	}
	classes := make([]uint8, len(list))
	for value, name := range list {
		classes[value] = first[name]
	}
	classes[0] = 0
	return classes
}

// cover lays the classes by a fact over those there are.
func cover[V value](c *Classes, l layer[V], byValue []uint8) {
	if byValue == nil || !l.known() {
		return
	}
	v4, v6 := flatten(l, byValue)
	c.v4, c.v6 = merge(c.v4, v4, upper), merge(c.v6, v6, upper)
}

// flatten turns a fact into classes, not finished; all are 0 when byValue is nil.
func flatten[V value](
	l layer[V], byValue []uint8,
) (segments[uint32, uint8], segments[uint64, uint8]) {
	if byValue == nil {
		l = newLayer[V]()
		byValue = []uint8{0}
	}
	return flat(l.v4, byValue), flat(l.v6, byValue)
}

func flat[K key, V value](s segments[K, V], byValue []uint8) segments[K, uint8] {
	ranges, last := 1, byValue[s.values[0]]
	for _, value := range s.values {
		if class := byValue[value]; class != last {
			ranges, last = ranges+1, class
		}
	}
	out := segments[K, uint8]{starts: make([]K, 0, ranges), values: make([]uint8, 0, ranges)}
	for i, value := range s.values {
		if class := byValue[value]; i == 0 || class != out.values[len(out.values)-1] {
			out.starts, out.values = append(out.starts, s.starts[i]), append(out.values, class)
		}
	}
	return out
}

func appendStarts[K key](b []byte, s segments[K, uint8]) []byte {
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
