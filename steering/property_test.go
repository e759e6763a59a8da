package steering_test

import (
	"fmt"
	"maps"
	"math"
	"net/netip"
	"testing"
	"time"

	"pgregory.net/rapid"

	"pointsman/probes/health"
	"pointsman/steering"
	"pointsman/steering/control"
)

// drawInputs makes any inputs whose spec compiles: any view, shares and overrides.
func drawInputs(t *rapid.T) steering.Inputs {
	names := []string{"a", "b", "c", "d", "e", "f"}
	s := &steering.Spec{}
	for i, n := range names {
		b := steering.Backend{Name: n}
		if rapid.Bool().Draw(t, "cname") {
			b.CNAME = n + ".cdn.test."
		} else {
			b.Addresses = []netip.Addr{netip.AddrFrom4([4]byte{192, 0, 2, byte(i + 1)})}
		}
		s.Backends = append(s.Backends, b)
	}
	weight := rapid.OneOf(rapid.Just(uint32(0)), rapid.Uint32Range(0, 1_000_000))
	member := rapid.Custom(func(t *rapid.T) steering.Member {
		return steering.Member{
			Backend: rapid.SampledFrom(names).Draw(t, "backend"), Weight: weight.Draw(t, "weight"),
		}
	})
	var pools []string
	for i := range rapid.IntRange(1, 4).Draw(t, "pools") {
		p := steering.Pool{Name: fmt.Sprintf("pool%d", i)}
		p.Members = rapid.SliceOfNDistinct(member, 1, 5,
			func(m steering.Member) string { return m.Backend }).Draw(t, "members")
		s.Pools = append(s.Pools, p)
		pools = append(pools, p.Name)
	}
	for i := range rapid.IntRange(1, 3).Draw(t, "hosts") {
		h := steering.Host{
			Name: fmt.Sprintf("h%d.example.test.", i),
			TTL:  time.Duration(rapid.IntRange(1, 3600).Draw(t, "ttl")) * time.Second,
			Pools: rapid.SliceOfNDistinct(rapid.SampledFrom(pools), 1, len(pools),
				rapid.ID).Draw(t, "order"),
			Stickiness: rapid.SampledFrom([]steering.Stickiness{
				"", steering.Spread, steering.Sticky}).Draw(t, "stickiness"),
			Ramp: rapid.SampledFrom([]time.Duration{0, time.Minute}).Draw(t, "ramp"),
		}
		s.Hosts = append(s.Hosts, h)
	}
	in := steering.Inputs{
		Now: start, Version: 1, Spec: s, View: drawView(t, names),
		Shares:    control.Shares{Factors: drawFactors(t, names)},
		Overrides: drawOverrides(t, names), Guidance: drawGuidance(t, names),
	}
	in.Shares.Splits = in.Guidance.Splits
	in.Shares.Faded = rapid.SampledFrom([]float64{0, 0, 0.5, 1}).Draw(t, "faded")
	return in
}

// odd numbers have no JSON form.
func odd(f float64) bool { return math.IsNaN(f) || math.IsInf(f, 0) }

// drawGuidance makes any guidance, of backends that exist and of others.
func drawGuidance(t *rapid.T, names []string) control.Guidance {
	g := control.Guidance{Epoch: 1, At: start, Splits: map[control.Scope]control.Split{},
		Traffic: map[control.Scope][]control.Assigned{}}
	names = append(names[:len(names):len(names)], "nobody")
	for i := range rapid.IntRange(0, 3).Draw(t, "scopes") {
		scope := control.Scope{Host: fmt.Sprintf("h%d.example.test.", i)}
		g.Splits[scope] = rapid.MapOf(rapid.SampledFrom(names), rapid.OneOf(
			rapid.Float64Range(0, 1), rapid.SampledFrom([]float64{-1, 0, math.NaN(), math.Inf(1)}),
		)).Draw(t, "split")
		for n := range rapid.IntRange(0, 4).Draw(t, "assigned") {
			g.Traffic[scope] = append(g.Traffic[scope], control.Assigned{
				Prefix: resolver(n << rapid.IntRange(0, 9).Draw(t, "where")),
				Cycle:  rapid.SliceOfN(rapid.SampledFrom(names), 0, 4).Draw(t, "cycle"),
				TTL:    time.Duration(rapid.IntRange(0, 4000).Draw(t, "ttl")) * time.Second})
		}
	}
	return g
}

func TestGuidanceMovesNothingToWhomTheLadderWouldNotAnswerWith(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		in := drawInputs(t)
		table, err := steering.Compile(in)
		if err != nil {
			t.Fatalf("compiling: %v", err)
		}
		free := in
		free.Guidance, free.Shares.Splits = control.Guidance{}, nil
		without, err := steering.Compile(free)
		if err != nil {
			t.Fatalf("compiling without guidance: %v", err)
		}
		for _, h := range in.Spec.Hosts {
			before, _ := without.Reason(h.Name)
			if after, _ := table.Reason(h.Name); after != before {
				t.Fatalf("%s: the ladder says %s, and with guidance %s", h.Name, before, after)
			}
			allowed := map[string]bool{}
			for _, s := range without.Shares(h.Name) {
				allowed[s.Backend] = s.Share > 0
			}
			for range 20 {
				q := steering.Query{Host: h.Name, Draw: rapid.Uint64().Draw(t, "draw"),
					Client: resolver(rapid.IntRange(0, 2048).Draw(t, "client"))}
				if d, ok := table.Pick(q); !ok || !allowed[d.Backend] {
					t.Fatalf("%s is answered %q, which it is not without guidance", h.Name, d.Backend)
				}
			}
		}
	})
}

func TestRecordedInputsWithAnyGuidanceDecideAlike(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		in := drawInputs(t)
		maps.DeleteFunc(in.Shares.Factors, func(_ string, f float64) bool { return odd(f) })
		for _, split := range in.Guidance.Splits {
			maps.DeleteFunc(split, func(_ string, share float64) bool { return odd(share) })
		}
		table, err := steering.Compile(in)
		if err != nil {
			t.Fatalf("compiling: %v", err)
		}
		raw, err := steering.EncodeInputs(in, nil)
		if err != nil {
			t.Fatal(err)
		}
		back, err := steering.DecodeInputs(raw, nil)
		if err != nil {
			t.Fatal(err)
		}
		again, err := steering.Compile(back)
		if err != nil || again.Hash != table.Hash {
			t.Fatalf("compiles to another table: %v", err)
		}
		for _, h := range in.Spec.Hosts {
			q := steering.Query{Host: h.Name, Draw: rapid.Uint64().Draw(t, "draw"),
				Client: resolver(rapid.IntRange(0, 2048).Draw(t, "client"))}
			x, _ := table.Pick(q)
			if y, _ := again.Pick(q); x.Backend != y.Backend || x.TTL != y.TTL || x.Scope != y.Scope {
				t.Fatalf("%+v is decided as %+v and as %+v", q, x, y)
			}
		}
	})
}

func drawView(t *rapid.T, names []string) *health.View {
	if rapid.Bool().Draw(t, "no view") {
		return nil
	}
	v := &health.View{Version: 1, Backends: map[string]health.Health{}}
	for _, n := range names {
		state := rapid.SampledFrom([]health.State{
			health.Unknown, health.Healthy, health.Degraded, health.Unhealthy, health.Unhealthy,
		}).Draw(t, "state")
		v.Backends[n] = health.Health{Backend: n, State: state}
	}
	return v
}

func drawFactors(t *rapid.T, names []string) map[string]float64 {
	return rapid.MapOf(rapid.SampledFrom(names), rapid.OneOf(
		rapid.Float64Range(0, 1),
		rapid.SampledFrom([]float64{-1, 0, 1e-300, math.NaN(), math.Inf(1), math.Inf(-1)}),
	)).Draw(t, "factors")
}

func drawOverrides(t *rapid.T, names []string) []steering.Override {
	return rapid.SliceOfN(rapid.Custom(func(t *rapid.T) steering.Override {
		return steering.Override{
			ID: rapid.StringMatching(`ov-[0-9a-f]{4}`).Draw(t, "id"),
			Kind: rapid.SampledFrom([]steering.OverrideKind{steering.Drain, steering.Pin,
				steering.Weight, steering.Fence, "of tomorrow"}).Draw(t, "kind"),
			Backend: rapid.SampledFrom(append(names, "nobody")).Draw(t, "backend"),
			Host: rapid.SampledFrom([]string{"", "h0.example.test.", "gone."}).
				Draw(t, "host"),
			Weight:  rapid.Uint32().Draw(t, "weight"),
			Created: start.Add(time.Duration(rapid.IntRange(-9, 0).Draw(t, "age")) * time.Hour),
			Expires: start.Add(time.Duration(rapid.IntRange(-2, 9).Draw(t, "end")) * time.Hour),
		}
	}), 0, 8).Draw(t, "overrides")
}

func TestWhateverCompilesAnswersEveryHost(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		in := drawInputs(t)
		table, err := steering.Compile(in)
		if err != nil {
			t.Fatalf("compiling: %v", err)
		}
		for _, h := range in.Spec.Hosts {
			sum := 0.0
			shares := map[string]float64{}
			for _, s := range table.Shares(h.Name) {
				sum += s.Share
				shares[s.Backend] = s.Share
			}
			if math.Abs(sum-1) > 1e-9 {
				t.Fatalf("shares of %s add up to %v", h.Name, sum)
			}
			for range 20 {
				q := steering.Query{
					Host: h.Name, Draw: rapid.Uint64().Draw(t, "draw"),
					Client: resolver(rapid.IntRange(0, 1<<20).Draw(t, "client")),
				}
				d, ok := table.Pick(q)
				if !ok || d.CNAME == "" && len(d.V4)+len(d.V6) == 0 || d.TTL == 0 {
					t.Fatalf("empty answer %+v", d)
				}
				if shares[d.Backend] == 0 {
					t.Fatalf("%s has no share and answers", d.Backend)
				}
				if _, ok := steering.Explain(table, q.Host, q.Client, q.Draw, start); !ok {
					t.Fatal("the decision isn't explained")
				}
			}
		}
	})
}

func TestWeightZeroIsNeverPickedWhileAnotherCanAnswer(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		in := drawInputs(t)
		in.Overrides = nil
		table, err := steering.Compile(in)
		if err != nil {
			t.Fatalf("compiling: %v", err)
		}
		members := map[string][]steering.Member{}
		for _, p := range in.Spec.Pools {
			members[p.Name] = p.Members
		}
		for _, h := range in.Spec.Hosts {
			weights := map[string]uint32{}
			able := false
			for _, name := range h.Pools {
				for _, m := range members[name] {
					weights[name+"/"+m.Backend] = m.Weight
					able = able || m.Weight > 0
				}
			}
			d, _ := table.Pick(steering.Query{
				Host: h.Name, Draw: rapid.Uint64().Draw(t, "draw"), Client: resolver(1),
			})
			if able && weights[d.Pool+"/"+d.Backend] == 0 {
				t.Fatalf("%s of %s weighs 0 and answers for %s", d.Backend, d.Pool, h.Name)
			}
		}
	})
}
