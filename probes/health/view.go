// Package health turns samples and other vantages' votes into a view of every backend's
// health, with rise and fall, a failure counter that isolated successes do not clear, and a
// quorum. Samples flow in, an immutable View flows out by pointer. Tracker.Run owns the only
// goroutine.
package health

import "time"

// State is what we hold of a backend.
type State string

// The states. Unknown and Degraded backends are usable, Unhealthy ones are not.
const (
	Unknown   State = "unknown" // not measured yet
	Healthy   State = "healthy"
	Degraded  State = "degraded" // answers, but slowly or with scattered failures
	Unhealthy State = "unhealthy"
)

// Usable reports whether a backend in this state may receive traffic.
func (s State) Usable() bool { return s != Unhealthy }

// Health is what we know of one backend, and how old it is.
type Health struct {
	Backend string    `json:"backend"`
	State   State     `json:"state"`
	Since   time.Time `json:"since"` // when State began
	// UsableSince is when the backend last went from Unhealthy to usable; zero when it never
	// was Unhealthy. A slow start counts from here.
	UsableSince time.Time `json:"usable_since,omitzero"`
	// Reason says in words why State is what it is ("3 failures in a row: status 503, want 200").
	Reason string `json:"reason"`
	// LastSample is when the newest sample began; zero when there is none.
	LastSample time.Time `json:"last_sample,omitzero"`
	// Latency is the smoothed total time of successful probes; 0 when there were none.
	Latency time.Duration `json:"latency"`
	// CertExpires is when the earliest certificate seen ends; zero without TLS.
	CertExpires time.Time `json:"cert_expires,omitzero"`
	Votes       []Vote    `json:"votes,omitempty"`
}

// Vote is one vantage's opinion of one backend.
type Vote struct {
	Vantage string    `json:"vantage"`
	State   State     `json:"state"`
	At      time.Time `json:"at"`
	Reason  string    `json:"reason,omitempty"`
}

// View is the health of all backends at one moment. It is immutable: treat the map and all
// it holds as read-only.
type View struct {
	Version  uint64            `json:"version"` // rises with each change of any state
	At       time.Time         `json:"at"`
	Backends map[string]Health `json:"backends"` // by backend name
}

// Of returns a backend's health; Unknown when the view (which may be nil) doesn't hold it.
func (v *View) Of(backend string) Health {
	if v != nil {
		if h, ok := v.Backends[backend]; ok {
			return h
		}
	}
	return Health{Backend: backend, State: Unknown, Reason: "not measured yet"}
}
