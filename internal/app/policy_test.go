package app_test

import (
	"strings"
	"testing"

	"pointsman/internal/app"
)

// policyTree gives the site's name a tree of depth 4, and a backend that may answer clients in
// Germany alone.
func (s *site) policyTree() string {
	return s.with(`
pools:
  - {name: cdns, members: [{backend: one, weight: 70}, {backend: two, weight: 30}]}
`, `
  - name: three
    addresses: [192.0.2.3]
    allow: {countries: [DE]}
    cost: 0.02
    probe: {url: "`+s.two.URL+`"}
  - name: four
    addresses: [192.0.2.4]
    capacity: 100
    probe: {url: "`+s.two.URL+`"}
pools:
  - name: top
    choose: failover
    members: [{pool: legal}, {backend: four}]
  - name: legal
    choose: cost
    within: {percent: 500}
    members: [{pool: fast, weight: 3}, {backend: three}]
  - name: fast
    choose: latency
    within: {percent: 20, span: 10s}
    members: [{pool: cdns}]
  - {name: cdns, members: [{backend: one, weight: 70}, {backend: two, weight: 30}]}
`, "  - {name: cdn.example.test, ttl: 5s, pools: [cdns], ramp: 0s}",
		"  - {name: cdn.example.test, ttl: 5s, pools: [top], ramp: 0s, load: 1000}")
}

func TestATreeOfPoolsIsCheckedServedAndExplained(t *testing.T) {
	s := newSite(t)
	s.write(s.policyTree())
	if checked, err := app.Check(s.options()); err != nil {
		t.Fatalf("%v, %v", err, checked)
	}
	n := s.start()
	for range 20 {
		// one and two cost nothing, so three is beyond what is about as cheap
		if a, _ := n.from(t, "131.188.3.0"); a != "192.0.2.1" && a != "192.0.2.2" {
			t.Fatalf("in Germany the answer is %s", a)
		}
	}
	s.one.breakIt(true)
	s.two.breakIt(true) // three and four are probed there too: all is down
	eventually(t, "all is down", func() bool {
		x, err := n.admin.Explain(t.Context(), "cdn.example.test", "131.188.3.0/24")
		return err == nil && x.Reason == "all-down"
	})
	s.two.breakIt(false)
	eventually(t, "two answers alone", func() bool {
		x, err := n.admin.Explain(t.Context(), "cdn.example.test", "8.8.8.0/24")
		return err == nil && x.Reason == "pool" && x.Backend == "two"
	})
	x, err := n.admin.Explain(t.Context(), "cdn.example.test", "8.8.8.0/24")
	if err != nil {
		t.Fatal(err)
	}
	var text strings.Builder
	for _, step := range x.Steps {
		text.WriteString(step.What + ": " + step.Detail + "\n")
		for _, in := range step.Inputs {
			text.WriteString("  " + in.Name + "\n")
		}
	}
	for _, want := range []string{"constraint: three may not answer clients there",
		"capacity: at most four 10.0%", "pool fast: within legal", "chosen by latency", "  latency two", "  cost three",
		"the first pool, top, answers"} {
		if !strings.Contains(text.String(), want) {
			t.Errorf("there is no %q in\n%s", want, text.String())
		}
	}
}

func TestAReloadOfATreeThatHoldsItselfChangesNothing(t *testing.T) {
	s := newSite(t)
	s.write(s.policyTree())
	n := s.start()
	s.write(strings.Replace(s.policyTree(), "members: [{pool: cdns}]",
		"members: [{pool: cdns}, {pool: top}]", 1))
	if _, err := n.admin.Reload(t.Context()); err == nil ||
		!strings.Contains(err.Error(), "must come to an end") {
		t.Errorf("error is %v", err)
	}
	if a, _ := n.from(t, "8.8.8.0"); a != "192.0.2.1" && a != "192.0.2.2" {
		t.Errorf("the answer is %s", a)
	}
}
