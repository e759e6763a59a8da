package dnssec

import (
	"time"

	"github.com/miekg/dns"
)

// frame is a zone with all that its signatures belong to.
type frame struct {
	apex   string
	own    [][]dns.RR
	soa    *dns.SOA
	chain  *chain
	jobs   []job   // those at places first, then the chain's in its order
	places []place // of the first jobs
}

// newFrame lists all sets of a zone that are signed: by the keys of the zone, or by those that
// sign the sets of keys.
func newFrame(z *Zone, own [][]dns.RR, nsec3 bool, zone, keys []*pair) *frame {
	names := withOwn(z, own)
	f := &frame{apex: z.Apex, own: own, soa: z.SOA, chain: newChain(z, names, nsec3)}
	add := func(n *Name, variant string, sets [][]dns.RR) {
		for _, set := range sets {
			if !n.signed(set) {
				continue
			}
			rtype := set[0].Header().Rrtype
			by := zone
			switch rtype { // RFC 7344 §4.1: by a key that the parent names
			case dns.TypeDNSKEY, dns.TypeCDS, dns.TypeCDNSKEY:
				by = keys
			}
			f.jobs = append(f.jobs, job{rrs: set, keys: by,
				vital: variant != "" || n.Owner == z.Apex})
			f.places = append(f.places, place{n.Owner, variant, rtype})
		}
	}
	for i := range names {
		add(&names[i], "", names[i].Sets)
		for _, v := range names[i].Variants {
			add(&names[i], v.Name, v.Sets)
		}
	}
	f.chain.each(func(p *proof) { f.jobs = append(f.jobs, job{rrs: *p, keys: zone}) })
	return f
}

// finish makes what is served, when all jobs are done. Signatures are to be replaced some time
// before they end.
func (f *frame) finish(refresh time.Duration) *Signed {
	out := &Signed{apex: f.apex, own: f.own, soa: f.soa, chain: f.chain,
		sigs: make(map[place][]dns.RR, len(f.places))}
	for i, at := range f.places {
		out.sigs[at] = signatures(&f.jobs[i])
	}
	f.chain.attach(f.jobs[len(f.places):])
	for i := range f.jobs {
		for _, d := range f.jobs[i].done {
			if end := ends(d.sig); out.expires.IsZero() || end.Before(out.expires) {
				out.expires = end
			}
		}
	}
	out.refresh = out.expires.Add(-refresh)
	return out
}

func signatures(j *job) []dns.RR {
	out := make([]dns.RR, len(j.done))
	for i, d := range j.done {
		out[i] = d.sig
	}
	return out
}
