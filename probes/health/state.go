package health

import (
	"fmt"
	"time"

	"pointsman/probes"
)

// latencyWeight is the weight of a new sample in the smoothed latency: a step is followed to
// 90 % within ten samples.
const latencyWeight = 0.2

// Record is all that is remembered of one target. The zero value is a target never measured.
type Record struct {
	State  State // empty: Unknown
	Since  time.Time
	Reason string
	// Successes and Failures are how many of them in a row ended the history; one is 0.
	Successes, Failures int
	Counter             int // the leaky counter of Rules.CounterDown
	// Falls is how often the target fell, each time within RelapseWindow of its return.
	Falls     int
	HeldUntil time.Time // no return before; zero: not held
	Returned  time.Time // when it last went from Unhealthy to usable
	Last      probes.Sample
	Latency   time.Duration
	Slow      bool      // Latency is above DegradedAbove, with hysteresis
	CertEnds  time.Time // of the newest sample with a certificate
	// drill is what drills did, and no part of the target's own history: a drill measures the
	// way out and back, not the penalty of those that flap, and leaves none behind.
	drill drilled
}

// drilled is the state machine of drilled samples beside that of the real ones.
type drilled struct {
	failures  int    // without a real success between them
	out       bool   // they made the target fall; Rise real successes in a row end it
	successes int    // real ones in a row since the last failure
	reason    string // why it is out
}

// Verdict returns how the target stands, and why: the zero value is Unknown, and one that a
// drill made fall is Unhealthy, whatever State says of its own history.
func (s Record) Verdict() (State, string) {
	switch {
	case s.State == "":
		return Unknown, s.Reason
	case s.drill.out && s.State != Unhealthy:
		return Unhealthy, s.drill.reason
	default:
		return s.State, s.Reason
	}
}

// Step is the state machine of one target: what is remembered after one more sample. It is
// pure; its clock is the samples' Start. All rise, fall, counting and holding is here.
func Step(r Rules, s Record, sample probes.Sample) Record {
	r = r.orDefaults()
	if s.State == "" {
		s.State = Unknown
	}
	s.Last = sample
	s.drill = s.drill.step(r, sample)
	if !sample.CertExpires.IsZero() {
		s.CertEnds = sample.CertExpires
	}
	switch {
	case sample.OK():
		s = s.succeed(r, sample)
	case sample.Outcome != probes.FailedDrill:
		s = s.fail(r, sample)
	}
	if s.Since.IsZero() {
		s.Since = sample.Start
	}
	return s
}

// step follows drilled samples out, and real ones back.
func (d drilled) step(r Rules, sample probes.Sample) drilled {
	switch {
	case sample.Outcome == probes.FailedDrill:
		d.failures, d.successes = d.failures+1, 0
		d.out = d.out || d.failures >= r.Fall
		d.reason = fmt.Sprintf("%s: %s", inARow(d.failures), why(sample))
	case sample.OK() && d.successes+1 >= r.Rise:
		return drilled{}
	case sample.OK():
		d.failures, d.successes = 0, d.successes+1
		d.reason = risen(d.successes, r)
	default:
		d.successes = 0
		d.reason = fmt.Sprintf("out since a drill, and still failing: %s", why(sample))
	}
	return d
}

// succeed counts a success.
func (s Record) succeed(r Rules, sample probes.Sample) Record {
	s.Successes, s.Failures = s.Successes+1, 0
	if s.Successes >= r.ClearAfter {
		s.Counter = 0
	}
	s = s.smooth(r, sample.Phases.Total)
	switch {
	case s.State == Unhealthy:
		return s.tryReturn(r, sample.Start)
	case s.State == Unknown && s.Successes < r.Rise:
		s.Reason = fmt.Sprintf("%d of %d successes that are needed", s.Successes, r.Rise)
		return s
	default:
		return s.usable(r, sample.Start)
	}
}

// smooth folds a latency into the average.
func (s Record) smooth(r Rules, d time.Duration) Record {
	if s.Latency == 0 {
		s.Latency = d
	} else {
		s.Latency += time.Duration(latencyWeight * float64(d-s.Latency))
	}
	if s.Slow {
		s.Slow = r.DegradedAbove > 0 && s.Latency > r.DegradedAbove*4/5
	} else {
		s.Slow = r.DegradedAbove > 0 && s.Latency > r.DegradedAbove
	}
	return s
}

// tryReturn makes an Unhealthy target usable when nothing keeps it out any more.
func (s Record) tryReturn(r Rules, now time.Time) Record {
	relapsed := s.Falls > 1
	switch {
	case s.Successes < r.Rise:
		s.Reason = risen(s.Successes, r)
		return s
	case relapsed && now.Before(s.HeldUntil):
		s.Reason = fmt.Sprintf("held down until %s: fell %d times",
			s.HeldUntil.UTC().Format(time.TimeOnly), s.Falls)
		return s
	case relapsed && s.Counter >= r.half():
		s.Reason = fmt.Sprintf("%d of %d successes in a row that clear its failures",
			s.Successes, r.ClearAfter)
		return s
	}
	// Falls remembers the outage, so a first return begins with a clean counter: one more
	// failure must not throw a restarted backend out again.
	s.Counter, s.HeldUntil, s.Returned = 0, time.Time{}, now
	return s.usable(r, now)
}

// usable decides between Healthy and Degraded.
func (s Record) usable(r Rules, now time.Time) Record {
	left := s.CertEnds.Sub(now)
	switch {
	case s.Counter >= r.half():
		return s.become(Degraded, now, fmt.Sprintf("%d failures without %d successes in a row",
			s.Counter, r.ClearAfter))
	case s.Slow:
		return s.become(Degraded, now, fmt.Sprintf("slow: %v, want at most %v",
			s.Latency.Round(time.Millisecond), r.DegradedAbove))
	case !s.CertEnds.IsZero() && left < r.CertWarn:
		return s.become(Degraded, now, fmt.Sprintf("certificate ends in %.1f days",
			left.Hours()/24))
	default:
		return s.become(Healthy, now, fmt.Sprintf("%d successes in a row", s.Successes))
	}
}

// fail counts a failure.
func (s Record) fail(r Rules, sample probes.Sample) Record {
	s.Successes, s.Failures = 0, s.Failures+1
	s.Counter = min(s.Counter+1, r.CounterDown)
	why := why(sample)
	switch {
	case s.State == Unhealthy:
		if s.Failures >= r.Fall {
			s = s.hold(r, sample.Start)
		}
		s.Reason = fmt.Sprintf("%s: %s", inARow(s.Failures), why)
		return s
	case s.Failures >= r.Fall:
		return s.fall(r, sample.Start, 1, fmt.Sprintf("%s: %s", inARow(s.Failures), why))
	case s.Counter >= r.CounterDown:
		return s.fall(r, sample.Start, 2, fmt.Sprintf(
			"%d failures without %d successes in a row: %s", s.Counter, r.ClearAfter, why))
	case s.State == Unknown:
		s.Reason = fmt.Sprintf("%s of %d: %s", inARow(s.Failures), r.Fall, why)
		return s
	case s.Counter >= r.half():
		return s.usable(r, sample.Start)
	default:
		return s
	}
}

// fall makes the target Unhealthy and holds it when this is a relapse. Least is what Falls
// must be at least.
func (s Record) fall(r Rules, now time.Time, least int, reason string) Record {
	if s.Returned.IsZero() || now.Sub(s.Returned) > r.RelapseWindow {
		s.Falls = 0
	}
	s.Falls = max(s.Falls+1, least)
	return s.hold(r, now).become(Unhealthy, now, reason)
}

// hold begins the hold-down anew.
func (s Record) hold(r Rules, now time.Time) Record {
	if d := r.holdDown(s.Falls); d > 0 {
		s.HeldUntil = now.Add(d)
	}
	return s
}

// become sets state and reason; Since only when the state is another.
func (s Record) become(state State, now time.Time, reason string) Record {
	if s.State != state {
		s.State, s.Since = state, now
	}
	s.Reason = reason
	return s
}

// half is the counter from which a target is Degraded.
func (r Rules) half() int { return (r.CounterDown + 1) / 2 }

// why says what was wrong with a sample.
func why(sample probes.Sample) string {
	if sample.Detail == "" {
		return string(sample.Outcome)
	}
	return sample.Detail
}

// risen tells how far a target is on its way back.
func risen(successes int, r Rules) string {
	return fmt.Sprintf("%d of %d successes that are needed to come back", successes, r.Rise)
}

func inARow(n int) string {
	if n == 1 {
		return "1 failure"
	}
	return fmt.Sprintf("%d failures in a row", n)
}
