package dnsserver

import (
	"hash/maphash"
	"iter"
	"math/bits"
	"net"
	"net/netip"
	"strings"

	"github.com/miekg/dns"
)

// bulk holds names that have nothing but addresses, as most names of large zones do: some 60
// octets for a name with A and AAAA instead of 400. Such a name is neither a zone cut nor an
// alias. A bulk is filled while a zone is parsed and read-only after.
type bulk struct {
	apex string // every name ends in it
	seed maphash.Seed
	// slots is an open-addressing table with a power of two of slots, at most half of them
	// taken. A slot holds the high half of a name's hash, and its number plus one; 0 is free.
	slots []uint64
	names []bulkName
	text  []byte // of names: what stands before the apex, with its length before it
	recs  []bulkRecord
	data  []byte // 4 or 16 octets for each record
	gone  int    // names that were taken out
}

type bulkName struct {
	text  uint32 // offset in bulk.text
	first uint32 // number of the first record plus one; 0: the name was taken out
}

type bulkRecord struct {
	next uint32 // number plus one; 0: the last one
	ttl  uint32
	data uint32 // offset in bulk.data
	line int32  // in the zone file
	file uint16
	v6   bool
}

// newBulk returns an empty bulk with room for about so many records.
func newBulk(apex string, records int) *bulk {
	names := records/2 + 8
	return &bulk{
		apex: apex, seed: maphash.MakeSeed(),
		slots: make([]uint64, 1<<bits.Len(uint(2*names))),
		names: make([]bulkName, 0, names),
		text:  make([]byte, 0, 16*names),
		recs:  make([]bulkRecord, 0, records),
		data:  make([]byte, 0, 10*records),
	}
}

// size returns the number of names. It accepts a nil bulk.
func (b *bulk) size() int {
	if b == nil {
		return 0
	}
	return len(b.names) - b.gone
}

// slot returns where a name is, or the free slot where it belongs. rest is the name without the
// apex.
func (b *bulk) slot(rest []byte) (at int, high uint64, found bool) {
	hash := maphash.Bytes(b.seed, rest)
	mask := uint64(len(b.slots) - 1)
	for i := hash & mask; ; i = (i + 1) & mask {
		s := b.slots[i]
		if s == 0 {
			return int(i), hash &^ 0xFFFFFFFF, false
		}
		if s>>32 == hash>>32 && string(b.rest(int(uint32(s)-1))) == string(rest) {
			return int(i), hash &^ 0xFFFFFFFF, true
		}
	}
}

// rest returns a name by its number, without the apex.
func (b *bulk) rest(i int) []byte {
	at := b.names[i].text
	return b.text[at+1 : at+1+uint32(b.text[at])]
}

// find returns the number of a canonical name; −1 when it isn't there. It accepts a nil bulk.
func (b *bulk) find(name string) int {
	if b == nil || len(name) <= len(b.apex) || !strings.HasSuffix(name, b.apex) {
		return -1
	}
	return b.lookup([]byte(name[:len(name)-len(b.apex)]))
}

func (b *bulk) lookup(rest []byte) int {
	at, _, found := b.slot(rest)
	if !found {
		return -1
	}
	i := int(uint32(b.slots[at])) - 1
	if b.names[i].first == 0 {
		return -1
	}
	return i
}

// add adds a record to a name that is in the zone and below its apex, given without the apex. A
// name that was taken out must not come back. It returns the number of a record that is in the
// way, because it is the same or has another TTL; −1 when there is none.
func (b *bulk) add(rest []byte, addr netip.Addr, r bulkRecord) int {
	at, high, found := b.slot(rest)
	i := int(uint32(b.slots[at])) - 1
	if !found {
		i = len(b.names)
		b.names = append(b.names, bulkName{text: uint32(len(b.text))})
		b.text = append(append(b.text, byte(len(rest))), rest...)
		b.slots[at] = high | uint64(i+1)
		if 2*len(b.names) > len(b.slots) {
			b.grow()
		}
	}
	r.v6 = addr.Is6()
	link := &b.names[i].first
	for *link != 0 {
		other := &b.recs[*link-1]
		if other.v6 == r.v6 && (other.ttl != r.ttl || b.addr(other) == addr) {
			return int(*link - 1)
		}
		link = &other.next
	}
	*link = uint32(len(b.recs) + 1)
	r.data = uint32(len(b.data))
	if r.v6 {
		a := addr.As16()
		b.data = append(b.data, a[:]...)
	} else {
		a := addr.As4()
		b.data = append(b.data, a[:]...)
	}
	b.recs = append(b.recs, r)
	return -1
}

// grow doubles the table.
func (b *bulk) grow() {
	old := b.slots
	b.slots = make([]uint64, 2*len(old))
	for _, s := range old {
		if s != 0 {
			at, _, _ := b.slot(b.rest(int(uint32(s) - 1)))
			b.slots[at] = s
		}
	}
}

// clip gives back the room that is not needed.
func (b *bulk) clip() {
	b.names = clip(b.names)
	b.text = clip(b.text)
	b.recs = clip(b.recs)
	b.data = clip(b.data)
}

// clip copies a slice of which more than a quarter lies idle.
func clip[E any](s []E) []E {
	if cap(s)-len(s) <= cap(s)/4 {
		return s
	}
	return append(make([]E, 0, len(s)), s...)
}

func (b *bulk) addr(r *bulkRecord) netip.Addr {
	if r.v6 {
		return netip.AddrFrom16([16]byte(b.data[r.data : r.data+16]))
	}
	return netip.AddrFrom4([4]byte(b.data[r.data : r.data+4]))
}

// rr builds a record.
func (b *bulk) rr(owner string, r *bulkRecord) dns.RR {
	hdr := dns.RR_Header{Name: owner, Class: dns.ClassINET, Ttl: r.ttl}
	if r.v6 {
		hdr.Rrtype, hdr.Rdlength = dns.TypeAAAA, 16
		return &dns.AAAA{Hdr: hdr, AAAA: net.IP(b.addr(r).AsSlice())}
	}
	hdr.Rrtype, hdr.Rdlength = dns.TypeA, 4
	return &dns.A{Hdr: hdr, A: net.IP(b.addr(r).AsSlice())}
}

// node builds a name's node; nil when there is none. It accepts a nil bulk.
func (b *bulk) node(name string) *node {
	i := b.find(name)
	if i < 0 {
		return nil
	}
	return b.build(name, i)
}

func (b *bulk) build(name string, i int) *node {
	n := new(node)
	for next := b.names[i].first; next != 0; next = b.recs[next-1].next {
		n.add(b.rr(name, &b.recs[next-1]))
	}
	return n
}

// takeOut removes a name. visit gets its records in their order.
func (b *bulk) takeOut(name string, visit func(rr dns.RR, r *bulkRecord)) {
	i := b.find(name)
	if i < 0 {
		return
	}
	for next := b.names[i].first; next != 0; next = b.recs[next-1].next {
		visit(b.rr(name, &b.recs[next-1]), &b.recs[next-1])
	}
	b.names[i].first = 0
	b.gone++
}

// all lists the canonical names with their numbers, in the order in which they came. It accepts
// a nil bulk.
func (b *bulk) all() iter.Seq2[string, int] {
	return func(yield func(string, int) bool) {
		if b == nil {
			return
		}
		for i := range b.names {
			if b.names[i].first != 0 && !yield(string(b.rest(i))+b.apex, i) {
				return
			}
		}
	}
}
