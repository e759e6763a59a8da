package geo

import (
	"cmp"
	"encoding/binary"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Location is where a client is. The zero value means that nobody knows.
type Location struct {
	// Country is its ISO 3166-1 alpha-2 code in upper case; empty when it isn't known.
	Country string
	// Subdivision is the ISO 3166-2 code, such as US-CA; empty when it isn't known.
	Subdivision string
	// ASN is the number of the autonomous system; 0 when it isn't known.
	ASN uint32
	// Spot is where distances are measured from.
	Spot Spot
}

// Locator tells where an address is, as far as it has data. It is immutable; any number of
// goroutines may ask it. A nil Locator knows nothing.
type Locator struct {
	countries    []string // by value, as in all lists here; the first is that of "not known"
	subdivisions []string
	asns         []uint32 // in order
	points       []Point
	spots        []Spot // see settle
	dated        bool   // the data itself says of which day it is

	country     layer[uint8]
	subdivision layer[uint32]
	asn         layer[uint32] // by place in asns
	point       layer[uint32]
}

// about says where data comes from, in words, and of which day it is.
type about struct {
	origin string
	date   time.Time
}

// layer is one fact of all addresses.
type layer[V value] struct {
	about
	v4 segments[uint32, V]
	v6 segments[uint64, V]
}

func newLayer[V value]() layer[V] {
	var l layer[V]
	l.v4.add(0, 0)
	l.v6.add(0, 0)
	return l
}

// known reports whether the fact is known of any address.
func (l *layer[V]) known() bool {
	return len(l.v4.starts) > 1 || len(l.v6.starts) > 1 || l.v4.values[0] != 0 || l.v6.values[0] != 0
}

// find returns what holds for an address, and the shortest prefix around it in which it does.
func (l *layer[V]) find(a netip.Addr) (V, uint8) {
	if a.Is4() {
		k := key4(a)
		i := l.v4.find(k)
		return l.v4.values[i], l.v4.scope(k, i)
	}
	k := key6(a)
	i := l.v6.find(k)
	return l.v6.values[i], l.v6.scope(k, i)
}

func newLocator() *Locator {
	l := &Locator{countries: []string{""}, subdivisions: []string{""}, asns: []uint32{0},
		points: []Point{{}}, country: newLayer[uint8](), subdivision: newLayer[uint32](),
		asn: newLayer[uint32](), point: newLayer[uint32]()}
	return l.settle()
}

// overlay makes one Locator of several: each fact is from the first that has any of it.
func overlay(parts []*Locator) *Locator {
	l := newLocator()
	for _, p := range parts {
		if !l.country.known() && p.country.known() {
			l.country, l.countries = p.country, p.countries
		}
		if !l.subdivision.known() && p.subdivision.known() {
			l.subdivision, l.subdivisions = p.subdivision, p.subdivisions
		}
		if !l.asn.known() && p.asn.known() {
			l.asn, l.asns = p.asn, p.asns
		}
		if !l.point.known() && p.point.known() {
			l.point, l.points = p.point, p.points
		}
	}
	return l.settle()
}

// numberASNs turns AS numbers as values into places in a list of them.
func (l *Locator) numberASNs() {
	l.asns = slices.Concat([]uint32{0}, l.asn.v4.values, l.asn.v6.values)
	slices.Sort(l.asns)
	l.asns = slices.Clip(slices.Compact(l.asns))
	for _, values := range [][]uint32{l.asn.v4.values, l.asn.v6.values} {
		for i, asn := range values {
			at, _ := slices.BinarySearch(l.asns, asn)
			values[i] = uint32(at)
		}
	}
}

// SourceOf is where one kind of data comes from.
type SourceOf struct {
	Kind   string // "country", "subdivision", "asn" or "point"
	Origin string // in words
	Date   time.Time
}

// Sources lists where the data comes from, one row for each kind that there is.
func (l *Locator) Sources() []SourceOf {
	if l == nil {
		return nil
	}
	var list []SourceOf
	add := func(kind string, known bool, a about) {
		if known {
			list = append(list, SourceOf{kind, a.origin, a.date})
		}
	}
	add("country", l.country.known(), l.country.about)
	add("subdivision", l.subdivision.known(), l.subdivision.about)
	add("asn", l.asn.known(), l.asn.about)
	add("point", l.point.known(), l.point.about)
	return list
}

// Origin says in words where the data comes from.
func (l *Locator) Origin() string {
	var list []string
	for _, s := range l.Sources() {
		if !slices.Contains(list, s.Origin) {
			list = append(list, s.Origin)
		}
	}
	return cmp.Or(strings.Join(list, "; "), "no country data")
}

// Date is the day of the oldest data; zero for a nil Locator.
func (l *Locator) Date() time.Time {
	var oldest time.Time
	for _, s := range l.Sources() {
		if oldest.IsZero() || s.Date.Before(oldest) {
			oldest = s.Date
		}
	}
	return oldest
}

// Ranges counts the ranges of IPv4 and IPv6 addresses whose countries the data tells apart.
func (l *Locator) Ranges() (v4, v6 int) {
	if l == nil {
		return 0, 0
	}
	return len(l.country.v4.starts), len(l.country.v6.starts)
}

// Countries lists the codes that occur in the data, in no particular order. The slice is the
// caller's own.
func (l *Locator) Countries() []string {
	if l == nil {
		return nil
	}
	return append([]string(nil), l.countries[1:]...)
}

// Locate returns where an address is, and the length of the shortest prefix around it of which
// that is true as a whole. IPv4 in IPv6 counts as IPv4. IPv6 is told apart by /64 and no finer.
// An invalid address is nowhere, and so is everyone by a nil Locator.
func (l *Locator) Locate(a netip.Addr) (Location, uint8) {
	if l == nil || !a.IsValid() {
		return Location{}, 0
	}
	a = a.Unmap()
	country, scope := l.country.find(a)
	subdivision, scope2 := l.subdivision.find(a)
	asn, scope3 := l.asn.find(a)
	point, scope4 := l.point.find(a)
	out := Location{Country: l.countries[country], Subdivision: l.subdivisions[subdivision],
		ASN: l.asns[asn]}
	out.Spot = l.spots[l.spot(country, subdivision, point)]
	return out, max(scope, scope2, scope3, scope4)
}

func key4(a netip.Addr) uint32 {
	b := a.As4()
	return binary.BigEndian.Uint32(b[:])
}

func key6(a netip.Addr) uint64 {
	b := a.As16()
	return binary.BigEndian.Uint64(b[:8])
}

// String names the country or the subdivision, and the AS; empty when nobody knows any.
func (l Location) String() string {
	list := []string{cmp.Or(l.Subdivision, l.Country)}
	if l.ASN != 0 {
		list = append(list, "AS"+strconv.FormatUint(uint64(l.ASN), 10))
	}
	return strings.TrimPrefix(strings.Join(list, ", "), ", ")
}
