package control_test

import (
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"pointsman/steering/control"
)

// lagged is the traffic that answers become: each client leaves an answer by Residual, and a
// step sees the traffic of a delay ago.
type lagged struct {
	first, last, tail float64 // weights of the kernel's single buckets, and of the tail's first
	middle, decay     float64 // weight of each bucket between; what the tail keeps each step
	j0, j1            int     // buckets of first and last
	sums              []float64
	shares            []float64
	rest              float64 // the tail's sum
}

func newLagged(p control.Plant, share float64, steps int) *lagged {
	end := p.TTL + 40*time.Second
	left := func(j int) float64 { return control.Residual(p.TTL, time.Duration(j)*p.Interval-p.Delay) }
	weight := func(j int) float64 { return left(j) - left(j+1) }
	l := &lagged{j0: int(p.Delay / p.Interval), j1: int((p.Delay + end) / p.Interval)}
	l.first, l.last, l.tail = weight(l.j0), weight(l.j1), left(l.j1+1)
	if l.j1 == l.j0 {
		l.last = 0
	}
	l.middle = 0.9 * p.Interval.Seconds() / end.Seconds()
	l.decay = left(l.j1+2) / left(l.j1+1)
	l.sums = make([]float64, 1, l.j1+steps+3)
	for range l.j1 + 2 { // it was so for ever
		l.add(share)
	}
	l.rest = share * l.tail
	return l
}

func (l *lagged) add(share float64) {
	l.shares = append(l.shares, share)
	l.sums = append(l.sums, l.sums[len(l.sums)-1]+share)
}

// seen is what the next step sees; call it once for each step.
func (l *lagged) seen() float64 {
	k := len(l.shares) - 1
	l.rest = l.decay*l.rest + (1-l.decay)*l.tail*l.shares[k-l.j1-1]
	out := l.first*l.shares[k-l.j0] + l.last*l.shares[k-l.j1] + l.rest
	if l.j1 > l.j0 {
		out += l.middle * (l.sums[k-l.j0] - l.sums[k-l.j1+1])
	}
	return out
}

// plantWorld is a set of backends whose latency rises with their load: base·(1 + a·load^p),
// whose elasticity is below p everywhere.
type plantWorld struct {
	plant    control.Plant
	config   control.LoopConfig
	names    []string
	base, a  []float64
	start    control.Split
	weights  control.Split
	change   int     // which backend's latency changes half way
	factor   float64 // by how much
	exponent float64
}

func newPlantWorld(r *rand.Rand) plantWorld {
	between := func(low, high float64) float64 { return low + (high-low)*r.Float64() }
	seconds := func(low, high int) time.Duration {
		return time.Duration(low+r.IntN(high-low+1)) * time.Second
	}
	w := plantWorld{exponent: between(0.5, 4), factor: between(0.6, 1.7)}
	w.plant = control.Plant{TTL: seconds(5, 300), Delay: seconds(1, 60), Interval: seconds(15, 90),
		Slope: w.exponent}
	w.start, w.weights = control.Split{}, control.Split{}
	for i := range 2 + r.IntN(3) {
		name := fmt.Sprint("b", i)
		w.names = append(w.names, name)
		w.base = append(w.base, between(20, 60))
		w.a = append(w.a, math.Exp(between(-1, 4)))
		w.start[name], w.weights[name] = between(0.1, 1), 1
	}
	w.start = w.start.Normal()
	w.change = r.IntN(len(w.names))
	w.config = control.LoopConfig{
		DeadBand: 0.005, Rate: between(0.02, 0.6), Interval: w.plant.Interval, Fresh: time.Hour,
		Decay: time.Hour, Floor: 0.02,
	}
	return w
}

// path runs a world and returns the shares after each step.
func (w plantWorld) path(gain float64, steps int, lag bool) [][]float64 {
	w.config.Gain = gain
	shares := w.start
	traffic := make([]*lagged, len(w.names))
	for i, b := range w.names {
		traffic[i] = newLagged(w.plant, shares[b], steps)
	}
	out := make([][]float64, steps)
	still, enough := 0, w.steps()/10
	signals := make(map[string]control.Signal, len(w.names))
	for k := range steps {
		if k == steps/2 {
			still = 0
		}
		if still > enough { // settled for so long that it stays so
			out[k] = out[k-1]
			for _, l := range traffic {
				l.add(l.shares[len(l.shares)-1])
				l.seen()
			}
			continue
		}
		for i, b := range w.names {
			base := w.base[i]
			if i == w.change && k >= steps/2 {
				base *= w.factor
			}
			load := shares[b]
			if lag {
				load = traffic[i].seen()
			}
			signals[b] = control.Signal{Value: base * (1 + w.a[i]*math.Pow(load, w.exponent))}
		}
		step := control.Loop(w.config, control.LoopInput{Current: shares, Weights: w.weights,
			Signals: signals, Since: w.plant.Interval})
		if shares = step.Next; step.Verdict != control.Settled {
			still = -1
		}
		still++
		out[k] = make([]float64, len(w.names))
		for i, b := range w.names {
			traffic[i].add(shares[b])
			out[k][i] = shares[b]
		}
	}
	return out
}

// swing is the largest distance between a share's highest and lowest value in a path.
func swing(path [][]float64) float64 {
	most := 0.0
	for i := range path[0] {
		low, high := math.Inf(1), math.Inf(-1)
		for _, at := range path {
			low, high = min(low, at[i]), max(high, at[i])
		}
		most = max(most, high-low)
	}
	return most
}

// turns counts how often a share turns back by more than a point.
func turns(path [][]float64) int {
	most := 0
	for i := range path[0] {
		n, up := 0, 0
		low, high := path[0][i], path[0][i]
		for _, at := range path {
			low, high = min(low, at[i]), max(high, at[i])
			switch {
			case up <= 0 && at[i] > low+0.01:
				n, up, high = n+1, 1, at[i]
			case up >= 0 && at[i] < high-0.01:
				n, up, low = n+1, -1, at[i]
			}
		}
		most = max(most, n)
	}
	return most
}

// overshoot is how far a share goes past where it ends, on the side away from its start.
func overshoot(path [][]float64, start []float64) float64 {
	most := 0.0
	for i, end := range path[len(path)-1] {
		for _, at := range path {
			if end >= start[i] {
				most = max(most, at[i]-end)
			}
			if end <= start[i] {
				most = max(most, end-at[i])
			}
		}
	}
	return most
}

// steps is long enough for an accepted gain to settle.
func (w plantWorld) steps() int {
	lag := (control.ClientLag(w.plant.TTL) + w.plant.Delay).Seconds() / w.plant.Interval.Seconds()
	return 2 * int(30+16*lag)
}

// verdict sums up worlds.
type verdict struct {
	steps, cycles     int
	curved            int     // worlds in which a share goes over 5 points past its end
	overshoot, curves float64 // by the lag, and in all
}

func (v *verdict) judge(t *testing.T, r *rand.Rand) {
	w := newPlantWorld(r)
	gain := w.plant.LargestGain() * (0.3 + 0.7*r.Float64())
	if err := control.Certify(gain, w.plant); err != nil {
		t.Fatal(err)
	}
	path := w.path(gain, w.steps(), true)
	half := len(path) / 2
	v.steps += len(path)
	if n := turns(path[half:]); n > 3 {
		v.cycles++
		t.Errorf("%d turns in %+v", n, w)
	}
	start := make([]float64, len(w.names))
	for i, b := range w.names {
		start[i] = w.start[b]
	}
	over := func(path [][]float64) float64 {
		return max(overshoot(path[:half], start), overshoot(path[half:], path[half-1]))
	}
	raw := over(path)
	v.curves = max(v.curves, raw)
	if raw > 0.05 {
		v.curved++
	}
	if raw > 0.01 && len(w.names) > 2 {
		// Three backends and more also go past their ends without any lag: one that is better
		// than the worst gains until the best has taken that over.
		raw -= over(w.path(gain, w.steps(), false))
	}
	v.overshoot = max(v.overshoot, raw)
	if raw > 0.05 {
		t.Errorf("overshoot of %.1f points in %+v", 100*raw, w)
	}
}

func TestAcceptedGainsNeitherCycleNorOvershoot(t *testing.T) {
	const parts, worlds = 4, 10_000 / shorter
	for part := range parts {
		t.Run(fmt.Sprint("part ", part+1), func(t *testing.T) {
			t.Parallel()
			r := rand.New(rand.NewPCG(300, uint64(part)))
			var v verdict
			for range worlds / parts {
				if v.judge(t, r); t.Failed() {
					break
				}
			}
			t.Logf("%d worlds, %d steps: %d cycles, overshoot by lag at most %.1f points "+
				"(%d worlds with 3 or 4 backends curve, by up to %.1f)", worlds/parts, v.steps,
				v.cycles, 100*v.overshoot, v.curved, 100*v.curves)
		})
	}
}

func TestTrackingAGoalDoesNotOvershoot(t *testing.T) {
	const worlds = 1_000 / shorter
	r := rand.New(rand.NewPCG(17, 4))
	answers, traffic := 0.0, 0.0
	for i := range worlds {
		w := newPlantWorld(r)
		pull, low, high := make([]float64, len(w.names)), 2.0, 0.0
		var goals [2]control.Split
		for n := range goals {
			goals[n] = control.Split{}
			for j, b := range w.names {
				goals[n][b] = 0.05 + r.Float64()
				pull[j] = 0.7 + 0.7*r.Float64() // traffic of an answer, relative to others'
				low, high = min(low, pull[j]), max(high, pull[j])
			}
			goals[n] = goals[n].Normal()
		}
		w.plant.Slope = high / low
		w.config.Gain = w.plant.LargestGain()
		steps := w.steps()
		shares := w.start
		lags := make([]*lagged, len(w.names))
		for j, b := range w.names {
			lags[j] = newLagged(w.plant, shares[b], steps)
		}
		var given, got [][]float64
		for k := range steps {
			signals, sum := make(map[string]control.Signal), 0.0
			for j, b := range w.names {
				v := lags[j].seen() * pull[j]
				signals[b] = control.Signal{Value: v}
				sum += v
			}
			shares = control.Loop(w.config, control.LoopInput{Current: shares, Weights: w.weights,
				Goal: goals[2*k/steps], Signals: signals, Since: w.plant.Interval}).Next
			given, got = append(given, nil), append(got, nil)
			for j, b := range w.names {
				lags[j].add(shares[b])
				given[k], got[k] = append(given[k], shares[b]), append(got[k], signals[b].Value/sum)
			}
		}
		half := steps / 2
		if n := turns(got[half:]); n > 3 {
			t.Errorf("world %d: the traffic turns %d times", i, n)
		}
		for _, part := range [][2]int{{0, half}, {half, steps}} {
			a, b := given[part[0]:part[1]], got[part[0]:part[1]]
			answers = max(answers, overshoot(a, a[0]))
			traffic = max(traffic, overshoot(b, b[0]))
		}
	}
	t.Logf("%d worlds: overshoot of the traffic at most %.1f points, of the answers %.1f", worlds,
		100*traffic, 100*answers)
	if traffic > 0.05 {
		t.Error("the traffic overshoots by more than 5 points")
	}
}

func TestGainsFarAboveTheBoundOscillate(t *testing.T) {
	const worlds = 200 / min(shorter, 4)
	r := rand.New(rand.NewPCG(7, 7))
	for _, factor := range []float64{1, 10, 30, 100} {
		cycling := 0
		for range worlds {
			w := newPlantWorld(r)
			w.config.DeadBand, w.config.Rate = 0.005, 10
			path := w.path(min(1, w.plant.LargestGain()*factor), w.steps(), true)
			last := path[3*len(path)/4:]
			if turns(last) > 3 && swing(last) > 0.05 {
				cycling++
			}
		}
		t.Logf("%v times the largest gain: %d of %d worlds cycle", factor, cycling, worlds)
		if factor == 1 && cycling > 0 || factor == 100 && cycling < worlds/4 {
			t.Errorf("%d of %d worlds cycle at %v times the largest gain", cycling, worlds, factor)
		}
	}
}

// decays says whether u ← u − k·Σ h(j)·u(j steps ago) dies out.
func decays(h []float64, k float64) bool {
	const steps = 6_000
	u := make([]float64, 1, steps)
	u[0] = 1
	early, late := 0.0, 0.0
	for n := range steps {
		next := u[n]
		for j := range min(len(h), n+1) {
			next -= k * h[j] * u[n-j]
		}
		u = append(u, next)
		switch {
		case n >= 50 && n < 1_000:
			early = max(early, math.Abs(next))
		case n >= steps-1_000:
			late = max(late, math.Abs(next))
		}
	}
	return late < early
}

func TestTheBoundHoldsForEveryShapeOfLagAndIsTightForAPureDelay(t *testing.T) {
	r := rand.New(rand.NewPCG(2, 1))
	for range 200 {
		h := make([]float64, 1+r.IntN(30))
		sum, mean := 0.0, 0.0
		for j := range h {
			h[j] = math.Pow(r.Float64(), 8) // a few large, many small
			sum += h[j]
		}
		for j := range h {
			h[j] /= sum
			mean += float64(j) * h[j]
		}
		if !decays(h, 0.99/(mean+0.5)) {
			t.Fatalf("a gain below the bound does not decay with the lag %v", h)
		}
	}
	for _, d := range []int{0, 1, 3, 10, 30} {
		h := make([]float64, d+1)
		h[d] = 1
		limit := 2 * math.Sin(math.Pi/(2*(2*float64(d)+1))) // exact
		if bound := 1 / (float64(d) + 0.5); bound > limit || bound < limit/(math.Pi/2)-1e-9 {
			t.Errorf("with a delay of %d the bound is %v, the limit %v", d, bound, limit)
		}
		if !decays(h, 0.99*limit) || decays(h, 1.05*limit) {
			t.Errorf("with a delay of %d the limit is not where it should be", d)
		}
	}
}

func TestARefusalNamesTheLargestGainThatIsSafe(t *testing.T) {
	p := control.Plant{TTL: 30 * time.Second, Delay: 12 * time.Second, Interval: 10 * time.Second,
		Slope: 2}
	err := control.Certify(0.5, p)
	var refused *control.UnstableError
	if !errors.As(err, &refused) {
		t.Fatalf("got %v", err)
	}
	if refused.Largest < 0.9*p.LargestGain() || control.Certify(refused.Largest, p) != nil {
		t.Errorf("the largest is %v of %v", refused.Largest, p.LargestGain())
	}
	if want := "use at most 0.0139"; !strings.Contains(err.Error(), want) {
		t.Errorf("got %q, want %q in it", err, want)
	}
	for _, gain := range []float64{0, -1, math.NaN(), math.Inf(1)} {
		if !errors.As(control.Certify(gain, p), &refused) {
			t.Errorf("a gain of %v was accepted", gain)
		}
	}
	p.Slope = math.NaN()
	if err := control.Certify(0.001, p); err == nil || errors.As(err, &refused) {
		t.Errorf("a slope that is no number: %v", err)
	}
}

func TestTheClientsTailIsThatOfThePublishedFigures(t *testing.T) {
	const ttl = 20 * time.Second
	for after, want := range map[time.Duration]float64{
		-time.Second: 1, 0: 1, 60 * time.Second: 0.10, 15 * time.Minute: 0.02,
	} {
		if got := control.Residual(ttl, after); math.Abs(got-want) > 0.001 {
			t.Errorf("after %s %.3f are left, want %.3f", after, got, want)
		}
	}
	area := 0.0
	for s := range 20_000 {
		area += control.Residual(ttl, time.Duration(s)*time.Second+time.Second/2)
	}
	if lag := control.ClientLag(ttl).Seconds(); math.Abs(lag-area) > 0.1 {
		t.Errorf("the mean lag is %.2f s, the area %.2f s", lag, area)
	}
}
