package steering_test

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"pointsman/probes/health"
	"pointsman/steering"
	"pointsman/steering/geo"
	"pointsman/steering/geo/geotest"
)

// cities is city data: 20.n.0.0/16 is at the n-th place.
func cities(t testing.TB, places ...[2]float64) *geo.Locator {
	t.Helper()
	var rows []geotest.Row
	for i := range places {
		rows = append(rows, geotest.Row{Prefix: fmt.Sprintf("20.%d.0.0/16", i), Place: &places[i]})
	}
	rows = append(rows, geotest.Row{Prefix: "21.0.0.0/16", Country: "US"},
		geotest.Row{Prefix: "21.1.0.0/16", Country: "FR"})
	raw, err := geotest.Write("Test-City", start, rows...)
	if err != nil {
		t.Fatal(err)
	}
	l, err := geo.Read(raw, "test data", start)
	if err != nil {
		t.Fatal(err)
	}
	return l
}

// sites are places of backends: Frankfurt, London, New York, Tokyo, and so on.
func sites() [][2]float64 {
	return [][2]float64{{50.11, 8.68}, {51.51, -0.13}, {40.71, -74.01}, {35.68, 139.69},
		{37.77, -122.42}, {-23.55, -46.63}, {-33.87, 151.21}, {1.35, 103.82}, {19.08, 72.88},
		{25.2, 55.27}}
}

// nearest is a spec with n backends, b0 and so on, of which the nearest answer.
func nearest(n int, within steering.Tolerance) *steering.Spec {
	s := &steering.Spec{Hosts: []steering.Host{{Name: host, TTL: 20 * time.Second,
		Pools: []string{"near"}, Stickiness: steering.Spread}}}
	p := steering.Pool{Name: "near", Choose: steering.Nearest, Within: within}
	for i, at := range sites()[:n] {
		name := fmt.Sprintf("b%d", i)
		s.Backends = append(s.Backends, steering.Backend{Name: name,
			Addresses: []netip.Addr{netip.AddrFrom4([4]byte{192, 0, 2, byte(i + 1)})},
			Location:  &geo.Point{Lat: int32(at[0] * 1e6), Lon: int32(at[1] * 1e6)}})
		p.Members = append(p.Members, steering.Member{Backend: name, Weight: 1})
	}
	s.Pools = append(s.Pools, p)
	return s
}

func sees(down ...string) *health.View {
	v := &health.View{Version: 1, At: start, Backends: map[string]health.Health{}}
	for i := range sites() {
		name := fmt.Sprintf("b%d", i)
		v.Backends[name] = health.Health{Backend: name, State: health.Healthy, Since: start}
	}
	for _, name := range down {
		v.Backends[name] = health.Health{Backend: name, State: health.Unhealthy, Since: start}
	}
	return v
}

func sharesFor(t testing.TB, table *steering.Table, client string) string {
	t.Helper()
	place, _ := table.Place(host, netip.MustParsePrefix(client))
	var list []string
	for _, s := range table.SharesAt(host, place) {
		if s.Share > 0 {
			list = append(list, fmt.Sprintf("%s %.2f", s.Backend, s.Share))
		}
	}
	return place + ": " + strings.Join(list, ", ")
}

func TestTheNearestBackendsAnswerAndTheNextWhenTheyFail(t *testing.T) {
	in := steering.Inputs{Version: 1, Now: start, Spec: nearest(4, steering.Tolerance{Distance: 300}),
		View: sees(), Countries: cities(t, [2]float64{48.86, 2.35}, [2]float64{52.52, 13.4},
			[2]float64{35, 135}, [2]float64{39, -77}),
		Latencies: map[string]time.Duration{"b2": 80 * time.Millisecond, "b3": 20 * time.Millisecond}}
	check := func(want map[string]string) {
		t.Helper()
		table, err := steering.Compile(in)
		if err != nil {
			t.Fatal(err)
		}
		for client, w := range want {
			if d := cmp.Diff(w, sharesFor(t, table, client)); d != "" {
				t.Errorf("%s: %s", client, d)
			}
		}
	}
	check(map[string]string{
		"20.0.0.0/24": "near b1: b0 0.50, b1 0.50", // Paris: 478 and 344 km
		"20.1.0.0/24": "near b0: b0 1.00",          // Berlin
		"20.2.0.0/24": "near b3: b3 1.00",
		"20.3.0.0/24": "near b2: b2 1.00",
		"21.0.0.0/24": "in US: b3 1.00", // somewhere in the US: the fastest
		"21.1.0.0/24": "near b1: b0 0.50, b1 0.50",
		"9.9.9.0/24":  ": b0 0.25, b1 0.25, b2 0.25, b3 0.25", // nobody knows: weights
	})
	in.View, in.Latencies = sees("b1", "b3"), nil
	check(map[string]string{
		"20.0.0.0/24": "near b1: b0 1.00",
		"20.2.0.0/24": "near b3: b0 1.00",
		"21.0.0.0/24": "in US: b2 1.00", // not measured: by the country's centre
	})
}

// TestZonesChooseAsEachClientWould compares tables with looking at each client by itself, while
// random backends are down.
func TestZonesChooseAsEachClientWould(t *testing.T) {
	r := rand.New(rand.NewPCG(5, 6))
	right, all, zones := 0, 0, 0
	for range 40 {
		var places [][2]float64
		for range 60 {
			places = append(places, [2]float64{r.Float64()*120 - 50, r.Float64()*360 - 180})
		}
		within := steering.Tolerance{Percent: uint32(r.IntN(30)), Distance: uint32(r.IntN(500))}
		spec := nearest(2+r.IntN(5), within)
		var down []string
		for _, b := range spec.Backends[1:] {
			if r.IntN(4) == 0 {
				down = append(down, b.Name)
			}
		}
		l := cities(t, places...)
		table, err := steering.Compile(steering.Inputs{Version: 1, Now: start, Spec: spec,
			View: sees(down...), Countries: l})
		if err != nil {
			t.Fatal(err)
		}
		zones = max(zones, len(table.Places(host)))
		for i := range places {
			client := fmt.Sprintf("20.%d.0.0/24", i)
			_, got, _ := strings.Cut(sharesFor(t, table, client), ": ")
			if all++; got == alone(spec, l, client, down) {
				right++
			}
		}
	}
	t.Logf("%d of %d clients, at most %d zones", right, all, zones)
	if right < all*99/100 {
		t.Errorf("only %d of %d clients get what is nearest to them", right, all)
	}
}

// alone is what one client should get.
func alone(s *steering.Spec, l *geo.Locator, client string, down []string) string {
	at, _ := l.Locate(netip.MustParsePrefix(client).Addr())
	r := geo.NewRuler()
	far, lowest := map[string]uint32{}, uint32(1<<31)
	for _, b := range s.Backends {
		if !strings.Contains(strings.Join(down, " "), b.Name) {
			far[b.Name] = r.Between(at.Spot.Point, *b.Location)
			lowest = min(lowest, far[b.Name])
		}
	}
	w := s.Pools[0].Within
	bound := lowest + max(lowest*w.Percent/100, w.Distance)
	var kept []string
	for _, b := range s.Backends {
		if km, up := far[b.Name]; up && km <= bound {
			kept = append(kept, b.Name)
		}
	}
	for i, name := range kept {
		kept[i] = fmt.Sprintf("%s %.2f", name, 1/float64(len(kept)))
	}
	return strings.Join(kept, ", ")
}

func TestWorldWideDistancesMakeFewZones(t *testing.T) {
	l, err := geo.Builtin()
	if err != nil {
		t.Fatal(err)
	}
	in := steering.Inputs{Version: 1, Now: start, Countries: l, View: sees(),
		Spec: nearest(10, steering.Tolerance{Percent: 20, Distance: 300})}
	table, err := steering.Compile(in)
	if err != nil {
		t.Fatal(err)
	}
	zones := len(table.Places(host))
	t.Logf("10 backends: %d zones of clients in %d countries", zones, len(l.Countries()))
	if zones < 10 || zones > 64 {
		t.Errorf("%d zones, want 10 to 64", zones)
	}
	record, err := steering.EncodeInputs(in, steering.Countries(l))
	if err != nil {
		t.Fatal(err)
	}
	again, err := steering.DecodeInputs(record, l)
	if err != nil {
		t.Fatal(err)
	}
	other, err := steering.Compile(again)
	if err != nil {
		t.Fatal(err)
	}
	if table.Hash != other.Hash {
		t.Error("the record of a table makes another one")
	}
	in.Spec.Backends[0].Location.Lon = -100_000_000
	if other, err = steering.Compile(in); err != nil || table.Hash == other.Hash {
		t.Errorf("another location leaves the table as it is, or: %v", err)
	}
}

func TestExplainSaysWhereClientsAreTakenToBe(t *testing.T) {
	table, err := steering.Compile(steering.Inputs{Version: 1, Now: start, View: sees(),
		Spec: nearest(3, steering.Tolerance{}), Countries: cities(t, [2]float64{48.86, 2.35})})
	if err != nil {
		t.Fatal(err)
	}
	for client, want := range map[string]string{
		"20.0.0.0/24": "for distances it is at 49.00, 2.50 by test data, Test-City of 2026-03-01",
		"21.0.0.0/24": "for distances it is at the centre of US",
		"9.9.9.0/24":  "weights decide",
	} {
		x, _ := steering.Explain(table, host, netip.MustParsePrefix(client), 0, start)
		text := fmt.Sprintf("%+v", x.Steps)
		if !strings.Contains(text, want) {
			t.Errorf("%s: %q is not in %s", client, want, text)
		}
	}
}

// BenchmarkCompileNearest compiles ten places, each of the nearest of ten backends, from nothing.
func BenchmarkCompileNearest(b *testing.B) {
	l, err := geo.Builtin()
	if err != nil {
		b.Fatal(err)
	}
	spec := nearest(10, steering.Tolerance{Percent: 20, Distance: 300})
	spec.Pools = append(spec.Pools, steering.Pool{Name: "all", Members: spec.Pools[0].Members})
	for i, code := range []string{"DE", "FR", "GB", "US", "CA", "JP", "IN", "BR", "AU", "ZA"} {
		spec.Hosts[0].Places = append(spec.Hosts[0].Places, steering.Place{
			Name: fmt.Sprint("p", i), Countries: []string{code}, Pools: []string{"all"}})
	}
	in := steering.Inputs{Version: 1, Now: start, Spec: spec, View: sees(), Countries: l}
	for b.Loop() {
		if _, err := steering.Compile(in); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkPickNearest picks for clients in all zones.
func BenchmarkPickNearest(b *testing.B) {
	l, err := geo.Builtin()
	if err != nil {
		b.Fatal(err)
	}
	table, err := steering.Compile(steering.Inputs{Version: 1, Now: start, View: sees(),
		Spec: nearest(10, steering.Tolerance{Percent: 20, Distance: 300}), Countries: l})
	if err != nil {
		b.Fatal(err)
	}
	r := rand.New(rand.NewPCG(1, 2))
	clients := make([]netip.Prefix, 1024)
	for i := range clients {
		clients[i], _ = netip.AddrFrom4([4]byte{byte(1 + r.IntN(222)), byte(r.IntN(256)), 0, 0}).Prefix(24)
	}
	b.ReportAllocs()
	i := 0
	for b.Loop() {
		i = (i + 1) & 1023
		table.Pick(steering.Query{Host: host, Client: clients[i], Draw: uint64(i) << 50})
	}
}
