package steering_test

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"pointsman/steering"
	"pointsman/steering/control"
)

// drawnPick picks with the next draw of a client, as the nameserver does.
func drawnPick(t testing.TB, table *steering.Table, draws *steering.Draws, client string,
) steering.Decision {
	t.Helper()
	p := netip.MustParsePrefix(client)
	draw := uint64(0)
	if s := sequenceAt(table, p); s != 0 {
		draw = draws.Next(s, p, typeA, start)
	}
	d, ok := table.Pick(steering.Query{Host: host, Client: p, Draw: draw})
	if !ok {
		t.Fatal("no answer")
	}
	at, scope := table.Chooser(host).At(p)
	chosen, kept := at.Choose(p, draw)
	chosenAt := *chosen
	chosenAt.Scope = max(scope, kept)
	if diff := cmp.Diff(d, chosenAt, cmp.Comparer(func(a, b netip.Addr) bool { return a == b })); diff != "" {
		t.Fatalf("%s: the chooser decides otherwise: %s", client, diff)
	}
	return d
}

// assign is one assignment of guidance.
func assign(prefix string, ttl time.Duration, cycle ...string) control.Assigned {
	return control.Assigned{Prefix: netip.MustParsePrefix(prefix), Cycle: cycle, TTL: ttl}
}

// heavy is guidance that assigns some resolvers at none of the host's places.
func heavy(list ...control.Assigned) control.Guidance {
	g := splitOf(control.Split{"a": .5, "b": .25, "c": .25})
	g.Traffic = map[control.Scope][]control.Assigned{everybody: list}
	return g
}

func TestHeavyResolversAreAnsweredInTurnWithTheirOwnTTL(t *testing.T) {
	g := heavy(assign("11.0.0.53/32", 5*time.Second, "a", "b", "a", "c"),
		assign("2001:db8:1::/48", 20*time.Second, "c"))
	table := compile(t, follow(steering.Inputs{Spec: spec()}, g))
	draws := steering.NewDraws(3)
	var turns []string
	for range 12 {
		d := drawnPick(t, table, draws, "11.0.0.53/32")
		if d.TTL != 5 || d.Scope != 32 {
			t.Fatalf("TTL %d, scope %d; want 5 and 32", d.TTL, d.Scope)
		}
		turns = append(turns, d.Backend)
	}
	if got := strings.Join(turns, ""); !strings.Contains("abacabacabacabac", got) {
		t.Errorf("answered %s, want a, b, a, c in turn", got)
	}
	for range 20 {
		if d := drawnPick(t, table, draws, "2001:db8:1:2::/56"); d.Backend != "c" || d.TTL != 20 {
			t.Fatalf("answered %s with TTL %d, want c and 20", d.Backend, d.TTL)
		}
	}
	client := netip.MustParsePrefix("11.0.0.53/32")
	first := draws.Next(sequenceAt(table, client), client, typeA, start)
	if again := draws.Next(sequenceAt(table, client), client, typeAAAA, start); again != first {
		t.Errorf("A is turn %d, AAAA %d", first, again)
	}
	x, _ := steering.Explain(table, host, client, 6, start)
	want := []string{"resolver: 11.0.0.53/32 carries much of the traffic: it is answered in turn " +
		"a, b, a, c, TTL 5s, by guidance 3.17", "pick: turn 3 of 4 is a's"}
	if diff := cmp.Diff(want, details(x)[len(x.Steps)-2:]); diff != "" {
		t.Error(diff)
	}
}

func TestATurnOfOneWhoCannotAnswerFallsToThePlan(t *testing.T) {
	list := []control.Assigned{assign("11.0.0.53/32", 5*time.Second, "a", "b"),
		assign("11.0.1.53/32", 5*time.Second, "b"), assign("11.0.2.53/32", 5*time.Second, "nobody")}
	for about, in := range map[string]steering.Inputs{
		"down":    {Spec: spec(), View: view(1, "b")},
		"drained": {Spec: spec(), Overrides: []steering.Override{override(steering.Drain, "b")}},
	} {
		table := compile(t, follow(in, heavy(list...)))
		draws, counts := steering.NewDraws(3), map[string]int{}
		for range 3000 {
			counts[drawnPick(t, table, draws, "11.0.0.53/32").Backend]++
		}
		// Half are a's own turns; the others divide 2:1 between a and c.
		if diff := cmp.Diff(map[string]int{"a": 2500, "c": 500}, counts, near(5)); diff != "" {
			t.Errorf("%s: %s", about, diff)
		}
		for _, client := range []string{"11.0.1.53/32", "11.0.2.53/32", "11.0.3.53/32"} {
			if d := drawnPick(t, table, draws, client); d.TTL != 20 {
				t.Errorf("%s: %s has the TTL of one that is assigned", about, client)
			}
		}
		x, _ := steering.Explain(table, host, netip.MustParsePrefix("11.0.0.53/32"), 3, start)
		last := details(x)[len(x.Steps)-1]
		if !strings.HasPrefix(last, "pick: turn 2 of 2 is that of one who can't answer now; ") {
			t.Errorf("%s: explained as %s", about, last)
		}
	}
	ramp := follow(steering.Inputs{Spec: spec()}, heavy(list...))
	ramp.Shares.Factors = map[string]float64{"b": .1}
	if d := drawnPick(t, compile(t, ramp), steering.NewDraws(1), "11.0.1.53/32"); d.TTL != 20 {
		t.Error("all of a heavy resolver goes to a backend on its slow start")
	}
	for about, in := range map[string]steering.Inputs{
		"sticky": {Spec: spec(sticky)},
		"pinned": {Spec: spec(), Overrides: []steering.Override{override(steering.Pin, "c")}},
	} {
		if d := drawnPick(t, compile(t, follow(in, heavy(list...))), steering.NewDraws(1),
			"11.0.1.53/32"); d.TTL != 20 {
			t.Errorf("%s: assigned all the same", about)
		}
	}
}

// near lets counts differ by so many.
func near(n int) cmp.Option {
	return cmp.Comparer(func(a, b int) bool { return max(a-b, b-a) <= n })
}

func TestScopesTellAssignedPrefixesFromTheirNeighbours(t *testing.T) {
	table := compile(t, follow(steering.Inputs{Spec: spec()}, heavy(
		assign("20.1.0.0/24", 3*time.Second, "a"), assign("20.1.0.128/25", 4*time.Second, "a"),
		assign("20.9.7.53/32", 5*time.Second, "a"), assign("2001:db8::53/128", 6*time.Second, "a"))))
	for client, want := range map[string]string{
		"20.1.0.0/24":            "3 /25", // its other half is told apart
		"20.1.0.0/25":            "3 /25",
		"20.1.0.7/32":            "3 /25",
		"20.1.0.200/32":          "4 /25",
		"20.1.0.128/25":          "4 /25",
		"20.1.1.0/24":            "20 /24",
		"20.1.128.0/24":          "20 /17",
		"20.1.0.0/16":            "20 /25", // too wide to know
		"20.9.7.53/32":           "5 /32",
		"20.9.7.52/32":           "20 /32",
		"20.9.7.0/24":            "20 /27",
		"::ffff:20.9.7.53/128":   "5 /32",
		"9.9.9.9/32":             "20 /4",
		"2001:db8::53/128":       "6 /128",
		"2001:db8::/56":          "20 /122",
		"2001:db9::/56":          "20 /32",
		"fe80::/64":              "20 /1",
		"255.255.255.255/32":     "20 /1",
		"ffff:ffff:ffff::ff/128": "20 /1",
	} {
		d := drawnPick(t, table, steering.NewDraws(1), client)
		if got := fmt.Sprintf("%d /%d", d.TTL, d.Scope); got != want {
			t.Errorf("%s: %s, want %s", client, got, want)
		}
	}
	if d, _ := table.Pick(steering.Query{Host: host}); d.Scope != 0 || d.TTL != 20 {
		t.Errorf("an unknown client has scope %d, TTL %d", d.Scope, d.TTL)
	}
}

// TestEveryScopeHoldsForAllOfIt is RFC 7871's promise: whoever asks from within the scope of an
// answer is treated alike.
func TestEveryScopeHoldsForAllOfIt(t *testing.T) {
	r := rand.New(rand.NewPCG(4, 4))
	var list []control.Assigned
	for i := range 1024 {
		bits := []int{16, 20, 24, 24, 24, 28, 32, 32, 32}[r.IntN(9)]
		p := netip.PrefixFrom(randomClient(r), bits).Masked()
		list = append(list, control.Assigned{Prefix: p, Cycle: []string{"abc"[i%3 : i%3+1]},
			TTL: time.Duration(1+i%19) * time.Second})
	}
	table := compile(t, follow(steering.Inputs{Spec: spec(placed), Countries: atlas(t)},
		heavy(list...)))
	chooser := table.Chooser(host)
	for range 20_000 {
		a := randomClient(r)
		at, scope := chooser.At(netip.PrefixFrom(a, 32))
		within := a.As4()
		for bit := int(scope); bit < 32; bit++ {
			within[bit/8] ^= byte(r.IntN(2)) << (7 - bit%8)
		}
		b := netip.AddrFrom4(within)
		if other, same := chooser.At(netip.PrefixFrom(b, 32)); other != at || same != scope {
			t.Fatalf("%s with scope %d, %s in it with scope %d; the same: %v", a, scope, b, same,
				other == at)
		}
		if scope > 0 { // one bit less would hold somebody else
			beside := a.As4()
			beside[(scope-1)/8] ^= 1 << (7 - (scope-1)%8)
			wide := netip.PrefixFrom(netip.AddrFrom4(beside), int(scope)).Masked()
			if _, s := chooser.At(wide); s <= scope-1 && scope > 1 {
				t.Fatalf("%s has scope %d, its sister %s /%d", a, scope, wide, s)
			}
		}
	}
}

// randomClient is an address in a few networks, so that many lie side by side.
func randomClient(r *rand.Rand) netip.Addr {
	return netip.AddrFrom4([4]byte{20, byte(r.IntN(4)), byte(r.IntN(8)), byte(r.IntN(256))})
}

func TestAssignmentsFadeOneByOne(t *testing.T) {
	var list []control.Assigned
	for i := range 1000 {
		list = append(list, control.Assigned{Prefix: resolver(i), Cycle: []string{"c"},
			TTL: time.Second})
	}
	in := follow(steering.Inputs{Spec: spec()}, heavy(list...))
	last := 1001
	for _, faded := range []float64{0, 0.25, 0.5, 0.75} {
		in.Shares.Faded = faded
		table, n := compile(t, in), 0
		for i := range 1000 {
			if d, _ := table.Pick(steering.Query{Host: host, Client: resolver(i)}); d.TTL == 1 {
				n++
			}
		}
		if want := int(1000 * (1 - faded)); n > want+60 || n < want-60 || n >= last {
			t.Errorf("with %v faded %d are assigned, want about %d", faded, n, want)
		}
		last = n
	}
}
