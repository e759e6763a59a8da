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
	countries []string
	numbers   map[string]uint8
	v4        []span[uint32]
	v6        []span[uint64]
}

// span is a range of keys, both ends included, with its value.
type span[K key] struct {
	first, last K
	value       uint8
}

// Add takes in a range of addresses of one family, both ends included, with its country's
// two-letter code in upper case. IPv6 counts by whole /64; what doesn't fill one is left out.
// The error says what is wrong with the range.
func (b *Builder) Add(first, last netip.Addr, country string) error {
	first, last = first.Unmap(), last.Unmap()
	switch {
	case !first.IsValid() || !last.IsValid() || first.BitLen() != last.BitLen():
		return fmt.Errorf("range %s to %s: not two addresses of one family", first, last)
	case last.Less(first):
		return fmt.Errorf("range %s to %s: its end comes before its start", first, last)
	case !IsCode(country):
		return fmt.Errorf("range %s to %s: %q is not a two-letter country code",
			first, last, country)
	}
	value, err := b.number(country)
	if err != nil {
		return err
	}
	if first.Is4() {
		b.v4 = append(b.v4, span[uint32]{key4(first), key4(last), value})
		return nil
	}
	from, to := key6(first), key6(last)
	if lower := netip.PrefixFrom(first, 64).Masked().Addr(); lower != first {
		if from == ^uint64(0) {
			return nil
		}
		from++ // the first /64 is not whole
	}
	if next := last.Next(); next.IsValid() && key6(next) == to {
		if to == 0 {
			return nil
		}
		to-- // nor is the last
	}
	if from <= to {
		b.v6 = append(b.v6, span[uint64]{from, to, value})
	}
	return nil
}

// IsCode reports whether a text looks like an ISO 3166-1 alpha-2 code: two letters in upper
// case. It doesn't say whether any country has it.
func IsCode(s string) bool {
	return len(s) == 2 && s[0] >= 'A' && s[0] <= 'Z' && s[1] >= 'A' && s[1] <= 'Z'
}

// number returns the value that stands for a country.
func (b *Builder) number(country string) (uint8, error) {
	if n, ok := b.numbers[country]; ok {
		return n, nil
	}
	if b.numbers == nil {
		b.numbers, b.countries = map[string]uint8{}, []string{""}
	}
	if len(b.countries) > 255 {
		return 0, errors.New("more than 255 countries")
	}
	n := uint8(len(b.countries))
	b.numbers[country] = n
	b.countries = append(b.countries, country)
	return n, nil
}

// Build makes the Locator: sorted, with neighbours of one country merged, and without what
// lies in the prefixes of blank. Where ranges overlap the one that begins later wins, which is
// the inner one of two that lie within each other. The origin says in words where the data
// comes from, the date how old it is. No ranges at all are an error.
func (b *Builder) Build(origin string, date time.Time, blank []netip.Prefix) (*Locator, error) {
	if len(b.v4)+len(b.v6) == 0 {
		return nil, errors.New("no ranges of addresses")
	}
	l := &Locator{origin: origin, date: date.UTC(), countries: slices.Clone(b.countries)}
	var blank4 []span[uint32]
	var blank6 []span[uint64]
	for _, p := range blank {
		if p.Addr().Is4() {
			blank4 = append(blank4, span4(p, 1))
		} else {
			blank6 = append(blank6, span6(p, 1))
		}
	}
	l.v4, l.v6 = cut(b.v4, blank4), cut(b.v6, blank6)
	return l, nil
}

// cut makes segments of spans, and takes those of blank out.
func cut[K key](spans, blank []span[K]) segments[K] {
	inner := func(_, inside uint8) uint8 { return inside }
	first := func(around, inside uint8) uint8 { return min(around, inside) }
	s := merge(sweep(spans, inner), sweep(blank, first), func(country, hole uint8) uint8 {
		if hole != 0 {
			return 0
		}
		return country
	})
	s.finish()
	return s
}

// span4 is an IPv4 prefix as a span.
func span4(p netip.Prefix, value uint8) span[uint32] {
	first := key4(p.Masked().Addr())
	return span[uint32]{first, first | uint32(1<<(32-p.Bits())-1), value}
}

// span6 is an IPv6 prefix of at most 64 bits as a span; a longer one counts as its /64.
func span6(p netip.Prefix, value uint8) span[uint64] {
	length := min(p.Bits(), 64)
	first := key6(netip.PrefixFrom(p.Addr(), length).Masked().Addr())
	return span[uint64]{first, first | (1<<(64-length) - 1), value}
}

// sweep makes segments of spans in any order; value 0 is where there is none. Of a span that
// lies within another, pick tells the value; spans that overlap otherwise don't know each
// other's value, and the one that begins later wins.
func sweep[K key](spans []span[K], pick func(around, inside uint8) uint8) segments[K] {
	sorted := slices.SortedStableFunc(slices.Values(spans), func(a, b span[K]) int {
		return cmp.Or(cmp.Compare(a.first, b.first), cmp.Compare(b.last, a.last))
	})
	s := segments[K]{
		starts: make([]K, 0, 2*len(spans)+1), values: make([]uint8, 0, 2*len(spans)+1),
	}
	s.add(0, 0)
	var open []span[K] // each within the one before
	end := func() {    // of the innermost span
		last := open[len(open)-1].last
		open = open[:len(open)-1]
		around := uint8(0)
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
func merge[K key](a, b segments[K], value func(a, b uint8) uint8) segments[K] {
	s := segments[K]{
		starts: make([]K, 0, len(a.starts)+len(b.starts)),
		values: make([]uint8, 0, len(a.starts)+len(b.starts)),
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
