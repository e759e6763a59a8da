package control_test

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"pointsman/steering/control"
)

func at2(place string) control.Scope { return control.Scope{Host: "cdn.test.", Place: place} }

func route(backend string, ms int) control.Route {
	return control.Route{Backend: backend, Latency: time.Duration(ms) * time.Millisecond}
}

func solve(t *testing.T, p control.Problem) control.Assignment {
	t.Helper()
	a, err := control.Solve(p)
	if err != nil {
		t.Fatal(err)
	}
	return a
}

func TestTheCheapBackendIsFilledFirstAndNeverOverItsCapacity(t *testing.T) {
	got := solve(t, control.Problem{
		Demands: []control.Demand{{
			Scope: at2("de"), Load: 100, Routes: []control.Route{route("a", 20), route("b", 21)},
		}},
		Suppliers: []control.Supplier{
			{Backend: "a", Curve: []control.Segment{{Price: 9}}},
			{Backend: "b", Capacity: 60, Curve: []control.Segment{{UpTo: 10}, {Price: 4}}},
		},
		Bound: control.Bound{Within: 5 * time.Millisecond},
	})
	want := control.Assignment{Cost: 40*9 + 50*4, Flows: []control.Flow{
		{Scope: at2("de"), Backend: "a", Load: 40}, {Scope: at2("de"), Backend: "b", Load: 60},
	}}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	split := got.Splits()[at2("de")]
	if diff := cmp.Diff(control.Split{"a": 0.4, "b": 0.6}, split); diff != "" {
		t.Error(diff)
	}
}

func TestDemandThatDoesNotFitDegradesInTheStatedOrder(t *testing.T) {
	problem := func(load int64) control.Problem {
		return control.Problem{
			Demands: []control.Demand{{Scope: at2("de"), Load: load, Routes: []control.Route{
				route("near", 20), route("far", 90), {Backend: "unknown"},
			}}},
			Suppliers: []control.Supplier{
				{Backend: "near", Capacity: 100, Curve: []control.Segment{{Price: 1_000}}},
				{Backend: "far", Capacity: 50}, {Backend: "unknown", Capacity: 50},
			},
			Bound: control.Bound{Percent: 25},
		}
	}
	for load, want := range map[int64]string{
		100: "near 100 late 0 over 0",
		// Only what does not fit goes beyond the bound, and the measured one comes first.
		130: "far 30 near 100 late 30 over 0",
		170: "far 50 near 100 unknown 20 late 70 over 0",
		// Everything is full: 40 more in proportion to 100:50:50.
		240: "far 60 near 120 unknown 60 late 120 over 40",
	} {
		a := solve(t, problem(load))
		var got []string
		for _, f := range a.Flows {
			got = append(got, fmt.Sprintf("%s %d", f.Backend, f.Load))
		}
		got = append(got, fmt.Sprintf("late %d over %d", a.Late, a.Over))
		if s := strings.Join(got, " "); s != want {
			t.Errorf("load %d: got %q, want %q", load, s, want)
		}
	}
}

func TestEqualPricesGoToTheLowerLatency(t *testing.T) {
	got := solve(t, control.Problem{
		Demands: []control.Demand{
			{Scope: at2("de"), Load: 10, Routes: []control.Route{route("a", 30), route("b", 29)}},
			{Scope: at2("us"), Routes: []control.Route{route("a", 3), route("b", 4)}},
		},
		Suppliers: []control.Supplier{{Backend: "a"}, {Backend: "b"}},
		Bound:     control.Bound{Within: time.Second},
	})
	want := map[control.Scope]control.Split{at2("de"): {"b": 1}, at2("us"): {"a": 1}}
	if diff := cmp.Diff(want, got.Splits()); diff != "" {
		t.Error(diff)
	}
}

func TestAScopeWithoutABackendDoesNotKeepOthersFromTheirs(t *testing.T) {
	got := solve(t, control.Problem{
		Demands: []control.Demand{
			{Scope: at2("de"), Load: 10, Routes: []control.Route{route("down", 5)}},
			{Scope: at2("us"), Load: 10, Routes: []control.Route{route("down", 5), route("b", 50)}},
			{Scope: at2("zz"), Load: 10},
		},
		Suppliers: []control.Supplier{{Backend: "b"}},
	})
	want := control.Assignment{
		Flows:    []control.Flow{{Scope: at2("us"), Backend: "b", Load: 10}},
		Homeless: []control.Scope{at2("de"), at2("zz")},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

func TestAMistakeInAProblemIsNamed(t *testing.T) {
	good := []control.Supplier{{Backend: "a"}}
	demand := []control.Demand{{Scope: at2("de"), Load: 1, Routes: []control.Route{route("a", 1)}}}
	for want, p := range map[string]control.Problem{
		`"a" is there twice`: {Demands: demand, Suppliers: append(good, good...)},
		`prices of backend "a" fall`: {Demands: demand, Suppliers: []control.Supplier{
			{Backend: "a", Curve: []control.Segment{{UpTo: 5, Price: 3}, {Price: 2}}}}},
		`must rise and end with 0`: {Demands: demand, Suppliers: []control.Supplier{
			{Backend: "a", Curve: []control.Segment{{UpTo: 5, Price: 3}}}}},
		`capacity of backend "a"`: {Demands: demand, Suppliers: []control.Supplier{
			{Backend: "a", Capacity: -1}}},
		`latency bound`: {Demands: demand, Suppliers: good, Bound: control.Bound{Within: -1}},
		`demand of cdn.test. at de is there twice`: {Demands: append(demand, demand...),
			Suppliers: good},
		`count in larger units`: {Suppliers: good, Demands: []control.Demand{{Scope: at2("de"),
			Load: 1 << 62, Routes: []control.Route{route("a", 1)}}}},
		`load of cdn.test. at de`: {Suppliers: good, Demands: []control.Demand{{Scope: at2("de"),
			Load: -1, Routes: []control.Route{route("a", 1)}}}},
		`two routes`: {Suppliers: good, Demands: []control.Demand{{Scope: at2("de"),
			Routes: []control.Route{route("a", 1), route("a", 2)}}}},
		`has a latency or capacity`: {Suppliers: good, Demands: []control.Demand{{
			Scope: at2("de"), Routes: []control.Route{{Backend: "a", Latency: -1}}}}},
	} {
		if _, err := control.Solve(p); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want %q", err, want)
		}
	}
}

// world makes a small problem whose best answer can be found by trying all.
func world(r *rand.Rand) control.Problem {
	names := []string{"a", "b", "c"}
	p := control.Problem{Bound: control.Bound{Percent: float64(r.IntN(60)),
		Within: time.Duration(r.IntN(20)) * time.Millisecond}}
	for _, b := range names {
		s := control.Supplier{Backend: b, Capacity: int64(1 + r.IntN(9))}
		price := int64(0)
		for at, n := int64(0), r.IntN(3); n > 0; n-- {
			at += int64(1 + r.IntN(3))
			price += int64(r.IntN(5))
			s.Curve = append(s.Curve, control.Segment{UpTo: at, Price: price})
		}
		s.Curve = append(s.Curve, control.Segment{Price: price + int64(r.IntN(9))})
		p.Suppliers = append(p.Suppliers, s)
	}
	for i := range 1 + r.IntN(3) {
		d := control.Demand{Scope: at2(fmt.Sprint(i)), Load: int64(1 + r.IntN(6))}
		for _, b := range names {
			rt := route(b, 10+r.IntN(60))
			if r.IntN(3) == 0 {
				rt.Capacity = int64(1 + r.IntN(5))
			}
			d.Routes = append(d.Routes, rt)
		}
		p.Demands = append(p.Demands, d)
	}
	return p
}

// score is what Solve must make smallest, the first first.
type score struct{ unserved, late, cost int64 }

func (s score) less(o score) bool {
	return slices.Compare([]int64{s.unserved, s.late, s.cost},
		[]int64{o.unserved, o.late, o.cost}) < 0
}

func excess(p control.Problem, d control.Demand, r control.Route) int64 {
	best := slices.MinFunc(d.Routes, func(a, b control.Route) int {
		return int(a.Latency - b.Latency)
	}).Latency
	limit := best + max(p.Bound.Within, time.Duration(float64(best)*p.Bound.Percent/100))
	if r.Latency <= limit {
		return 0
	}
	return max(1, (r.Latency - limit).Milliseconds())
}

func curveCost(s control.Supplier, load int64) int64 {
	cost, at := int64(0), int64(0)
	for _, seg := range s.Curve {
		part := load - at
		if seg.UpTo > 0 {
			part = min(part, seg.UpTo-at)
		}
		if part <= 0 {
			break
		}
		cost, at = cost+part*seg.Price, at+part
	}
	return cost
}

// bruteForce tries every way to place every unit, or to leave it.
func bruteForce(p control.Problem) score {
	loads := make([]int64, len(p.Suppliers))
	best := score{unserved: 1 << 40}
	var place func(i, j int, left int64, s score)
	place = func(i, j int, left int64, s score) {
		if i == len(p.Demands) {
			for k, sup := range p.Suppliers {
				s.cost += curveCost(sup, loads[k])
			}
			if s.less(best) {
				best = s
			}
			return
		}
		d := p.Demands[i]
		if j == len(d.Routes) {
			s.unserved += left
			next := int64(0)
			if i+1 < len(p.Demands) {
				next = p.Demands[i+1].Load
			}
			place(i+1, 0, next, s)
			return
		}
		most := min(left, p.Suppliers[j].Capacity-loads[j])
		if c := d.Routes[j].Capacity; c > 0 {
			most = min(most, c)
		}
		e := excess(p, d, d.Routes[j])
		for n := range most + 1 {
			loads[j] += n
			place(i, j+1, left-n, score{s.unserved, s.late + n*e, s.cost})
			loads[j] -= n
		}
	}
	place(0, 0, p.Demands[0].Load, score{})
	return best
}

func TestNoWayToPlaceTheLoadIsBetterThanTheSolvers(t *testing.T) {
	r := rand.New(rand.NewPCG(4, 11))
	const worlds = 1_000 / shorter
	feasible, late, over := 0, 0, 0
	for i := range worlds {
		p := world(r)
		a := solve(t, p)
		got := score{unserved: a.Over, cost: a.Cost}
		loads, placed := map[string]int64{}, map[control.Scope]int64{}
		for _, f := range a.Flows {
			loads[f.Backend] += f.Load - f.Over
			placed[f.Scope] += f.Load
			d := p.Demands[slices.IndexFunc(p.Demands,
				func(d control.Demand) bool { return d.Scope == f.Scope })]
			rt := d.Routes[slices.IndexFunc(d.Routes,
				func(r control.Route) bool { return r.Backend == f.Backend })]
			got.late += (f.Load - f.Over) * excess(p, d, rt)
			if rt.Capacity > 0 && f.Load-f.Over > rt.Capacity {
				t.Fatalf("world %d: %+v is above its route's capacity", i, f)
			}
			if f.Late != (excess(p, d, rt) > 0) {
				t.Fatalf("world %d: %+v is wrong about its latency", i, f)
			}
		}
		for _, s := range p.Suppliers {
			if loads[s.Backend] > s.Capacity {
				t.Fatalf("world %d: backend %s has %d of %d", i, s.Backend, loads[s.Backend],
					s.Capacity)
			}
		}
		for _, d := range p.Demands {
			if placed[d.Scope] != d.Load {
				t.Fatalf("world %d: %s has %d of %d", i, d.Scope, placed[d.Scope], d.Load)
			}
		}
		if want := bruteForce(p); got != want {
			t.Fatalf("world %d: got %+v, brute force %+v in %+v", i, got, want, p)
		}
		switch {
		case got.unserved > 0:
			over++
		case got.late > 0:
			late++
		default:
			feasible++
		}
	}
	t.Logf("%d worlds, each as cheap as brute force: %d within all limits, %d beyond a latency "+
		"bound, %d with more demand than capacity", worlds, feasible, late, over)
	if feasible < worlds/10 || late < worlds/10 || over < worlds/20 {
		t.Error("the worlds are too much alike")
	}
}

func TestTheOrderOfAProblemDoesNotMatter(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 1))
	for range 200 {
		p := world(r)
		want := solve(t, p)
		r.Shuffle(len(p.Suppliers), func(i, j int) {
			p.Suppliers[i], p.Suppliers[j] = p.Suppliers[j], p.Suppliers[i]
		})
		slices.Reverse(p.Demands)
		for _, d := range p.Demands {
			slices.Reverse(d.Routes)
		}
		if diff := cmp.Diff(want, solve(t, p)); diff != "" {
			t.Fatal(diff)
		}
	}
}

func BenchmarkSolve(b *testing.B) {
	r := rand.New(rand.NewPCG(8, 20))
	var p control.Problem
	p.Bound = control.Bound{Percent: 25, Within: 10 * time.Millisecond}
	for i := range 8 {
		free := int64(2_000 + r.IntN(8_000))
		p.Suppliers = append(p.Suppliers, control.Supplier{
			Backend: fmt.Sprint("b", i), Capacity: 25_000 + int64(r.IntN(10_000)),
			Curve: []control.Segment{{UpTo: free}, {UpTo: 2 * free, Price: int64(1 + r.IntN(900))},
				{Price: int64(1_000 + r.IntN(900))}},
		})
	}
	for i := range 20 {
		d := control.Demand{Scope: at2(fmt.Sprint(i)), Load: int64(1_000 + r.IntN(16_000))}
		for _, s := range p.Suppliers {
			d.Routes = append(d.Routes, route(s.Backend, 20+r.IntN(60)))
		}
		p.Demands = append(p.Demands, d)
	}
	for b.Loop() {
		if _, err := control.Solve(p); err != nil {
			b.Fatal(err)
		}
	}
}
