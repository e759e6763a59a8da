package steering

import (
	"errors"
	"fmt"
	"time"

	"pointsman/steering/control"
)

// ErrStaleGuidance says that guidance was decided before the one that is followed.
var ErrStaleGuidance = errors.New("newer guidance is followed")

// SetGuidance hands in what the slow loop decided; Run compiles it. Guidance that is older than
// the one followed is refused with an ErrStaleGuidance, and so is what is malformed; both are
// counted and logged, and change nothing. The same once more is no news. It must not change
// afterwards. In force with a spec at once is what was handed in before SetSpec.
func (e *Engine) SetGuidance(g control.Guidance) error {
	e.mu.Lock()
	current, err := e.inputs.Guidance, error(nil)
	switch {
	case current.Newer(g):
		err = fmt.Errorf("following guidance %s: %w: %s", guidanceName(g), ErrStaleGuidance,
			guidanceName(current))
	case !g.Newer(current):
		e.mu.Unlock()
		return nil
	default:
		if err = g.Check(); err != nil {
			err = fmt.Errorf("following guidance %s: %w", guidanceName(g), err)
		}
	}
	if err == nil {
		e.inputs.Guidance = g
		e.metrics.guidance(g, e.config.Now(), e.config.GuidanceKeep)
	}
	e.mu.Unlock()
	if err != nil {
		e.metrics.guidanceRefused.Inc()
		e.log.Warn("guidance refused", "epoch", g.Epoch, "err", err)
		return err
	}
	e.move()
	return nil
}

// ClearGuidance goes back to the configured weights. Guidance that is not newer than the one
// followed so far stays refused.
func (e *Engine) ClearGuidance() {
	e.mu.Lock()
	was := e.inputs.Guidance
	e.inputs.Guidance = control.Guidance{Epoch: was.Epoch, Seq: was.Seq}
	e.metrics.guidance(e.inputs.Guidance, e.config.Now(), e.config.GuidanceKeep)
	e.mu.Unlock()
	if !was.Zero() {
		e.move()
	}
}

// Guidance returns the guidance that is followed, faded or not; read only.
func (e *Engine) Guidance() control.Guidance {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.inputs.Guidance
}

// guidance shows what is followed.
func (m *metrics) guidance(g control.Guidance, now time.Time, keep time.Duration) {
	m.guidanceEpoch.Set(float64(g.Epoch))
	if g.Zero() {
		m.guidanceAt.Set(0)
		m.guidanceInForce.Set(0)
		return
	}
	m.guidanceAt.Set(float64(g.At.UnixNano()) / 1e9)
	m.guidanceInForce.Set(1 - g.Faded(now, keep))
}
