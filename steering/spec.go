// Package steering compiles a spec, a health view, shares and overrides into an immutable
// Table, and picks from it. Compile and Table.Pick are pure: time and randomness are fields of
// their inputs. Engine.Run owns the only goroutine; it recompiles when an input's version
// changes and publishes the table by one atomic pointer store.
package steering

import (
	"net/netip"
	"slices"
	"time"

	"pointsman/steering/geo"
)

// Spec is what the operator configured. It is immutable after it was handed to the engine.
type Spec struct {
	Backends []Backend
	Pools    []Pool
	Hosts    []Host
}

// Backend is one steerable answer: either a CNAME target or addresses, never both.
type Backend struct {
	Name string
	// CNAME is the provider's host name, canonical: lower case, with the final dot.
	CNAME string
	// Addresses are answered as A and AAAA.
	Addresses []netip.Addr
	// HTTPS is what an HTTPS record (RFC 9460) says besides the addresses; nil: there is none.
	// With a CNAME it counts on flattened hosts alone: elsewhere the record stands at the CNAME.
	HTTPS *HTTPS
	// Up is whether the probes say if it is usable, or the config does; empty: UpByProbe.
	Up Up
	// Drain keeps it out like an operator's drain, for as long as it stands there.
	Drain bool
	// Capacity is how many requests a second it can take, of all hosts together; 0: any number.
	Capacity uint64
	// Cost is what a gigabyte costs there, in millionths of whatever currency all are given in.
	Cost uint64
	// Allow names the only clients that it may answer, and Deny those that it may not, for legal
	// or contractual reasons: neither failures nor an operator's pin break that. Nil: all, and none.
	Allow, Deny *Audience
	// Location is where its clients find it, for pools that choose the nearest; nil: not known.
	Location *geo.Point
}

// Audience is clients by where they are: those for whom any of this holds.
type Audience struct {
	// Countries are ISO 3166-1 alpha-2 codes in upper case, Subdivisions ISO 3166-2 ones (US-CA).
	Countries, Subdivisions []string
	// ASNs are numbers of autonomous systems.
	ASNs []uint32
	// Prefixes have no bits set behind their length; IPv6 ones have at most 64 bits.
	Prefixes []netip.Prefix
}

// HTTPS is a backend's service binding in ServiceMode, for the name itself.
type HTTPS struct {
	Priority uint16   // at least 1
	ALPN     []string // protocols, such as "h2"; empty: those of the scheme alone
	Port     uint16   // 0: that of the scheme
	Hints    bool     // the backend's addresses come along
}

// Equal reports whether two bindings say the same; nil says nothing.
func (h *HTTPS) Equal(o *HTTPS) bool {
	if h == nil || o == nil {
		return h == o
	}
	return h.Priority == o.Priority && h.Port == o.Port && h.Hints == o.Hints &&
		slices.Equal(h.ALPN, o.ALPN)
}

// Choice is how a pool chooses among its members that can answer.
type Choice string

// The choices. All but Failover divide what they choose by weight.
const (
	ByWeight  Choice = "weight"   // all of them
	ByOrder   Choice = "failover" // the first
	ByLatency Choice = "latency"  // those that are about as fast as the fastest
	ByCost    Choice = "cost"     // those that are about as cheap as the cheapest
	Nearest   Choice = "nearest"  // those that are about as near to the client as the nearest
)

// Tolerance is what "about as fast", "as cheap" and "as near" allow: the largest of these.
type Tolerance struct {
	Percent uint32        // of the best, at most 1000
	Span    time.Duration // for ByLatency
	// Distance is in km, for Nearest, at most 20,000.
	Distance uint32
}

// Pool is a node of the policy: backends, or pools of them, that are used together.
type Pool struct {
	Name    string
	Choose  Choice // empty: ByWeight
	Within  Tolerance
	Members []Member // their order counts for ByOrder alone
}

// Member is a backend's place in a pool, or that of a pool, whose part is divided further.
type Member struct {
	Backend string // empty when Pool is set
	Pool    string
	Weight  uint32 // relative; 0 drains; at most 1,000,000
}

// Stickiness says what stays the same for one client.
type Stickiness string

const (
	// Spread divides queries by a low-discrepancy sequence; the types of one lookup agree.
	Spread Stickiness = "spread"
	// Sticky gives a client prefix the same backend for as long as shares allow.
	Sticky Stickiness = "sticky"
)

// Host is a steered name.
type Host struct {
	Name string        // canonical: lower case, with the final dot
	TTL  time.Duration // 1 s to 1 h
	// TTLDegraded takes the place of TTL while a backend that the host may use is down; at most
	// TTL, and 0: it stays.
	TTLDegraded time.Duration
	Pools       []string // tried in this order; the first with a usable member answers
	Stickiness  Stickiness
	// Flatten answers with the addresses behind the CNAMEs of backends, never with a CNAME.
	Flatten bool
	// Ramp is how long a backend takes from its return to its full share; 0: at once.
	Ramp time.Duration
	// Load is how many requests a second the host gets, as far as the operator knows; 0: not
	// known, and then capacities don't bound its shares.
	Load uint64
	// Places give clients of some countries or networks pools of their own. A client belongs
	// to the first place with a prefix that holds it, else to the first that lists its AS, else
	// its subdivision, else its country, else to none, and Pools are for it. At most
	// geo.MostRules.
	Places []Place
}

// Place is where clients are that a host answers from other pools.
type Place struct {
	Name string // unique among the host's places
	// Countries, Subdivisions, ASNs and Prefixes are as those of an Audience.
	Countries, Subdivisions []string
	ASNs                    []uint32
	Prefixes                []netip.Prefix
	Pools                   []string // tried in this order, as those of a host
}

// audience is who is at the place.
func (p *Place) audience() *Audience {
	return &Audience{Countries: p.Countries, Subdivisions: p.Subdivisions, ASNs: p.ASNs,
		Prefixes: p.Prefixes}
}

// allPools are the pools of the host and of its places, each once.
func (h *Host) allPools() []string {
	if len(h.Places) == 0 {
		return h.Pools
	}
	all := slices.Clone(h.Pools)
	for i := range h.Places {
		for _, pool := range h.Places[i].Pools {
			if !slices.Contains(all, pool) {
				all = append(all, pool)
			}
		}
	}
	return all
}
