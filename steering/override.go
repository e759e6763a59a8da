package steering

import "time"

// OverrideKind is what an operator (or a purge fence) wants of a backend.
type OverrideKind string

// The kinds of override.
const (
	Drain  OverrideKind = "drain"  // weight to zero
	Pin    OverrideKind = "pin"    // all traffic to this backend, healthy or not
	Weight OverrideKind = "weight" // another weight than the configured one
	Fence  OverrideKind = "fence"  // out until its purge is verified; acts like Drain
)

// Override is an operator's intent, with its reason and its end.
type Override struct {
	ID      string       `json:"id"`
	Kind    OverrideKind `json:"kind"`
	Backend string       `json:"backend"`
	// Host limits the override to one steered name (canonical); empty means all.
	Host   string `json:"host,omitempty"`
	Weight uint32 `json:"weight,omitempty"` // for kind Weight
	Reason string `json:"reason"`
	Actor  string `json:"actor"`
	// Created and Expires bound the override; Expires is never zero.
	Created time.Time `json:"created"`
	Expires time.Time `json:"expires"`
	// Local is true while only this node knows it, because the shared store was away.
	Local bool `json:"local,omitempty"`
	// Unsaved is true while no store has taken it: a restart of this node would forget it.
	Unsaved bool `json:"unsaved,omitempty"`
}

// Active reports whether the override holds at a time.
func (o Override) Active(now time.Time) bool { return now.Before(o.Expires) }

// Covers reports whether the override concerns a steered name.
func (o Override) Covers(host string) bool { return o.Host == "" || o.Host == host }
