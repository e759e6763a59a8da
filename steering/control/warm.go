package control

import (
	"fmt"
	"math"
	"time"
)

// Cache describes how a backend's cache warms. A cache at warmth w, from 0 (empty) to 1, misses
// Cold − (Cold − Warm)·w of its requests.
type Cache struct {
	Cold, Warm float64 // miss ratios, 0 to 1
	// WorkingSet is how many requests an empty cache takes to reach a warmth of 63 %.
	WorkingSet float64
	// Life is how long an object stays in the cache without being asked for again.
	Life time.Duration
}

// Miss returns the miss ratio at a warmth.
func (c Cache) Miss(warmth float64) float64 {
	return c.Cold - (c.Cold-c.Warm)*min(1, max(0, warmth))
}

// Validate returns what is wrong with a cache.
func (c Cache) Validate() error {
	switch {
	case !(c.Cold >= 0 && c.Cold <= 1) || !(c.Warm >= 0 && c.Warm <= 1):
		return fmt.Errorf("the miss ratios are %v cold and %v warm, not 0 to 1", c.Cold, c.Warm)
	case c.Warm > c.Cold:
		return fmt.Errorf("a warm cache misses %v and a cold one %v: less", c.Warm, c.Cold)
	case !(c.WorkingSet > 0) || math.IsInf(c.WorkingSet, 0):
		return fmt.Errorf("the working set is %v requests, not above 0", c.WorkingSet)
	case c.Life <= 0:
		return fmt.Errorf("an object's life is %s, not above 0", c.Life)
	}
	return nil
}

// After returns the warmth after a time at so many requests a second: what it serves fills it,
// and its age empties it. With no requests it cools. A working set of 0 is full with the first
// request, and with a life of 0 nothing stays.
func (c Cache) After(warmth, rate float64, elapsed time.Duration) float64 {
	switch {
	case c.Life <= 0:
		return 0
	case !(c.WorkingSet > 0) && rate > 0:
		return 1
	}
	fill, leak := 0.0, 1/c.Life.Seconds()
	if rate > 0 {
		fill = rate / c.WorkingSet
	}
	end := fill / (fill + leak)
	return end + (warmth-end)*math.Exp(-(fill+leak)*max(0, elapsed.Seconds()))
}

// Standby returns the share of a demand (requests/s) that keeps the cache so warm that it could
// take all of the demand at once and send the origin no more than most requests/s; 1 when no
// smaller share does. It is what a site with one main CDN keeps at the others.
func (c Cache) Standby(demand, most float64) float64 {
	need := (c.Cold - most/demand) / (c.Cold - c.Warm)
	switch {
	case !(need > 0):
		return 0
	case need >= 1:
		return 1
	}
	return min(1, need/(1-need)*c.WorkingSet/(demand*c.Life.Seconds()))
}

// Warming is a backend whose share is to change.
type Warming struct {
	Backend   string
	Now, Goal float64 // shares
	// Miss is its miss ratio now, measured or from Cache. At a rising share of a cold cache it
	// falls, so a stale one errs to the safe side.
	Miss float64
}

// WarmLimit is how much the origin may get while shares move.
type WarmLimit struct {
	// Steady is the origin's usual load as a part of the demand: Σ share × miss, all warm.
	Steady float64
	// Factor is how many times that may reach the origin; 1.5 is a good value.
	Factor float64
	// Trickle is the share that a cold backend may always rise to, or it would never warm.
	Trickle float64
}

// WarmStep is where shares may go now.
type WarmStep struct {
	Next   Split
	Origin float64 // predicted load of the origin at Next, as a part of the demand
	// Held lists the backends, in order, that got less than their goal.
	Held []string
	// Over says that the origin gets more than the limit: shares had to leave a dead backend,
	// and all that are left are cold.
	Over bool
}

// Warm moves shares to their goals as far as the origin bears at once. Backends no colder than
// those that they take over from rise without a limit; all others rise by the same part of
// their way, the largest for which Σ share × miss stays within the limit. Called again and
// again as the caches warm, that is the fastest ramp which the origin allows. Backends with a
// Now and a Goal of 0 stay there.
func Warm(l WarmLimit, list []Warming) WarmStep {
	now, goal := make(Split, len(list)), make(Split, len(list))
	miss := make(map[string]float64, len(list))
	for _, w := range list {
		now[w.Backend], goal[w.Backend], miss[w.Backend] = w.Now, w.Goal, w.Miss
	}
	if goal = goal.Normal(); goal == nil {
		return WarmStep{Next: now.Normal()}
	}
	if now = now.Normal(); now == nil { // everything starts at once: there is no slower way
		return l.finish(goal, goal, miss)
	}
	way := now.distance(goal)
	if way == 0 {
		return l.finish(goal, goal, miss)
	}
	origin, source := 0.0, 0.0
	for _, b := range now.backends() {
		origin += now[b] * miss[b]
		source += max(0, now[b]-goal[b]) / way * miss[b]
	}
	risen, next := l.rise(now, goal, miss, l.Factor*l.Steady-origin, source)
	for _, b := range now.backends() {
		if fall := now[b] - goal[b]; fall > 0 {
			next[b] = now[b] - fall*min(1, risen/way)
		}
	}
	return l.finish(next.Normal(), goal, miss)
}

// rise gives risers their share within the room that the origin has, and returns how much they
// took in all. What they take, backends with the miss ratio source lose.
func (l WarmLimit) rise(now, goal Split, miss map[string]float64, room, source float64) (
	risen float64, next Split) {
	next = make(Split, len(now))
	cost := 0.0 // of the whole way of all cold risers
	for _, b := range now.backends() {
		up := goal[b] - now[b]
		if up < 0 {
			continue
		}
		least := up // what it gets in any case
		if miss[b] > source {
			least = min(up, max(0, l.Trickle-now[b]))
			cost += (up - least) * (miss[b] - source)
		}
		next[b] = now[b] + least
		room -= least * (miss[b] - source)
		risen += least
	}
	part := 1.0
	if cost > 0 {
		part = min(1, max(0, room/cost))
	}
	for _, b := range now.backends() {
		if left := goal[b] - next[b]; goal[b] >= now[b] && left > 0 {
			next[b] += part * left
			risen += part * left
		}
	}
	return risen, next
}

func (l WarmLimit) finish(next, goal Split, miss map[string]float64) WarmStep {
	s := WarmStep{Next: next}
	for _, b := range next.backends() {
		s.Origin += next[b] * miss[b]
		if next[b] < goal[b]-1e-9 {
			s.Held = append(s.Held, b)
		}
	}
	s.Over = s.Origin > l.Factor*l.Steady*(1+1e-9)
	return s
}

// Limits returns the step as limits for Backend.Limit: how much of its weight each held backend
// may have, so that weights in proportion to goal come to the shares of Next. A backend that is
// to leave and has a share meanwhile has no weight in goal; then only Next says it all.
func (s WarmStep) Limits(goal Split) map[string]float64 {
	most := 0.0
	for b, g := range goal {
		if g > 0 {
			most = max(most, s.Next[b]/g)
		}
	}
	out := make(map[string]float64, len(s.Held))
	for _, b := range s.Held {
		if most > 0 && goal[b] > 0 {
			out[b] = s.Next[b] / goal[b] / most
		}
	}
	return out
}
