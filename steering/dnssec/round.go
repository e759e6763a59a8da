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
	now := s.cfg.Now()
	if s.cfg.Publishes {
		var err error
		if z, err = s.number(z, now); err != nil {
			return nil, err
		}
	}
	own := s.own()
	f := newFrame(z, own, s.cfg.Policy.NSEC3, s.using(Key.signsZone), s.using(Key.signsKeys))
	r := round{zone: s.cfg.Zone, policy: s.cfg.Policy, now: now, cache: s.cache, prior: s.prior}
	if err := r.run(ctx, f.jobs); err != nil {
		s.cfg.Metrics.failed(s.cfg.Zone)
		return nil, err
	}
	out := f.finish(s.cfg.Policy.Refresh)
	s.keep(f.jobs)
	s.head, s.prior = s.describe(z, own), nil
	s.zoneTTL = max(s.zoneTTL, time.Duration(z.longestTTL())*time.Second)
	s.watch.look(out.expires, now)
	return out, nil
}

// number gives a zone that is to be published its serial.
func (s *Signer) number(z *Zone, now time.Time) (*Zone, error) {
	z, err := z.summed()
	if err != nil {
		return nil, err
	}
	serial := s.head.Serial
	if s.head.Contents != z.contents {
		serial = serialAfter(serial, now)
	}
	return z.numbered(serial), nil
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

// keep takes a round's signatures into the cache, and drops what two rounds had no use for.
func (s *Signer) keep(jobs []job) {
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
		}
	}
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
