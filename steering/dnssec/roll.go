package dnssec

import (
	"slices"
	"time"
)

// Role says what a key signs.
type Role string

// The roles.
const (
	CSK Role = "csk" // everything
	KSK Role = "ksk" // the sets of keys: DNSKEY, CDS, CDNSKEY
	ZSK Role = "zsk" // all the rest
)

// Phase is where a key stands in its life.
type Phase string

// The phases, in their order. A CSK or KSK signs in all but the first; a ZSK only when active.
const (
	Wanted    Phase = "wanted"    // to be made; it has no tag yet
	Published Phase = "published" // its DNSKEY is on its way into caches
	Ready     Phase = "ready"     // CSK and KSK: every cache has it, the parent is asked for it
	Active    Phase = "active"    // in use; the parent names it, or never named another
	Retired   Phase = "retired"   // its successor is in use, caches may still need it
)

// Key is one key of a zone.
type Key struct {
	Tag   uint16    `json:"tag"` // RFC 4034 appendix B; unique within the state; 0 while wanted
	Role  Role      `json:"role"`
	Phase Phase     `json:"phase"`
	Since time.Time `json:"since"` // when the phase began
}

// State is the keys of a zone, oldest first. It is a value: Next returns another one.
type State struct {
	Keys []Key `json:"keys"`
}

// Facts are all that Next looks at besides the state.
type Facts struct {
	Now             time.Time
	Split           bool          // KSK and ZSK instead of CSK
	KeyLifetime     time.Duration // of CSK and KSK; 0: for ever
	ZoneKeyLifetime time.Duration // of ZSK; 0: for ever
	KeyTTL          time.Duration // of the DNSKEY set
	ZoneTTL         time.Duration // the longest TTL of the zone's other sets
	ParentTTL       time.Duration // of the DS set
	Propagation     time.Duration // until every server of the zone has a change
	// Delegated holds the tags of those keys that the parent's DS set names, as just seen; nil
	// when it could not be seen.
	Delegated []uint16
}

// Next returns the state that follows. It is pure, keeps s as it is, and takes at most one step
// for each key: a ZSK is replaced by pre-publication (RFC 6781 §4.1.1.1), a KSK or CSK by double
// signatures (§4.1.2, §4.1.3), which end only when the parent was seen to name the new key.
// With a clock that goes back nothing happens.
func Next(s State, f Facts) State {
	next := State{Keys: slices.Clone(s.Keys)}
	for _, role := range roles(f.Split) {
		next.want(role, f)
	}
	for i := range next.Keys {
		next.advance(i, f)
	}
	next.Keys = slices.DeleteFunc(next.Keys, func(k Key) bool { return next.over(k, f) })
	return next
}

// roles are those that a zone has keys for.
func roles(split bool) []Role {
	if split {
		return []Role{KSK, ZSK}
	}
	return []Role{CSK}
}

// find returns the first key of a role in a phase, or nil.
func (s *State) find(role Role, phases ...Phase) *Key {
	for i := range s.Keys {
		if s.Keys[i].Role == role && slices.Contains(phases, s.Keys[i].Phase) {
			return &s.Keys[i]
		}
	}
	return nil
}

// want asks for a key when the role has none, or when the one in use is so old that its
// successor must be on its way.
func (s *State) want(role Role, f Facts) {
	if s.find(role, Wanted, Published, Ready) != nil {
		return
	}
	lifetime := f.KeyLifetime
	if role == ZSK && f.ZoneKeyLifetime > 0 {
		lifetime = max(f.ZoneKeyLifetime-f.KeyTTL-f.Propagation, 0)
	} else if role == ZSK {
		lifetime = 0
	}
	used := s.find(role, Active)
	due := used == nil || (lifetime > 0 && f.Now.Sub(used.Since) >= lifetime)
	if due && s.find(role, Retired) == nil {
		s.Keys = append(s.Keys, Key{Role: role, Phase: Wanted, Since: f.Now})
	}
}

// Made returns the state in which the first wanted key has its tag. The first key of a role is
// in use at once: nobody has cached another.
func Made(s State, tag uint16, now time.Time) State {
	next := State{Keys: slices.Clone(s.Keys)}
	for i := range next.Keys {
		k := &next.Keys[i]
		if k.Phase != Wanted {
			continue
		}
		first := next.find(k.Role, Active) == nil
		k.Tag, k.Since, k.Phase = tag, now, Published
		if first {
			k.Phase = Active
		}
		break
	}
	return next
}

// advance takes a key's next step if it is time.
func (s *State) advance(i int, f Facts) {
	k := &s.Keys[i]
	age := f.Now.Sub(k.Since)
	switch {
	case k.Phase == Published && k.Role == ZSK:
		used := s.find(ZSK, Active)
		if age >= f.KeyTTL+f.Propagation &&
			(used == nil || f.Now.Sub(used.Since) >= f.ZoneKeyLifetime) {
			s.succeed(k, f.Now)
		}
	case k.Phase == Published:
		hidden := f.KeyTTL
		if k.Role == CSK { // answers that it has not signed are cached too
			hidden = max(hidden, f.ZoneTTL)
		}
		if age >= hidden+f.Propagation {
			k.Phase, k.Since = Ready, f.Now
		}
	case k.Phase == Ready && slices.Contains(f.Delegated, k.Tag):
		s.succeed(k, f.Now)
	}
}

// succeed puts a key in use, and the one in use out of it.
func (s *State) succeed(k *Key, now time.Time) {
	if old := s.find(k.Role, Active); old != nil {
		old.Phase, old.Since = Retired, now
	}
	k.Phase, k.Since = Active, now
}

// over reports whether no cache needs a key any more.
func (s *State) over(k Key, f Facts) bool {
	if k.Phase != Retired {
		return false
	}
	age := f.Now.Sub(k.Since)
	if k.Role == ZSK {
		return age >= f.ZoneTTL+f.Propagation
	}
	// The parent may have turned back since: then the old key is the one that counts.
	used := s.find(k.Role, Active)
	return age >= f.ParentTTL+f.Propagation && used != nil &&
		slices.Contains(f.Delegated, used.Tag)
}

// signsZone reports whether a key signs the zone's sets other than those of keys.
func (k Key) signsZone() bool {
	return k.Role == ZSK && k.Phase == Active || k.Role == CSK && k.Phase != Wanted
}

// signsKeys reports whether a key signs the sets of keys.
func (k Key) signsKeys() bool { return k.Role != ZSK && k.Phase != Wanted }

// entry returns the key that the parent shall name (RFC 7344 §4): the next one as soon as it is
// ready, else the one in use; false when there is none.
func (s State) entry() (Key, bool) {
	for _, phase := range []Phase{Ready, Active} {
		for _, role := range []Role{CSK, KSK} {
			if k := s.find(role, phase); k != nil {
				return *k, true
			}
		}
	}
	return Key{}, false
}
