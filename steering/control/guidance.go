package control

import (
	"fmt"
	"math"
	"time"
)

// Guidance is what the slow loop asks of tables. It is made by one node and followed by all, so
// it has an order of its own. It is immutable once handed on. The zero value asks for nothing:
// everything goes by the configured weights.
type Guidance struct {
	// Epoch counts the leaders, Seq what one of them has decided. Guidance never replaces one
	// that is newer.
	Epoch uint64 `json:"epoch"`
	Seq   uint64 `json:"seq"`
	// At is when it was decided, by the clock of the node that did.
	At time.Time `json:"at"`
	// Splits replace the weights of a host's clients at a place.
	Splits map[Scope]Split `json:"splits,omitempty"`
	// Traffic says what heavy resolvers are answered with; everybody else goes by the split.
	Traffic map[Scope][]Assigned `json:"traffic,omitempty"`
	// Limits are how much of its weight a backend may have while its cache is cold, above 0
	// and below 1; a backend that is missing has none.
	Limits map[string]float64 `json:"limits,omitempty"`
	// Why is a sentence for each scope: what moved, what held it.
	Why map[Scope]string `json:"why,omitempty"`
}

// fadeSteps is in how many steps guidance that nobody renews is given up. Few steps keep the number
// of published tables small.
const fadeSteps = 10

// Faded is the part of guidance that no longer counts: 0 until it is keep old, then in steps up to 1
// when it is twice as old, as when its leader is gone. Guidance as far in the future fades
// likewise: one of the clocks is wrong, and waiting for it could take a day. With a keep of 0 or
// less it never fades.
func (g Guidance) Faded(now time.Time, keep time.Duration) float64 {
	over := now.Sub(g.At).Abs() - keep
	switch {
	case keep <= 0 || over < 0:
		return 0
	case over >= keep:
		return 1
	}
	return math.Floor(float64(over)/float64(keep)*fadeSteps+1) / (fadeSteps + 1)
}

// Zero reports whether g asks for nothing.
func (g Guidance) Zero() bool { return len(g.Splits)+len(g.Traffic)+len(g.Limits) == 0 }

// Bounds of what guidance may say of one resolver.
const (
	mostTurns = 256
	mostTTL   = time.Hour
)

// Check returns what is wrong with guidance, as when it comes from another node: resolvers that
// are too many, or assigned to nothing. Names of hosts and backends are not its concern.
func (g Guidance) Check() error {
	for scope, list := range g.Traffic {
		if len(list) > MostAssigned {
			return fmt.Errorf("%s: %d resolvers are assigned, at most %d", scope, len(list),
				MostAssigned)
		}
		for _, a := range list {
			switch {
			case !a.Prefix.IsValid() || a.Prefix != a.Prefix.Masked() || a.Prefix.Addr().Is4In6():
				return fmt.Errorf("%s: %q is no prefix of resolvers", scope, a.Prefix)
			case len(a.Cycle) == 0 || len(a.Cycle) > mostTurns:
				return fmt.Errorf("%s: %s has %d answers in turn, not 1 to %d", scope, a.Prefix,
					len(a.Cycle), mostTurns)
			case a.TTL < time.Second || a.TTL > mostTTL:
				return fmt.Errorf("%s: %s has a TTL of %s, not 1s to %s", scope, a.Prefix, a.TTL,
					mostTTL)
			}
		}
	}
	for backend, limit := range g.Limits {
		if !(limit > 0 && limit < 1) {
			return fmt.Errorf("the limit of %s is %v, not above 0 and below 1", backend, limit)
		}
	}
	for scope, split := range g.Splits {
		for backend, share := range split {
			if !(share >= 0 && share <= 1) {
				return fmt.Errorf("%s: the share of %s is %v, not 0 to 1", scope, backend, share)
			}
		}
	}
	return nil
}

// Newer reports whether g was decided after o.
func (g Guidance) Newer(o Guidance) bool {
	return g.Epoch > o.Epoch || g.Epoch == o.Epoch && g.Seq > o.Seq
}
