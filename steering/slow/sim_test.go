package slow_test

import (
	"fmt"
	"maps"
	"math"
	"math/rand/v2"
	"net/netip"
	"slices"
	"testing"
	"time"

	"pointsman/steering/control"
	"pointsman/steering/slow"
)

var start = time.Date(2026, 3, 2, 12, 0, 0, 0, time.UTC)

const simHost = "cdn.example.test."

// defaults are those of the config, for one host.
func defaults(balance slow.Balance, ttl time.Duration, backends ...string) slow.Config {
	c := slow.Config{
		Loop: control.LoopConfig{DeadBand: 0.01, Rate: 0.06, Interval: 10 * time.Second,
			Fresh: 2 * time.Minute, Hold: 10 * time.Minute, Decay: 10 * time.Minute, Floor: 0.02},
		Slope: 4, Delay: 30 * time.Second, Origin: 1.5, Response: 65_536,
		Bound: control.Bound{Percent: 20, Within: 10 * time.Millisecond},
		Hosts: map[string]slow.Host{simHost: {Balance: balance, TTL: ttl,
			LeastTTL: min(ttl, 5*time.Second), Ramp: 30 * time.Second}},
		Backends: map[string]slow.Backend{},
	}
	for _, b := range backends {
		c.Backends[b] = slow.Backend{}
	}
	return c
}

func policy(weights control.Split) []slow.Policy {
	return []slow.Policy{{Scope: control.Scope{Host: simHost}, Weights: weights}}
}

// crowd is resolvers with users behind them, who ask for one host.
type crowd struct {
	r       *rand.Rand
	loads   []float64 // true ones
	guessed []control.Resolver
	total   float64 // of guessed
	at      []string
	turn    []int
	until   []time.Duration
	draw    float64
}

func resolver(n int) netip.Prefix {
	return netip.PrefixFrom(netip.AddrFrom4([4]byte{10, byte(n >> 8), byte(n), 0}), 24)
}

// newCrowd makes 2,000 resolvers whose loads are Zipf's, with estimates that are wrong by up to a
// factor.
func newCrowd(seed uint64, wrong float64) *crowd {
	const size = 2_000
	c := &crowd{r: rand.New(rand.NewPCG(seed, 11)), at: make([]string, size),
		turn: make([]int, size), until: make([]time.Duration, size)}
	for n := range size {
		load := 1e5 * math.Pow(float64(n+1), -1.1)
		guess := load * math.Pow(wrong, 2*c.r.Float64()-1)
		c.loads = append(c.loads, load)
		c.guessed = append(c.guessed, control.Resolver{Prefix: resolver(n), Load: guess, Error: 0.3})
		c.total += guess
		c.until[n] = time.Duration(-1)
	}
	return c
}

// run returns what each backend gets in a span of time while guidance is in force.
func (c *crowd) run(from, to, ttl time.Duration, g control.Guidance) control.Split {
	assigned := map[netip.Prefix]control.Assigned{}
	for _, a := range g.Traffic[control.Scope{Host: simHost}] {
		assigned[a.Prefix] = a
	}
	split := g.Splits[control.Scope{Host: simHost}]
	names := slices.Sorted(maps.Keys(split))
	out := control.Split{}
	for n, load := range c.loads {
		for now := from; now < to; {
			if c.until[n] <= now {
				a, ok := assigned[resolver(n)]
				life := ttl
				switch {
				case ok:
					c.turn[n] = (c.turn[n] + 1) % len(a.Cycle)
					c.at[n], life = a.Cycle[c.turn[n]], a.TTL
				default:
					c.draw = math.Mod(c.draw+0.6180339887498949, 1)
					c.at[n] = pick(split, names, c.draw)
				}
				if c.until[n] < 0 { // its answer is of any age when the world begins
					life = time.Duration(float64(life) * c.r.Float64())
				}
				c.until[n] = now + life
			}
			end := min(to, c.until[n])
			out[c.at[n]] += load * (end - now).Seconds()
			now = end
		}
	}
	return out
}

func pick(s control.Split, names []string, draw float64) string {
	at, last := 0.0, ""
	for _, b := range names {
		if s[b] == 0 {
			continue
		}
		last = b
		if at += s[b]; draw < at {
			return b
		}
	}
	return last
}

func quantile(values []float64, q float64) float64 {
	slices.Sort(values)
	return values[int(q*float64(len(values)-1))]
}

// worlds runs two hours in each of some worlds, and returns by how much the traffic of each full
// TTL of the second hour was off its goal.
func worlds(seeds uint64, wrong float64, balance slow.Balance, known, measured bool) []float64 {
	const ttl, interval = 30 * time.Second, 10 * time.Second
	goal := control.Split{"a": 0.6, "b": 0.3, "c": 0.1}
	var offs []float64
	for seed := range seeds {
		world := newCrowd(seed, wrong)
		config := defaults(balance, ttl, "a", "b", "c")
		var state slow.State
		var windows []control.Split
		for at := time.Duration(0); at < 2*time.Hour; at += interval {
			in := slow.Inputs{Now: start.Add(at), Policies: policy(goal)}
			if known {
				in.Resolvers = map[control.Scope]slow.ResolverLoads{{Host: simHost}: {
					Resolvers: world.guessed, Total: world.total}}
			}
			if measured {
				in.Loads = meanOf(windows, 1, 6) // a minute's mean, ten seconds late
			}
			var g control.Guidance
			if state, g = config.Next(state, in); balance == slow.Queries {
				g.Splits = map[control.Scope]control.Split{{Host: simHost}: goal}
			}
			windows = append(windows, world.run(at, at+interval, ttl, g))
		}
		for i := len(windows) / 2; i+3 <= len(windows); i += 3 {
			traffic := control.Split{}
			for _, w := range windows[i : i+3] {
				for b, v := range w {
					traffic[b] += v
				}
			}
			traffic = traffic.Normal()
			off := 0.0
			for b, want := range goal {
				off = max(off, math.Abs(traffic[b]-want))
			}
			offs = append(offs, 100*off)
		}
	}
	return offs
}

// meanOf is what is measured of the last windows, some of them not reported yet.
func meanOf(windows []control.Split, late, count int) map[string]slow.Measured {
	end := len(windows) - late
	if end < count {
		return nil
	}
	out := map[string]slow.Measured{}
	for _, b := range []string{"a", "b", "c"} {
		sum := 0.0
		for _, w := range windows[end-count : end] {
			sum += w[b]
		}
		out[b] = slow.Measured{Value: sum / float64(count) / 10, Age: time.Duration(late) * 10 *
			time.Second}
	}
	return out
}

func TestTrafficMeetsItsTargetFromConfigToAnswersWithWrongEstimates(t *testing.T) {
	const seeds = 1 + 3/shorter
	for _, c := range []struct {
		name            string
		balance         slow.Balance
		wrong           float64
		known, measured bool
		median, p95     float64
	}{
		{"by queries", slow.Queries, 1.3, false, false, 100, 100},
		{"resolvers known to ±30 %, nothing measured", slow.Traffic, 1.3, true, false, 100, 100},
		{"resolvers known to ±30 %, traffic measured", slow.Traffic, 1.3, true, true, 2, 5},
		{"resolvers off by up to 3 times, nothing measured", slow.Traffic, 3, true, false, 100, 100},
		{"resolvers off by up to 3 times, traffic measured", slow.Traffic, 3, true, true, 2, 5},
		{"resolvers not known, traffic measured", slow.Traffic, 1.3, false, true, 100, 100},
	} {
		offs := worlds(seeds, c.wrong, c.balance, c.known, c.measured)
		median, p95 := quantile(offs, 0.5), quantile(offs, 0.95)
		t.Logf("%-50s off by %4.1f points median, %4.1f at p95", c.name, median, p95)
		if median > c.median || p95 > c.p95 {
			t.Errorf("%s: off by %.1f points median and %.1f at p95", c.name, median, p95)
		}
		if c.balance == slow.Queries && median < 7 {
			t.Errorf("%s: off by %.1f only: the world is too easy", c.name, median)
		}
	}
}

// lag is the traffic that shares become: clients leave an answer by control.Residual, and a step
// sees what was a delay ago.
type lag struct {
	kernel []float64
	past   []control.Split // newest last
}

func newLag(p control.Plant, first control.Split) *lag {
	l := &lag{past: []control.Split{first}}
	left := func(j int) float64 { return control.Residual(p.TTL, time.Duration(j)*p.Interval-p.Delay) }
	for j := 0; left(j) > 0.002; j++ {
		l.kernel = append(l.kernel, left(j)-left(j+1))
	}
	return l
}

// seen is what the next step sees, each backend's part times a factor.
func (l *lag) seen(pull map[string]float64) control.Split {
	out := control.Split{}
	for j, k := range l.kernel {
		for b, v := range l.past[max(0, len(l.past)-1-j)] {
			out[b] += k * v * pull[b]
		}
	}
	return out
}

// path is what a world does after its first steps: the turns of the traffic and how far it goes
// past its end, in points.
func path(values []control.Split) (turns int, overshoot float64) {
	first, last := values[0], values[len(values)-1]
	for b := range last {
		n, way, low, high := 0, 0, first[b], first[b]
		for _, v := range values {
			low, high = min(low, v[b]), max(high, v[b])
			switch {
			case way <= 0 && v[b] > low+0.01:
				n, way, high = n+1, 1, v[b]
			case way >= 0 && v[b] < high-0.01:
				n, way, low = n+1, -1, v[b]
			}
			if last[b] >= first[b] {
				overshoot = max(overshoot, v[b]-last[b])
			}
			if last[b] <= first[b] {
				overshoot = max(overshoot, last[b]-v[b])
			}
		}
		turns = max(turns, n)
	}
	return turns, 100 * overshoot
}

func TestRandomWorldsNeitherCycleNorOvershootThroughTheWholeStep(t *testing.T) {
	const count = 400 / shorter
	r := rand.New(rand.NewPCG(4, 2))
	worst, cycles, steps := 0.0, 0, 0
	for i := range count {
		balance := []slow.Balance{slow.Traffic, slow.Latency}[i%2]
		names := []string{"a", "b", "c", "d"}[:2+r.IntN(3)]
		if balance == slow.Latency {
			names = names[:2] // of three, one may pass its end without any lag
		}
		config := defaults(balance, time.Duration(5+r.IntN(296))*time.Second, names...)
		config.Delay = time.Duration(1+r.IntN(60)) * time.Second
		config.Loop.Interval = time.Duration(10+r.IntN(51)) * time.Second
		config.Loop.Rate = 0.02 + 0.5*r.Float64()
		config.Loop.DeadBand = 0.005
		config.Slope = 0.5 + 3.5*r.Float64()
		if bad := config.Check(); bad != nil {
			t.Fatal(bad)
		}
		turns, over, n := randomWorld(r, config, balance, names)
		steps += n
		if worst = max(worst, over); over > 5 {
			t.Errorf("world %d (%s): overshoots by %.1f points", i, balance, over)
		}
		if turns > 3 {
			cycles++
			t.Errorf("world %d (%s): turns %d times", i, balance, turns)
		}
	}
	t.Logf("%d worlds, %d steps: %d cycles, overshoot at most %.1f points", count, steps, cycles,
		worst)
}

// randomWorld changes half way: the weights of traffic, or one backend's latency.
func randomWorld(r *rand.Rand, c slow.Config, balance slow.Balance, names []string) (turns int,
	over float64, steps int) {
	h := c.Hosts[simHost]
	plant := c.Plant(h)
	split := func() control.Split {
		s := control.Split{}
		for _, b := range names {
			s[b] = 0.1 + r.Float64()
		}
		return s.Normal()
	}
	weights, pull, base, rise := split(), map[string]float64{}, map[string]float64{},
		map[string]float64{}
	for _, b := range names {
		pull[b] = 1
		if balance == slow.Traffic {
			pull[b] = 0.7 + 0.7*r.Float64()
		}
		base[b], rise[b] = 0.02+0.04*r.Float64(), math.Exp(3*r.Float64())
	}
	mean := (control.ClientLag(plant.TTL) + plant.Delay).Seconds() / plant.Interval.Seconds()
	half := int(40 + 20*mean)
	world := newLag(plant, weights)
	var state slow.State
	var got []control.Split
	for k := range 2 * half {
		if k == half {
			weights = split()
			base[names[0]] *= 0.6 + 1.1*r.Float64()
		}
		seen := world.seen(pull)
		in := slow.Inputs{Now: start.Add(time.Duration(k) * plant.Interval),
			Policies: policy(weights), Latencies: map[string]slow.Measured{},
			Loads: map[string]slow.Measured{}}
		for _, b := range names {
			in.Loads[b] = slow.Measured{Value: 1_000 * seen[b]}
			in.Latencies[b] = slow.Measured{
				Value: base[b] * (1 + rise[b]*math.Pow(seen[b], c.Slope))}
		}
		var g control.Guidance
		state, g = c.Next(state, in)
		world.past = append(world.past, g.Splits[control.Scope{Host: simHost}])
		got = append(got, seen.Normal())
	}
	_, one := path(got[:half])
	turns, two := path(got[half:])
	return turns, max(one, two), 2 * half
}

func TestTheStepIsPure(t *testing.T) {
	c := defaults(slow.Cost, 20*time.Second, "a", "b")
	c.Backends["a"] = slow.Backend{Contract: control.Contract{Peak: 3, CommitMbps: 10}}
	world := newCrowd(1, 2)
	in := slow.Inputs{Now: start, Policies: policy(control.Split{"a": 1, "b": 1}),
		Loads: map[string]slow.Measured{"a": {Value: 100}, "b": {Value: 50}},
		Resolvers: map[control.Scope]slow.ResolverLoads{{Host: simHost}: {
			Resolvers: world.guessed, Total: world.total}}}
	state, _ := c.Next(slow.State{}, in)
	before := fmt.Sprintf("%+v", state)
	in.Now = in.Now.Add(10 * time.Second)
	one, first := c.Next(state, in)
	two, second := c.Next(state, in)
	if fmt.Sprintf("%+v %+v", one, first) != fmt.Sprintf("%+v %+v", two, second) {
		t.Error("equal arguments gave different results")
	}
	if fmt.Sprintf("%+v", state) != before {
		t.Error("the state before was changed")
	}
}
