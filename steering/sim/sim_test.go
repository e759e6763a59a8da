package sim_test

import (
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"pointsman/steering/sim"
)

// finished makes a world complete.
func finished(t *testing.T, w *sim.World) *sim.World {
	t.Helper()
	if w.Name == "" {
		w.Name = "test"
	}
	if w.Kind == "" {
		w.Kind = sim.Hard
	}
	if err := w.Finish(); err != nil {
		t.Fatal(err)
	}
	return w
}

func run(t *testing.T, w *sim.World, policy string) sim.Result {
	t.Helper()
	r, err := sim.Run(w, policy)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func minutes(n float64) sim.Duration { return sim.Duration(n * float64(time.Minute)) }

// pair is two backends, the first with faults.
func pair(faults ...sim.Fault) []sim.Backend {
	return []sim.Backend{{Name: "a", Weight: 50, Faults: faults}, {Name: "b", Weight: 50}}
}

func TestEqualWorldsGiveEqualResults(t *testing.T) {
	world := func(seed uint64) *sim.World {
		return finished(t, &sim.World{Seed: seed, Lasts: minutes(5), Backends: pair(
			sim.Fault{Kind: sim.Errors, Ratio: 0.7, From: minutes(1), To: minutes(4)})})
	}
	for _, p := range sim.Policies() {
		first := run(t, world(1), p.Name)
		if diff := cmp.Diff(first, run(t, world(1), p.Name)); diff != "" {
			t.Errorf("%s: the same world again (-first +second):\n%s", p.Name, diff)
		}
	}
	if cmp.Equal(run(t, world(1), "pointsman"), run(t, world(2), "pointsman")) {
		t.Error("another seed changes nothing: there is no luck in it")
	}
}

// TestModelsDetectAsTheirDocumentsSay holds the emulations, and Pointsman, to the arithmetic of
// their defaults: a backend that refuses connections from a moment on.
func TestModelsDetectAsTheirDocumentsSay(t *testing.T) {
	bounds := map[string][2]time.Duration{
		"pointsman":       {2 * time.Second, 5 * time.Second}, // 3 x 1 s and an exchange of votes
		"pointsman-alone": {2 * time.Second, 4 * time.Second},
		"route53":         {60 * time.Second, 91 * time.Second},
		"azure":           {90 * time.Second, 121 * time.Second},
		"cloudflare":      {0, 61 * time.Second},
		"gdnsd":           {90 * time.Second, 101 * time.Second},
		"powerdns":        {0, 6 * time.Second},
	}
	for _, p := range sim.Policies() {
		for seed := range uint64(20) {
			w := finished(t, &sim.World{Seed: seed, Lasts: minutes(5), Backends: pair(
				sim.Fault{Kind: sim.Refused, From: minutes(1), To: minutes(10)})})
			got, bound := time.Duration(run(t, w, p.Name).OutAfter), bounds[p.Name]
			if got < bound[0] || got > bound[1] {
				t.Errorf("%s, seed %d: out after %v, want %v to %v", p.Name, seed, got,
					bound[0], bound[1])
			}
		}
	}
}

func TestWhoSeesWhatIsAsDocumented(t *testing.T) {
	for _, c := range []struct {
		fault   sim.Fault
		checked bool
		seen    string
	}{
		{sim.Fault{Kind: sim.Certificate}, false, "pointsman pointsman-alone cloudflare"},
		{sim.Fault{Kind: sim.Content}, false, ""},
		{sim.Fault{Kind: sim.Content}, true,
			"pointsman pointsman-alone route53 cloudflare powerdns"},
		{sim.Fault{Kind: sim.Slow, Latency: sim.Duration(4 * time.Second)}, false,
			"pointsman pointsman-alone route53 powerdns"},
		{sim.Fault{Kind: sim.Slow, Latency: sim.Duration(11 * time.Second)}, false,
			"pointsman pointsman-alone route53 azure cloudflare gdnsd powerdns"},
	} {
		c.fault.From, c.fault.To = minutes(1), minutes(20)
		w := finished(t, &sim.World{Lasts: minutes(10), ContentChecked: c.checked,
			Backends: pair(c.fault)})
		var seen []string
		for _, p := range sim.Policies() {
			if run(t, w, p.Name).OutAfter > 0 {
				seen = append(seen, p.Name)
			}
		}
		if diff := cmp.Diff(c.seen, strings.Join(seen, " ")); diff != "" {
			t.Errorf("%s, bodies checked %v (-want +got):\n%s", c.fault.Kind, c.checked, diff)
		}
	}
}

// at is the part of users lost at a minute.
func at(r sim.Result, minute float64) float64 { return r.Curve[int(minute*6)] }

// TestTheLadderHoldsOverALongOutage takes pools away one by one for hours, and brings the last
// one back first.
func TestTheLadderHoldsOverALongOutage(t *testing.T) {
	const hour = 60
	down := func(from, to float64) []sim.Fault {
		return []sim.Fault{{Kind: sim.Down, From: minutes(from), To: minutes(to)}}
	}
	w := finished(t, &sim.World{Lasts: minutes(12 * hour), Backends: []sim.Backend{
		{Name: "cdn-1", Weight: 60, Faults: down(hour, 11*hour)},
		{Name: "cdn-2", Weight: 40, Faults: down(hour, 10*hour)},
		{Name: "edge", Weight: 1, Tier: 1, Faults: down(2*hour, 9*hour)},
		{Name: "origin", Weight: 1, Tier: 2, Faults: down(3*hour, 8*hour)},
	}, Vantages: []sim.Vantage{{Name: "v1"}}})
	r := run(t, w, "pointsman")
	for _, c := range []struct {
		minute      float64
		least, most float64
		what        string
	}{
		{30, 0, 0, "all is well"},
		{2*hour - 1, 0, 0.01, "the edge answers for the CDNs"},
		{3*hour - 1, 0, 0.01, "the origin answers for the edge"},
		{3*hour + 30, 1, 1, "nothing works"},
		{8*hour - 1, 1, 1, "nothing works, five hours on"},
		{9*hour - 1, 0, 0.01, "the origin is back alone"},
		{10*hour - 1, 0, 0.001, "the edge is back"},
		{12*hour - 1, 0, 0.001, "all are back"},
	} {
		if got := at(r, c.minute); got < c.least-1e-9 || got > c.most+1e-9 {
			t.Errorf("%s: %.4f of the users are lost, want %v to %v", c.what, got, c.least, c.most)
		}
	}
	if r.Empty != 0 || r.FalseFailovers != 0 {
		t.Errorf("%d empty answers, %v false failovers", r.Empty, r.FalseFailovers)
	}
	if got, want := r.Unavoidable, 5*hour*w.Users; got < 0.99*want || got > want+1 {
		t.Errorf("%.0f user-minutes are unavoidable, want %.0f", got, want)
	}
}

// TestNoRandomWorldLeavesTheNameEmpty throws everything at Pointsman that a world can hold.
func TestNoRandomWorldLeavesTheNameEmpty(t *testing.T) {
	for seed := range uint64(worlds) {
		w := finished(t, randomWorld(seed))
		policy := []string{"pointsman", "pointsman-alone"}[seed%2]
		r := run(t, w, policy)
		if r.Empty != 0 {
			t.Errorf("seed %d, %s: %d empty answers", seed, policy, r.Empty)
		}
		for what, v := range map[string]float64{"server": r.Server, "clients": r.Clients,
			"moved": r.Moved, "unavoidable": r.Unavoidable} {
			if !(v >= 0) || v > 100*w.Users*time.Duration(w.Lasts).Minutes() {
				t.Errorf("seed %d, %s: %s is %v", seed, policy, what, v)
			}
		}
	}
}

func randomWorld(seed uint64) *sim.World {
	r := rand.New(rand.NewPCG(seed, 1))
	w := &sim.World{Seed: seed, Lasts: sim.Duration(time.Duration(60+r.IntN(30)) * time.Second),
		TTL:     sim.Duration(time.Duration(1+r.IntN(60)) * time.Second),
		Regions: []sim.Region{{Name: "eu", Users: 3}, {Name: "us", Users: 2}}}
	faults := func(kinds ...sim.Failure) (list []sim.Fault) {
		for range r.IntN(3) {
			from := time.Duration(r.IntN(60)) * time.Second
			f := sim.Fault{Kind: kinds[r.IntN(len(kinds))], From: sim.Duration(from),
				To: sim.Duration(from + time.Duration(1+r.IntN(90))*time.Second)}
			if f.Kind == sim.Slow {
				f.Latency = sim.Duration(time.Duration(r.IntN(5000)+1) * time.Millisecond)
			}
			if r.IntN(2) == 0 {
				f.Ratio = r.Float64()
			}
			if r.IntN(3) == 0 {
				f.Every, f.For = minutes(0.2), minutes(0.1)
			}
			if r.IntN(3) == 0 {
				f.Regions = []string{"eu"}
			}
			list = append(list, f)
		}
		return list
	}
	backend := func() []sim.Fault {
		return faults(sim.Down, sim.Refused, sim.Errors, sim.Slow, sim.Certificate, sim.Content)
	}
	for i := range 1 + r.IntN(4) {
		b := sim.Backend{Name: fmt.Sprint("b", i), Tier: r.IntN(3), Faults: backend()}
		if b.Weight = uint32(r.IntN(100)); i == 0 {
			b.Weight++
		}
		if r.IntN(3) == 0 {
			b.Capacity = r.Float64()
		}
		w.Backends = append(w.Backends, b)
	}
	for i := range 1 + r.IntN(3) {
		w.Vantages = append(w.Vantages, sim.Vantage{Name: fmt.Sprint("v", i), Region: "eu",
			Faults: faults(sim.Blind, sim.SaysDown, sim.SaysUp, sim.Partitioned, sim.Dead)})
	}
	if r.IntN(2) == 0 {
		w.Control = &sim.Control{Faults: backend()}
	}
	for i := range r.IntN(4) {
		p := sim.Order{At: sim.Duration(time.Duration(10+20*i) * time.Second),
			Version: 1 + r.Uint64N(20), Weights: map[string]uint32{}}
		if r.IntN(2) == 0 {
			p.Weights["b0"] = 1 + uint32(r.IntN(9))
		}
		w.Plans = append(w.Plans, p)
	}
	return w
}

// blinded is a world in which every eye fails from the fifth minute on, and no backend does.
func blinded(t *testing.T, control bool, nodes int) *sim.World {
	w := &sim.World{Kind: sim.False, Lasts: minutes(15), Backends: pair()}
	for i := range nodes {
		w.Vantages = append(w.Vantages, sim.Vantage{Name: fmt.Sprint("v", i), Faults: []sim.Fault{
			{Kind: sim.Blind, From: minutes(5) + sim.Duration(time.Second/2), To: minutes(30)}}})
	}
	if control {
		w.Control = &sim.Control{}
	}
	return finished(t, w)
}

func TestWithAControlTargetNodesDoubtTheirEyesBeforeTheWorld(t *testing.T) {
	for _, nodes := range []int{1, 3} {
		if r := run(t, blinded(t, true, nodes), "pointsman"); r.Churn != 0 || r.Transitions != 0 {
			t.Errorf("%d nodes moved %v of the users, in %v transitions", nodes, r.Churn,
				r.Transitions)
		}
	}
	// Without one the ladder catches it: all are answered, but not without a move.
	moved := 0.0
	for seed := range uint64(10) {
		w := blinded(t, false, 1)
		w.Seed = seed
		r := run(t, w, "pointsman")
		if r.Empty != 0 || r.Server != 0 {
			t.Errorf("without a control target: %d empty answers, %v lost", r.Empty, r.Server)
		}
		moved += r.Churn
	}
	if moved == 0 {
		t.Error("a control target makes no difference: the test shows nothing")
	}
}

func TestWhileTheControlTargetAnswersFailuresAreBelieved(t *testing.T) {
	w := finished(t, &sim.World{Lasts: minutes(5), Control: &sim.Control{}, Backends: pair(
		sim.Fault{Kind: sim.Down, From: minutes(1), To: minutes(5)})})
	if r := run(t, w, "pointsman"); r.OutAfter <= 0 || time.Duration(r.OutAfter) > 10*time.Second {
		t.Errorf("out after %v", time.Duration(r.OutAfter))
	}
}

func TestAMinorityOfEyesMovesNobody(t *testing.T) {
	for _, kind := range []sim.Failure{sim.SaysDown, sim.Blind, sim.Dead} {
		w := &sim.World{Kind: sim.False, Lasts: minutes(10), Backends: pair()}
		for i := range 5 {
			v := sim.Vantage{Name: fmt.Sprint("v", i)}
			if i < 2 {
				v.Faults = []sim.Fault{{Kind: kind, From: minutes(2), To: minutes(8)}}
			}
			w.Vantages = append(w.Vantages, v)
		}
		if r := run(t, finished(t, w), "pointsman"); r.FalseFailovers != 0 || r.Churn != 0 {
			t.Errorf("%s: %v false failovers, %v moved", kind, r.FalseFailovers, r.Churn)
		}
	}
}

func TestANodeThatIsCutOffStillSteersByItself(t *testing.T) {
	w := &sim.World{Lasts: minutes(6), Backends: pair(
		sim.Fault{Kind: sim.Refused, From: minutes(2), To: minutes(6)})}
	for i := range 3 {
		w.Vantages = append(w.Vantages, sim.Vantage{Name: fmt.Sprint("v", i), Faults: []sim.Fault{
			{Kind: sim.Partitioned, From: minutes(1), To: minutes(6)}}})
	}
	if r := run(t, finished(t, w), "pointsman"); r.OutAfter <= 0 ||
		time.Duration(r.OutAfter) > 5*time.Second {
		t.Errorf("out after %v", time.Duration(r.OutAfter))
	}
}

func TestLateAndEmptyPlansAreRefusedAndNewOnesTaken(t *testing.T) {
	w := finished(t, &sim.World{Kind: sim.Plan, Lasts: minutes(10), Backends: pair(),
		Plans: []sim.Order{
			{At: minutes(1), Version: 7, Weights: map[string]uint32{"b": 1}},
			{At: minutes(2), Version: 8},
			{At: minutes(3), Version: 11},
		}})
	if r := run(t, w, "pointsman"); r.Churn != 0 || r.Empty != 0 || r.Total() != 0 {
		t.Errorf("moved %v, %d empty answers, lost %v", r.Churn, r.Empty, r.Total())
	}
	if r := run(t, w, "route53"); r.Empty == 0 || r.Server == 0 {
		t.Error("without a fence the plan does nothing: the test shows nothing")
	}
	w.Plans = []sim.Order{{At: minutes(1), Version: 12, Weights: map[string]uint32{"b": 1}}}
	if r := run(t, w, "pointsman"); r.Churn < 0.49 || r.Churn > 0.51 {
		t.Errorf("a new plan moved %v of the users, want half", r.Churn)
	}
}

func TestWhatABackendCannotCarryIsLost(t *testing.T) {
	w := finished(t, &sim.World{Lasts: minutes(30), Backends: pair(
		sim.Fault{Kind: sim.Refused, From: minutes(1), To: minutes(30)})})
	w.Backends[1].Capacity = 0.75
	r := run(t, w, "pointsman")
	if got := at(r, 29); got < 0.25 || got > 0.27 {
		t.Errorf("%v of the users are lost, want a quarter and a little", got)
	}
}

func TestThePackageReadsNoClock(t *testing.T) {
	files, err := filepath.Glob("*.go")
	if err != nil || len(files) < 8 {
		t.Fatalf("found %d files: %v", len(files), err)
	}
	for _, name := range files {
		raw, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		if strings.HasSuffix(name, "_test.go") {
			continue
		}
		for _, word := range []string{"time.Now(", "time.Since(", "rand.", "NewTimer", "NewTicker"} {
			if strings.Contains(string(raw), word) {
				t.Errorf("%s uses %s", name, word)
			}
		}
	}
}
