// Package control moves target shares toward the goal without oscillating or breaking a
// limit. All of it is pure functions of their inputs, time among them; the caller keeps the
// results and hands them back. The package owns no goroutine.
//
// Demands, latencies, capacities and a Ledger's prices flow into Solve, which finds the goal.
// Loop moves shares toward it, with a gain that Certify has accepted, and Warm no faster than
// caches warm. Assign makes of a target share of the traffic who gets which answer, by the
// loads that a Sketch has counted. Step puts splits, slow starts and limits into Shares, which
// is all that leaves for package steering.
package control

import "time"

// Inputs are what one step sees.
type Inputs struct {
	Now      time.Time
	Prev     Shares
	Backends []Backend
	// Splits are those of the slow loop; nil: everything goes by the configured weights.
	Splits map[Scope]Split
	// Faded is the part of the splits that no longer counts, from Guidance.Faded; the configured
	// weights take its place.
	Faded float64
}

// Backend is what control needs to know of one backend.
type Backend struct {
	Name   string
	Usable bool
	// UsableSince is when it last came back from being unhealthy; zero when it never left.
	UsableSince time.Time
	// Ramp is how long its return takes; 0: at once.
	Ramp time.Duration
	// Limit is the most of its weight that a backend may have while its cache is cold, from
	// WarmStep.Limits; 0: no limit.
	Limit float64
}

// Shares says how answers divide: by a split in place of the configured weights where there is
// one, and times a factor. It is immutable.
type Shares struct {
	// Epoch rises whenever a factor or a split changes.
	Epoch uint64 `json:"epoch"`
	// Factors hold, for each backend that has not its full share, a factor above 0 and below 1.
	Factors map[string]float64 `json:"factors,omitempty"`
	// Limits hold the factors that are due to cold caches alone. They are in Factors too, for
	// hosts on which returns are slow.
	Limits map[string]float64 `json:"limits,omitempty"`
	// Splits replace the weights of a host, and of the clients at one of its places.
	Splits map[Scope]Split `json:"splits,omitempty"`
	// Faded is the part of the splits that no longer counts, below 1.
	Faded float64 `json:"faded,omitempty"`
}

// Split returns the split for a host's clients at a place (empty: at none), or false when the
// configured weights stand.
func (s Shares) Split(host, place string) (Split, bool) {
	split, ok := s.Splits[Scope{Host: host, Place: place}]
	return split, ok && len(split) > 0
}

// Factor returns the factor of a backend's weight, above 0 and at most 1.
func (s Shares) Factor(backend string) float64 {
	if f, ok := s.Factors[backend]; ok {
		return f
	}
	return 1
}

// Limit returns the factor that the cold cache of a backend leaves it, above 0 and at most 1.
func (s Shares) Limit(backend string) float64 {
	if f, ok := s.Limits[backend]; ok {
		return f
	}
	return 1
}
