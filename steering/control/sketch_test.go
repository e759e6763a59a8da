package control_test

import (
	"math"
	"math/rand/v2"
	"net/netip"
	"slices"
	"testing"

	"pointsman/steering/control"
)

// resolver is the n-th client prefix: IPv4 and IPv6 in turn.
func resolver(n int) netip.Prefix {
	if n%2 == 0 {
		return netip.PrefixFrom(netip.AddrFrom4([4]byte{10, byte(n >> 8), byte(n), 0}), 24)
	}
	a := [16]byte{0x20, 0x01, 0x0d, 0xb8, byte(n >> 8), byte(n)}
	return netip.PrefixFrom(netip.AddrFrom16(a), 56)
}

// zipf returns n loads that add up to 1, the largest first.
func zipf(n int, exponent float64) []float64 {
	out := make([]float64, n)
	sum := 0.0
	for i := range out {
		out[i] = math.Pow(float64(i+1), -exponent)
		sum += out[i]
	}
	for i := range out {
		out[i] /= sum
	}
	return out
}

// feed adds n queries of 2,000 resolvers with Zipf loads, and returns how many each had.
func feed(s *control.Sketch, r *rand.Rand, n int) map[netip.Prefix]float64 {
	loads := zipf(2_000, 1.1)
	for i := 1; i < len(loads); i++ {
		loads[i] += loads[i-1]
	}
	truth := make(map[netip.Prefix]float64)
	for range n {
		at, _ := slices.BinarySearch(loads, r.Float64())
		p := resolver(min(at, len(loads)-1))
		s.Add(p, 3)
		truth[p] += 3
	}
	return truth
}

// check holds a sketch to its promise.
func check(t *testing.T, s *control.Sketch, truth map[netip.Prefix]float64, keep float64) {
	t.Helper()
	found := map[netip.Prefix]bool{}
	for _, r := range s.Heaviest(1 << 16) {
		if off := math.Abs(r.Load - truth[r.Prefix]*keep); off > r.Load*r.Error+1e-6 {
			t.Fatalf("%s has %.1f, off by more than %.1f %%: the truth is %.1f",
				r.Prefix, r.Load, 100*r.Error, truth[r.Prefix]*keep)
		}
		found[r.Prefix] = true
	}
	for n := range 100 {
		if !found[resolver(n)] {
			t.Errorf("the resolver number %d of 2,000 is missing", n+1)
		}
	}
}

func TestASketchKnowsTheHeaviestWithinItsErrors(t *testing.T) {
	r := rand.New(rand.NewPCG(20, 5))
	s := control.NewSketch(1_024)
	truth := feed(s, r, 200_000)
	check(t, s, truth, 1)
	if s.Total() != 600_000 {
		t.Errorf("the total is %v", s.Total())
	}
	top := s.Heaviest(3)
	if len(top) != 3 || top[0].Prefix != resolver(0) || top[0].Error > 0.001 {
		t.Errorf("the heaviest are %+v", top)
	}
	s.Age(0.25)
	check(t, s, truth, 0.75)
	for range 2_000 { // far beyond where the scale is renewed
		s.Age(0.5)
		s.Add(resolver(1), 10)
		s.Add(resolver(2), 5)
	}
	if got := s.Total(); math.Abs(got-30) > 1e-9 {
		t.Errorf("the total settles at %v, want 30", got)
	}
	if top := s.Heaviest(1); top[0].Prefix != resolver(1) || math.Abs(top[0].Load-20) > 1e-9 {
		t.Errorf("what is new is not the heaviest: %+v", top)
	}
	if s.Age(1); s.Total() != 0 || len(s.Heaviest(10)) != 0 {
		t.Error("something is left after everything was forgotten")
	}
}

func TestSketchesOfManyCoresAddUp(t *testing.T) {
	r := rand.New(rand.NewPCG(2, 8))
	sum, truth := control.NewSketch(1_024), map[netip.Prefix]float64{}
	for range 4 {
		part := control.NewSketch(1_024)
		for p, v := range feed(part, r, 50_000) {
			truth[p] += v
		}
		part.Age(0.5)
		if err := sum.Merge(part); err != nil {
			t.Fatal(err)
		}
	}
	check(t, sum, truth, 0.5)
	if math.Abs(sum.Total()-300_000) > 1e-6 {
		t.Errorf("the total is %v, want 300,000", sum.Total())
	}
	if err := sum.Merge(control.NewSketch(64)); err == nil {
		t.Error("a sketch of another size was merged")
	}
}

func TestASketchTakesNoNonsense(t *testing.T) {
	s := control.NewSketch(0)
	for _, load := range []float64{0, -1, math.NaN(), math.Inf(1), 1e300} {
		s.Add(resolver(1), load)
	}
	if s.Total() != 0 {
		t.Errorf("the total is %v", s.Total())
	}
	s.Add(netip.Prefix{}, 7)
	if got := s.Heaviest(5); s.Total() != 7 || len(got) != 0 {
		t.Errorf("a load of nobody makes %v of %v", got, s.Total())
	}
	s.Add(netip.MustParsePrefix("0.0.0.0/0"), 1)
	s.Add(netip.MustParsePrefix("::/0"), 1)
	if got := s.Heaviest(5); len(got) != 2 {
		t.Errorf("everybody, by IPv4 and by IPv6, is %v", got)
	}
}

func BenchmarkSketchAdd(b *testing.B) {
	r := rand.New(rand.NewPCG(3, 3))
	s := control.NewSketch(4_096)
	loads := zipf(20_000, 1.1)
	for i := 1; i < len(loads); i++ {
		loads[i] += loads[i-1]
	}
	order := make([]netip.Prefix, 1<<12)
	for i := range order {
		n, _ := slices.BinarySearch(loads, r.Float64())
		order[i] = resolver(min(n, len(loads)-1))
	}
	b.ReportAllocs()
	i := 0
	for b.Loop() {
		s.Add(order[i&(1<<12-1)], 1)
		i++
	}
}
