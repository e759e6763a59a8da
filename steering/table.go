package steering

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"net/netip"
	"slices"
	"time"

	"pointsman/probes/health"
	"pointsman/steering/control"
)

// Inputs are everything a table is compiled from.
type Inputs struct {
	// Version orders inputs on one node: it rises with every change of any field below.
	Version   uint64
	Now       time.Time
	Spec      *Spec
	View      *health.View
	Shares    control.Shares
	Overrides []Override
}

// Reason is why a decision fell as it did: the step of the ladder, or an override.
type Reason string

// The reasons.
const (
	ReasonPool     Reason = "pool"        // the first pool has usable members
	ReasonFallback Reason = "fallback"    // an earlier pool has none; a later one answers
	ReasonPinned   Reason = "pinned"      // an operator pinned the backend
	ReasonAllDown  Reason = "all-down"    // nothing is usable: all as if healthy
	ReasonDrained  Reason = "all-drained" // all is drained; drained ones answer, never nothing
)

// Query is one question about a steered name.
type Query struct {
	Host   string       // canonical: lower case, with the final dot
	Client netip.Prefix // the client's prefix: ECS when present, else the resolver's address
	// Draw is the query's randomness, uniform over all uint64 (see Draws). A sticky host
	// ignores it.
	Draw uint64
}

// Decision is one pick. The slices and strings in it belong to the table: read only.
type Decision struct {
	Host    string
	Backend string
	Pool    string
	Reason  Reason
	CNAME   string       // the target, when the backend is a name
	V4      []netip.Addr // the addresses otherwise; either may be empty, not both
	V6      []netip.Addr
	TTL     uint32 // seconds
	// Scope is the ECS scope prefix length for which the decision holds: 0 for everyone.
	Scope uint8
}

// Share is one backend's part of a host's answers.
type Share struct {
	Backend string  `json:"backend"`
	Pool    string  `json:"pool"`
	Share   float64 `json:"share"` // 0 to 1; the shares of a host add up to 1
}

// Table is what Compile makes: for every steered name, who answers and in what parts. It is
// immutable; any number of goroutines may read it. Treat its fields as read-only.
type Table struct {
	// Version orders the tables of one node; a lower one never replaces a higher.
	Version uint64
	// Hash is SHA-256, in hex, over what the table answers: hosts, thresholds, answers,
	// reasons. Version and time are no part of it: nodes with equal inputs have equal hashes.
	Hash string
	// CompiledAt is the Now of its inputs.
	CompiledAt time.Time

	plans    map[string]*plan
	hosts    []string
	compiler *compiler // its inputs, for explanations
}

// Hosts returns the steered names in order. The slice is the caller's own.
func (t *Table) Hosts() []string { return slices.Clone(t.hosts) }

// Has reports whether a name (canonical) is steered.
func (t *Table) Has(host string) bool { return t.plans[host] != nil }

// Shares returns the part of a host's answers that each of its backends has, those with none
// included: one row for each backend, by pool in the host's order, then by name. It is nil
// when the name is not steered. The slice is the caller's own.
func (t *Table) Shares(host string) []Share {
	if p := t.plans[host]; p != nil {
		return slices.Clone(p.shares)
	}
	return nil
}

// Reason returns why a host's candidates are what they are, and false when it isn't steered.
func (t *Table) Reason(host string) (Reason, bool) {
	if p := t.plans[host]; p != nil {
		return p.reason, true
	}
	return "", false
}

// digest hashes the table's content in a canonical form: every text and list with its length
// before it, numbers as 8 octets.
func (t *Table) digest() string {
	var b []byte
	number := func(n uint64) { b = binary.BigEndian.AppendUint64(b, n) }
	text := func(s string) { number(uint64(len(s))); b = append(b, s...) }
	addresses := func(list []netip.Addr) {
		number(uint64(len(list)))
		for _, a := range list {
			text(string(a.AsSlice()))
		}
	}
	sum := sha256.New()
	text("pointsman table 1")
	number(uint64(len(t.hosts)))
	for _, name := range t.hosts {
		p := t.plans[name]
		text(p.host)
		number(uint64(p.ttl))
		if p.sticky {
			text(string(Sticky))
		} else {
			text(string(Spread))
		}
		text(string(p.reason))
		number(uint64(len(p.candidates)))
		for _, c := range p.candidates {
			text(c.decision.Backend)
			text(c.decision.Pool)
			number(c.weight)
			number(c.last)
			text(c.decision.CNAME)
			addresses(c.decision.V4)
			addresses(c.decision.V6)
		}
		sum.Write(b) // hash.Hash never returns an error
		b = b[:0]
	}
	return hex.EncodeToString(sum.Sum(nil))
}
