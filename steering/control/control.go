// Package control moves target shares toward the goal without oscillating or breaking a
// limit. Step is a pure function of its inputs, time among them; the caller keeps the result
// and hands it back. The package owns no goroutine.
package control

import "time"

// Inputs are what one step sees.
type Inputs struct {
	Now      time.Time
	Prev     Shares
	Backends []Backend
}

// Backend is what control needs to know of one backend.
type Backend struct {
	Name   string
	Usable bool
	// UsableSince is when it last came back from being unhealthy; zero when it never left.
	UsableSince time.Time
	// Ramp is how long its return takes; 0: at once.
	Ramp time.Duration
}

// Shares scales configured weights. It is immutable.
type Shares struct {
	// Epoch rises whenever a factor changes.
	Epoch uint64 `json:"epoch"`
	// Factors hold, for each backend that has not its full share, a factor above 0 and below 1.
	Factors map[string]float64 `json:"factors,omitempty"`
}

// Factor returns the factor of a backend's weight, above 0 and at most 1.
func (s Shares) Factor(backend string) float64 {
	if f, ok := s.Factors[backend]; ok {
		return f
	}
	return 1
}
