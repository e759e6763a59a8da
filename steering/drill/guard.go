package drill

import (
	"fmt"

	"pointsman/steering"
)

// rounding is what sums of shares may be off by.
const rounding = 1e-9

// baseline is a steered name's shares when the drill began.
type baseline map[string][]steering.Share

// baselineOf remembers the shares of every name that gives the backend traffic.
func baselineOf(t *steering.Table, backend string) baseline {
	b := baseline{}
	if t == nil {
		return b
	}
	for _, host := range t.Hosts() {
		shares := t.Shares(host)
		if shareOf(shares, backend) > 0 {
			b[host] = shares
		}
	}
	return b
}

// guard says why a drill of the backend must not run (or go on), or nil. What remains of a
// name is the part of its shares, as they were at the beginning, that belonged to other
// backends which are usable now: those are the ones that take over.
func guard(b baseline, p Plan, usable func(backend string) bool) error {
	if len(b) == 0 {
		return fmt.Errorf("%w: %q gets no traffic now, so a drill would show nothing",
			ErrRefused, p.Backend)
	}
	for host, shares := range b {
		if left := remaining(shares, p.Backend, usable); left < p.MinHealthy-rounding {
			return fmt.Errorf("%w: without %q only %.0f %% of the shares of %s would be with "+
				"healthy backends, and %.0f %% must remain", ErrRefused, p.Backend, left*100,
				host, p.MinHealthy*100)
		}
	}
	return nil
}

func remaining(shares []steering.Share, without string, usable func(string) bool) float64 {
	var sum float64
	for _, s := range shares {
		if s.Backend != without && usable(s.Backend) {
			sum += s.Share
		}
	}
	return sum
}

func shareOf(shares []steering.Share, backend string) float64 {
	for _, s := range shares {
		if s.Backend == backend {
			return s.Share
		}
	}
	return 0
}

// gone reports whether no name of the baseline gives the backend traffic any more.
func (b baseline) gone(t *steering.Table, backend string) bool {
	for host := range b {
		if shareOf(t.Shares(host), backend) > 0 {
			return false
		}
	}
	return true
}

// back reports whether every name gives the backend at least the share it had at first,
// within a hundredth.
func (b baseline) back(t *steering.Table, backend string) bool {
	for host, shares := range b {
		if shareOf(t.Shares(host), backend) < shareOf(shares, backend)-0.01 {
			return false
		}
	}
	return true
}
