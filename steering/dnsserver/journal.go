package dnsserver

import (
	"iter"
	"maps"

	"github.com/miekg/dns"
)

// Bounds of what is remembered of a zone's earlier versions.
const (
	maxVersions = 16
	maxChanges  = 100_000 // records, in all versions together
)

// delta is the difference between two versions of a zone that follow each other.
type delta struct {
	from, to   *dns.SOA
	gone, come []dns.RR
}

func (d *delta) size() int { return len(d.gone) + len(d.come) }

// history is the last changes of a zone, oldest first. It is immutable.
type history struct{ deltas []delta }

// since lists the changes from a serial number to the zone as it is; nil when they aren't known,
// or are more than the zone.
func (h *history) since(serial uint32, z *Zone) []delta {
	if h == nil || len(h.deltas) == 0 || h.deltas[len(h.deltas)-1].to != z.soa() {
		return nil
	}
	for i := range h.deltas {
		if h.deltas[i].from.Serial != serial {
			continue
		}
		total := 0
		for j := range h.deltas[i:] {
			total += h.deltas[i+j].size()
		}
		if total > z.size() {
			return nil
		}
		return h.deltas[i:]
	}
	return nil
}

// grown returns the history with one more version. What doesn't follow on it, or is too much,
// begins a new one.
func (h *history) grown(before, after *Zone) *history {
	if !newer(after.Serial(), before.Serial()) {
		return nil // the same number for another content, or one that went back
	}
	d := delta{from: before.soa(), to: after.soa()}
	for rr, gone := range differences(before, after) {
		if gone {
			d.gone = append(d.gone, rr)
		} else {
			d.come = append(d.come, rr)
		}
		if d.size() > maxChanges {
			return nil
		}
	}
	var all []delta
	if h != nil && len(h.deltas) > 0 && h.deltas[len(h.deltas)-1].to == before.soa() {
		all = append(all, h.deltas...)
	}
	all = append(all, d)
	total := 0
	for i := range all {
		total += all[i].size()
	}
	for len(all) > maxVersions || total > maxChanges {
		total -= all[0].size()
		all = all[1:]
	}
	return &history{deltas: all}
}

// steps lists records in the order of IXFR (RFC 1995 §4).
func steps(soa *dns.SOA, deltas []delta) iter.Seq[dns.RR] {
	return func(yield func(dns.RR) bool) {
		if !yield(soa) {
			return
		}
		for i := range deltas {
			d := &deltas[i]
			if !each(yield, d.from, d.gone) || !each(yield, d.to, d.come) {
				return
			}
		}
		yield(soa)
	}
}

func each(yield func(dns.RR) bool, soa *dns.SOA, rrs []dns.RR) bool {
	if !yield(soa) {
		return false
	}
	for _, rr := range rrs {
		if !yield(rr) {
			return false
		}
	}
	return true
}

// history returns what is known of a zone's changes; nil when nothing is.
func (e *exchanger) history(zone string) *history {
	if all := e.histories.Load(); all != nil {
		return (*all)[zone]
	}
	return nil
}

// remember notes what zones change, before they are served: queries don't wait for it, and what
// is sent meanwhile is whole zones. Only zones that somebody may transfer are compared.
func (s *Server) remember(before, after []*Zone) {
	x := s.exchangeRules()
	next := make(map[string]*history)
	if all := s.peers.histories.Load(); all != nil {
		maps.Copy(next, *all)
	}
	served := make(map[string]*Zone, len(before))
	for _, z := range before {
		served[z.name] = z
	}
	kept := make(map[string]*history, len(after))
	for _, z := range after {
		old := served[z.name]
		switch {
		case !x.Zones[z.name].sends(), old == nil, old.absent, z.absent:
		case old.soa() == z.soa():
			kept[z.name] = next[z.name] // the same version
		case old.Serial() == z.Serial() && same(old, z):
			kept[z.name] = next[z.name].moved(z)
		default:
			kept[z.name] = next[z.name].grown(old, z)
		}
	}
	s.peers.histories.Store(&kept)
}

// moved returns the history for a zone that was built anew with the same content.
func (h *history) moved(z *Zone) *history {
	if h == nil || len(h.deltas) == 0 {
		return nil
	}
	all := append([]delta(nil), h.deltas...)
	all[len(all)-1].to = z.soa()
	return &history{deltas: all}
}
