package steering_test

import (
	"fmt"
	"testing"
	"time"

	"pointsman/steering"
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

func BenchmarkDraw(b *testing.B) {
	draws := steering.NewDraws(1)
	client := resolver(9)
	b.ReportAllocs()
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			draws.Next(host, client, typeA, start)
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
