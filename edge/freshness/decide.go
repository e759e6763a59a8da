package freshness

import "time"

// Action is what to do with a stored response that matches a request.
type Action uint8

// The actions, from the cheapest on.
const (
	// Serve it: it is fresh.
	Serve Action = iota
	// ServeStale now, and fetch it anew in the background.
	ServeStale
	// Validate it with the origin, or fetch it anew, before anything is served.
	Validate
)

// Decision is the verdict on one stored response at one moment.
type Decision struct {
	Action Action
	// Age is current_age of RFC 9111 §4.2.3.
	Age time.Duration
	// TTL is the freshness left; negative when stale, by how long.
	TTL time.Duration
}

// Decide says how a stored response may be used at now. purged is when a soft purge made it
// stale, the zero time if none did. It allocates nothing.
func Decide(m Meta, now, purged time.Time) Decision {
	d := Decision{Action: Validate}
	d.Age = m.InitialAge + max(0, now.Sub(m.Received))
	d.TTL = m.Lifetime - d.Age
	if !purged.IsZero() {
		d.TTL = min(d.TTL, purged.Sub(now), -1)
	}
	switch {
	case m.Validate:
	case d.TTL > 0:
		d.Action = Serve
	case m.WhileRevalidate > -d.TTL:
		d.Action = ServeStale
	}
	return d
}

// Failure is how an attempt to reach the origin went wrong.
type Failure uint8

// The failures.
const (
	// Errored: the origin answered with 500, 502, 503 or 504 (RFC 5861 §4).
	Errored Failure = iota
	// Unreachable: no answer came at all.
	Unreachable
)

// UsableOn says whether a response that Decide wanted validated may be served as it is after a
// failure of the origin.
func (d Decision) UsableOn(f Failure, m Meta) bool {
	window := m.IfError
	if f == Unreachable {
		window = m.IfUnreachable
	}
	return window > -d.TTL && !m.Validate
}
