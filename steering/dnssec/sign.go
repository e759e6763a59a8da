package dnssec

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"runtime"
	"slices"
	"time"

	"github.com/miekg/dns"
	"golang.org/x/sync/errgroup"
)

// signKey names a signature: who made it, over what. Equal content has equal signatures.
type signKey struct {
	content [sha256.Size]byte // of the set in wire form, with owner, type and TTL
	tag     uint16
}

// made is a signature that was made, and the last round in which it was of use.
type made struct {
	sig   *dns.RRSIG
	round uint64
}

// job is one set to sign, and where its signatures go.
type job struct {
	rrs  []dns.RR
	keys []*pair
	done []result
	// vital is true for the answers of steered names and the sets at the apex.
	vital bool
}

type result struct {
	key signKey
	sig *dns.RRSIG
	new bool
	err error // of a replacement; sig is the one to be replaced then
}

// round makes signatures once for a whole zone. It only reads the cache and what is prior.
type round struct {
	zone   string
	policy Policy
	now    time.Time
	cache  map[signKey]made
	prior  map[signKey]Signature // published before; they serve where the cache has none
}

// run signs all jobs, on all cores. A signature that can't be replaced serves on until its
// end; the error is for sets that have none.
func (r *round) run(ctx context.Context, jobs []job) error {
	return inParallel(ctx, jobs, r.sign)
}

// inParallel does something with all jobs, on all cores, up to the first error.
func inParallel(ctx context.Context, jobs []job, do func(*job, *digester) error) error {
	g, ctx := errgroup.WithContext(ctx)
	workers := runtime.GOMAXPROCS(0)
	size := (len(jobs) + workers - 1) / workers
	for part := range slices.Chunk(jobs, max(size, 1)) {
		g.Go(func() error {
			var d digester
			for i := range part {
				if err := ctx.Err(); err != nil {
					return err
				}
				if err := do(&part[i], &d); err != nil {
					return err
				}
			}
			return nil
		})
	}
	return g.Wait()
}

func (r *round) sign(j *job, d *digester) error {
	content, err := d.digest(j.rrs)
	if err != nil {
		return r.about(j, err)
	}
	for _, p := range j.keys {
		key := signKey{content, p.tag}
		old := r.cache[key].sig
		if old == nil {
			old = r.published(key, j.rrs, p)
		}
		if old != nil && !r.due(old) {
			j.done = append(j.done, result{key: key, sig: old})
			continue
		}
		sig, err := r.make(j.rrs, p, content)
		switch {
		case err == nil:
			j.done = append(j.done, result{key: key, sig: sig, new: true})
		case old != nil && r.now.Before(ends(old)):
			j.done = append(j.done, result{key: key, sig: old, err: r.about(j, err)})
		default:
			return r.about(j, err)
		}
	}
	return nil
}

// published returns a set's signature as it was published before; nil when it was not, or when
// it is wrong.
func (r *round) published(key signKey, rrs []dns.RR, p *pair) *dns.RRSIG {
	compact, ok := r.prior[key]
	if !ok {
		return nil
	}
	if sig := compact.record(rrs, p.public); sig.Verify(p.public, rrs) == nil {
		return sig
	}
	return nil
}

func (r *round) about(j *job, err error) error {
	h := j.rrs[0].Header()
	return fmt.Errorf("signing %s %s: %w", h.Name, dns.Type(h.Rrtype), err)
}

// due reports whether a signature shall be replaced now. What is due soon goes along, so that
// rounds are few.
func (r *round) due(sig *dns.RRSIG) bool {
	return !r.now.Before(r.policy.refreshAt(sig).Add(-r.policy.slack()))
}

// refreshAt is when a signature shall be replaced.
func (p Policy) refreshAt(sig *dns.RRSIG) time.Time { return ends(sig).Add(-p.Refresh) }

// ends is when a signature ends. Its 32 bits are meant as the nearest such time
// (RFC 4034 §3.1.5), which is unique until 2106.
func ends(sig *dns.RRSIG) time.Time { return time.Unix(int64(sig.Expiration), 0) }

// make makes a signature. How much sooner than the policy says it ends comes from the set, so
// that the ends of a zone's signatures spread.
func (r *round) make(rrs []dns.RR, p *pair, content [sha256.Size]byte) (*dns.RRSIG, error) {
	end := r.now.Add(r.policy.Validity)
	if jitter := uint64(r.policy.jitter() / time.Second); jitter > 0 {
		early := binary.BigEndian.Uint64(content[:]) % jitter
		end = end.Add(-time.Duration(early) * time.Second)
	}
	sig := &dns.RRSIG{
		Hdr:        dns.RR_Header{Ttl: rrs[0].Header().Ttl},
		Algorithm:  p.public.Algorithm,
		Expiration: uint32(end.Unix()),
		Inception:  uint32(r.now.Add(-inceptionLead).Unix()),
		KeyTag:     p.tag,
		SignerName: r.zone,
	}
	if err := sig.Sign(p.private, rrs); err != nil {
		return nil, err
	}
	return sig, nil
}

// digester identifies sets by their content. It belongs to one goroutine.
type digester struct {
	buf   []byte
	wires [][]byte
}

// digest identifies a set by its content, in whatever order its records stand.
func (d *digester) digest(rrs []dns.RR) ([sha256.Size]byte, error) {
	d.buf, d.wires = d.buf[:0], d.wires[:0]
	for _, rr := range rrs {
		start := len(d.buf)
		need := dns.Len(rr)
		d.buf = slices.Grow(d.buf, need)[:start+need]
		// PackRR writes the length of the data into the record it packs, and this one is being
		// served: a copy of it is packed.
		n, err := dns.PackRR(dns.Copy(rr), d.buf[start:], 0, nil, false)
		if err != nil {
			return [sha256.Size]byte{}, err
		}
		d.buf = d.buf[:start+n]
		d.wires = append(d.wires, d.buf[start:start+n:start+n])
	}
	if len(rrs) == 1 {
		return sha256.Sum256(d.buf), nil
	}
	slices.SortFunc(d.wires, slices.Compare[[]byte])
	sum := sha256.New()
	for _, w := range d.wires {
		sum.Write(w) // hash.Hash never returns an error; a record tells its own length
	}
	return [sha256.Size]byte(sum.Sum(nil)), nil
}

// errNoKey says that there is no key to sign a set with.
var errNoKey = errors.New("no key is in use")
