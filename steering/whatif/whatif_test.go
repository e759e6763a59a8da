package whatif_test

import (
	"errors"
	"math"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"pointsman/probes/health"
	"pointsman/steering"
	"pointsman/steering/whatif"
)

const hostName = "cdn.example.test."

var start = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

// inputs divide a host between a and b.
func inputs(sticky steering.Stickiness, a, b uint32, change ...func(*steering.Spec)) steering.Inputs {
	s := &steering.Spec{
		Backends: []steering.Backend{
			{Name: "a", Addresses: []netip.Addr{netip.MustParseAddr("192.0.2.1")}, Cost: 20_000,
				Capacity: 500},
			{Name: "b", Addresses: []netip.Addr{netip.MustParseAddr("192.0.2.2")}, Cost: 40_000}},
		Pools: []steering.Pool{{Name: "all", Members: []steering.Member{
			{Backend: "a", Weight: a}, {Backend: "b", Weight: b}}}},
		Hosts: []steering.Host{{Name: hostName, TTL: time.Minute, Pools: []string{"all"},
			Stickiness: sticky}},
	}
	for _, f := range change {
		f(s)
	}
	return steering.Inputs{Version: 1, Now: start, Spec: s, View: &health.View{}}
}

// clients are so many that weigh by Zipf's law, all for one host.
func clients(n int, exponent float64) []whatif.Client {
	out := whatif.Model{Resolvers: n, Exponent: exponent}.Clients(3, func(a netip.Addr) string {
		if a.As4()[0] < 128 {
			return "LOW"
		}
		return "HIGH"
	})
	for i := range out {
		out[i].Host = hostName
	}
	return out
}

func compared(t *testing.T, cfg whatif.Config, moments ...whatif.Moment) *whatif.Report {
	t.Helper()
	c := whatif.New(cfg)
	for _, m := range moments {
		if err := c.Add(m); err != nil {
			t.Fatal(err)
		}
	}
	return c.Report()
}

func near(a, b, within float64) bool { return math.Abs(a-b) <= within }

func TestSharesAreThoseOfTheWeightsHoweverHeavyTheClients(t *testing.T) {
	for _, exponent := range []float64{0, 1.1, 2} {
		r := compared(t, whatif.Config{}, whatif.Moment{Old: inputs(steering.Spread, 70, 30),
			New: inputs(steering.Spread, 50, 50), Clients: clients(500, exponent)})
		h := r.Hosts[0]
		if !near(h.Shares[0].Old, 0.7, 0.005) || !near(h.Shares[0].New, 0.5, 0.005) ||
			!near(h.Shares[1].New, 0.5, 0.005) {
			t.Errorf("exponent %v: shares %+v", exponent, h.Shares)
		}
		if !near(h.Churn, 0.2, 0.01) || !near(h.Least, 0.2, 0.005) || !near(r.Churn, h.Churn, 1e-12) {
			t.Errorf("exponent %v: churn %v, least %v", exponent, h.Churn, h.Least)
		}
	}
}

func TestChurnOfAStickyHostIsNotMuchAboveTheLeast(t *testing.T) {
	r := compared(t, whatif.Config{}, whatif.Moment{Old: inputs(steering.Sticky, 50, 50),
		New: inputs(steering.Sticky, 50, 40), Clients: clients(20_000, 0)})
	h := r.Hosts[0]
	if !near(h.Churn, h.Least, 1e-9) || !near(h.Least, 1.0/18, 0.005) {
		t.Errorf("churn %v, least %v", h.Churn, h.Least)
	}
	if len(h.Countries) != 2 || !near(h.Countries[0].Part+h.Countries[1].Part, 1, 1e-9) {
		t.Errorf("countries %+v", h.Countries)
	}
	same := inputs(steering.Sticky, 50, 50)
	if r := compared(t, whatif.Config{}, whatif.Moment{Old: same, New: same,
		Clients: clients(100, 1)}); r.Churn != 0 || r.Least != 0 {
		t.Errorf("a change of nothing has a churn of %v, least %v", r.Churn, r.Least)
	}
}

func TestHealthOfTheMomentCounts(t *testing.T) {
	old, next := inputs(steering.Spread, 70, 30), inputs(steering.Spread, 10, 90)
	down := &health.View{Backends: map[string]health.Health{
		"b": {Backend: "b", State: health.Unhealthy}}}
	old.View, next.View = down, down
	r := compared(t, whatif.Config{}, whatif.Moment{Old: old, New: next, Clients: clients(50, 1)})
	if r.Churn != 0 || r.Hosts[0].Shares[0].New != 1 {
		t.Errorf("while b is down: churn %v, %+v", r.Churn, r.Hosts[0].Shares)
	}
}

func TestPlacesOfTheNewConfigAreToldApart(t *testing.T) {
	placed := func(s *steering.Spec) {
		s.Pools = append(s.Pools, steering.Pool{Name: "b only",
			Members: []steering.Member{{Backend: "b", Weight: 1}}})
		s.Hosts[0].Places = []steering.Place{{Name: "low", Pools: []string{"b only"},
			Prefixes: []netip.Prefix{netip.MustParsePrefix("0.0.0.0/1")}}}
	}
	r := compared(t, whatif.Config{}, whatif.Moment{Old: inputs(steering.Spread, 100, 0),
		New: inputs(steering.Spread, 100, 0, placed), Clients: clients(2000, 0)})
	h := r.Hosts[0]
	i := slices.IndexFunc(h.Places, func(g whatif.Group) bool { return g.Name == "low" })
	j := slices.IndexFunc(h.Countries, func(g whatif.Group) bool { return g.Name == "LOW" })
	if i < 0 || j < 0 || h.Places[i].Churn != 1 || h.Countries[j].Churn != 1 ||
		!near(h.Places[i].Part, 0.5, 0.05) || !near(h.Churn, h.Places[i].Part, 1e-9) {
		t.Errorf("places %+v, countries %+v", h.Places, h.Countries)
	}
}

func TestCostCapacityAndOriginFollowTheShares(t *testing.T) {
	loaded := func(s *steering.Spec) { s.Hosts[0].Load = 1000 }
	bounded := func(s *steering.Spec) { s.Backends[0].Capacity = 0 }
	r := compared(t, whatif.Config{Miss: map[string]float64{"a": 0.1, "b": 0.5}},
		whatif.Moment{Old: inputs(steering.Spread, 25, 75, loaded),
			New: inputs(steering.Spread, 75, 25, loaded, bounded), Clients: clients(200, 1)})
	h := r.Hosts[0]
	if !near(h.Cost.Old, 35_000, 100) || !near(h.Cost.New, 25_000, 100) {
		t.Errorf("cost %+v", h.Cost)
	}
	if !near(h.Origin.Old, 0.4, 0.005) || !near(h.Origin.New, 0.2, 0.005) {
		t.Errorf("origin %+v", h.Origin)
	}
	a := r.Backends[0]
	if a.Capacity != 500 || !near(a.Used(a.Load.Old), 0.5, 0.01) ||
		!near(a.Used(a.Load.New), 1.5, 0.01) || a.Unknown != nil {
		t.Errorf("backend %+v", a)
	}
	r = compared(t, whatif.Config{Miss: map[string]float64{"a": 0.1}},
		whatif.Moment{Old: inputs(steering.Spread, 1, 1), New: inputs(steering.Spread, 1, 1),
			Clients: clients(10, 1)})
	if r.Hosts[0].Origin != nil || !slices.Equal(r.Backends[0].Unknown, []string{hostName}) {
		t.Errorf("what is not known: origin %+v, backends %+v", r.Hosts[0].Origin, r.Backends)
	}
}

func TestPeaksAreThoseOfTheWorstMoment(t *testing.T) {
	loaded := func(s *steering.Spec) { s.Hosts[0].Load = 100 }
	down := &health.View{Backends: map[string]health.Health{
		"b": {Backend: "b", State: health.Unhealthy}}}
	good := whatif.Moment{Old: inputs(steering.Spread, 1, 1, loaded),
		New: inputs(steering.Spread, 1, 1, loaded), Clients: clients(1000, 0)}
	bad, brief := good, good
	bad.Old.View, bad.New.View = down, down
	bad.Clients = bad.Clients[:100]
	brief.Old.View, brief.New.View = down, down
	brief.Clients = brief.Clients[:5]
	if b := compared(t, whatif.Config{}, good, bad).Backends[0]; !near(b.Load.New, 100, 1e-6) {
		t.Errorf("with a bad hour: %+v", b)
	}
	if b := compared(t, whatif.Config{}, good, brief).Backends[0]; !near(b.Load.New, 50, 1) {
		t.Errorf("5 of 1,005 queries say how a load divides: %+v", b)
	}
}

func TestNamesThatComeAndGoAreNoChurn(t *testing.T) {
	renamed := func(s *steering.Spec) { s.Hosts[0].Name = "new.example.test." }
	r := compared(t, whatif.Config{}, whatif.Moment{Old: inputs(steering.Spread, 1, 1),
		New: inputs(steering.Spread, 1, 1, renamed), Clients: clients(10, 1)})
	if d := cmp.Diff([][]string{{"new.example.test."}, {hostName}}, [][]string{r.Gained, r.Lost}); d != "" ||
		r.Churn != 0 {
		t.Errorf("churn %v; gained and lost (-want +got):\n%s", r.Churn, d)
	}
}

func TestATableThatIsRefusedIsToldAndNotCounted(t *testing.T) {
	none := func(s *steering.Spec) { s.Hosts[0].Pools = []string{"gone"} }
	c := whatif.New(whatif.Config{})
	if err := c.Add(whatif.Moment{Old: inputs(steering.Spread, 1, 1),
		New: inputs(steering.Spread, 1, 1, none), Clients: clients(10, 1)}); err != nil {
		t.Fatal(err)
	}
	r := c.Report()
	if r.Moments != 0 || len(r.Refused) != 1 || !strings.Contains(r.Refused[0].Err, "gone") {
		t.Errorf("got %+v", r)
	}
	err := c.Add(whatif.Moment{Old: inputs(steering.Spread, 1, 1, none),
		New: inputs(steering.Spread, 1, 1)})
	if !errors.Is(err, whatif.ErrOld) {
		t.Errorf("the config in force makes no table: %v", err)
	}
}

func TestEqualComparisonsAreEqual(t *testing.T) {
	one := func() *whatif.Report {
		return compared(t, whatif.Config{Host: hostName}, whatif.Moment{
			Old: inputs(steering.Sticky, 3, 1), New: inputs(steering.Spread, 1, 3),
			Clients: clients(300, 1.1)})
	}
	if d := cmp.Diff(one(), one()); d != "" {
		t.Errorf("twice the same (-first +second):\n%s", d)
	}
}

func TestModelsAreReadStrictly(t *testing.T) {
	m, err := whatif.ParseModel("zipf:2000:1.1")
	if err != nil || m != (whatif.Model{Resolvers: 2000, Exponent: 1.1}) {
		t.Errorf("got %+v, %v", m, err)
	}
	for _, bad := range []string{"", "zipf", "zipf:1", "zipf:0:1", "zipf:10:NaN", "zipf:10:4",
		"zipf:10:-1", "zipf:1e9:1", "zipf:2000000:1", "pareto:10:1", "zipf:10:1:1"} {
		if _, err := whatif.ParseModel(bad); err == nil {
			t.Errorf("%q was taken", bad)
		}
	}
}

func TestAModelsResolversWeighByZipfsLaw(t *testing.T) {
	all := clients(1000, 1.1)
	sum := 0.0
	for _, c := range all {
		sum += c.Weight
	}
	if !near(sum, 1000, 1e-6) || !near(all[0].Weight/all[9].Weight, math.Pow(10, 1.1), 1e-9) {
		t.Errorf("sum %v, first %v, tenth %v", sum, all[0].Weight, all[9].Weight)
	}
}
