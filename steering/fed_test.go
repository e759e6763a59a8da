package steering_test

import (
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"pointsman/probes/health"
	"pointsman/steering"
)

// fedValue is a value that a feed said a minute ago, and that holds for an hour.
func fedValue(backend string, field steering.Field, value uint64) steering.FedValue {
	return steering.FedValue{Backend: backend, Field: field, Value: value, Feed: "noc",
		Since: start.Add(-time.Hour), At: start.Add(-time.Minute), Until: start.Add(time.Hour)}
}

func TestFedMetadataTakesThePlaceOfTheConfigs(t *testing.T) {
	const up, drain, weight = steering.FieldUp, steering.FieldDrain, steering.FieldWeight
	list := func(v ...steering.FedValue) []steering.FedValue { return v }
	weigh := override(steering.Weight, "a")
	weigh.Weight = 70
	set := func(i int, u steering.Up, drained bool) func(*steering.Spec) {
		return func(s *steering.Spec) { s.Backends[i].Up, s.Backends[i].Drain = u, drained }
	}
	for about, c := range map[string]struct {
		spec func(*steering.Spec)
		fed  []steering.FedValue
		down []string
		over []steering.Override
		want string
	}{
		"nothing":                    {want: "a:70 b:20 c:10"},
		"config: never up":           {spec: set(0, steering.UpNever, false), want: "b:66.67 c:33.33"},
		"config: always up":          {spec: set(0, steering.UpAlways, false), down: []string{"a"}, want: "a:70 b:20 c:10"},
		"config: drained":            {spec: set(0, "", true), want: "b:66.67 c:33.33"},
		"fed down":                   {fed: list(fedValue("a", up, 0)), want: "b:66.67 c:33.33"},
		"fed down, always up":        {spec: set(0, steering.UpAlways, false), fed: list(fedValue("a", up, 0)), want: "b:66.67 c:33.33"},
		"fed up, never up":           {spec: set(0, steering.UpNever, false), fed: list(fedValue("a", up, 1)), want: "a:70 b:20 c:10"},
		"fed up, probes fail":        {fed: list(fedValue("a", up, 1)), down: []string{"a"}, want: "b:66.67 c:33.33"},
		"fed drain":                  {fed: list(fedValue("a", drain, 1)), want: "b:66.67 c:33.33"},
		"fed no drain":               {spec: set(0, "", true), fed: list(fedValue("a", drain, 0)), want: "a:70 b:20 c:10"},
		"fed no drain, operator's":   {fed: list(fedValue("a", drain, 0)), over: []steering.Override{override(steering.Drain, "a")}, want: "b:66.67 c:33.33"},
		"fed drain, operator weighs": {fed: list(fedValue("a", drain, 1)), over: []steering.Override{weigh}, want: "a:70 b:20 c:10"},
		"fed down, pinned":           {fed: list(fedValue("a", up, 0)), over: []steering.Override{override(steering.Pin, "a")}, want: "a:100"},
		"half the weight":            {fed: list(fedValue("a", weight, 50)), want: "a:53.85 b:30.77 c:15.38"},
		"twice the weight":           {fed: list(fedValue("c", weight, 200)), want: "a:63.64 b:18.18 c:18.18"},
		"no weight":                  {fed: list(fedValue("a", weight, 0)), want: "b:66.67 c:33.33"},
		"weight, operator's":         {fed: list(fedValue("a", weight, 50)), over: []steering.Override{weigh}, want: "a:70 b:20 c:10"},
		"all fed down": {fed: list(fedValue("a", up, 0), fedValue("b", up, 0), fedValue("c", up, 0),
			fedValue("edge", up, 0), fedValue("origin", up, 0)), want: "a:70 b:20 c:10"},
		"all fed drained": {fed: list(fedValue("a", drain, 1), fedValue("b", drain, 1), fedValue("c", weight, 0),
			fedValue("edge", drain, 1), fedValue("origin", weight, 0)), want: "a:33.33 b:33.33 c:33.33"},
		"of nobody": {fed: list(fedValue("nobody", up, 0)), want: "a:70 b:20 c:10"},
	} {
		s := spec()
		if c.spec != nil {
			c.spec(s)
		}
		table := compile(t, steering.Inputs{Spec: s, View: view(1, c.down...), Fed: c.fed,
			Overrides: c.over})
		if got := split(table, host); got != c.want {
			t.Errorf("%s: %s, want %s", about, got, c.want)
		}
	}
}

func TestWhatAFeedSaidEndsAndTheConfigCountsAgain(t *testing.T) {
	v := fedValue("a", steering.FieldUp, 0)
	for at, want := range map[time.Time]string{
		v.Until.Add(-1): "b:66.67 c:33.33", v.Until: "a:70 b:20 c:10",
	} {
		table := compile(t, steering.Inputs{Now: at, Spec: spec(), View: view(1),
			Fed: []steering.FedValue{v}})
		if got := split(table, host); got != want {
			t.Errorf("at %s: %s, want %s", at, got, want)
		}
	}
}

func TestFedCapacitiesAndCostsCountInPlaceOfTheConfigs(t *testing.T) {
	s := spec(func(s *steering.Spec) {
		s.Hosts[0].Load, s.Backends[0].Capacity = 1000, 900
	})
	in := steering.Inputs{Spec: s, View: view(1)}
	if got := split(compile(t, in), host); got != "a:70 b:20 c:10" {
		t.Errorf("with the config's: %s", got)
	}
	in.Fed = []steering.FedValue{fedValue("a", steering.FieldCapacity, 400)}
	if got := split(compile(t, in), host); got != "a:40 b:40 c:20" {
		t.Errorf("with a fed one: %s", got)
	}
	in = steering.Inputs{View: view(1), Spec: spec(func(s *steering.Spec) {
		s.Pools[0].Choose = steering.ByCost
		s.Backends[0].Cost, s.Backends[1].Cost, s.Backends[2].Cost = 30_000, 20_000, 40_000
	})}
	if got := split(compile(t, in), host); got != "b:100" {
		t.Errorf("with the config's costs: %s", got)
	}
	in.Fed = []steering.FedValue{fedValue("c", steering.FieldCost, 10_000)}
	if got := split(compile(t, in), host); got != "c:100" {
		t.Errorf("with a fed cost: %s", got)
	}
}

func TestFedValuesShowInTheHashAndInAnyOrder(t *testing.T) {
	a, b := fedValue("a", steering.FieldWeight, 50), fedValue("b", steering.FieldWeight, 70)
	other := a
	other.Feed, other.Value = "zoc", 10 // no config allows two
	in := steering.Inputs{Spec: spec(), View: view(1), Fed: []steering.FedValue{a, other, b}}
	first := compile(t, in)
	in.Fed = []steering.FedValue{b, other, a}
	if second := compile(t, in); second.Hash != first.Hash {
		t.Error("the order of fed values changed the table")
	}
	in.Fed = nil
	if without := compile(t, in); without.Hash == first.Hash {
		t.Error("fed values are not in the hash")
	}
}

func TestFedValuesAreExplainedWithTheirAge(t *testing.T) {
	silent := fedValue("b", steering.FieldDrain, 1)
	silent.Until = start.Add(-time.Second)
	table := compile(t, steering.Inputs{View: view(1), Spec: spec(func(s *steering.Spec) {
		s.Hosts[0].Load, s.Backends[2].Up = 1000, steering.UpNever
	}), Fed: []steering.FedValue{fedValue("a", steering.FieldUp, 0), silent,
		fedValue("b", steering.FieldCapacity, 10)}})
	e, ok := steering.Explain(table, host, resolver(1), 0, start)
	if !ok {
		t.Fatal("not steered")
	}
	text, ages := "", 0
	for _, s := range e.Steps {
		text += s.What + ": " + s.Detail + "\n"
		for _, in := range s.Inputs {
			text += in.Kind + " " + in.Backend + " " + in.Value + " " + in.Source + " " + in.Reason + "\n"
			if in.Source == "feed noc" && in.AgeSeconds != nil && *in.AgeSeconds == 60 {
				ages++
			}
		}
	}
	for _, want := range []string{"a is out by feed noc", "up a false feed noc",
		"drain b true feed noc not counted: the feed is silent", "c is out by the config",
		"up c false config", "capacity b 10 feed noc"} {
		if !strings.Contains(text, want) {
			t.Errorf("%q is not in\n%s", want, text)
		}
	}
	want := []string{"drained by the config", "capacity 10 by feed noc"}
	marked := compile(t, steering.Inputs{View: view(1), Spec: spec(func(s *steering.Spec) {
		s.Backends[1].Drain = true
	}), Fed: []steering.FedValue{silent, fedValue("b", steering.FieldCapacity, 10)}})
	if d := cmp.Diff(want, marked.Metadata("b")); d != "" {
		t.Errorf("metadata (-want +got):\n%s", d)
	}
	if ages != 3 {
		t.Errorf("%d of 3 fed values have their age", ages)
	}
}

func TestTheEngineNoticesWhatFeedsSayAndWhenTheyFallSilent(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := started(t, steering.EngineConfig{})
		e.SetView(viewNow(1))
		setSpec(t, e, spec())
		said := func(value uint64, life time.Duration) {
			e.SetFed([]steering.FedValue{{Backend: "a", Field: steering.FieldUp, Value: value,
				Feed: "noc", Since: time.Now(), At: time.Now(), Until: time.Now().Add(life)}})
			time.Sleep(50 * time.Millisecond)
		}
		expect := func(when, want string) {
			t.Helper()
			if got := split(e.Table(), host); got != want {
				t.Errorf("%s: %s, want %s", when, got, want)
			}
		}
		said(1, time.Minute)
		expect("said up", "a:70 b:20 c:10")
		version := e.Table().Version
		said(1, 2*time.Minute)
		if e.Table().Version != version {
			t.Error("what was merely said again made a new table")
		}
		said(0, time.Minute)
		expect("said down", "b:66.67 c:33.33")
		said(0, 2*time.Minute) // again: it holds for longer
		time.Sleep(90 * time.Second)
		expect("still down", "b:66.67 c:33.33")
		time.Sleep(31 * time.Second)
		expect("returning by the ramp", "a:18.92 b:54.05 c:27.03")
		time.Sleep(30 * time.Second)
		expect("silent", "a:70 b:20 c:10")
		causes := ""
		for _, c := range e.Changes(0) {
			causes += c.Cause + "\n"
		}
		for _, want := range []string{"feed noc: up of a false", "feed noc: up of a is the config's again"} {
			if !strings.Contains(causes, want) {
				t.Errorf("%q is not among\n%s", want, causes)
			}
		}
	})
}

func TestNoFedMetadataEmptiesAnAnswer(t *testing.T) {
	fields := []steering.Field{steering.FieldUp, steering.FieldDrain, steering.FieldWeight}
	names := []string{"a", "b", "c", "edge", "origin"}
	for n := range 1 << 10 { // each backend taken out in one of four ways, or not
		var fed []steering.FedValue
		for i, name := range names {
			if way := n >> (2 * i) & 3; way < 3 {
				value := uint64(0)
				if fields[way] == steering.FieldDrain {
					value = 1
				}
				fed = append(fed, fedValue(name, fields[way], value))
			}
		}
		table := compile(t, steering.Inputs{Spec: spec(), View: view(1), Fed: fed})
		if _, ok := table.Pick(steering.Query{Host: host}); !ok {
			t.Fatalf("%v: no answer", fed)
		}
		if split(table, host) == "" {
			t.Fatalf("%v: no shares", fed)
		}
	}
}

func TestUnknownConstantsForUpAreRefused(t *testing.T) {
	s := spec(func(s *steering.Spec) { s.Backends[0].Up = "maybe" })
	if _, err := steering.Compile(steering.Inputs{Spec: s, View: &health.View{}}); err == nil {
		t.Error("taken")
	}
}
