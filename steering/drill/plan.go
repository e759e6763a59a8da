// Package drill runs a guarded, time-boxed failover drill and reports what it measured. A Plan
// flows in; while it runs, the backend's probes fail at the source (Runner is a probes.Fault),
// and detection, quorum, hysteresis and steering do the rest; a Report flows out. A drill edits
// no answer. Runner.Run owns every goroutine; when it ends, no fault is left.
package drill

import (
	"errors"
	"fmt"
	"time"
)

// Limits of a plan.
const (
	MinFor            = 5 * time.Second
	MaxFor            = 30 * time.Minute
	DefaultMinHealthy = 0.25
)

// Sentinels on which callers branch; compare with errors.Is.
var (
	// ErrRefused says that a guard did not let the drill begin. Nothing was changed.
	ErrRefused = errors.New("drill refused")
	// ErrNotFound says that no drill has that id, or that it is no longer kept.
	ErrNotFound = errors.New("no such drill")
)

// Plan is what to drill.
type Plan struct {
	Backend string        `json:"backend"`
	For     time.Duration `json:"for"` // MinFor to MaxFor: how long its probes fail
	// MinHealthy is the part of a name's present shares, 0 to 1, that must stay with healthy
	// backends other than Backend; 0 means DefaultMinHealthy. Below it the drill is refused,
	// or aborted when it already runs.
	MinHealthy float64 `json:"min_healthy"`
	Actor      string  `json:"actor"`
	Reason     string  `json:"reason"`
}

// check fills in defaults and says what is wrong with a plan.
func (p Plan) check() (Plan, error) {
	if p.MinHealthy == 0 {
		p.MinHealthy = DefaultMinHealthy
	}
	switch {
	case p.Backend == "":
		return p, fmt.Errorf("%w: no backend named", ErrRefused)
	case p.For < MinFor || p.For > MaxFor:
		return p, fmt.Errorf("%w: a drill lasts %s to %s, not %s", ErrRefused, MinFor, MaxFor, p.For)
	case p.MinHealthy < 0 || p.MinHealthy > 1:
		return p, fmt.Errorf("%w: min_healthy is a part of 1, not %g", ErrRefused, p.MinHealthy)
	}
	return p, nil
}
