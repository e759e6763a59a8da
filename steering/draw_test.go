package steering_test

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
	"runtime"
	"sync"
	"testing"
	"time"

	"pointsman/steering"
)

const (
	typeA     = 1
	typeCNAME = 5
	typeAAAA  = 28
	typeHTTPS = 65
)

func TestTheTypesOfOneLookupShareADraw(t *testing.T) {
	draws := steering.NewDraws(1)
	now := start
	for i := range 2000 {
		client := resolver(i % 300)
		now = now.Add(time.Duration(i) * time.Microsecond)
		first := draws.Next(steering.Sequence(host, ""), client, typeA, now)
		for _, qtype := range []uint16{typeAAAA, typeCNAME, typeHTTPS} {
			now = now.Add(500 * time.Millisecond)
			if got := draws.Next(steering.Sequence(host, ""), client, qtype, now); got != first {
				t.Fatalf("lookup %d: type %d drew %d, A drew %d", i, qtype, got, first)
			}
		}
	}
}

func TestANewDrawStartsWhen(t *testing.T) {
	client := netip.MustParsePrefix("192.0.2.53/32")
	for _, c := range []struct {
		name   string
		host   string
		client netip.Prefix
		qtype  uint16
		after  time.Duration
		same   bool
	}{
		{"another type asks at once", host, client, typeAAAA, 0, true},
		{"another type asks within two seconds", host, client, typeAAAA,
			1950 * time.Millisecond, true},
		{"the same type asks again", host, client, typeA, 0, false},
		{"another type asks later", host, client, typeAAAA, 2100 * time.Millisecond, false},
		{"the clock jumps back", host, client, typeAAAA, -time.Minute, false},
		{"the clock jumps ahead", host, client, typeAAAA, 24 * time.Hour, false},
		{"another client asks", host, netip.MustParsePrefix("192.0.2.54/32"), typeAAAA, 0, false},
		{"another prefix length asks", host, netip.MustParsePrefix("192.0.2.53/24"), typeAAAA,
			0, false},
		{"another host is asked for", "x.example.test.", client, typeAAAA, 0, false},
	} {
		draws := steering.NewDraws(5)
		first := draws.Next(steering.Sequence(host, ""), client, typeA, start)
		second := draws.Next(steering.Sequence(c.host, ""), c.client, c.qtype, start.Add(c.after))
		if (first == second) != c.same {
			t.Errorf("%s: shared is %v, want %v", c.name, first == second, c.same)
		}
	}
	draws := steering.NewDraws(5)
	draws.Next(steering.Sequence(host, ""), client, typeHTTPS, start)
	if draws.Next(steering.Sequence(host, ""), client, typeHTTPS, start) == draws.Next(steering.Sequence(host, ""), client, 64, start) {
		t.Error("two types of the group of others shared a draw")
	}
}

// Interleaved hosts, clients and types must not disturb one another: each host's lookups
// split exactly, and the types of each lookup agree.
func TestInterleavedLookupsSplitExactly(t *testing.T) {
	table := compile(t, steering.Inputs{Spec: spec()})
	draws := steering.NewDraws(11)
	r := rand.New(rand.NewPCG(5, 5))
	hosts := []string{host, "b.example.test.", "c.example.test.", "d.example.test."}
	counts := map[string]map[string]float64{}
	for _, h := range hosts {
		counts[h] = map[string]float64{}
	}
	const lookups = 10_000
	now := start
	for i := range lookups {
		now = now.Add(time.Millisecond)
		r.Shuffle(len(hosts), func(i, j int) { hosts[i], hosts[j] = hosts[j], hosts[i] })
		for _, h := range hosts {
			a := draws.Next(steering.Sequence(h, ""), resolver(i), typeA, now)
			da, _ := table.Pick(steering.Query{Host: host, Draw: a})
			counts[h][da.Backend] += 1.0 / lookups
		}
		for _, h := range hosts { // the second types come after the others' first ones
			if r.IntN(3) > 0 {
				draws.Next(steering.Sequence(h, ""), resolver(i), typeAAAA, now)
			}
		}
	}
	for _, h := range hosts {
		t.Run(h, func(t *testing.T) { checkSplit(t, table, counts[h], 0.001) })
	}
}

func TestManyGoroutinesSplitExactlyAndAgree(t *testing.T) {
	table := compile(t, steering.Inputs{Spec: spec()})
	draws := steering.NewDraws(12)
	workers := max(4, runtime.GOMAXPROCS(0))
	const lookups = 5000
	var mu sync.Mutex
	total := map[string]float64{}
	var wg sync.WaitGroup
	for w := range workers {
		wg.Go(func() {
			own := map[string]float64{}
			for i := range lookups {
				client := resolver(w*lookups + i)
				a := draws.Next(steering.Sequence(host, ""), client, typeA, start)
				b := draws.Next(steering.Sequence(host, ""), client, typeAAAA, start)
				da, _ := table.Pick(steering.Query{Host: host, Draw: a})
				own[da.Backend]++
				if a != b {
					own["disagreed"]++
				}
			}
			mu.Lock()
			defer mu.Unlock()
			for k, v := range own {
				total[k] += v / float64(workers*lookups)
			}
		})
	}
	wg.Wait()
	checkSplit(t, table, total, 0.001)
	// Two lookups may share a slot of the table and then part; with as many clients at once
	// as slots that is rare, and harmless.
	if total["disagreed"] > 0.001 {
		t.Errorf("%.5f of the lookups disagreed", total["disagreed"])
	}
}

func TestTwoTypesAtTheSameTimeAgree(t *testing.T) {
	draws := steering.NewDraws(13)
	for i := range 3000 {
		var drawn [2]uint64
		var wg sync.WaitGroup
		for j, qtype := range []uint16{typeA, typeAAAA} {
			wg.Go(func() { drawn[j] = draws.Next(steering.Sequence(host, ""), resolver(i), qtype, start) })
		}
		wg.Wait()
		if drawn[0] != drawn[1] {
			t.Fatalf("lookup %d drew %d and %d", i, drawn[0], drawn[1])
		}
	}
}

func TestEqualSeedsDrawAlikeAndOthersDoNot(t *testing.T) {
	client := resolver(1)
	a, b, c := steering.NewDraws(1), steering.NewDraws(1), steering.NewDraws(2)
	x := a.Next(steering.Sequence(host, ""), client, typeA, start)
	if x != b.Next(steering.Sequence(host, ""), client, typeA, start) {
		t.Error("equal seeds draw differently")
	}
	if x == c.Next(steering.Sequence(host, ""), client, typeA, start) {
		t.Error("different seeds draw alike")
	}
}

func TestMoreHostsThanCountersStillDraw(t *testing.T) {
	draws := steering.NewDraws(3)
	seen := map[uint64]bool{}
	for i := range 40_000 {
		seen[draws.Next(steering.Sequence(fmt.Sprintf("h%d.example.test.", i), ""), resolver(i), typeA, start)] = true
	}
	if len(seen) < 39_990 {
		t.Errorf("40,000 hosts drew only %d values", len(seen))
	}
}
