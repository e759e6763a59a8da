package geo

import (
	"encoding/binary"
	"net/netip"
	"time"
)

// Location is where a client is. The zero value means that nobody knows.
type Location struct {
	// Country is its ISO 3166-1 alpha-2 code in upper case; empty when it isn't known.
	Country string
}

// Locator tells the country of an address. It is immutable; any number of goroutines may ask
// it. A nil Locator knows no country.
type Locator struct {
	origin    string
	date      time.Time
	countries []string // by value; the first is "", for addresses without a country
	v4        segments[uint32]
	v6        segments[uint64]
}

// Origin says in words where the data comes from, and Date how old it is.
func (l *Locator) Origin() string {
	if l == nil {
		return "no country data"
	}
	return l.origin
}

// Date is the day of the data; zero for a nil Locator.
func (l *Locator) Date() time.Time {
	if l == nil {
		return time.Time{}
	}
	return l.date
}

// Ranges counts the ranges of IPv4 and IPv6 addresses that the data tells apart.
func (l *Locator) Ranges() (v4, v6 int) {
	if l == nil {
		return 0, 0
	}
	return len(l.v4.starts), len(l.v6.starts)
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
	if a = a.Unmap(); a.Is4() {
		k := key4(a)
		i := l.v4.find(k)
		return Location{Country: l.countries[l.v4.values[i]]}, l.v4.scope(k, i)
	}
	k := key6(a)
	i := l.v6.find(k)
	return Location{Country: l.countries[l.v6.values[i]]}, l.v6.scope(k, i)
}

func key4(a netip.Addr) uint32 {
	b := a.As4()
	return binary.BigEndian.Uint32(b[:])
}

func key6(a netip.Addr) uint64 {
	b := a.As16()
	return binary.BigEndian.Uint64(b[:8])
}
