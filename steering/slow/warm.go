package slow

import (
	"maps"
	"slices"
	"time"

	"pointsman/steering/control"
)

const (
	// trickle is what a cold backend gets in any case.
	trickle = 0.002
	// waiting is the limit of a backend that is out: when it comes back it starts from there.
	waiting = 0.001
	// forever is long enough for a cache to be as warm as it gets.
	forever = 10_000 * time.Hour
)

// warm limits backends whose caches are cold to what the origin bears. Nothing is limited when
// demand or caches are not known.
func (n *step) warm() {
	if n.next.Warmth == nil {
		n.next.Warmth = make(map[string]float64)
	}
	if n.config.Origin <= 0 || !(n.total > 0) {
		return
	}
	now, goal := n.aggregate()
	var list []control.Warming
	steady, able := 0.0, n.backends()
	for _, b := range slices.Sorted(maps.Keys(goal)) {
		w := control.Warming{Backend: b, Now: now[b], Goal: goal[b]}
		cache := n.config.Backends[b].Cache
		if cache != nil {
			usual := cache.After(1, goal[b]*n.total, forever)
			steady += goal[b] * cache.Miss(usual)
			w.Miss = cache.Miss(n.warmth(b, *cache, now[b]*n.total, usual, able[b]))
		}
		list = append(list, w)
	}
	does := control.Warm(control.WarmLimit{Steady: steady, Factor: n.config.Origin,
		Trickle: trickle}, list)
	limits := make(map[string]float64)
	for b, limit := range does.Limits(goal) {
		if n.config.Backends[b].Cache != nil && limit < 1 {
			limits[b] = max(waiting, limit)
		}
	}
	for b := range n.everyone() {
		if n.config.Backends[b].Cache != nil && !able[b] {
			limits[b] = waiting
		}
	}
	if len(limits) > 0 {
		n.out.Limits = limits
	}
}

// everyone is all backends of the policies, those that can't answer included.
func (n *step) everyone() map[string]bool {
	out := make(map[string]bool)
	for _, p := range n.policies {
		for b := range p.Weights {
			out[b] = true
		}
	}
	return out
}

// warmth follows a cache by a model: what it serves fills it. One that is seen for the first time
// is taken to be as warm as it gets, since it is the node that started and not the cache; one that
// can't answer may have lost what it had.
func (n *step) warmth(b string, c control.Cache, rate, usual float64, able bool) float64 {
	if m, ok := n.loads[b]; ok {
		rate = m.Value
	}
	w, known := n.before.Warmth[b]
	switch {
	case !able:
		w = 0
	case !known:
		w = usual
	default:
		w = c.After(w, rate, n.since)
	}
	n.next.Warmth[b] = w
	return w
}

// aggregate returns the shares of all scopes together, by their demands: those in force, limits
// included, and those that are to be.
func (n *step) aggregate() (now, goal control.Split) {
	now, goal = make(control.Split), make(control.Split)
	first := n.before.At.IsZero()
	for _, p := range n.policies {
		part := n.demand[p.Scope] / n.total
		was := make(control.Split)
		members := n.before.Scopes[p.Scope].Members
		for b, v := range n.targets[p.Scope] {
			goal[b] += part * v
			if first || slices.Contains(members, b) {
				limit, limited := n.before.Last.Limits[b]
				if !limited {
					limit = 1
				}
				was[b] = v * limit
			}
		}
		for b, v := range was.Normal() {
			now[b] += part * v
		}
	}
	return now, goal
}
