package dnssec

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/miekg/dns"
)

// ErrUnpublished says that a zone has answers for which no signature was published yet.
var ErrUnpublished = errors.New("its signatures are not published yet")

// errBogus says that a publication has a signature that doesn't hold.
var errBogus = errors.New("a signature doesn't hold")

// FollowerConfig is what a Follower needs.
type FollowerConfig struct {
	// Zone is the zone's canonical name.
	Zone string
	// Refresh is how long before their end the signer replaces signatures; see Policy.
	Refresh time.Duration
	// Parent is that of Config. It is asked when the keys in a publication are all new; nil:
	// such keys are not trusted.
	Parent  func(ctx context.Context, zone string) ([]*dns.DS, error)
	Now     func() time.Time // nil: time.Now
	Logger  *slog.Logger     // nil: nothing is logged
	Metrics *Metrics         // may be nil
}

// Follower serves one zone by the signatures that another node has made and published. It has
// no keys. Its methods are safe for concurrent use, but wait for each other.
type Follower struct {
	cfg FollowerConfig
	log *slog.Logger

	mu   sync.Mutex // guards all below
	next *taken     // taken last; nil: current, or refused
	cur  *taken     // what serves; nil: nothing yet
	used proven     // by what serves
	// anyKeys is true when the next publication may bring keys that nobody knows.
	anyKeys bool
	watch   watch
}

// proven are signatures that were verified, by the public halves of keys.
type proven struct {
	keys map[uint16]string
	sigs map[signKey]*dns.RRSIG
}

// taken is a publication whose keys have been checked.
type taken struct {
	head       Head
	own        [][]dns.RR
	zone, keys []*pair // without private halves
	sigs       map[signKey]Signature
	trusted    bool
}

// NewFollower makes a Follower that has nothing to serve yet.
func NewFollower(cfg FollowerConfig) *Follower {
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	f := &Follower{cfg: cfg, log: cfg.Logger.With("zone", cfg.Zone)}
	f.watch = watch{zone: cfg.Zone, refresh: cfg.Refresh, log: f.log, metrics: cfg.Metrics}
	return f
}

// Take takes a publication in, which the next Sign uses if it can. The keys must sign
// themselves, and one that signs keys must be known from the publication before; else the
// parent is asked, if it can be. A trusted one, such as this node's own copy of what it has
// served, may bring any keys, and only the signatures that matter most are verified again.
func (f *Follower) Take(ctx context.Context, p Publication, trusted bool) error {
	t, err := f.read(p)
	if err != nil {
		return fmt.Errorf("reading what was published of %s: %w", f.cfg.Zone, err)
	}
	t.trusted = trusted
	f.mu.Lock()
	known, any := f.cur, f.anyKeys
	f.mu.Unlock()
	if !trusted && !any && known != nil && !t.continues(known) {
		if err := f.vouched(ctx, t); err != nil {
			return fmt.Errorf("trusting new keys of %s: %w", f.cfg.Zone, err)
		}
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.next, f.anyKeys = t, false
	return nil
}

// read checks that a publication is one of the zone, with keys that sign themselves.
func (f *Follower) read(p Publication) (*taken, error) {
	if p.Zone != f.cfg.Zone {
		return nil, fmt.Errorf("it is of zone %q", p.Zone)
	}
	t := &taken{head: p.Head, sigs: make(map[signKey]Signature, len(p.Signatures))}
	for _, sig := range p.Signatures {
		t.sigs[sig.key()] = sig
	}
	var err error
	if t.own, err = p.sets(); err != nil {
		return nil, err
	}
	if t.zone, err = t.named(p.ZoneKeys); err != nil {
		return nil, err
	}
	if t.keys, err = t.named(p.KeyKeys); err != nil {
		return nil, err
	}
	j := job{rrs: t.own[0], keys: t.keys}
	return t, t.find(&j, &digester{}, proven{}, true)
}

// named returns the published keys with some tags.
func (t *taken) named(tags []uint16) ([]*pair, error) {
	if len(tags) == 0 {
		return nil, errNoKey
	}
	var out []*pair
	for _, tag := range tags {
		i := slices.IndexFunc(t.own[0], func(rr dns.RR) bool {
			k, ok := rr.(*dns.DNSKEY)
			return ok && k.KeyTag() == tag
		})
		if i < 0 {
			return nil, fmt.Errorf("key %d signs, and is not shown", tag)
		}
		out = append(out, &pair{public: t.own[0][i].(*dns.DNSKEY), tag: tag})
	}
	return out, nil
}

// continues reports whether one of the keys that sign keys was shown by an earlier publication.
func (t *taken) continues(before *taken) bool {
	return slices.ContainsFunc(t.keys, func(p *pair) bool {
		return slices.ContainsFunc(before.own[0], func(rr dns.RR) bool {
			return dns.IsDuplicate(rr, p.public)
		})
	})
}

// vouched reports an error unless the parent names one of the keys that sign keys.
func (f *Follower) vouched(ctx context.Context, t *taken) error {
	if f.cfg.Parent == nil {
		return errors.New("none was known before, and there is no parent to ask")
	}
	records, err := f.cfg.Parent(ctx, f.cfg.Zone)
	if err != nil {
		return err
	}
	for _, p := range t.keys {
		for _, ds := range records {
			if own := p.public.ToDS(ds.DigestType); own != nil && sameDS(own, ds) {
				return nil
			}
		}
	}
	return errors.New("none was known before, and the parent names none of them")
}

// Forgo forgets which keys are known, so that the next publication may bring any: for a node
// that was away for so long that it may have missed all of a key's successors.
func (f *Follower) Forgo() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.anyKeys = true
}

// Sign finds the published signatures of a zone. Those that don't verify refuse the whole
// publication; then, and when some are missing from it, the one before serves on if it has all.
func (f *Follower) Sign(ctx context.Context, z *Zone) (*Signed, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.next == nil && f.cur == nil {
		f.cfg.Metrics.missing(f.cfg.Zone, 1)
		return nil, fmt.Errorf("zone %s: %w", f.cfg.Zone, ErrUnpublished)
	}
	var failed error
	for _, t := range []*taken{f.next, f.cur} {
		if t == nil {
			continue
		}
		out, missing, err := f.serve(ctx, z, t)
		if failed == nil {
			f.cfg.Metrics.missing(f.cfg.Zone, missing)
		}
		if err == nil {
			f.adopt(t)
			f.watch.look(out.expires, f.cfg.Now())
			return out, nil
		}
		if failed == nil {
			failed = err
		}
		if errors.Is(err, errBogus) && t == f.next {
			f.next = nil
			f.cfg.Metrics.refused(f.cfg.Zone)
			f.log.Error("publication refused, the one before serves on", "err", err)
		}
	}
	return nil, failed
}

// adopt notes which publication serves.
func (f *Follower) adopt(t *taken) {
	if t != f.next {
		return
	}
	f.cur, f.next = t, nil
	f.log.Debug("publication in use", "serial", t.head.Serial)
}

// serve finds the signatures of a zone in one publication, and how many sets have none there.
func (f *Follower) serve(ctx context.Context, z *Zone, t *taken) (*Signed, int, error) {
	fr := newFrame(z.numbered(t.head.Serial), t.own, t.head.NSEC3, t.zone, t.keys)
	var missing atomic.Int64
	err := inParallel(ctx, fr.jobs, func(j *job, d *digester) error {
		err := t.find(j, d, f.used, !t.trusted || j.vital)
		if errors.Is(err, ErrUnpublished) {
			missing.Add(1)
			return nil
		}
		return err
	})
	if err != nil {
		return nil, int(missing.Load()), fmt.Errorf("zone %s: %w", f.cfg.Zone, err)
	}
	if n := missing.Load(); n > 0 {
		return nil, int(n), fmt.Errorf("zone %s: %w: %d of %d sets lack them", f.cfg.Zone,
			ErrUnpublished, n, len(fr.jobs))
	}
	f.used = prove(t, fr.jobs)
	return fr.finish(0), 0, nil
}

// prove lists the signatures of jobs that are done.
func prove(t *taken, jobs []job) proven {
	out := proven{make(map[uint16]string), make(map[signKey]*dns.RRSIG, len(jobs))}
	for _, p := range slices.Concat(t.zone, t.keys) {
		out.keys[p.tag] = p.public.PublicKey
	}
	for i := range jobs {
		for _, d := range jobs[i].done {
			out.sigs[d.key] = d.sig
		}
	}
	return out
}

// reuse returns a signature that was verified before; nil when it is another one.
func (o proven) reuse(key signKey, p *pair, sig *dns.RRSIG) *dns.RRSIG {
	old := o.sigs[key]
	if old == nil || o.keys[p.tag] != p.public.PublicKey || old.Signature != sig.Signature ||
		old.Inception != sig.Inception || old.Expiration != sig.Expiration {
		return nil
	}
	return old
}

// find finds the signatures of one set by each of its keys. What was verified before isn't again.
func (t *taken) find(j *job, d *digester, before proven, verify bool) error {
	content, err := d.digest(j.rrs)
	if err != nil {
		return err
	}
	for _, p := range j.keys {
		key := signKey{content, p.tag}
		compact, ok := t.sigs[key]
		if !ok {
			return ErrUnpublished
		}
		sig := compact.record(j.rrs, p.public)
		if old := before.reuse(key, p, sig); old != nil {
			sig = old
		} else if verify {
			if err := sig.Verify(p.public, j.rrs); err != nil {
				h := j.rrs[0].Header()
				return fmt.Errorf("%w: %s %s by key %d: %w", errBogus, h.Name, dns.Type(h.Rrtype),
					p.tag, err)
			}
		}
		j.done = append(j.done, result{key: key, sig: sig})
	}
	return nil
}

// Advance looks whether signatures come to their end. It has no keys to step on.
func (f *Follower) Advance(context.Context) (bool, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.watch.again(f.cfg.Now())
	return false, nil
}

// Serving returns the head of the publication that serves, and when its first signature ends;
// false when there is none.
func (f *Follower) Serving() (Head, time.Time, bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.cur == nil {
		return Head{}, time.Time{}, false
	}
	return f.cur.head, f.watch.expires, true
}

// Forget removes the zone's series.
func (f *Follower) Forget() { f.cfg.Metrics.forget(f.cfg.Zone) }
