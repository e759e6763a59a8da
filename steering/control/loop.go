package control

import (
	"fmt"
	"math"
	"slices"
	"strings"
	"time"
)

// LoopConfig is how a slow loop moves. Certify must have accepted its gain.
type LoopConfig struct {
	// Gain is the part of an error that one step corrects, above 0 and at most 1.
	Gain float64
	// DeadBand is the error that is let be, in parts of 1: as long as no backend's error is
	// larger nothing moves.
	DeadBand float64
	// Rate is how much of the answers may move in a minute, in parts of 1.
	Rate float64
	// Interval is the time between steps. After a longer pause a step moves no further.
	Interval time.Duration
	// Fresh is the age up to which a signal counts. With one that is older, or missing,
	// shares stay as they are.
	Fresh time.Duration
	// Hold is how long shares stay so before they decay to the weights, and Decay the time
	// constant of that.
	Hold, Decay time.Duration
	// Floor is the least share of a backend with a weight, unless the goal gives it 0: without
	// traffic nothing would be measured there. At most 0.1.
	Floor float64
}

// Validate returns what is wrong with a config; it does not judge stability, see Certify.
func (c LoopConfig) Validate() error {
	switch {
	case !(c.Gain > 0 && c.Gain <= 1):
		return fmt.Errorf("the gain is %v, not above 0 and at most 1", c.Gain)
	case !(c.DeadBand >= 0 && c.DeadBand < 1):
		return fmt.Errorf("the dead band is %v, not 0 to 1", c.DeadBand)
	case !(c.Rate > 0):
		return fmt.Errorf("the rate is %v, not above 0", c.Rate)
	case !(c.Floor >= 0 && c.Floor <= 0.1):
		return fmt.Errorf("the floor is %v, not 0 to 0.1", c.Floor)
	case c.Interval <= 0 || c.Fresh <= 0 || c.Decay <= 0 || c.Hold < 0:
		return fmt.Errorf("interval, fresh and decay must be above 0, and hold not below it")
	}
	return nil
}

// Signal is what was measured of one backend, and how long ago.
type Signal struct {
	// Value is the backend's share of the traffic when there is a goal, else what should be
	// equal everywhere and grows with a backend's load: latency, load per capacity or price.
	Value float64
	Age   time.Duration
}

// LoopInput is what one step of one scope sees. Maps are only read.
type LoopInput struct {
	Current Split
	Weights Split // as configured; what has 0 here is drained and stays at 0
	// Goal is where the traffic should go, from Solve; nil: to where the signals are equal.
	Goal    Split
	Signals map[string]Signal
	// Since is the time since the last step; not above 0: nothing moves.
	Since time.Duration
	// Blind is LoopStep.Blind of the last step.
	Blind time.Duration
}

// Verdict says in one word what a step did.
type Verdict string

// The verdicts of a step.
const (
	Moved   Verdict = "moved"   // toward the goal
	Limited Verdict = "limited" // the same, but no faster than the rate allows
	Settled Verdict = "settled" // every error is within the dead band
	Waiting Verdict = "waiting" // no time has passed, or the clock went back
	Frozen  Verdict = "frozen"  // a signal is missing or stale, shares stay
	Decayed Verdict = "decayed" // that lasted, and shares moved toward the weights
)

// LoopStep is the outcome of a step, with what decided it.
type LoopStep struct {
	Next    Split // nil only when all weights are 0
	Verdict Verdict
	// Backend has the largest error, or the stalest signal; empty when none decided.
	Backend string
	Error   float64       // of Backend, in parts of 1; above 0: it should gain
	Age     time.Duration // of Backend's signal; below 0: there is none
	// Blind is for how long a signal has been missing; hand it to the next step.
	Blind time.Duration
}

// String says the step in words.
func (s LoopStep) String() string {
	switch {
	case s.Backend == "":
		return string(s.Verdict) + ": no backend with a weight has a share or a goal"
	case s.Verdict != Frozen && s.Verdict != Decayed:
		way := "gain"
		if s.Error < 0 {
			way = "lose"
		}
		return fmt.Sprintf("%s: %s has %.1f points to %s", s.Verdict, s.Backend,
			100*math.Abs(s.Error), way)
	case s.Age < 0:
		return fmt.Sprintf("%s: the signal of %s is missing", s.Verdict, s.Backend)
	}
	return fmt.Sprintf("%s: the signal of %s is %s old", s.Verdict, s.Backend,
		s.Age.Round(time.Second))
}

// member is one backend with a weight during a step.
type member struct {
	backend             string
	share, weight, goal float64 // parts of 1
	signal              float64
	err                 float64
}

// Loop makes one step from in.Current. It is pure, and the same on every node. The next shares
// add up to 1. A backend of weight 0 gets 0, and the weights take effect when there is nothing
// else to go by.
func Loop(c LoopConfig, in LoopInput) LoopStep {
	list, drained := members(in)
	if len(list) == 0 {
		return LoopStep{Verdict: Frozen}
	}
	step := c.step(list, in)
	step.Next = make(Split, len(list)+len(drained))
	for _, m := range list {
		step.Next[m.backend] = m.share
	}
	for _, b := range drained {
		step.Next[b] = 0
	}
	return step
}

// step moves the shares in list, of which there is one at least. Next is left to the caller.
func (c LoopConfig) step(list []member, in LoopInput) LoopStep {
	tracking := in.Goal != nil
	if !normal(list, func(m *member) *float64 { return &m.share }) {
		for i := range list {
			list[i].share = list[i].weight
		}
		return LoopStep{Verdict: Decayed}
	}
	if tracking && !normal(list, func(m *member) *float64 { return &m.goal }) {
		return LoopStep{Verdict: Frozen}
	}
	since := max(0, min(in.Since, c.Interval))
	if backend, age := stalest(list, in.Signals); age < 0 || age > c.Fresh {
		step := LoopStep{Backend: backend, Age: age}
		step.Verdict, step.Blind = c.blind(list, age, in.Blind, since)
		return step
	}
	floor := c.floor(list, tracking)
	worst := list[findErrors(list, tracking, floor)]
	step := LoopStep{Verdict: Moved, Backend: worst.backend, Error: worst.err}
	part := c.Gain * since.Seconds() / c.Interval.Seconds()
	switch {
	case since == 0:
		step.Verdict = Waiting
	case math.Abs(worst.err) <= c.DeadBand:
		if !lift(list, tracking, floor) { // else a backend came back and starts from 0
			step.Verdict = Settled
		}
	default:
		if c.move(list, since, func(m member) float64 { return part * m.err }) {
			step.Verdict = Limited
		}
		lift(list, tracking, floor)
	}
	return step
}

// blind is a step without a signal, or with one of an age that is stale: it lets the shares be,
// and when that has lasted for Hold, decay to the weights.
func (c LoopConfig) blind(list []member, age, before, since time.Duration) (Verdict,
	time.Duration) {
	blind, lasted := time.Duration(0), age-c.Fresh
	if age < 0 {
		blind = before + since
		lasted = blind
	}
	if lasted <= c.Hold {
		return Frozen, blind
	}
	part := 1 - math.Exp(-since.Seconds()/c.Decay.Seconds())
	c.move(list, since, func(m member) float64 { return part * (m.weight - m.share) })
	return Decayed, blind
}

// members lists the backends with a weight, in order, and those without.
func members(in LoopInput) (list []member, drained []string) {
	list = make([]member, 0, len(in.Weights))
	for b, w := range in.Weights {
		if !(w > 0) || math.IsInf(w, 0) {
			drained = append(drained, b)
			continue
		}
		list = append(list, member{
			backend: b, weight: w, share: in.Current[b], goal: in.Goal[b],
			signal: in.Signals[b].Value,
		})
	}
	// Sums are then the same on every node.
	slices.SortFunc(list, func(a, b member) int { return strings.Compare(a.backend, b.backend) })
	normal(list, func(m *member) *float64 { return &m.weight })
	return list, drained
}

// normal makes one field of all members add up to 1, and returns false when it is 0 for all.
// What is below 0, or no number, is 0.
func normal(list []member, field func(*member) *float64) bool {
	sum := 0.0
	for i := range list {
		v := field(&list[i])
		if !(*v > 0) || math.IsInf(*v, 0) {
			*v = 0
		}
		sum += *v
	}
	if sum <= 0 {
		return false
	}
	for i := range list {
		*field(&list[i]) /= sum
	}
	return true
}

// stalest finds the oldest signal; its age is below 0 when one is missing or no number.
func stalest(list []member, signals map[string]Signal) (backend string, age time.Duration) {
	for _, m := range list {
		s, found := signals[m.backend]
		if !found || !(s.Value >= 0) || math.IsInf(s.Value, 0) || s.Age < 0 {
			return m.backend, -1
		}
		if backend == "" || s.Age > age {
			backend, age = m.backend, s.Age
		}
	}
	return backend, age
}

// findErrors says how much each backend should gain, and returns the index of the largest
// error. The errors add up to 0. With a goal they are what the measured traffic lacks of it.
// Without one, backends whose signal is above the mean lose in proportion to their share, and
// those below it gain: that is the same for a backend alone and for two halves of it. Backends
// that should lose and are at the floor already are left out, and with them what they have: else
// the others would be told for ever to gain what nobody can give.
func findErrors(list []member, tracking bool, floor float64) (worst int) {
	open := make([]*member, len(list))
	for i := range list {
		open[i] = &list[i]
	}
	for {
		errorsOf(open, tracking)
		before := len(open)
		open = slices.DeleteFunc(open, func(m *member) bool {
			if m.err >= 0 || floor == 0 || m.share > floor*(1+1e-9) || tracking && m.goal == 0 {
				return false
			}
			m.err = 0
			return true
		})
		if len(open) == before {
			break
		}
	}
	for i := range list {
		if math.Abs(list[i].err) > math.Abs(list[worst].err)+1e-12 { // of equals the first
			worst = i
		}
	}
	return worst
}

// errorsOf fills in the errors of backends that divide what they have among themselves.
func errorsOf(open []*member, tracking bool) {
	shares, goals, signals, mean := 0.0, 0.0, 0.0, 0.0
	for _, m := range open {
		m.err = 0
		shares, goals, signals = shares+m.share, goals+m.goal, signals+m.signal
		mean += m.share * m.signal
	}
	for _, m := range open {
		switch {
		case tracking && signals > 0 && goals > 0: // no traffic at all is no error
			m.err = shares * (m.goal/goals - m.signal/signals)
		case !tracking && mean > 0:
			m.err = m.share * (1 - m.signal*shares/mean)
		}
	}
}

// move moves every share, and all moves in proportion when together they are more than the
// rate allows, so that the direction stays. It reports whether it had to.
func (c LoopConfig) move(list []member, since time.Duration, by func(member) float64) bool {
	moved := 0.0
	for _, m := range list {
		moved += max(0, by(m))
	}
	part, most := 1.0, c.Rate*since.Minutes()
	if moved > most {
		part = most / moved
	}
	for i := range list {
		list[i].share = max(0, list[i].share+part*by(list[i]))
	}
	normal(list, func(m *member) *float64 { return &m.share })
	return part < 1
}

// floor returns the least share of this step: with many backends their floors together are half
// of everything at most. Goals above 0 are lifted to it, as no share would follow one below.
func (c LoopConfig) floor(list []member, tracking bool) float64 {
	least := min(c.Floor, 0.5/float64(len(list)))
	if tracking {
		fill(list, least, func(m *member) *float64 { return &m.goal },
			func(m *member) bool { return m.goal > 0 })
	}
	return least
}

// lift lifts backends to the floor, and ends the way down of those whose goal is 0. It reports
// whether one was below.
func lift(list []member, tracking bool, floor float64) (lifted bool) {
	const nothing = 0.001
	for i := range list {
		m := &list[i]
		if tracking && m.goal == 0 {
			if m.share < nothing {
				m.share = 0
			}
			continue
		}
		lifted = lifted || m.share < floor*(1-1e-9)
	}
	share := func(m *member) *float64 { return &m.share }
	if !fill(list, floor, share, func(m *member) bool { return !tracking || m.goal > 0 }) {
		normal(list, share)
	}
	return lifted
}

// fill gives those that count least of a field exactly that, and takes it from all others in
// proportion; at most half of the whole goes to the least. It reports whether it had to.
func fill(list []member, least float64, field func(*member) *float64,
	counts func(*member) bool) (filled bool) {
	low := make([]bool, len(list))
	for {
		found, taken, rest := false, 0.0, 0.0
		for i := range list {
			v := *field(&list[i])
			if counts(&list[i]) && v < least*(1-1e-12) {
				low[i], found = true, true
			}
			if low[i] {
				taken += least
			} else {
				rest += v
			}
		}
		if !found {
			return filled
		}
		filled = true
		for i := range list {
			if low[i] {
				*field(&list[i]) = least
			} else {
				*field(&list[i]) *= (1 - taken) / rest
			}
		}
	}
}
