package control

import (
	"fmt"
	"math"
	"time"
)

// Plant is what the stability of a slow loop depends on besides its gain.
type Plant struct {
	TTL time.Duration // of the answers in force: 1 s to 1 h
	// Delay is from an event to the step that sees it: half of the averaging window, plus
	// what reporting takes.
	Delay    time.Duration
	Interval time.Duration // between steps
	// Slope is the most that an error answers to a change of a share. With a goal it is 1
	// (a point of answers becomes a point of traffic). Without one it is the signal's
	// elasticity: by how many percent it rises when a backend's load rises by one. A queue at
	// ρ of its capacity has ρ/(1−ρ), which is 4 at 80 %.
	Slope float64
}

// The clients' tail. Of Bing's users with a TTL of 20 s, 90 % had left an answer after 60 s, and
// 2 % were still there after 15 minutes (Flavel, Mani, Maltz: Re-evaluating the responsiveness
// of DNS-based network control, 2014).
const (
	tailPart  = 0.1
	tailStart = 40 * time.Second // after the TTL; until there the rest leaves evenly
	// tailMean makes 2 % of all that are left 840 s after the tail began: 840 s / ln 5.
	tailMean = 522 * time.Second
)

// Residual returns the part of the clients who still use an answer a time after it changed.
func Residual(ttl, after time.Duration) float64 {
	end := ttl + tailStart
	switch {
	case after <= 0:
		return 1
	case after >= end:
		return tailPart * math.Exp(-(after-end).Seconds()/tailMean.Seconds())
	}
	return 1 - (1-tailPart)*after.Seconds()/end.Seconds()
}

// ClientLag returns how long a client keeps an answer on average after it changed: the area
// under Residual.
func ClientLag(ttl time.Duration) time.Duration {
	end := ttl + tailStart
	return time.Duration((1-tailPart)*float64(end)/2 + tailPart*float64(end+tailMean))
}

// margin is how much of the bound on stability is used. A loop with a pure delay does not
// overshoot at all up to 1/e of it; steps and several backends take a little of that.
const margin = 0.3

// LargestGain returns the largest gain that Certify accepts, at most 1.
//
// The loop is an integrator, u ← u − K·Σ h(j)·u(k−j), with K = gain × slope and h the part of
// the answer that arrives after j steps: nothing negative, and 1 in all. It could only begin
// to oscillate with a root on the unit circle, e^{iω}. Then 2·sin(ω/2) = K·Σ h(j)·sin(ω(j+½)),
// and since |sin(nx)| ≤ n·|sin x| for whole n, the right side is at most K·(2m+1)·sin(ω/2),
// where m = Σ j·h(j) is the mean lag in steps. So K·(m + ½) < 1 is stable for every h with that
// mean: for every shape of the clients' tail, whatever TTL resolvers make of ours. The same
// inequality is the circle criterion for the loop, Re G(e^{iω}) ≥ −(m + ½), and so covers a
// dead band, a rate limit, and a slope that varies anywhere between 0 and Slope.
func (p Plant) LargestGain() float64 {
	return min(1, margin/(p.Slope*(p.lag()+0.5)))
}

// lag is the mean of clients and measuring, in steps. A lag of up to a step is j = 0: the next
// step sees it. So the mean of j is below this.
func (p Plant) lag() float64 {
	return (ClientLag(p.TTL) + p.Delay).Seconds() / p.Interval.Seconds()
}

// Validate returns what is wrong with a plant.
func (p Plant) Validate() error {
	switch {
	case p.TTL < time.Second || p.TTL > time.Hour:
		return fmt.Errorf("the TTL is %s, not 1 s to 1 h", p.TTL)
	case p.Delay < 0 || p.Delay > time.Hour:
		return fmt.Errorf("the measuring delay is %s, not 0 to 1 h", p.Delay)
	case p.Interval <= 0 || p.Interval > time.Hour:
		return fmt.Errorf("the interval is %s, not above 0 and at most 1 h", p.Interval)
	case !(p.Slope > 0 && p.Slope <= 1_000):
		return fmt.Errorf("the slope is %v, not above 0 and at most 1,000", p.Slope)
	}
	return nil
}

// UnstableError refuses a gain with which shares could swing.
type UnstableError struct {
	Gain, Largest float64 // Largest is the largest that would be accepted
	Plant         Plant
}

func (e *UnstableError) Error() string {
	return fmt.Sprintf("a gain of %.3g can oscillate with a TTL of %s, a measuring delay of %s, "+
		"steps of %s and a slope of %.3g: use at most %.3g",
		e.Gain, e.Plant.TTL, e.Plant.Delay, e.Plant.Interval, e.Plant.Slope, e.Largest)
}

// Certify returns nil when a loop with that gain cannot oscillate on the plant, whatever the
// shape of the lag, and an *UnstableError when it could. The check is conservative: it refuses
// gains that would do.
func Certify(gain float64, p Plant) error {
	if err := p.Validate(); err != nil {
		return fmt.Errorf("certifying a gain: %w", err)
	}
	largest := p.LargestGain()
	if !(gain > 0 && gain <= largest) {
		// Rounded down, so that the figure that is shown is accepted when it is used.
		scale := math.Pow(10, 2-math.Floor(math.Log10(largest)))
		return &UnstableError{gain, math.Floor(largest*scale) / scale, p}
	}
	return nil
}
