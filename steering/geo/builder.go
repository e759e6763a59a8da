package geo

import (
	"cmp"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"time"
)

// Builder gathers ranges of addresses for a Locator. The zero value is ready. It is not safe
// for concurrent use.
type Builder struct {
	countries names
	country   ranges[uint8]
	asn       ranges[uint32]
}

// names number texts; 0 stands for the empty one.
type names struct {
	list    []string
	numbers map[string]uint32
}

func (n *names) number(text string) uint32 {
	if text == "" {
		return 0
	}
	if i, known := n.numbers[text]; known {
		return i
	}
	if n.numbers == nil {
		n.numbers, n.list = map[string]uint32{}, []string{""}
	}
	i := uint32(len(n.list))
	n.numbers[text] = i
	n.list = append(n.list, text)
	return i
}

// ranges are those of one fact.
type ranges[V value] struct {
	v4 []span[uint32, V]
	v6 []span[uint64, V]
}

// span is a range of keys, both ends included, with its value.
type span[K key, V value] struct {
	first, last K
	value       V
}

// Add takes in a range of addresses of one family, both ends included, with its country's
// two-letter code in upper case. IPv6 counts by whole /64; what doesn't fill one is left out.
// The error says what is wrong with the range.
func (b *Builder) Add(first, last netip.Addr, country string) error {
	first, last, err := ordered(first, last)
	if err != nil {
		return err
	}
	if !IsCode(country) {
		return fmt.Errorf("range %s to %s: %q is not a two-letter country code",
			first, last, country)
	}
	n := b.countries.number(country)
	if n > 255 {
		return errors.New("more than 255 countries")
	}
	b.country.add(first, last, uint8(n))
	return nil
}

// AddASN is Add for the number of the autonomous system, which isn't 0.
func (b *Builder) AddASN(first, last netip.Addr, asn uint32) error {
	first, last, err := ordered(first, last)
	if err != nil {
		return err
	}
	if asn == 0 {
		return fmt.Errorf("range %s to %s: 0 is no AS", first, last)
	}
	b.asn.add(first, last, asn)
	return nil
}

// ordered returns both ends of a range, IPv4 as such.
func ordered(first, last netip.Addr) (netip.Addr, netip.Addr, error) {
	first, last = first.Unmap(), last.Unmap()
	switch {
	case !first.IsValid() || !last.IsValid() || first.BitLen() != last.BitLen():
		return first, last, fmt.Errorf("range %s to %s: not two addresses of one family", first, last)
	case last.Less(first):
		return first, last, fmt.Errorf("range %s to %s: its end comes before its start", first, last)
	}
	return first, last, nil
}

// add takes in a range that is ordered.
func (r *ranges[V]) add(first, last netip.Addr, value V) {
	if first.Is4() {
		r.v4 = append(r.v4, span[uint32, V]{key4(first), key4(last), value})
		return
	}
	from, to := key6(first), key6(last)
	if lower := netip.PrefixFrom(first, 64).Masked().Addr(); lower != first {
		if from == ^uint64(0) {
			return
		}
		from++ // the first /64 is not whole
	}
	if next := last.Next(); next.IsValid() && key6(next) == to {
		if to == 0 {
			return
		}
		to-- // nor is the last
	}
	if from <= to {
		r.v6 = append(r.v6, span[uint64, V]{from, to, value})
	}
}

// IsCode reports whether a text looks like an ISO 3166-1 alpha-2 code: two letters in upper
// case. It doesn't say whether any country has it.
func IsCode(s string) bool {
	return len(s) == 2 && s[0] >= 'A' && s[0] <= 'Z' && s[1] >= 'A' && s[1] <= 'Z'
}

// IsSubdivision reports whether a text looks like an ISO 3166-2 code in upper case: a country,
// a hyphen, and one to three letters or digits.
func IsSubdivision(s string) bool {
	if len(s) < 4 || len(s) > 6 || !IsCode(s[:2]) || s[2] != '-' {
		return false
	}
	for _, c := range []byte(s[3:]) {
		if (c < 'A' || c > 'Z') && (c < '0' || c > '9') {
			return false
		}
	}
	return true
}

// Build makes the Locator: sorted, with neighbours of one country merged, and without what
// lies in the prefixes of blank. Where ranges overlap the one that begins later wins, which is
// the inner one of two that lie within each other. The origin says in words where the data
// comes from, the date how old it is. No ranges at all are an error.
func (b *Builder) Build(origin string, date time.Time, blank []netip.Prefix) (*Locator, error) {
	if len(b.country.v4)+len(b.country.v6)+len(b.asn.v4)+len(b.asn.v6) == 0 {
		return nil, errors.New("no ranges of addresses")
	}
	l := newLocator()
	var holes ranges[uint8]
	for _, p := range blank {
		if p.Addr().Is4() {
			holes.v4 = append(holes.v4, span4(p, uint8(1)))
		} else {
			holes.v6 = append(holes.v6, span6(p, uint8(1)))
		}
	}
	if len(b.country.v4)+len(b.country.v6) > 0 {
		l.countries = slices.Clone(b.countries.list)
		l.country = b.country.layer(origin, date, holes)
	}
	if len(b.asn.v4)+len(b.asn.v6) > 0 {
		l.asn = b.asn.layer(origin, date, holes)
		l.numberASNs()
	}
	return l.settle(), nil
}

func (r *ranges[V]) layer(origin string, date time.Time, holes ranges[uint8]) layer[V] {
	return layer[V]{about: about{origin, date.UTC()},
		v4: cut(r.v4, holes.v4), v6: cut(r.v6, holes.v6)}
}

// cut makes segments of spans, and takes those of blank out.
func cut[K key, V value](spans []span[K, V], blank []span[K, uint8]) segments[K, V] {
	inner := func(_, inside V) V { return inside }
	first := func(around, inside uint8) uint8 { return min(around, inside) }
	s := merge(sweep(spans, inner), sweep(blank, first), func(fact V, hole uint8) V {
		if hole != 0 {
			return 0
		}
		return fact
	})
	s.finish()
	return s
}

// span4 is an IPv4 prefix as a span.
func span4[V value](p netip.Prefix, v V) span[uint32, V] {
	first := key4(p.Masked().Addr())
	return span[uint32, V]{first, first | uint32(1<<(32-p.Bits())-1), v}
}

// span6 is an IPv6 prefix of at most 64 bits as a span; a longer one counts as its /64.
func span6[V value](p netip.Prefix, v V) span[uint64, V] {
	length := min(p.Bits(), 64)
	first := key6(netip.PrefixFrom(p.Addr(), length).Masked().Addr())
	return span[uint64, V]{first, first | (1<<(64-length) - 1), v}
}

// sweep makes segments of spans in any order; value 0 is where there is none. Of a span that
// lies within another, pick tells the value; spans that overlap otherwise don't know each
// other's value, and the one that begins later wins.
func sweep[K key, V value](spans []span[K, V], pick func(around, inside V) V) segments[K, V] {
	sorted := slices.SortedStableFunc(slices.Values(spans), func(a, b span[K, V]) int {
		return cmp.Or(cmp.Compare(a.first, b.first), cmp.Compare(b.last, a.last))
	})
	s := segments[K, V]{
		starts: make([]K, 0, 2*len(spans)+1), values: make([]V, 0, 2*len(spans)+1),
	}
	s.add(0, 0)
	var open []span[K, V] // each within the one before
	end := func() {       // of the innermost span
		last := open[len(open)-1].last
		open = open[:len(open)-1]
		around := V(0)
		if len(open) > 0 {
			around = open[len(open)-1].value
		}
		if last != ^K(0) {
			s.add(last+1, around)
		}
	}
	for _, sp := range sorted {
		for len(open) > 0 && open[len(open)-1].last < sp.first {
			end()
		}
		for len(open) > 0 && open[len(open)-1].last < sp.last {
			open = open[:len(open)-1] // what follows of it is behind the new one's start
		}
		if len(open) > 0 {
			sp.value = pick(open[len(open)-1].value, sp.value)
		}
		open = append(open, sp)
		s.add(sp.first, sp.value)
	}
	for len(open) > 0 {
		end()
	}
	return s
}

// merge lays two tables over each other. Its result has no index yet.
func merge[K key, A, B, V value](
	a segments[K, A], b segments[K, B], value func(a A, b B) V,
) segments[K, V] {
	s := segments[K, V]{
		starts: make([]K, 0, len(a.starts)+len(b.starts)),
		values: make([]V, 0, len(a.starts)+len(b.starts)),
	}
	for i, j := 0, 0; ; {
		s.add(max(a.starts[i], b.starts[j]), value(a.values[i], b.values[j]))
		switch moreA, moreB := i+1 < len(a.starts), j+1 < len(b.starts); {
		case moreA && (!moreB || a.starts[i+1] < b.starts[j+1]):
			i++
		case moreA && a.starts[i+1] == b.starts[j+1]:
			i, j = i+1, j+1
		case moreB:
			j++
		default:
			return s
		}
	}
}
