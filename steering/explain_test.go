package steering_test

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"pointsman/steering"
	"pointsman/steering/control"
)

// inputOf finds one input of an explanation.
func inputOf(e steering.Explanation, kind, backend string) steering.Input {
	for _, s := range e.Steps {
		for _, in := range s.Inputs {
			if in.Kind == kind && in.Backend == backend {
				return in
			}
		}
	}
	return steering.Input{}
}

// details is an explanation's steps as lines.
func details(e steering.Explanation) []string {
	var lines []string
	for _, s := range e.Steps {
		lines = append(lines, s.What+": "+s.Detail)
	}
	return lines
}

func TestAnExplanationNamesEveryStepAndInputWithItsAge(t *testing.T) {
	drain := override(steering.Drain, "b")
	drain.Local = true
	v := view(12, "c")
	a := v.Backends["a"]
	a.UsableSince = start.Add(-10 * time.Second)
	v.Backends["a"] = a
	table := compile(t, steering.Inputs{
		Version: 7, Spec: spec(), View: v, Overrides: []steering.Override{drain},
		Shares: control.Shares{Epoch: 4, Factors: map[string]float64{"a": 0.4}},
	})
	e, ok := steering.Explain(table, host, resolver(1), 1<<62, start.Add(9*time.Second))
	if !ok {
		t.Fatal("the host isn't known")
	}
	want := []string{
		"host: pools cdns, edge, origin in this order, spread, TTL 20s, ramp 30s",
		"overrides: 1 hold for this host",
		"pool cdns: choice 1: 1 of 3 members can answer; b is out by drain ov-drain-b; " +
			"c is unhealthy",
		"pool edge: choice 2: 1 of 1 members can answer",
		"pool origin: choice 3: 1 of 1 members can answer",
		"ladder: the first pool, cdns, answers",
		"pick: a is the only candidate",
	}
	if diff := cmp.Diff(want, details(e)); diff != "" {
		t.Error(diff)
	}
	ten, hour, life := 10.0, 69.0, 19.0
	for _, c := range []struct {
		kind, backend string
		want          steering.Input
	}{
		{"health", "a", steering.Input{
			Value: "healthy", Source: "view 12", Reason: "3 successes in a row",
			Since: start.Add(-time.Hour), Seen: start.Add(-time.Second), AgeSeconds: &ten,
		}},
		{"weight", "a", steering.Input{Value: "70", Source: "config"}},
		{"factor", "a", steering.Input{
			Value: "0.40", Source: "epoch 4", Reason: "slow start after its return",
			Since: start.Add(-10 * time.Second), AgeSeconds: &life,
		}},
		{"override", "b", steering.Input{
			Value: "drain", Source: "override ov-drain-b by kim, known to this node alone",
			Reason: "test", Since: start.Add(-time.Minute), Expires: start.Add(time.Hour),
			AgeSeconds: &hour,
		}},
	} {
		c.want.Kind, c.want.Backend = c.kind, c.backend
		if diff := cmp.Diff(c.want, inputOf(e, c.kind, c.backend)); diff != "" {
			t.Errorf("%s of %s: %s", c.kind, c.backend, diff)
		}
	}
	e.Steps, e.Shares = nil, nil
	e.TableHash = e.TableHash[:0]
	wantRest := steering.Explanation{
		Host: host, Client: "11.0.1.53/32", Draw: 1 << 62, At: start.Add(9 * time.Second),
		TableVersion: 7, CompiledAt: start, CompiledAgeSeconds: 9,
		Decision: steering.Decided{
			Backend: "a", Pool: "cdns", Reason: steering.ReasonPool, CNAME: "a.cdn.test.",
			TTLSeconds: 20,
		},
	}
	if diff := cmp.Diff(wantRest, e); diff != "" {
		t.Error(diff)
	}
}

func TestTheLadderAndPinsExplainThemselves(t *testing.T) {
	all := []string{"a", "b", "c", "edge", "origin"}
	var drains []steering.Override
	for _, b := range all {
		drains = append(drains, override(steering.Drain, b))
	}
	later := override(steering.Drain, "a")
	later.Created = start
	for _, c := range []struct {
		name string
		in   steering.Inputs
		want string
	}{
		{"fallback", steering.Inputs{Spec: spec(), View: view(1, "a", "b", "c")},
			"ladder: no earlier pool can answer; edge does"},
		{"all down", steering.Inputs{Spec: spec(), View: view(1, all...)},
			"ladder: no pool has a usable member; cdns answers as if all were healthy"},
		{"all drained", steering.Inputs{Spec: spec(), View: view(1), Overrides: drains},
			"ladder: all members of all pools are drained or weigh 0; cdns answers in equal " +
				"parts, because an answer is never empty"},
		{"pinned though unhealthy", steering.Inputs{
			Spec: spec(), View: view(1, "a"),
			Overrides: []steering.Override{
				override(steering.Pin, "a"), override(steering.Fence, "a"),
			},
		}, "pin: a takes all by an operator's order, although it is unhealthy, " +
			"although it is drained or fenced as well"},
		{"foreign pin", steering.Inputs{
			Spec: spec(), Overrides: []steering.Override{override(steering.Pin, "z")},
		}, "pin: ignored: the backend is in none of this host's pools"},
		{"drained later", steering.Inputs{
			Spec:      spec(),
			Overrides: []steering.Override{override(steering.Pin, "a"), later},
		}, "pin: ignored: the backend was drained later, by ov-drain-a"},
		{"not measured", steering.Inputs{Spec: spec()},
			"pool edge: choice 2: 1 of 1 members can answer; edge is not measured and counts " +
				"as usable"},
		{"mixture", steering.Inputs{Spec: spec(func(s *steering.Spec) {
			s.Pools[0].Members[2] = steering.Member{Backend: "edge", Weight: 5}
		})}, "mixture: a, b answer with a CNAME, edge with addresses: resolvers are known to " +
			"skew such a mix"},
		{"spread", steering.Inputs{Spec: spec(), View: view(1)},
			"pick: the draw 0.750000 falls into b's part, 0.700000 to 0.900000"},
		{"sticky", steering.Inputs{Spec: spec(sticky), View: view(1)},
			"of 3 candidates for clients in 11.0.1.0/24"},
	} {
		t.Run(c.name, func(t *testing.T) {
			table := compile(t, c.in)
			e, _ := steering.Explain(table, host, resolver(1), 3<<62, start)
			if text := strings.Join(details(e), "\n"); !strings.Contains(text, c.want) {
				t.Errorf("want %q in\n%s", c.want, text)
			}
		})
	}
}

func TestAnExplanationSurvivesJSON(t *testing.T) {
	table := compile(t, steering.Inputs{Spec: spec(), View: view(1)})
	e, _ := steering.Explain(table, host, resolver(1), 1<<63+1, start)
	data, err := json.Marshal(e)
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(string(data), `"draw":"9223372036854775809"`) {
		t.Errorf("the draw isn't exact in %s", data)
	}
	var back steering.Explanation
	if err := json.Unmarshal(data, &back); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(e, back); diff != "" {
		t.Error(diff)
	}
	if _, ok := steering.Explain(table, "x.", resolver(1), 0, start); ok {
		t.Error("a strange name is explained")
	}
}

func TestTheEngineExplainsWithTheNewestInputs(t *testing.T) {
	now := start
	e := steering.NewEngine(steering.EngineConfig{Now: func() time.Time { return now }})
	e.SetView(view(1))
	setSpec(t, e, spec())
	now = start.Add(time.Hour)
	fresh := view(1)
	a := fresh.Backends["a"]
	a.LastSample = now.Add(-2 * time.Second)
	fresh.Backends["a"] = a
	e.SetView(fresh)
	x, _ := e.Explain(host, resolver(1), 0)
	if got := inputOf(x, "health", "a").AgeSeconds; got == nil || *got != 2 {
		t.Errorf("age is %v, want 2", got)
	}
	if x.CompiledAgeSeconds != 3600 || x.TableVersion != 1 {
		t.Errorf("table %d is %v s old, want 1, 3600", x.TableVersion, x.CompiledAgeSeconds)
	}
	// Inputs that would give other answers aren't those of the table in force.
	e.SetView(view(2, "a"))
	x, _ = e.Explain(host, resolver(1), 0)
	if got := inputOf(x, "health", "a").Value; got != "healthy" || x.Decision.Backend != "a" {
		t.Errorf("a is %s and %s answers", got, x.Decision.Backend)
	}
}
