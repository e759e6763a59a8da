package steering_test

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
	"testing"
	"time"

	"pointsman/steering"
	"pointsman/steering/control"
	"pointsman/steering/geo"
)

// bigSpec has n hosts that share eight CDNs, an edge and an origin.
func bigSpec(n int) *steering.Spec {
	s := spec()
	for i := range 5 {
		name := fmt.Sprintf("cdn%d", i)
		s.Backends = append(s.Backends, steering.Backend{Name: name, CNAME: name + ".cdn.test."})
		s.Pools[0].Members = append(s.Pools[0].Members,
			steering.Member{Backend: name, Weight: uint32(i + 1)})
	}
	for i := range n - 1 {
		s.Hosts = append(s.Hosts, steering.Host{
			Name: fmt.Sprintf("host%d.example.test.", i), TTL: 20 * time.Second,
			Pools: []string{"cdns", "edge", "origin"},
		})
	}
	return s
}

func BenchmarkPick(b *testing.B) {
	for _, mode := range []steering.Stickiness{steering.Spread, steering.Sticky} {
		s := bigSpec(1000)
		s.Hosts[0].Stickiness = mode
		table := compile(b, steering.Inputs{Spec: s})
		client := resolver(9)
		b.Run(string(mode), func(b *testing.B) {
			b.ReportAllocs()
			draw := uint64(0)
			for b.Loop() {
				draw += 0x9e3779b97f4a7c15
				table.Pick(steering.Query{Host: host, Client: client, Draw: draw})
			}
		})
	}
}

// placedSpec is bigSpec with the same four places for each host.
func placedSpec(n int) *steering.Spec {
	s := bigSpec(n)
	placed(s)
	places := append(s.Hosts[0].Places, steering.Place{
		Name: "asia", Countries: []string{"JP", "KR", "CN", "SG"}, Pools: []string{"edge"}})
	for i := range s.Hosts {
		s.Hosts[i].Places = places
	}
	return s
}

func world(b *testing.B) *geo.Locator {
	l, err := geo.Builtin()
	if err != nil {
		b.Fatal(err)
	}
	return l
}

func BenchmarkPickByPlace(b *testing.B) {
	for _, mode := range []steering.Stickiness{steering.Spread, steering.Sticky} {
		s := placedSpec(1000)
		s.Hosts[0].Stickiness = mode
		table := compile(b, steering.Inputs{Spec: s, Countries: world(b)})
		random := rand.New(rand.NewPCG(1, 2))
		var clients [256]netip.Prefix
		for i := range clients {
			clients[i] = netip.PrefixFrom(netip.AddrFrom4([4]byte{byte(1 + random.IntN(222)),
				byte(random.IntN(256)), byte(random.IntN(256)), 0}), 24)
		}
		b.Run(string(mode), func(b *testing.B) {
			b.ReportAllocs()
			draw := uint64(0)
			for b.Loop() {
				draw += 0x9e3779b97f4a7c15
				table.Pick(steering.Query{Host: host, Client: clients[draw>>56], Draw: draw})
			}
		})
	}
}

func BenchmarkDrawByPlace(b *testing.B) {
	table := compile(b, steering.Inputs{Spec: placedSpec(1000), Countries: world(b)})
	draws := steering.NewDraws(1)
	client := resolver(9)
	b.ReportAllocs()
	for b.Loop() {
		draws.Next(sequenceAt(table, client), client, typeA, start)
	}
}

// BenchmarkCompileThousandPlacedHosts compiles as after a change of health: the classes are
// those of the table before.
func BenchmarkCompileThousandPlacedHosts(b *testing.B) {
	in := steering.Inputs{Version: 1, Now: start, Spec: placedSpec(1000), View: view(1, "a"),
		Countries: world(b)}
	b.Run("first", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			compile(b, in)
		}
	})
	in.Prior = compile(b, in)
	b.Run("again", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			compile(b, in)
		}
	})
}

func BenchmarkDraw(b *testing.B) {
	draws := steering.NewDraws(1)
	client := resolver(9)
	b.ReportAllocs()
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			draws.Next(steering.Sequence(host, ""), client, typeA, start)
		}
	})
}

func BenchmarkCompileThousandHosts(b *testing.B) {
	in := steering.Inputs{Version: 1, Now: start, Spec: bigSpec(1000), View: view(1, "a")}
	b.ReportAllocs()
	for b.Loop() {
		compile(b, in)
	}
}

// BenchmarkPickTree picks from a tree of depth 4 over 8 backends, all of which can answer.
func BenchmarkPickTree(b *testing.B) {
	for _, mode := range []steering.Stickiness{steering.Spread, steering.Sticky} {
		table := compile(b, steering.Inputs{Spec: wideTree(mode)})
		client := resolver(9)
		b.Run(string(mode), func(b *testing.B) {
			b.ReportAllocs()
			draw := uint64(0)
			for b.Loop() {
				draw += 0x9e3779b97f4a7c15
				table.Pick(steering.Query{Host: host, Client: client, Draw: draw})
			}
		})
	}
}

// wideTree is tree with each pool dividing among all of its members, and capacities.
func wideTree(mode steering.Stickiness) *steering.Spec {
	return tree(func(s *steering.Spec) {
		for i := range s.Pools {
			s.Pools[i].Choose = steering.ByWeight
		}
		s.Backends[0].Capacity, s.Hosts[0].Load = 100, 1000
		s.Hosts[0].Stickiness = mode
	})
}

// heavyInputs are those of wideTree with the most resolvers assigned, the heaviest of them in turn.
func heavyInputs() steering.Inputs {
	in := steering.Inputs{Version: 1, Now: start, Spec: wideTree(steering.Spread)}
	backends := in.Spec.Backends
	split := control.Split{}
	for _, b := range backends {
		split[b.Name] = 1 / float64(len(backends))
	}
	g := splitOf(split)
	for i := range control.MostAssigned {
		a := control.Assigned{Prefix: resolver(i * 97), TTL: 10 * time.Second,
			Cycle: []string{backends[i%len(backends)].Name}}
		if i < 64 {
			a.TTL, a.Cycle = time.Second, append(a.Cycle, backends[(i+1)%len(backends)].Name)
		}
		g.Traffic = map[control.Scope][]control.Assigned{
			everybody: append(g.Traffic[everybody], a)}
	}
	return follow(in, g)
}

// BenchmarkPickAssigned picks from a tree of depth 4 over 8 backends with 1,024 assigned
// resolvers, for those and for others in turn.
func BenchmarkPickAssigned(b *testing.B) {
	table := compile(b, heavyInputs())
	b.ReportAllocs()
	draw, n := uint64(0), 0
	for b.Loop() {
		draw += 0x9e3779b97f4a7c15
		n = (n + 41) % 1_000_000
		table.Pick(steering.Query{Host: host, Client: resolver(n), Draw: draw})
	}
}

// BenchmarkCompileAssigned compiles one host with 1,024 assigned resolvers.
func BenchmarkCompileAssigned(b *testing.B) {
	in := heavyInputs()
	b.ReportAllocs()
	for b.Loop() {
		compile(b, in)
	}
}
