package dnssec_test

import (
	"context"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/miekg/dns"

	"pointsman/steering/dnssec"
)

// moment is what the zone's servers and its parent's said at a time.
type moment struct {
	keys, www, soa []dns.RR // sets with their signatures
	ds             []*dns.DS
}

// world is a zone that changes its keys, its parent, and all resolvers there can be.
type world struct {
	t       *testing.T
	clock   *clock
	signer  *dnssec.Signer
	ds      []*dns.DS
	moments []moment // one for each hour
	checked map[string]bool
}

// verifies reports whether a signature holds, and remembers.
func (w *world) verifies(sig *dns.RRSIG, k *dns.DNSKEY, rrs []dns.RR) bool {
	if now := uint32(w.clock.now.Unix()); now < sig.Inception || now > sig.Expiration {
		return false
	}
	id := sig.Signature + k.PublicKey + fmt.Sprint(len(rrs))
	ok, known := w.checked[id]
	if !known {
		ok = sig.Verify(k, rrs) == nil
		w.checked[id] = ok
	}
	return ok
}

// split parts a set from its signatures.
func split(rrs []dns.RR) (set []dns.RR, sigs []*dns.RRSIG) {
	for _, r := range rrs {
		if s, ok := r.(*dns.RRSIG); ok {
			sigs = append(sigs, s)
		} else {
			set = append(set, r)
		}
	}
	return set, sigs
}

// holds reports whether a set is signed by one of the keys that may.
func (w *world) holds(rrs []dns.RR, keys []dns.RR, may func(*dns.DNSKEY) bool) bool {
	set, sigs := split(rrs)
	for _, sig := range sigs {
		for _, r := range keys {
			if k, ok := r.(*dns.DNSKEY); ok && k.KeyTag() == sig.KeyTag && may(k) && w.verifies(sig, k, set) {
				return true
			}
		}
	}
	return false
}

// named returns whether a parent names a key.
func named(ds []*dns.DS) func(*dns.DNSKEY) bool {
	return func(k *dns.DNSKEY) bool {
		return slices.ContainsFunc(ds, func(d *dns.DS) bool {
			own := k.ToDS(d.DigestType)
			return own != nil && own.Digest == d.Digest
		})
	}
}

// secure reports whether a resolver that has kept these finds the answer secure.
func (w *world) secure(answer, keys []dns.RR, ds []*dns.DS) bool {
	return w.holds(keys, keys, named(ds)) && w.holds(answer, keys, func(*dns.DNSKEY) bool { return true })
}

// tick lets an hour pass: the zone steps on, and the parent looks for CDS every sixth.
func (w *world) tick() {
	w.t.Helper()
	if _, err := w.signer.Advance(context.Background()); err != nil {
		w.t.Fatal(err)
	}
	signed := sign(w.t, w.signer, zone(w.t))
	m := moment{}
	for _, set := range signed.Own() {
		rtype := set[0].Header().Rrtype
		with := append(slices.Clone(set), signed.Signatures("example.test.", "", rtype)...)
		switch rtype {
		case dns.TypeDNSKEY:
			m.keys = with
		case dns.TypeCDS:
			if len(w.moments)%6 == 5 && w.holds(with, m.keys, named(w.ds)) { // RFC 7344 §4.1
				w.ds = []*dns.DS{&set[0].(*dns.CDS).DS}
			}
		}
	}
	z := zone(w.t)
	m.www = append(slices.Clone(z.Names[1].Sets[0]), signed.Signatures("www.example.test.", "", dns.TypeA)...)
	m.soa = append(slices.Clone(z.Names[0].Sets[0]), signed.Signatures("example.test.", "", dns.TypeSOA)...)
	m.ds = w.ds
	w.moments = append(w.moments, m)
}

// ago is the moment some hours ago.
func (w *world) ago(hours int) moment { return w.moments[max(0, len(w.moments)-1-hours)] }

// Through every step of every kind of key, each resolver, whatever it has kept for however much
// of its TTL and from whichever server, old or new, can build the chain from the parent's DS to
// the answer.
func TestNoResolverLosesTheChainWhileKeysAreReplaced(t *testing.T) {
	for about, policy := range map[string]dnssec.Policy{
		"one key":           {KeyLifetime: 12 * day},
		"two keys":          {Split: true, KeyLifetime: 12 * day, ZoneKeyLifetime: 7 * day},
		"two keys by NSEC3": {Split: true, NSEC3: true, KeyLifetime: 15 * day, ZoneKeyLifetime: 10 * day},
	} {
		t.Run(about, func(t *testing.T) {
			w := &world{t: t, clock: &clock{day0}, checked: make(map[string]bool)}
			w.signer = newSigner(t, w.clock, func(cfg *dnssec.Config) {
				cfg.Policy = policy
				cfg.Parent = func(context.Context, string) ([]*dns.DS, error) { return w.ds, nil }
			})
			ds, err := w.signer.DS()
			if err != nil {
				t.Fatal(err)
			}
			w.ds = []*dns.DS{ds}
			seen := make(map[uint16]bool)
			for w.clock.now.Before(day0.Add(45 * day)) {
				w.tick()
				for _, k := range w.signer.State().Keys {
					seen[k.Tag] = true
				}
				// Keys and answers for an hour of TTL and one of propagation, DS for a day and one.
				for _, keys := range []int{0, 1, 2} {
					for _, answer := range []int{0, 1, 2} {
						for _, parent := range []int{0, 1, 12, 25} {
							k, p := w.ago(keys).keys, w.ago(parent).ds
							if !w.secure(w.ago(answer).www, k, p) || !w.secure(w.ago(answer).soa, k, p) {
								t.Fatalf("after %v: bogus with keys of %d hours ago, answers of %d, DS of %d\n%v",
									w.clock.now.Sub(day0), keys, answer, parent, w.signer.State())
							}
						}
					}
				}
				w.clock.now = w.clock.now.Add(time.Hour)
			}
			want := 4 // one key, replaced about every 12 days
			if policy.Split {
				want = 8
			}
			if len(seen) < want {
				t.Errorf("%d keys in 45 days, want at least %d", len(seen), want)
			}
			if w.ds[0].KeyTag == ds.KeyTag {
				t.Error("the parent was never led to another key")
			}
			if last := w.signer.State(); len(last.Keys) > 4 {
				t.Errorf("old keys stay: %v", last)
			}
		})
	}
}

func TestWithdrawingAsksTheParentToForgetTheZone(t *testing.T) {
	s := newSigner(t, &clock{day0}, func(cfg *dnssec.Config) { cfg.Policy.Withdraw = true })
	signed := sign(t, s, zone(t))
	var got []string
	for _, set := range signed.Own() {
		if set[0].Header().Rrtype != dns.TypeDNSKEY {
			got = append(got, set[0].String())
		}
		if len(signed.Signatures("example.test.", "", set[0].Header().Rrtype)) == 0 {
			t.Errorf("not signed: %v", set)
		}
	}
	want := []string{"example.test.\t3600\tIN\tCDS\t0 0 0 00", "example.test.\t3600\tIN\tCDNSKEY\t0 3 0 AA=="}
	if !slices.Equal(got, want) {
		t.Errorf("%q, want %q (RFC 8078 §4)", got, want)
	}
}
