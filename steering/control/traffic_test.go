package control_test

import (
	"fmt"
	"maps"
	"math"
	"math/rand/v2"
	"net/netip"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"pointsman/steering/control"
)

const (
	simResolvers = 2_000
	simTTL       = 30 * time.Second
)

func simTarget() control.Split { return control.Split{"a": 0.6, "b": 0.3, "c": 0.1} }

// pickAt is the backend of a draw, from 0 to 1.
func pickAt(s control.Split, draw float64) string {
	at, last := 0.0, ""
	for _, b := range []string{"a", "b", "c"} {
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

// draws is the even sequence that the nameserver picks by.
type draws float64

func (d *draws) next() float64 {
	const golden = 0.6180339887498949
	*d = draws(math.Mod(float64(*d)+golden, 1))
	return float64(*d)
}

// off is the largest distance of a traffic share from its target.
func off(traffic control.Split) float64 {
	traffic = traffic.Normal()
	most := 0.0
	for b, want := range simTarget() {
		most = max(most, math.Abs(traffic[b]-want))
	}
	return most
}

// window is what the backends get in the time of one TTL. loads are the true ones.
func window(r *rand.Rand, loads []float64, how control.Traffic) control.Split {
	assigned := map[netip.Prefix]control.Assigned{}
	for _, a := range how.Assigned {
		assigned[a.Prefix] = a
	}
	traffic := control.Split{}
	common := draws(r.Float64())
	for _, n := range r.Perm(len(loads)) { // resolvers ask in any order
		a, ok := assigned[resolver(n)]
		switch {
		case !ok:
			traffic[pickAt(how.Residual, common.next())] += loads[n]
		default:
			next := r.IntN(len(a.Cycle))
			part := a.TTL.Seconds() / simTTL.Seconds()
			for at := -part * r.Float64(); at < 1; at += part { // the first began before
				traffic[a.Cycle[next]] += loads[n] * (min(1, at+part) - max(0, at))
				next = (next + 1) % len(a.Cycle)
			}
		}
	}
	return traffic
}

// quantile of sorted values.
func quantile(values []float64, q float64) float64 {
	slices.Sort(values)
	return values[int(q*float64(len(values)-1))]
}

// estimates are the loads as somebody knows them who is off by up to 30 %.
func estimates(r *rand.Rand, loads []float64) (list []control.Resolver, total float64) {
	for n, l := range loads {
		known := l * (0.7 + 0.6*r.Float64())
		list = append(list, control.Resolver{Prefix: resolver(n), Load: known, Error: 0.3})
		total += known
	}
	return list, total
}

func TestTrafficDividesByTheTargetWhereAFairPickIsFarOff(t *testing.T) {
	const seeds = 250 / min(shorter, 2)
	errs := map[string][]float64{}
	for seed := range uint64(seeds) {
		r := rand.New(rand.NewPCG(seed, 1998))
		loads := zipf(simResolvers, 1.1)
		coin := control.Split{}
		for _, l := range loads {
			coin[pickAt(simTarget(), r.Float64())] += l
		}
		errs["fair coin"] = append(errs["fair coin"], off(coin))
		even := window(r, loads, control.Traffic{Residual: simTarget()})
		errs["even sequence"] = append(errs["even sequence"], off(even))
		list, total := estimates(r, loads)
		for _, least := range []time.Duration{simTTL, 5 * time.Second} {
			name := "assigned"
			if least < simTTL {
				name = "assigned, the heaviest divided"
			}
			how, err := control.Assign(control.TrafficInput{Resolvers: list, Total: total,
				Target: simTarget(), TTL: simTTL, LeastTTL: least, Tolerance: 0.005})
			if err != nil {
				t.Fatal(err)
			}
			errs[name] = append(errs[name], off(window(r, loads, how)))
		}
	}
	for _, name := range slices.Sorted(maps.Keys(errs)) {
		t.Logf("%-31s traffic is off by %4.1f points median, %4.1f at p95", name,
			100*quantile(errs[name], 0.5), 100*quantile(errs[name], 0.95))
	}
	best := errs["assigned, the heaviest divided"]
	if quantile(best, 0.5) > 0.02 || quantile(best, 0.95) > 0.05 {
		t.Error("the traffic is off by more than 2 points median or 5 at p95")
	}
	if quantile(errs["fair coin"], 0.5) < 0.07 {
		t.Error("a coin does as well")
	}
}

func TestOnlyFewAssignmentsChangeFromTimeToTime(t *testing.T) {
	r := rand.New(rand.NewPCG(6, 6))
	loads := zipf(simResolvers, 1.1)
	prev := map[netip.Prefix]string{}
	moved, most := 0.0, 0.0
	const rounds = 100
	for round := range rounds {
		var list []control.Resolver
		for n := range loads {
			loads[n] *= 0.95 + 0.1*r.Float64() // traffic drifts
			list = append(list, control.Resolver{Prefix: resolver(n), Load: loads[n], Error: 0.1})
		}
		how, err := control.Assign(control.TrafficInput{Resolvers: list, Target: simTarget(),
			Prev: prev, TTL: simTTL, LeastTTL: simTTL, Tolerance: 0.005})
		if err != nil {
			t.Fatal(err)
		}
		total, part := 0.0, 0.0
		next := map[netip.Prefix]string{}
		for _, a := range how.Assigned {
			next[a.Prefix] = a.Cycle[0]
		}
		for _, r := range list {
			total += r.Load
			was, ok := prev[r.Prefix]
			if is, still := next[r.Prefix]; ok && still && was != is {
				part += r.Load
			}
		}
		if round > 0 {
			moved += part / total
			most = max(most, part/total)
		}
		prev = next
	}
	t.Logf("with loads that drift by up to 5 %% a round, %.2f %% of the traffic changes its "+
		"backend in a round, %.1f %% at most", 100*moved/(rounds-1), 100*most)
	if moved/(rounds-1) > 0.02 {
		t.Error("assignments flap")
	}
}

func TestAssignmentsAreBoundedAndTheSameInAnyOrder(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 9))
	list, total := estimates(r, zipf(simResolvers, 1.1))
	in := control.TrafficInput{Resolvers: list, Total: total, Target: simTarget(), TTL: simTTL,
		LeastTTL: 5 * time.Second, Tolerance: 0.005}
	want, err := control.Assign(in)
	if err != nil {
		t.Fatal(err)
	}
	if len(want.Assigned) != control.MostAssigned {
		t.Errorf("%d resolvers are assigned", len(want.Assigned))
	}
	divided := 0
	for i, a := range want.Assigned {
		if len(a.Cycle) > 1 {
			divided++
			if a.TTL < 5*time.Second || a.TTL > simTTL/time.Duration(len(a.Cycle)) {
				t.Errorf("number %d is divided with a TTL of %s", i, a.TTL)
			}
		} else if a.TTL != simTTL {
			t.Errorf("number %d has a TTL of %s", i, a.TTL)
		}
	}
	if divided == 0 || divided > 20 {
		t.Errorf("%d are divided", divided)
	}
	r.Shuffle(len(list), func(i, j int) { list[i], list[j] = list[j], list[i] })
	in.Resolvers = append(in.Resolvers, list[7], control.Resolver{Load: 5},
		control.Resolver{Prefix: resolver(5_000), Load: math.NaN()})
	got, err := control.Assign(in)
	if err != nil {
		t.Fatal(err)
	}
	compare := cmp.Comparer(func(a, b netip.Prefix) bool { return a == b })
	if diff := cmp.Diff(want, got, compare); diff != "" {
		t.Error(diff)
	}
}

func TestADrainedBackendIsAssignedNobody(t *testing.T) {
	var list []control.Resolver
	prev := map[netip.Prefix]string{}
	for n := range 50 {
		list = append(list, control.Resolver{Prefix: resolver(n), Load: float64(n + 1)})
		prev[resolver(n)] = "a"
	}
	how, err := control.Assign(control.TrafficInput{Resolvers: list, Total: 2_000, Prev: prev,
		Target: control.Split{"a": 0, "b": 1, "c": 1}, TTL: simTTL, LeastTTL: simTTL, Tolerance: 1})
	if err != nil {
		t.Fatal(err)
	}
	for _, a := range how.Assigned {
		if slices.Contains(a.Cycle, "a") {
			t.Errorf("%s is assigned to a drained backend", a.Prefix)
		}
	}
	if how.Residual["a"] != 0 || math.Abs(how.Residual["b"]-0.5) > 0.05 {
		t.Errorf("the others divide by %v", how.Residual)
	}
}

func TestATrafficInputThatMakesNoSenseIsRefused(t *testing.T) {
	good := control.TrafficInput{Target: simTarget(), TTL: simTTL, LeastTTL: time.Second,
		Tolerance: 0.01}
	how, err := control.Assign(good)
	diff := cmp.Diff(simTarget(), how.Residual, cmpopts.EquateApprox(0, 1e-12))
	if err != nil || diff != "" {
		t.Errorf("nobody known: %v %s", err, diff)
	}
	for i, spoil := range []func(*control.TrafficInput){
		func(in *control.TrafficInput) { in.Target = control.Split{"a": 0} },
		func(in *control.TrafficInput) { in.LeastTTL = time.Minute },
		func(in *control.TrafficInput) { in.TTL = 0 },
		func(in *control.TrafficInput) { in.Tolerance = math.NaN() },
	} {
		in := good
		spoil(&in)
		if _, err := control.Assign(in); err == nil {
			t.Error(fmt.Sprint(i), "was accepted")
		}
	}
}

func BenchmarkAssign(b *testing.B) {
	r := rand.New(rand.NewPCG(1, 1))
	list, total := estimates(r, zipf(simResolvers, 1.1))
	in := control.TrafficInput{Resolvers: list, Total: total, Target: simTarget(), TTL: simTTL,
		LeastTTL: 5 * time.Second, Tolerance: 0.005}
	for b.Loop() {
		if _, err := control.Assign(in); err != nil {
			b.Fatal(err)
		}
	}
}
