package dnssec

import (
	"cmp"
	"errors"
	"fmt"
	"time"

	"github.com/miekg/dns"
)

// Algorithm is a DNSSEC algorithm by its mnemonic in lower case.
type Algorithm string

// The algorithms that RFC 8624 §3.1 recommends for signing and that resolvers know.
const (
	ECDSA   Algorithm = "ecdsap256sha256" // RFC 6605
	Ed25519 Algorithm = "ed25519"         // RFC 8080
)

// number returns the algorithm's number on the wire; 0 when it is unknown.
func (a Algorithm) number() uint8 {
	switch a {
	case ECDSA:
		return dns.ECDSAP256SHA256
	case Ed25519:
		return dns.ED25519
	}
	return 0
}

// Defaults of a Policy.
const (
	defaultValidity    = 14 * 24 * time.Hour
	defaultRefresh     = 5 * 24 * time.Hour
	defaultParentTTL   = 24 * time.Hour
	defaultPropagation = time.Hour
)

// inceptionLead is how far a signature's start lies in the past, for validators whose clocks
// are behind.
const inceptionLead = time.Hour

// keyTTL is the TTL of DNSKEY, CDS and CDNSKEY records.
const keyTTL = time.Hour

// Policy says how a zone is signed. The zero value is usable: one ECDSA P-256 key that signs
// everything, never replaced; NSEC; signatures of 14 days that are replaced 5 days before
// their end.
type Policy struct {
	Algorithm Algorithm // "": ECDSA
	// Split keeps a key for the keys (KSK) and one for the zone (ZSK) instead of one for all.
	Split bool
	// NSEC3 denies by hashed names, with the parameters of RFC 9276: no iterations, no salt, no
	// opt-out.
	NSEC3 bool
	// Validity is how long a signature holds; each ends up to a fourteenth sooner, so that not
	// all end at once. 0: 14 days.
	Validity time.Duration
	// Refresh is how long before its end a signature is replaced; below half of Validity.
	// 0: 5 days.
	Refresh time.Duration
	// KeyLifetime is the age at which the KSK, or the key that signs everything, is replaced;
	// 0: never. It needs a way to see the parent's DS records, since the old key stays until
	// they name the new one.
	KeyLifetime time.Duration
	// ZoneKeyLifetime is the age at which a ZSK is replaced; 0: never.
	ZoneKeyLifetime time.Duration
	// ParentTTL is the TTL of the parent's DS records. 0: a day.
	ParentTTL time.Duration
	// Propagation is how long a change may take to reach every server of the zone. 0: 1 hour.
	Propagation time.Duration
	// Withdraw asks the parent to remove its DS records (RFC 8078 §4). The zone stays signed.
	Withdraw bool
}

// complete checks a policy and fills in defaults.
func (p Policy) complete() (Policy, error) {
	p.Algorithm = cmp.Or(p.Algorithm, ECDSA)
	p.Validity = cmp.Or(p.Validity, defaultValidity)
	p.Refresh = cmp.Or(p.Refresh, defaultRefresh)
	p.ParentTTL = cmp.Or(p.ParentTTL, defaultParentTTL)
	p.Propagation = cmp.Or(p.Propagation, defaultPropagation)
	switch {
	case p.Algorithm.number() == 0:
		return p, fmt.Errorf("algorithm %q is not known", p.Algorithm)
	case p.Validity < time.Minute || p.Validity > 365*24*time.Hour:
		return p, fmt.Errorf("validity of %v is not between a minute and a year", p.Validity)
	case p.Refresh < 0 || p.Refresh >= p.Validity/2:
		return p, fmt.Errorf("refresh of %v is not below half the validity of %v", p.Refresh,
			p.Validity)
	case p.KeyLifetime < 0, p.ZoneKeyLifetime < 0, p.ParentTTL < 0, p.Propagation < 0:
		return p, errors.New("a negative time")
	}
	return p, nil
}

// jitter is the most by which a signature ends sooner than Validity says.
func (p Policy) jitter() time.Duration { return p.Validity / 14 }

// slack is how much sooner than needed signatures are replaced together with one that is due.
func (p Policy) slack() time.Duration { return p.Validity / 336 }
