package health

import (
	"fmt"
	"time"
)

// Decide makes one state of all vantages' votes on a backend. It is pure.
//
// A vote older than maxAge (0: no limit), and one that says Unknown, leaves the count. More
// than half of the rest decide between usable and Unhealthy, and in the same way between
// Healthy and Degraded; a tie keeps prev. A vote that is alone decides. Without any vote prev
// stays: missing eyes change nothing.
func Decide(
	own Vote, others []Vote, prev State, now time.Time, maxAge time.Duration,
) (State, string) {
	if prev == "" {
		prev = Unknown
	}
	votes := counting(own, others, now, maxAge)
	switch {
	case len(votes) == 0:
		return prev, silence(own, prev, now)
	case len(votes) == 1 && votes[0] == own:
		return own.State, own.Reason
	case len(votes) == 1:
		return votes[0].State, fmt.Sprintf("vantage %s alone: %s",
			votes[0].Vantage, votes[0].Reason)
	default:
		return majority(votes, prev)
	}
}

// counting returns the votes that count, the own one first.
func counting(own Vote, others []Vote, now time.Time, maxAge time.Duration) []Vote {
	out := make([]Vote, 0, 1+len(others))
	for i := -1; i < len(others); i++ {
		v := own
		if i >= 0 {
			v = others[i]
		}
		fresh := maxAge <= 0 || now.Sub(v.At) <= maxAge
		if fresh && v.State.known() && v.State != Unknown {
			out = append(out, v)
		}
	}
	return out
}

// silence says why a state was kept that nobody votes on.
func silence(own Vote, prev State, now time.Time) string {
	switch {
	case own.State == "" || own.At.IsZero():
		return "not measured yet"
	case own.State == Unknown:
		return own.Reason
	default:
		return fmt.Sprintf("kept %s: no sample for %v", prev,
			now.Sub(own.At).Round(time.Second))
	}
}

// majority decides among two votes or more. The first is the own one, if that counts.
func majority(votes []Vote, prev State) (State, string) {
	down, degraded := 0, 0
	for _, v := range votes {
		switch v.State {
		case Unhealthy:
			down++
		case Degraded:
			degraded++
		}
	}
	n, usable := len(votes), len(votes)-down
	switch {
	case 2*down > n:
		return Unhealthy, tally(votes, down, Unhealthy)
	case 2*down == n && prev != Unknown:
		return prev, fmt.Sprintf("kept %s: %d of %d vantages say unhealthy", prev, down, n)
	case 2*down == n:
		return votes[0].State, tally(votes, down, Unhealthy)
	case 2*degraded > usable, 2*degraded == usable && prev == Degraded:
		return Degraded, tally(votes, degraded, Degraded)
	case 2*degraded == usable && prev != Healthy && votes[0].State == Degraded:
		return Degraded, tally(votes, degraded, Degraded)
	default:
		return Healthy, tally(votes, usable-degraded, Healthy)
	}
}

// tally says how many vantages hold a state, and the reason that the first of them gives.
func tally(votes []Vote, n int, state State) string {
	for _, v := range votes {
		if v.State == state {
			return fmt.Sprintf("%d of %d vantages say %s: %s", n, len(votes), state, v.Reason)
		}
	}
	return fmt.Sprintf("no vantage of %d says %s", len(votes), state)
}
