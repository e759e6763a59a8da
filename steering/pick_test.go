package steering_test

import (
	"math"
	"math/rand/v2"
	"net/netip"
	"testing"

	"pointsman/steering"
)

// tally picks for n clients and returns the part each backend got.
func tally(table *steering.Table, n int, query func(i int) steering.Query) map[string]float64 {
	parts := map[string]float64{}
	for i := range n {
		d, _ := table.Pick(query(i))
		parts[d.Backend] += 1 / float64(n)
	}
	return parts
}

func checkSplit(t *testing.T, table *steering.Table, got map[string]float64, bound float64) {
	t.Helper()
	for _, s := range table.Shares(host) {
		if off := math.Abs(got[s.Backend] - s.Share); off > bound {
			t.Errorf("%s got %.4f, want %.4f within %.4f",
				s.Backend, got[s.Backend], s.Share, bound)
		}
		if s.Share == 0 && got[s.Backend] > 0 {
			t.Errorf("%s has no share and was picked", s.Backend)
		}
	}
}

func TestTenThousandPicksSplitWithinATenthOfAPoint(t *testing.T) {
	r := rand.New(rand.NewPCG(7, 7))
	for range 50 {
		s := spec(func(s *steering.Spec) {
			for i := range s.Pools[0].Members {
				s.Pools[0].Members[i].Weight = r.Uint32N(1000)
			}
		})
		table := compile(t, steering.Inputs{Spec: s})
		draws := steering.NewDraws(r.Uint64())
		got := tally(table, 10_000, func(i int) steering.Query {
			draw := draws.Next(steering.Sequence(host, ""), resolver(i), typeA, start)
			return steering.Query{Host: host, Draw: draw}
		})
		checkSplit(t, table, got, 0.001)
	}
}

func TestUniformDrawsSplitAsTheWeightsSay(t *testing.T) {
	table := compile(t, steering.Inputs{Spec: spec()})
	r := rand.New(rand.NewPCG(3, 3))
	got := tally(table, 400_000, func(int) steering.Query {
		return steering.Query{Host: host, Draw: r.Uint64()}
	})
	checkSplit(t, table, got, 0.004) // about five standard deviations
	for draw, want := range map[uint64]string{0: "a", math.MaxUint64: "c", 1 << 63: "a"} {
		if d, _ := table.Pick(steering.Query{Host: host, Draw: draw}); d.Backend != want {
			t.Errorf("draw %d gives %s, want %s", draw, d.Backend, want)
		}
	}
}

func TestStickyClientsSplitAsTheWeightsSayAndStay(t *testing.T) {
	table := compile(t, steering.Inputs{Spec: spec(sticky)})
	query := func(i int) steering.Query {
		return steering.Query{Host: host, Client: resolver(i), Draw: rand.Uint64()}
	}
	checkSplit(t, table, tally(table, 200_000, query), 0.005)
	v6 := func(i int) steering.Query {
		a := [16]byte{0x20, 0x01, 0x0d, 0xb8, byte(i >> 16), byte(i >> 8), byte(i), 9}
		return steering.Query{Host: host, Client: netip.PrefixFrom(netip.AddrFrom16(a), 128)}
	}
	checkSplit(t, table, tally(table, 200_000, v6), 0.005)
	for i := range 1000 {
		a, _ := table.Pick(query(i))
		b, _ := table.Pick(query(i))
		if a.Backend != b.Backend {
			t.Fatalf("client %d went from %s to %s", i, a.Backend, b.Backend)
		}
	}
}

func TestAStickyClientIsItsPrefix(t *testing.T) {
	table := compile(t, steering.Inputs{Spec: spec(sticky)})
	pick := func(client netip.Prefix) steering.Decision {
		d, ok := table.Pick(steering.Query{Host: host, Client: client})
		if !ok {
			t.Fatalf("no answer for %s", client)
		}
		return d
	}
	for i := range 500 {
		v4 := netip.AddrFrom4([4]byte{198, byte(i >> 8), byte(i), 0})
		v6 := netip.AddrFrom16([16]byte{0x20, 1, 0xd, 0xb8, 0, byte(i >> 8), byte(i)})
		for _, same := range [][]netip.Prefix{{
			netip.PrefixFrom(v4, 24),
			netip.PrefixFrom(netip.AddrFrom4([4]byte{198, byte(i >> 8), byte(i), 77}), 32),
			netip.PrefixFrom(netip.AddrFrom16(v4.As16()), 128),
			netip.PrefixFrom(netip.AddrFrom16(v4.As16()), 120),
			netip.PrefixFrom(v4, -1),
		}, {
			netip.PrefixFrom(v6, 56),
			netip.PrefixFrom(v6.Next(), 128),
		}} {
			want := pick(same[0])
			for _, c := range same[1:] {
				if got := pick(c); got.Backend != want.Backend || got.Scope != want.Scope {
					t.Fatalf("%s gives %s/%d, %s gives %s/%d", same[0], want.Backend,
						want.Scope, c, got.Backend, got.Scope)
				}
			}
		}
	}
	for client, scope := range map[string]uint8{
		"192.0.2.0/24": 24, "192.0.0.0/16": 24, "0.0.0.0/0": 24, "2001:db8::/48": 56, "::/0": 56,
	} {
		if got := pick(netip.MustParsePrefix(client)).Scope; got != scope {
			t.Errorf("scope for %s is %d, want %d", client, got, scope)
		}
	}
	if got := pick(netip.Prefix{}).Scope; got != 0 {
		t.Errorf("scope for nobody is %d, want 0", got)
	}
}

func TestScopeIsForEveryoneWhereEveryoneGetsTheSame(t *testing.T) {
	query := steering.Query{Host: host, Client: resolver(1)}
	spread := compile(t, steering.Inputs{Spec: spec()})
	single := compile(t, steering.Inputs{Spec: spec(sticky), View: view(1, "a", "b", "c")})
	for _, table := range []*steering.Table{spread, single} {
		if d, _ := table.Pick(query); d.Scope != 0 {
			t.Errorf("scope is %d, want 0", d.Scope)
		}
	}
}

// moved returns the part of clients whose backend differs between two tables, and calls each
// for those.
func moved(n int, before, after *steering.Table, each func(from, to string)) float64 {
	count := 0
	for i := range n {
		q := steering.Query{Host: host, Client: resolver(i)}
		a, _ := before.Pick(q)
		b, _ := after.Pick(q)
		if a.Backend != b.Backend {
			count++
			each(a.Backend, b.Backend)
		}
	}
	return float64(count) / float64(n)
}

func TestAChangeOfWeightsMovesNoMoreClientsThanItMust(t *testing.T) {
	weights := func(a, b uint32) *steering.Table {
		return compile(t, steering.Inputs{Spec: spec(sticky, func(s *steering.Spec) {
			s.Pools[0].Members = []steering.Member{
				{Backend: "a", Weight: a}, {Backend: "b", Weight: b},
			}
		})})
	}
	part := moved(200_000, weights(50, 50), weights(50, 40), func(from, to string) {
		if from != "b" || to != "a" {
			t.Fatalf("a client moved from %s to %s", from, to)
		}
	})
	t.Logf("50:50 to 50:40 moves %.2f %% of clients; 5.56 %% must move", part*100)
	if part > 0.061 || part < 0.05 {
		t.Errorf("%.4f of the clients moved, want 0.0556, at most 0.061", part)
	}
}

func TestADrainMovesOnlyItsOwnClients(t *testing.T) {
	before := compile(t, steering.Inputs{Spec: spec(sticky)})
	after := compile(t, steering.Inputs{
		Spec: spec(sticky), Overrides: []steering.Override{override(steering.Drain, "c")},
	})
	part := moved(200_000, before, after, func(from, to string) {
		if from != "c" {
			t.Fatalf("a client moved from %s to %s", from, to)
		}
	})
	if math.Abs(part-0.1) > 0.005 {
		t.Errorf("%.4f of the clients moved, want 0.1", part)
	}
}

func TestAStrangeNameIsNotAnswered(t *testing.T) {
	table := compile(t, steering.Inputs{Spec: spec()})
	if d, ok := table.Pick(steering.Query{Host: "www.example.test."}); ok {
		t.Errorf("answered %+v", d)
	}
}

func TestADecisionCarriesTheWholeAnswer(t *testing.T) {
	table := compile(t, steering.Inputs{Spec: spec(), View: view(1, "a", "b", "c")})
	d, _ := table.Pick(steering.Query{Host: host})
	if d.Backend != "edge" || d.Pool != "edge" || d.Host != host || d.TTL != 20 ||
		d.Reason != steering.ReasonFallback || d.CNAME != "" ||
		len(d.V4) != 1 || len(d.V6) != 1 {
		t.Errorf("decision is %+v", d)
	}
}

func TestOnlyProportionsOfWeightsCount(t *testing.T) {
	small := compile(t, steering.Inputs{Spec: spec(sticky)})
	large := compile(t, steering.Inputs{Spec: spec(sticky, func(s *steering.Spec) {
		for i := range s.Pools[0].Members {
			s.Pools[0].Members[i].Weight *= 14_285
		}
	})})
	if part := moved(50_000, small, large, func(string, string) {}); part > 0 {
		t.Errorf("%.5f of the clients moved", part)
	}
}
