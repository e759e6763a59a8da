package dnssec

import (
	"cmp"
	"context"
	"slices"
	"time"

	"github.com/miekg/dns"
)

// Sign signs a zone. What was signed before and need not be replaced is not signed again. When
// a signature can't be replaced the old one serves on as long as it holds; the error is for
// what has none, and then nothing has changed.
func (s *Signer) Sign(ctx context.Context, z *Zone) (*Signed, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	own := s.own()
	names := withOwn(z, own)
	c := newChain(z, names, s.cfg.Policy.NSEC3)
	jobs, places := s.jobs(names, c)
	now := s.cfg.Now()
	r := round{zone: s.cfg.Zone, policy: s.cfg.Policy, now: now, cache: s.cache}
	if err := r.run(ctx, jobs); err != nil {
		s.cfg.Metrics.failed(s.cfg.Zone)
		return nil, err
	}
	out := &Signed{apex: z.Apex, own: own, chain: c, sigs: make(map[place][]dns.RR, len(places))}
	s.keep(jobs, out)
	for i, at := range places {
		out.sigs[at] = signatures(&jobs[i])
	}
	c.attach(jobs[len(places):])
	s.zoneTTL = max(s.zoneTTL, time.Duration(z.longestTTL())*time.Second)
	s.look(out, now)
	return out, nil
}

// own builds the sets that signing adds at the apex.
func (s *Signer) own() [][]dns.RR {
	var sets [][]dns.RR
	hdr := func(rtype uint16) dns.RR_Header {
		return dns.RR_Header{Name: s.cfg.Zone, Rrtype: rtype, Class: dns.ClassINET,
			Ttl: uint32(keyTTL / time.Second)}
	}
	var keys []dns.RR
	for _, k := range s.state.Keys {
		keys = append(keys, s.keys[k.Tag].public)
	}
	sets = append(sets, keys)
	if s.cfg.Policy.NSEC3 {
		sets = append(sets, []dns.RR{&dns.NSEC3PARAM{Hdr: hdr(dns.TypeNSEC3PARAM), Hash: dns.SHA1}})
	}
	if s.cfg.Policy.Withdraw { // RFC 8078 §4
		sets = append(sets,
			[]dns.RR{&dns.CDS{DS: dns.DS{Hdr: hdr(dns.TypeCDS), Digest: "00"}}},
			[]dns.RR{&dns.CDNSKEY{DNSKEY: dns.DNSKEY{Hdr: hdr(dns.TypeCDNSKEY), Protocol: 3,
				PublicKey: "AA=="}}})
	} else if k, ok := s.state.entry(); ok {
		public := s.keys[k.Tag].public
		sets = append(sets, []dns.RR{public.ToDS(dns.SHA256).ToCDS()},
			[]dns.RR{public.ToCDNSKEY()})
	}
	slices.SortFunc(sets, func(a, b []dns.RR) int {
		return cmp.Compare(a[0].Header().Rrtype, b[0].Header().Rrtype)
	})
	return sets
}

// withOwn returns the zone's names with the signer's own sets at the apex.
func withOwn(z *Zone, own [][]dns.RR) []Name {
	names := slices.Clone(z.Names)
	for i := range names {
		if names[i].Owner == z.Apex {
			names[i].Sets = slices.Concat(names[i].Sets, own)
		}
	}
	return names
}

// jobs lists all sets to sign: those at places first, then the chain's in its order.
func (s *Signer) jobs(names []Name, c *chain) ([]job, []place) {
	zone, keys := s.using(Key.signsZone), s.using(Key.signsKeys)
	var jobs []job
	var places []place
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
			jobs = append(jobs, job{rrs: set, keys: by})
			places = append(places, place{n.Owner, variant, rtype})
		}
	}
	for i := range names {
		add(&names[i], "", names[i].Sets)
		for _, v := range names[i].Variants {
			add(&names[i], v.Name, v.Sets)
		}
	}
	c.each(func(p *proof) { jobs = append(jobs, job{rrs: *p, keys: zone}) })
	return jobs, places
}

// keep takes a round's signatures into the cache, drops what two rounds had no use for, and
// finds the first ends.
func (s *Signer) keep(jobs []job, out *Signed) {
	s.rounds++
	fresh, stuck := 0, 0
	var err error
	for i := range jobs {
		for _, d := range jobs[i].done {
			s.cache[d.key] = made{d.sig, s.rounds}
			if d.new {
				fresh++
			}
			if d.err != nil {
				stuck, err = stuck+1, d.err
			}
			if end := ends(d.sig); out.expires.IsZero() || end.Before(out.expires) {
				out.expires = end
			}
		}
	}
	out.refresh = out.expires.Add(-s.cfg.Policy.Refresh)
	for key, m := range s.cache {
		if m.round+1 < s.rounds {
			delete(s.cache, key)
		}
	}
	s.cfg.Metrics.signed(s.cfg.Zone, fresh, stuck)
	if stuck > 0 {
		s.log.Error("signatures not replaced, old ones serve on", "count", stuck, "err", err)
	}
	if fresh > 0 {
		s.log.Info("zone signed", "signatures", fresh)
	}
}

// look sets the gauge of the first end, and warns when it comes near: at half the time that
// there was for replacing it.
func (s *Signer) look(out *Signed, now time.Time) {
	s.cfg.Metrics.expires(s.cfg.Zone, out.expires)
	left := out.expires.Sub(now)
	if left < s.cfg.Policy.Refresh/2 && now.Sub(s.alarmed) >= time.Hour {
		s.alarmed = now
		s.log.Error("signatures come to their end", "expires", out.expires.UTC(), "left", left)
	}
}

func signatures(j *job) []dns.RR {
	out := make([]dns.RR, len(j.done))
	for i, d := range j.done {
		out[i] = d.sig
	}
	return out
}
