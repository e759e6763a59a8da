package steering

import (
	"net/netip"
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
	ReasonDrained  Reason = "all-drained" // everything is drained; drained ones answer, never nothing
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
