package sim_test

import (
	"slices"
	"testing"

	"pointsman/steering/sim"
)

// TestTheLeagueHoldsTheGoals prints what the library makes of every policy, and holds what
// docs/steering.md says of it.
func TestTheLeagueHoldsTheGoals(t *testing.T) {
	if slowed {
		t.Log("with the race detector the short worlds alone are played")
	}
	l, err := sim.Play(library(t))
	if err != nil {
		t.Fatal(err)
	}
	for _, line := range l.Lines {
		ours := line.Results[0]
		for _, r := range line.Results {
			t.Logf("%-22s %-10s total %10.0f  server %10.0f  hard %10.0f  false %.1f", line.World,
				r.Policy, r.Total(), r.Server, r.Hard, r.FalseFailovers)
		}
		if ours.Empty != 0 || ours.FalseFailovers != 0 {
			t.Errorf("%s: %d empty answers, %v false failovers", line.World, ours.Empty,
				ours.FalseFailovers)
		}
		for _, r := range line.Results {
			if line.Kind == sim.Hard && slices.Contains([]string{"route53", "azure", "gdnsd"}, r.Policy) &&
				ours.Hard > 0.1*r.Hard {
				t.Errorf("%s: we lose %.0f until the right answer, %s %.0f: that is not a tenth",
					line.World, ours.Hard, r.Policy, r.Hard)
			}
		}
	}
	for _, s := range l.Sums[1:] {
		if ours := l.Sums[0]; ours.Total >= s.Total || ours.Documented >= s.Documented {
			t.Errorf("%s loses %.0f (as documented %.0f), we %.0f (%.0f)", s.Policy, s.Total,
				s.Documented, ours.Total, ours.Documented)
		}
	}
}

// TestTheGoalsHoldForOtherSeedsToo plays the hard incidents with other luck, up to when all have
// found out.
func TestTheGoalsHoldForOtherSeedsToo(t *testing.T) {
	for _, incident := range library(t) {
		if incident.Kind != sim.Hard {
			continue
		}
		for seed := range uint64(seeds) {
			w := *incident
			w.Seed, w.Lasts = 100+seed, minutes(16)
			ours := run(t, &w, "pointsman")
			for _, policy := range []string{"route53", "azure", "gdnsd"} {
				if r := run(t, &w, policy); ours.Hard > 0.1*r.Hard {
					t.Errorf("%s, seed %d: we lose %.0f, %s %.0f", w.Name, w.Seed, ours.Hard,
						policy, r.Hard)
				}
			}
		}
	}
}

// library is the incident library, or what of it is short when the race detector is on.
func library(t *testing.T) []*sim.World {
	t.Helper()
	worlds, err := sim.Incidents()
	if err != nil {
		t.Fatal(err)
	}
	if len(worlds) < 10 {
		t.Fatalf("there are %d incidents", len(worlds))
	}
	if slowed {
		worlds = slices.DeleteFunc(worlds, func(w *sim.World) bool { return w.Lasts > minutes(75) })
	}
	return worlds
}

func TestEveryIncidentHasItsOwnNameAndSaysWhatItIs(t *testing.T) {
	names := map[string]bool{}
	for _, w := range library(t) {
		if names[w.Name] || w.About == "" {
			t.Errorf("incident %q has its name twice, or says nothing of itself", w.Name)
		}
		names[w.Name] = true
	}
}
