package dnsserver

import (
	"iter"

	"github.com/miekg/dns"
)

// Serial returns the serial number of the zone's SOA record.
func (z *Zone) Serial() uint32 { return z.soa().Serial }

// soa returns the zone's SOA record. Each version of a zone has its own.
func (z *Zone) soa() *dns.SOA { return z.nodes[z.name].get(dns.TypeSOA)[0].(*dns.SOA) }

// newer reports whether serial number a comes after b (RFC 1982 §3.2).
func newer(a, b uint32) bool { return a != b && a-b < 1<<31 }

// differences lists the records, the SOA aside, that only one of two versions has: true with
// those of the earlier one.
func differences(before, after *Zone) iter.Seq2[dns.RR, bool] {
	return func(yield func(dns.RR, bool) bool) {
		for name, n := range before.all() {
			if !compare(n, after.node(name), yield) {
				return
			}
		}
		for name := range after.names() {
			if !before.has(name) && !compare(nil, after.node(name), yield) {
				return
			}
		}
	}
}

// compare yields the records that only one of two nodes has. It accepts nil nodes.
func compare(before, after *node, yield func(dns.RR, bool) bool) bool {
	have := make(map[string]dns.RR)
	for rr := range before.records() {
		have[rr.String()] = rr
	}
	for rr := range after.records() {
		text := rr.String()
		if _, ok := have[text]; ok {
			delete(have, text)
		} else if !yield(rr, false) {
			return false
		}
	}
	for _, rr := range have {
		if !yield(rr, true) {
			return false
		}
	}
	return true
}

// records lists a node's records without the SOA. It accepts a nil node.
func (n *node) records() iter.Seq[dns.RR] {
	return func(yield func(dns.RR) bool) {
		if n == nil {
			return
		}
		for _, set := range n.sets {
			if set.rtype == dns.TypeSOA {
				continue
			}
			for _, rr := range set.rrs {
				if !yield(rr) {
					return
				}
			}
		}
	}
}

// same reports whether two versions have the same content, serial numbers aside.
func same(a, b *Zone) bool {
	soa := *a.soa()
	soa.Serial = b.Serial()
	if soa.String() != b.soa().String() {
		return false
	}
	for range differences(a, b) {
		return false
	}
	return true
}

// version fixes a serial number that is ours to choose: the one of the version before when the
// content is the same, else one that comes after it (RFC 1982).
func (p *parser) version() {
	given := p.c.SOA.Serial
	inFile := p.places[p.soaRR].path == ""
	if given == 0 || inFile && (p.soaRR.Serial != 0 || !p.c.Rising) {
		return
	}
	p.soaRR.Serial = given
	before := p.c.Before
	switch {
	case before == nil || before.absent || before.name != p.z.name:
	case same(before, p.z):
		p.soaRR.Serial = before.Serial()
	case !newer(given, before.Serial()):
		p.soaRR.Serial = max(1, before.Serial()+1)
	}
}

// AbsentZone returns a zone whose content has not come from its primary yet: all but steered
// names are answered with SERVFAIL. The error tells what is wrong with the name.
func AbsentZone(name string) (*Zone, error) {
	apex, err := canonical(name)
	if err != nil {
		return nil, err
	}
	z := &Zone{name: apex, nodes: map[string]*node{apex: new(node)}, absent: true}
	z.insert(&dns.SOA{
		Hdr: dns.RR_Header{Name: apex, Rrtype: dns.TypeSOA, Class: dns.ClassINET, Ttl: 1},
		Ns:  apex, Mbox: apex, Serial: 1, Refresh: 60, Retry: 60, Expire: 60, Minttl: 1,
	})
	z.negative = z.soa()
	return z, nil
}

// Absent reports whether the zone's content has not come yet.
func (z *Zone) Absent() bool { return z.absent }
