package dnssec

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"time"

	"github.com/miekg/dns"
)

// Config is what a Signer needs.
type Config struct {
	// Zone is the zone's canonical name.
	Zone   string
	Policy Policy
	// Folder holds a folder of keys for each zone. Keys are made there when the zone has none;
	// the files of private keys must have mode 0600.
	Folder string
	// Publishes says that servers without keys take the signatures over: see Publication.
	Publishes bool
	// Parent returns the zone's DS records as the parent has them, empty when it has none; nil:
	// they can't be seen, and the KSK or CSK is never replaced.
	Parent func(ctx context.Context, zone string) ([]*dns.DS, error)
	Now    func() time.Time // nil: time.Now
	Logger *slog.Logger     // nil: nothing is logged
	// Metrics may be shared by the signers of all zones; nil: nothing is counted.
	Metrics *Metrics
}

// Signer signs one zone. Its methods are safe for concurrent use, but wait for each other.
type Signer struct {
	cfg    Config
	log    *slog.Logger
	folder folder

	mu      sync.Mutex // guards the fields below, also over the files of keys
	state   State
	keys    map[uint16]*pair
	cache   map[signKey]made
	rounds  uint64
	zoneTTL time.Duration         // the longest that was ever signed
	watch   watch                 // over the first end
	head    Head                  // of what was signed or published last
	prior   map[signKey]Signature // what may be taken over
	unsaved bool                  // the file of the state holds another one, or there is none
	failing failing               // writes of keys
}

// New opens a zone's keys, and makes them if there are none. It writes only what has changed; with
// keys that were read the zone is signed also where the disk takes no writes.
func New(cfg Config) (*Signer, error) {
	var err error
	if cfg.Policy, err = cfg.Policy.complete(); err != nil {
		return nil, fmt.Errorf("signing zone %s: %w", cfg.Zone, err)
	}
	if cfg.Policy.KeyLifetime > 0 && cfg.Parent == nil {
		return nil, fmt.Errorf("signing zone %s: replacing the key that the parent names needs "+
			"a way to see the parent's DS records", cfg.Zone)
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	s := &Signer{cfg: cfg, log: cfg.Logger.With("zone", cfg.Zone),
		cache: make(map[signKey]made)}
	s.watch = watch{zone: cfg.Zone, refresh: cfg.Policy.Refresh, log: s.log, metrics: cfg.Metrics}
	if s.folder, err = openFolder(cfg.Folder, cfg.Zone); err != nil {
		return nil, err
	}
	found, err := s.folder.load(cfg.Now())
	if err != nil {
		return nil, err
	}
	s.state, s.keys, s.unsaved = found.state, found.keys, !found.saved
	if err := s.fits(); err != nil {
		return nil, err
	}
	if found.broken != nil {
		s.folder.setAside(cfg.Now(), found.broken, s.log)
	}
	if len(s.state.Keys) > 0 {
		s.failing.tell(s.saved(), cfg.Now(), s.log)
		return s, nil // steps wait for the zone's TTLs
	}
	_, err = s.step(nil)
	return s, err
}

// fits refuses keys that the policy does not speak of: turning one kind of keys into another
// takes steps that are not automated.
func (s *Signer) fits() error {
	for _, k := range s.state.Keys {
		if !slices.Contains(roles(s.cfg.Policy.Split), k.Role) {
			return fmt.Errorf("zone %s has a %s in %s, which the policy has no use for: a change "+
				"of keys' roles is not automated", s.cfg.Zone, k.Role, s.folder.dir)
		}
		p := s.keys[k.Tag]
		if p != nil && p.public.Algorithm != s.cfg.Policy.Algorithm.number() {
			return fmt.Errorf("zone %s has keys of algorithm %s in %s, not %s: a change of "+
				"algorithm is not automated", s.cfg.Zone,
				dns.AlgorithmToString[p.public.Algorithm], s.folder.dir, s.cfg.Policy.Algorithm)
		}
	}
	return nil
}

// Policy returns the policy with its defaults filled in.
func (s *Signer) Policy() Policy { return s.cfg.Policy }

// State returns the zone's keys.
func (s *Signer) State() State {
	s.mu.Lock()
	defer s.mu.Unlock()
	return State{Keys: slices.Clone(s.state.Keys)}
}

// DS returns the record that the parent shall have, with a SHA-256 digest.
func (s *Signer) DS() (*dns.DS, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	k, ok := s.state.entry()
	if !ok {
		return nil, fmt.Errorf("zone %s: %w", s.cfg.Zone, errNoKey)
	}
	return s.keys[k.Tag].public.ToDS(dns.SHA256), nil
}

// Advance takes the keys' next step if it is time, and reports whether any changed: then the
// zone must be signed again. It asks for the parent's DS records when they matter. A step that
// can't be written down is not taken: that is logged, at first and then each hour, and is no error.
func (s *Signer) Advance(ctx context.Context) (changed bool, err error) {
	delegated, err := s.delegated(ctx)
	if err != nil {
		s.cfg.Metrics.failed(s.cfg.Zone)
		s.log.Warn("parent not asked for its ds records", "err", err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.watch.again(s.cfg.Now())
	if err = s.saved(); err == nil {
		changed, err = s.step(delegated)
	}
	if err == nil || errors.Is(err, errUnwritten) {
		s.failing.tell(err, s.cfg.Now(), s.log)
		err = nil
	}
	return changed, err
}

// delegated returns the tags of those of our keys that the parent names. It asks only when a
// step waits for that.
func (s *Signer) delegated(ctx context.Context) ([]uint16, error) {
	s.mu.Lock()
	waits := s.state.find(CSK, Ready, Retired) != nil || s.state.find(KSK, Ready, Retired) != nil
	s.mu.Unlock()
	if !waits || s.cfg.Parent == nil {
		return nil, nil
	}
	records, err := s.cfg.Parent(ctx, s.cfg.Zone)
	if err != nil {
		return nil, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	var tags []uint16
	for _, ds := range records {
		p := s.keys[ds.KeyTag]
		if p == nil || slices.Contains(tags, p.tag) {
			continue
		}
		if own := p.public.ToDS(ds.DigestType); own != nil && sameDS(own, ds) {
			tags = append(tags, p.tag)
		}
	}
	return tags, nil
}

// step moves the state on, makes the keys that it wants and keeps it in its file. The file is
// written before a key is used, and before one is removed. The caller holds s.mu, or is New.
func (s *Signer) step(delegated []uint16) (bool, error) {
	now := s.cfg.Now()
	p := s.cfg.Policy
	next := Next(s.state, Facts{
		Now: now, Split: p.Split, KeyLifetime: p.KeyLifetime, ZoneKeyLifetime: p.ZoneKeyLifetime,
		KeyTTL: keyTTL, ZoneTTL: max(s.zoneTTL, keyTTL), ParentTTL: p.ParentTTL,
		Propagation: p.Propagation, Delegated: delegated,
	})
	keys := make(map[uint16]*pair, len(s.keys))
	for tag, pair := range s.keys {
		keys[tag] = pair
	}
	for {
		i := slices.IndexFunc(next.Keys, func(k Key) bool { return k.Phase == Wanted })
		if i < 0 {
			break
		}
		made, err := s.folder.make(next.Keys[i].Role, p.Algorithm, keys)
		if err != nil {
			s.cfg.Metrics.failed(s.cfg.Zone)
			s.discard(keys)
			return false, err
		}
		keys[made.tag] = made
		next = Made(next, made.tag, now)
	}
	if slices.Equal(next.Keys, s.state.Keys) {
		return false, nil
	}
	if err := s.folder.save(next); err != nil {
		s.cfg.Metrics.failed(s.cfg.Zone)
		if !s.folder.names(next) { // a rename may have gone through before the failure
			s.discard(keys)
		}
		return false, err
	}
	s.changed(next)
	s.state, s.keys = next, keys
	return true, s.tidy()
}

// changed logs the steps from the current state to the next.
func (s *Signer) changed(next State) {
	for _, k := range next.Keys {
		if !slices.Contains(s.state.Keys, k) {
			s.log.Info("key stepped on", "key_tag", k.Tag, "role", string(k.Role),
				"state", string(k.Phase))
		}
	}
}

// tidy removes the keys that the state no longer has.
func (s *Signer) tidy() error {
	var errs []error
	for tag, p := range s.keys {
		if slices.ContainsFunc(s.state.Keys, func(k Key) bool { return k.Tag == tag }) {
			continue
		}
		delete(s.keys, tag)
		if err := s.folder.remove(p); err != nil {
			errs = append(errs, fmt.Errorf("removing key %d: %w", tag, err))
			continue
		}
		s.log.Info("key removed", "key_tag", tag)
	}
	return errors.Join(errs...)
}

// using returns the keys that a predicate takes.
func (s *Signer) using(takes func(Key) bool) []*pair {
	var out []*pair
	for _, k := range s.state.Keys {
		if takes(k) {
			out = append(out, s.keys[k.Tag])
		}
	}
	return out
}

// Forget removes the zone's series: it is signed no more.
func (s *Signer) Forget() { s.cfg.Metrics.forget(s.cfg.Zone) }
