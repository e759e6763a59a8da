package steering_test

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"pointsman/steering"
)

// tree is a spec with a host whose first pool is a tree of depth 4 over the backends a to h:
//
//	top (weight): eu 3, us 1        eu (failover): fast, e        us (cost): f, g, h
//	fast (latency, 20 % or 5 ms): near 1, d 1        near (weight): a 2, b 1, c 1
func tree(edit ...func(*steering.Spec)) *steering.Spec {
	s := &steering.Spec{
		Pools: []steering.Pool{
			{Name: "top", Members: []steering.Member{{Pool: "eu", Weight: 3}, {Pool: "us", Weight: 1}}},
			{Name: "eu", Choose: steering.ByOrder, Members: []steering.Member{
				{Pool: "fast", Weight: 1}, {Backend: "e", Weight: 1}}},
			{Name: "fast", Choose: steering.ByLatency,
				Within:  steering.Tolerance{Percent: 20, Span: 5 * time.Millisecond},
				Members: []steering.Member{{Pool: "near", Weight: 1}, {Backend: "d", Weight: 1}}},
			{Name: "near", Members: []steering.Member{{Backend: "a", Weight: 2},
				{Backend: "b", Weight: 1}, {Backend: "c", Weight: 1}}},
			{Name: "us", Choose: steering.ByCost, Within: steering.Tolerance{Percent: 10},
				Members: []steering.Member{{Backend: "f", Weight: 1}, {Backend: "g", Weight: 1},
					{Backend: "h", Weight: 1}}},
			{Name: "spare", Members: []steering.Member{{Backend: "origin", Weight: 1}}},
		},
		Hosts: []steering.Host{{Name: host, TTL: 20 * time.Second,
			Pools: []string{"top", "spare"}}},
	}
	for i, name := range []string{"a", "b", "c", "d", "e", "f", "g", "h", "origin"} {
		s.Backends = append(s.Backends, steering.Backend{Name: name, CNAME: name + ".invalid.",
			Cost: uint64(100 + 8*i)})
	}
	for _, e := range edit {
		e(s)
	}
	return s
}

var milliseconds = map[string]time.Duration{"a": 40e6, "b": 50e6, "c": 30e6, "d": 60e6}

func TestAPolicyIsATreeThatIsWalkedFromTheTop(t *testing.T) {
	slow := func(backend string, ms int) map[string]time.Duration {
		changed := map[string]time.Duration{}
		for b, l := range milliseconds {
			changed[b] = l
		}
		changed[backend] = time.Duration(ms) * time.Millisecond
		return changed
	}
	for _, c := range []struct {
		about     string
		down      []string
		latencies map[string]time.Duration
		want      string
	}{
		{"near is fast enough alone", nil, milliseconds, "a:37.5 b:18.75 c:18.75 f:12.5 g:12.5"},
		{"d is about as fast: 40 ms and 48", nil, slow("d", 48),
			"a:18.75 b:9.38 c:9.38 d:37.5 f:12.5 g:12.5"},
		{"d is not: 49 ms", nil, slow("d", 49), "a:37.5 b:18.75 c:18.75 f:12.5 g:12.5"},
		{"nothing is known of latencies", nil, nil, "a:18.75 b:9.38 c:9.38 d:37.5 f:12.5 g:12.5"},
		{"d is faster", nil, slow("d", 20), "d:75 f:12.5 g:12.5"},
		{"near is down", []string{"a", "b", "c"}, milliseconds, "d:75 f:12.5 g:12.5"},
		{"so is d", []string{"a", "b", "c", "d"}, milliseconds, "e:75 f:12.5 g:12.5"},
		{"so is e: the other branch takes all", []string{"a", "b", "c", "d", "e"}, milliseconds,
			"f:50 g:50"},
		{"the cheapest is down", []string{"f"}, milliseconds, "a:37.5 b:18.75 c:18.75 g:12.5 h:12.5"},
		{"the tree is down: the next pool", []string{"a", "b", "c", "d", "e", "f", "g", "h"},
			milliseconds, "origin:100"},
	} {
		t.Run(c.about, func(t *testing.T) {
			table := compile(t, steering.Inputs{Spec: tree(), View: view(1, c.down...),
				Latencies: c.latencies})
			if got := split(table, host); got != c.want {
				t.Errorf("shares are %q, want %q", got, c.want)
			}
		})
	}
}

func TestABackendThatStandsTwiceInATreeGetsItsPartsTogether(t *testing.T) {
	spec := tree(func(s *steering.Spec) {
		s.Pools[4].Members = append(s.Pools[4].Members, steering.Member{Backend: "a", Weight: 2})
	})
	table := compile(t, steering.Inputs{Spec: spec, Latencies: milliseconds})
	if got := split(table, host); got != "a:62.5 b:18.75 c:18.75" { // a is the cheapest there
		t.Errorf("shares are %q", got)
	}
}

func TestNamesOfNestedPoolsAreResolved(t *testing.T) {
	flat := tree(func(s *steering.Spec) { s.Hosts[0].Flatten = true })
	if n := len(flat.Targets()); n != len(flat.Backends) {
		t.Errorf("%d of %d names are resolved", n, len(flat.Backends))
	}
	if n := len(tree().Names()); n != len(flat.Backends) {
		t.Errorf("%d of %d names are answered", n, len(flat.Backends))
	}
}

func TestMistakesOfTreesAreNamed(t *testing.T) {
	for want, edit := range map[string]func(*steering.Spec){
		`pool "near": holds itself, by the pools in it`: func(s *steering.Spec) {
			s.Pools[3].Members = append(s.Pools[3].Members, steering.Member{Pool: "near", Weight: 1})
		},
		`pool "top": holds itself, by the pools in it`: func(s *steering.Spec) {
			s.Pools[3].Members = append(s.Pools[3].Members, steering.Member{Pool: "top", Weight: 1})
		},
		`pool "us": unknown pool "mars"`: func(s *steering.Spec) {
			s.Pools[4].Members[0] = steering.Member{Pool: "mars", Weight: 1}
		},
		`pool "us": a member is a backend or a pool, one of the two`: func(s *steering.Spec) {
			s.Pools[4].Members[0].Pool = "eu"
		},
		`pool "us": unknown choice "coin"`: func(s *steering.Spec) { s.Pools[4].Choose = "coin" },
		`pool "p9": has more than 1000 backends`: func(s *steering.Spec) {
			for i := range 10 { // each holds all before it twice over, by way of another
				p, q := fmt.Sprintf("p%d", i), fmt.Sprintf("q%d", i)
				members := []steering.Member{{Pool: "near", Weight: 1}}
				for j := range i {
					members = append(members, steering.Member{Pool: fmt.Sprintf("q%d", j), Weight: 1},
						steering.Member{Pool: fmt.Sprintf("p%d", j), Weight: 1})
				}
				s.Pools = append(s.Pools, steering.Pool{Name: p, Members: members},
					steering.Pool{Name: q, Members: []steering.Member{{Pool: p, Weight: 1}}})
			}
		},
	} {
		_, err := steering.Compile(steering.Inputs{Version: 1, Spec: tree(edit)})
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("error is %v, want %s", err, want)
		}
	}
}

func TestCapacitiesBoundSharesAndTheRestSpills(t *testing.T) {
	capacity := func(load uint64, capacities map[string]uint64) *steering.Spec {
		return spec(func(s *steering.Spec) {
			s.Hosts[0].Load = load
			for i := range s.Backends {
				s.Backends[i].Capacity = capacities[s.Backends[i].Name]
			}
		})
	}
	for _, c := range []struct {
		about string
		load  uint64
		caps  map[string]uint64
		want  string
	}{
		{"there is room", 1000, map[string]uint64{"a": 800}, "a:70 b:20 c:10"},
		{"a is full: the others take it in proportion", 1000, map[string]uint64{"a": 400},
			"a:40 b:40 c:20"},
		{"a and then b are full", 1000, map[string]uint64{"a": 400, "b": 300}, "a:40 b:30 c:30"},
		{"the pool is full: the edge takes the rest", 1000,
			map[string]uint64{"a": 400, "b": 200, "c": 100}, "a:40 b:20 c:10 edge:30"},
		{"so is the edge: the origin", 1000,
			map[string]uint64{"a": 400, "b": 200, "c": 100, "edge": 100},
			"a:40 b:20 c:10 edge:10 origin:20"},
		{"all is full: an overload is borne by the first pool in proportion", 1000,
			map[string]uint64{"a": 400, "b": 200, "c": 100, "edge": 50, "origin": 50},
			"a:54 b:24 c:12 edge:5 origin:5"},
		{"the load isn't known", 0, map[string]uint64{"a": 1}, "a:70 b:20 c:10"},
	} {
		t.Run(c.about, func(t *testing.T) {
			table := compile(t, steering.Inputs{Spec: capacity(c.load, c.caps)})
			if got := split(table, host); got != c.want {
				t.Errorf("shares are %q, want %q", got, c.want)
			}
		})
	}
}

func TestNoRandomTreeBreaksACapacityOrLeavesAnythingOut(t *testing.T) {
	r := rand.New(rand.NewPCG(8, 8))
	for range 500 {
		load := uint64(1 + r.IntN(100_000))
		spec := tree(func(s *steering.Spec) {
			s.Hosts[0].Load = load
			for i := range s.Backends {
				s.Backends[i].Capacity = uint64(r.IntN(40_000))
			}
		})
		caps := map[string]float64{}
		for _, b := range spec.Backends {
			most := 1.0
			if b.Capacity > 0 {
				most = min(1, float64(b.Capacity)/float64(load))
			}
			caps[b.Name] = most
		}
		var down []string
		for _, b := range spec.Backends {
			if r.IntN(4) == 0 {
				down = append(down, b.Name)
			}
		}
		table := compile(t, steering.Inputs{Spec: spec, View: view(1, down...),
			Latencies: milliseconds})
		sum, breached := 0.0, false
		reason, _ := table.Reason(host)
		for _, s := range table.Shares(host) {
			sum += s.Share
			breached = breached || s.Share > caps[s.Backend]+1e-5
		}
		if math.Abs(sum-1) > 1e-9 {
			t.Fatalf("shares add up to %v", sum)
		}
		origin := table.Shares(host)[len(table.Shares(host))-1]
		// An overload is allowed only where even the last pool is full or can't answer.
		if breached && reason != steering.ReasonAllDown && origin.Share < caps["origin"]-1e-5 &&
			!slices.Contains(down, "origin") && reason != steering.ReasonFallback {
			t.Fatalf("a capacity is exceeded while the origin has room: %v", table.Shares(host))
		}
	}
}
