package dnssec

import (
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"slices"
	"time"

	"github.com/miekg/dns"
)

// numbered returns the zone with another serial in its SOA record, if it may be replaced.
func (z *Zone) numbered(serial uint32) *Zone {
	if !z.FreeSerial || serial == z.SOA.Serial {
		return z
	}
	soa := *z.SOA
	soa.Serial = serial
	next := *z
	next.SOA = &soa
	next.Names = slices.Clone(z.Names)
	for i := range next.Names {
		n := &next.Names[i]
		if n.Owner != z.Apex {
			continue
		}
		n.Sets = slices.Clone(n.Sets)
		for j, set := range n.Sets {
			if set[0].Header().Rrtype == dns.TypeSOA {
				n.Sets[j] = []dns.RR{&soa}
			}
		}
	}
	return &next
}

// summed returns the zone with a digest of all that it can answer but for the serial of the SOA.
// It depends neither on the order of names nor on that of their sets.
func (z *Zone) summed() (*Zone, error) {
	var d digester
	var total [sha256.Size / 8]uint64 // sums: two equal sets must not cancel each other out
	add := func(sets [][]dns.RR) error {
		for _, set := range sets {
			if soa, ok := set[0].(*dns.SOA); ok {
				still := *soa
				still.Serial = 0
				set = []dns.RR{&still}
			}
			sum, err := d.digest(set)
			if err != nil {
				return fmt.Errorf("reading %s: %w", set[0].Header().Name, err)
			}
			for i := range total {
				total[i] += binary.BigEndian.Uint64(sum[8*i:])
			}
		}
		return nil
	}
	for i := range z.Names {
		n := &z.Names[i]
		if err := add(n.Sets); err != nil {
			return nil, err
		}
		for _, v := range n.Variants {
			if err := add(v.Sets); err != nil {
				return nil, err
			}
		}
	}
	next := *z
	next.contents = fmt.Sprintf("%016x", total)
	return &next, nil
}

// serialAfter returns the serial of contents that differ from those published last under
// another: the time, or the next one when that would not rise (RFC 1982 §3.2).
func serialAfter(last uint32, now time.Time) uint32 {
	next := uint32(now.Unix())
	if last != 0 && int32(next-last) <= 0 {
		return last + 1
	}
	return next
}
