package control_test

import (
	order "cmp"
	"maps"
	"math"
	"math/rand/v2"
	"net/netip"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"pointsman/steering/control"
)

// resolving is how one resolver behaves. Users behind it look up at a rate, by a Poisson process.
type resolving struct {
	rate     float64 // lookups a second of all its users
	caches   int     // that share the users evenly
	whole    bool    // it counts whole seconds
	prefetch bool    // it asks again in the last tenth of a TTL
	atMost   float64 // seconds for which it keeps an answer; 0: as long as it should
	atLeast  float64
	again    float64 // the part of its queries that are sent twice
}

// crowd makes resolvers with Zipf loads that add up to so many lookups a second. With
// mix, 7 of 10 count whole seconds, a tenth has several caches, a tenth prefetches, 4 % keep
// answers for 10 s at most, 5 % send some queries twice, and a part raises TTLs to 60 s.
func crowd(r *rand.Rand, total float64, mix bool, raise float64) []resolving {
	out := make([]resolving, simResolvers)
	for n, load := range zipf(simResolvers, 1.1) {
		out[n] = resolving{rate: load * total, caches: 1}
		if !mix {
			continue
		}
		out[n].whole = r.IntN(10) < 7
		switch p := r.Float64(); {
		case p < 0.10:
			out[n].caches = 2 + r.IntN(5)
		case p < 0.20:
			out[n].prefetch = true
		case p < 0.24:
			out[n].atMost = 10
		case p < 0.29:
			out[n].again = 0.02
		case p < 0.29+raise:
			out[n].atLeast = 60
		}
	}
	return out
}

// keeps is how long it answers by itself, for a TTL.
func (b resolving) keeps(ttl float64) float64 {
	kept := max(ttl, b.atLeast)
	if b.atMost > 0 {
		kept = min(kept, b.atMost)
	}
	if b.prefetch {
		kept *= 0.9
	}
	return kept
}

// lookups are the queries of one resolver for so many seconds, as a nameserver sees them.
func (b resolving) lookups(r *rand.Rand, p netip.Prefix, ttl, seconds float64,
	to []control.Lookup,
) []control.Lookup {
	add := func(at float64) {
		at += 0.05 + 0.003*r.ExpFloat64() // the way, and its jitter
		to = append(to, control.Lookup{Host: "cdn.example.com.", Client: p, TTL: seconds1(ttl),
			At: time.Duration(at * float64(time.Second))})
	}
	kept := b.keeps(ttl)
	mean := float64(b.caches) / b.rate
	for range b.caches {
		for at := mean * r.ExpFloat64(); at < seconds; at += mean * r.ExpFloat64() {
			add(at)
			if r.Float64() < b.again {
				add(at + 0.4)
			}
			if b.whole {
				at = math.Floor(at)
			}
			at += kept
		}
	}
	return to
}

func seconds1(s float64) time.Duration { return time.Duration(s * float64(time.Second)) }

// count lets a census see an hour of a crowd, and returns the loads, in the order of the crowd.
func count(r *rand.Rand, list []resolving, size int, ttl func(n int) float64) (control.Load,
	[]control.Resolver,
) {
	const hour = 3600
	var all []control.Lookup
	for n, b := range list {
		all = b.lookups(r, resolver(n), ttl(n), hour, all)
	}
	slices.SortStableFunc(all, func(a, b control.Lookup) int { return order.Compare(a.At, b.At) })
	c := control.NewCensus(size)
	for _, l := range all {
		c.Add(l)
	}
	loads := c.Loads(hour*time.Second, everything, nowhere)
	byPrefix := map[netip.Prefix]control.Resolver{}
	for _, e := range loads[0].Resolvers {
		byPrefix[e.Prefix] = e
	}
	found := make([]control.Resolver, len(list))
	for n := range list {
		found[n] = byPrefix[resolver(n)]
	}
	return loads[0], found
}

func everything(string) bool { return true }

func nowhere(string, netip.Prefix) string { return "" }

func always(ttl float64) func(int) float64 { return func(int) float64 { return ttl } }

// ordinary are the kinds of resolvers that a census gets right.
func ordinary() map[string]resolving {
	return map[string]resolving{
		"exact":      {caches: 1},
		"seconds":    {caches: 1, whole: true},
		"prefetch":   {caches: 1, whole: true, prefetch: true},
		"10 s":       {caches: 1, whole: true, atMost: 10},
		"sent twice": {caches: 1, whole: true, again: 0.02},
		"2 caches":   {caches: 2, whole: true},
		"5 caches":   {caches: 5, whole: true},
	}
}

// ratios are estimates of one kind of resolver, as parts of the truth, and the part of them that
// are within their errors.
func ratios(b resolving, ttl float64) (of []float64, within float64) {
	const many = 200 / min(shorter, 2)
	r := rand.New(rand.NewPCG(4, uint64(b.rate*100)))
	_, found := count(r, slices.Repeat([]resolving{b}, many), 4_096, always(ttl))
	for _, f := range found {
		of = append(of, f.Load/b.rate)
		if math.Abs(f.Load-b.rate) <= f.Error*f.Load {
			within += 1. / many
		}
	}
	return of, within
}

func TestACensusKnowsTheUsersBehindEachKindOfResolver(t *testing.T) {
	kinds := ordinary()
	for _, about := range slices.Sorted(maps.Keys(kinds)) {
		for _, rate := range []float64{0.01, 0.1, 1, 10} {
			b := kinds[about]
			b.rate = rate
			of, within := ratios(b, 30)
			low, mid, high := quantile(of, 0.05), quantile(of, 0.5), quantile(of, 0.95)
			t.Logf("%-10s %5.2f/s: %.2f times the truth, %.2f to %.2f for 9 of 10; %3.0f %% are "+
				"within their error", about, rate, mid, low, high, 100*within)
			if mid < 0.8 || mid > 1.6 || high > 2.5 || low < 0.5 || within < 0.8 {
				t.Errorf("%s at %v/s is off", about, rate)
			}
		}
	}
}

func TestACensusSaysWhatItCannotTell(t *testing.T) {
	for about, c := range map[string]struct {
		resolving
		most, least, err float64
	}{
		"1,000 users a second": {resolving{rate: 1_000, caches: 1}, 0.11, 0.09, 9},
		"20 caches":            {resolving{rate: 20, caches: 20, whole: true}, 1, 0.1, 9},
		"TTLs raised to 60 s":  {resolving{rate: 1, caches: 1, atLeast: 60}, 0.04, 0.03, 10},
	} {
		r := rand.New(rand.NewPCG(4, 4))
		_, found := count(r, []resolving{c.resolving}, 64, always(30))
		ratio := found[0].Load / c.rate
		t.Logf("%s: estimated %.2f times that, and the error is %.0f", about, ratio, found[0].Error)
		if ratio > c.most || ratio < c.least || found[0].Error < c.err {
			t.Errorf("%s: estimated %.2f times that, and the error is %.0f", about, ratio,
				found[0].Error)
		}
	}
}

// windowOf is window for resolvers that keep answers in their own way, and cache by cache.
func windowOf(r *rand.Rand, list []resolving, how control.Traffic) control.Split {
	assigned := map[netip.Prefix]control.Assigned{}
	for _, a := range how.Assigned {
		assigned[a.Prefix] = a
	}
	traffic := control.Split{}
	common := draws(r.Float64())
	for _, n := range r.Perm(len(list)) {
		b := list[n]
		a, ok := assigned[resolver(n)]
		next := 0
		if ok {
			next = r.IntN(len(a.Cycle))
		} else {
			a.TTL = simTTL
		}
		part := b.keeps(a.TTL.Seconds()) / simTTL.Seconds()
		for range b.caches {
			for at := -part * r.Float64(); at < 1; at += part {
				to := ""
				if ok {
					to = a.Cycle[next]
					next = (next + 1) % len(a.Cycle)
				} else {
					to = pickAt(how.Residual, common.next())
				}
				traffic[to] += b.rate / float64(b.caches) * (min(1, at+part) - max(0, at))
			}
		}
	}
	return traffic
}

// differences are the distances from the target in traffic by who decides, and those of the loads
// of the 100 heaviest from the truth.
func differences(t *testing.T, seeds int, total float64, mix bool, raise float64) (
	by map[string][]float64, loads []float64,
) {
	t.Helper()
	by = map[string][]float64{}
	for seed := range uint64(seeds) {
		r := rand.New(rand.NewPCG(seed, 77))
		list := crowd(r, total, mix, raise)
		var truth []control.Resolver
		for n, b := range list {
			truth = append(truth, control.Resolver{Prefix: resolver(n), Load: b.rate})
		}
		l, found := count(r, list, 8_192, always(simTTL.Seconds()))
		for n, f := range found[:100] {
			loads = append(loads, math.Abs(f.Load/list[n].rate-1))
		}
		inputs := map[string]control.TrafficInput{"true": {Resolvers: truth, Total: total},
			"estimated": {Resolvers: l.Resolvers, Total: l.Total}}
		for _, name := range slices.Sorted(maps.Keys(inputs)) { // r is drawn from in one order
			in := inputs[name]
			in.Target, in.TTL, in.LeastTTL = simTarget(), simTTL, 5*time.Second
			in.Tolerance = 0.005
			how, err := control.Assign(in)
			if err != nil {
				t.Fatal(err)
			}
			by[name] = append(by[name], off(windowOf(r, list, how)))
		}
		coin := control.Split{}
		for _, b := range list {
			for range b.caches {
				coin[pickAt(simTarget(), r.Float64())] += b.rate / float64(b.caches)
			}
		}
		by["coin"] = append(by["coin"], off(coin))
	}
	return by, loads
}

func TestTrafficDividesByTheTargetWithEstimatedLoads(t *testing.T) {
	for _, c := range []struct {
		about string
		seeds int
		total float64
		mix   bool
		raise float64
		most  float64 // points at p95; 0: not held
	}{
		{"textbook resolvers, 300 lookups/s", 6, 300, false, 0, 5},
		{"mixed, 30 lookups/s", 6, 30, true, 0, 5},
		{"mixed, 300 lookups/s", 20, 300, true, 0, 5},
		{"mixed, 3,000 lookups/s", 6, 3_000, true, 0, 0},
		{"mixed, 4 % raise TTLs", 20, 300, true, 0.04, 0},
	} {
		by, loads := differences(t, max(2, c.seeds/shorter), c.total, c.mix, c.raise)
		at := func(of []float64, q float64) float64 { return 100 * quantile(of, q) }
		t.Logf("%-33s: the 100 heaviest loads are off by %2.0f %% median, %3.0f %% at p95; traffic "+
			"by a coin %4.1f points, %4.1f at p95; by true loads %.1f, %.1f; by estimates %.1f, %.1f, "+
			"%.1f at worst",
			c.about, at(loads, 0.5), at(loads, 0.95), at(by["coin"], 0.5), at(by["coin"], 0.95),
			at(by["true"], 0.5), at(by["true"], 0.95), at(by["estimated"], 0.5),
			at(by["estimated"], 0.95), at(by["estimated"], 1))
		if shorter == 1 && at(by["coin"], 0.5) < 6 {
			t.Error("a coin does as well")
		}
		if c.most > 0 && (at(by["estimated"], 0.5) > 2 || at(by["estimated"], 0.95) > c.most) {
			t.Errorf("%s: the traffic is off by more than 2 points median or 5 at p95", c.about)
		}
	}
}

func TestAShorterTTLMakesEstimatesBetter(t *testing.T) {
	for _, ttl := range []float64{300, 30, 5} {
		of, _ := ratios(resolving{rate: 1, caches: 1, whole: true}, ttl)
		t.Logf("TTL %3.0f s: %.2f to %.2f times the truth for 9 of 10", ttl, quantile(of, 0.05),
			quantile(of, 0.95))
		if ttl == 5 && (quantile(of, 0.05) < 0.85 || quantile(of, 0.95) > 1.25) {
			t.Error("an hour of a short TTL is not enough")
		}
	}
}

func TestACensusIsBoundedAndKeepsTheHeaviest(t *testing.T) {
	const minute = 60
	r := rand.New(rand.NewPCG(8, 1))
	c := control.NewCensus(1_000)
	at := func(s float64) control.Lookup {
		return control.Lookup{Host: "cdn.example.com.", TTL: 20 * time.Second, At: seconds1(s)}
	}
	for s := 0.0; s < 60*minute; s += 0.1 { // anybody, each once
		l := at(s)
		l.Client = control.ResolverPrefix(netip.AddrFrom4([4]byte{10, byte(r.IntN(256)),
			byte(r.IntN(256)), byte(r.IntN(256))}))
		c.Add(l)
		if int(10*s+0.5)%210 == 0 { // 1 s after its TTL
			l.Client = resolver(0)
			c.Add(l)
		}
	}
	loads := c.Loads(time.Hour, everything, nowhere)
	if len(loads) != 1 || c.Used() > 1_024 || c.Size() != 1_024 || c.Evicted() < 30_000 {
		t.Fatalf("%d scopes, %d evicted", len(loads), c.Evicted())
	}
	kept := slices.ContainsFunc(loads[0].Resolvers, func(r control.Resolver) bool {
		return r.Prefix == resolver(0) && r.Load > 0.5
	})
	if !kept {
		t.Errorf("the heaviest is lost among %v", loads[0].Resolvers[:3])
	}
	if total := loads[0].Total; total < 9 || total > 14 {
		t.Errorf("the total is %.1f/s where 10 are light and 1 is not", total)
	}
}

func TestACensusDividesByPlaceAndForgetsHosts(t *testing.T) {
	c := control.NewCensus(256)
	for i := range 100 {
		for n, host := range []string{"a.example.", "b.example."} {
			at := time.Duration(i) * 21 * time.Second
			c.Add(control.Lookup{Host: host, Client: resolver(i%2 + n), At: at, TTL: 20 * time.Second})
		}
		c.Add(control.Lookup{Host: "c.example.", At: time.Duration(i) * time.Second, TTL: 0})
	}
	place := func(_ string, p netip.Prefix) string {
		if p.Addr().Is6() {
			return "six"
		}
		return ""
	}
	scopes := func(keep func(string) bool) (out []control.Scope) {
		for _, l := range c.Loads(35*time.Minute, keep, place) {
			if !(l.Total > 0) {
				t.Errorf("%s has a total of %v", l.Scope, l.Total)
			}
			out = append(out, l.Scope)
		}
		return out
	}
	want := []control.Scope{{Host: "a.example."}, {Host: "a.example.", Place: "six"},
		{Host: "b.example."}, {Host: "b.example.", Place: "six"}, {Host: "c.example."}}
	if diff := cmp.Diff(want, scopes(everything)); diff != "" {
		t.Error(diff)
	}
	onlyB := func(host string) bool { return host == "b.example." }
	if diff := cmp.Diff(want[2:4], scopes(onlyB)); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff(want[2:4], scopes(everything)); diff != "" {
		t.Errorf("forgotten hosts came back: %s", diff)
	}
}

func TestAResolverThatIsSilentFades(t *testing.T) {
	c := control.NewCensus(8)
	for i := range 60 {
		c.Add(control.Lookup{Host: "a.example.", Client: resolver(0), TTL: 20 * time.Second,
			At: time.Duration(i) * 21 * time.Second})
	}
	before := 2.0
	for _, at := range []time.Duration{20 * time.Minute, time.Hour, 3 * time.Hour} {
		load := c.Loads(at, everything, nowhere)[0].Resolvers[0].Load
		if load >= before {
			t.Errorf("after %s it counts %v, and %v before", at, load, before)
		}
		before = load
	}
}

func TestACensusBearsAClockThatJumps(t *testing.T) {
	c := control.NewCensus(8)
	for i, at := range []time.Duration{time.Hour, time.Hour, 0, -time.Hour, 30 * time.Hour,
		-30 * time.Hour, 1, 2, 3, 4, 5, 6, 7, 8, 9} {
		c.Add(control.Lookup{Host: "a.example.", Client: resolver(i % 2), At: at,
			TTL: 20 * time.Second})
	}
	for _, at := range []time.Duration{-100 * time.Hour, 0, 100 * time.Hour} {
		for _, l := range c.Loads(at, everything, nowhere) {
			for _, r := range l.Resolvers {
				if !(r.Load >= 0) || math.IsInf(r.Load, 0) || !(r.Error >= 0) {
					t.Errorf("at %s: %+v", at, r)
				}
			}
		}
	}
}

func TestClientsCountByWhatCachesAndRecommendationsTellApart(t *testing.T) {
	for in, want := range map[string]string{
		"192.0.2.0/24": "192.0.2.0/24", "192.0.2.77/32": "192.0.2.0/24", "10.0.0.0/8": "10.0.0.0/8",
		"10.0.0.0/7": "invalid Prefix", "2001:db8:1:2::/64": "2001:db8:1::/56",
		"2001:db8::/40": "2001:db8::/40", "2000::/15": "invalid Prefix",
	} {
		if got := control.ClientPrefix(netip.MustParsePrefix(in)); got.String() != want {
			t.Errorf("subnet %s counts as %s, want %s", in, got, want)
		}
	}
	for in, want := range map[string]string{"192.0.2.77": "192.0.2.77/32",
		"::ffff:192.0.2.77": "192.0.2.77/32", "2001:db8:1:2:3::4": "2001:db8:1:2::/64",
		"fe80::1%eth0": "fe80::/64",
	} {
		if got := control.ResolverPrefix(netip.MustParseAddr(in)); got.String() != want {
			t.Errorf("resolver %s counts as %s, want %s", in, got, want)
		}
	}
}

func BenchmarkCensusAdd(b *testing.B) {
	r := rand.New(rand.NewPCG(3, 3))
	var all []control.Lookup
	for n, one := range crowd(r, 300, true, 0) {
		all = one.lookups(r, resolver(n), 30, 600, all)
	}
	slices.SortStableFunc(all, func(a, b control.Lookup) int { return order.Compare(a.At, b.At) })
	c := control.NewCensus(8_192)
	b.ReportAllocs()
	i, round := 0, time.Duration(0)
	for b.Loop() {
		l := all[i]
		l.At += round
		c.Add(l)
		if i++; i == len(all) {
			i, round = 0, round+10*time.Minute
		}
	}
}
