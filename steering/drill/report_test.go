package drill_test

import (
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"pointsman/steering"
	"pointsman/steering/drill"
)

var update = flag.Bool("update", false, "write the golden files anew")

func golden(t *testing.T, name, got string) {
	t.Helper()
	path := filepath.Join("testdata", name)
	if *update {
		if err := os.WriteFile(path, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), got); diff != "" {
		t.Errorf("%s (-want +got; -update writes it anew):\n%s", path, diff)
	}
}

// report is a drill of "a" that went well.
func report() drill.Report {
	shares := func(a, b, c float64) []steering.Share {
		return []steering.Share{{Backend: "a", Pool: "cdns", Share: a},
			{Backend: "b", Pool: "cdns", Share: b}, {Backend: "c", Pool: "cdns", Share: c}}
	}
	start := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	point := func(after time.Duration, a, b, c, answered float64) drill.Point {
		return drill.Point{After: after, Host: "cdn.test.", Reason: "pool", Shares: shares(a, b, c),
			Answered: answered}
	}
	return drill.Report{ID: "20260301T120000.000Z", Node: "fra-1", State: drill.Done,
		Plan: drill.Plan{Backend: "a", For: 2 * time.Minute, MinHealthy: 0.25, Actor: "ops",
			Reason: "quiet\nday"},
		Message: "everything shifted and came back", Started: start,
		Ends: start.Add(2 * time.Minute), Lifted: start.Add(2 * time.Minute),
		Ended: start.Add(155 * time.Second), Detected: 3123 * time.Millisecond,
		Shifted: 3324 * time.Millisecond, Returned: 3001 * time.Millisecond,
		Restored: 33 * time.Second, Hosts: []string{"cdn.test."},
		Before: []drill.Point{point(0, 0.7, 0.2, 0.1, -1)},
		Points: []drill.Point{point(200*time.Millisecond, 0.7, 0.2, 0.1, 0.7),
			point(3324*time.Millisecond, 0, 0.66667, 0.33333, 0.412),
			point(4324*time.Millisecond, 0, 0.66667, 0.33333, 0),
			point(123*time.Second, 0.2, 0.53333, 0.26667, -1),
			point(153*time.Second, 0.7, 0.2, 0.1, 0.698)},
	}
}

func TestAReportReadsWellAsMarkdown(t *testing.T) {
	golden(t, "done.golden", report().Markdown())
	r := report()
	r.State, r.Message = drill.Aborted, "stopped by eve; restored"
	r.Detected, r.Shifted = 0, 0
	r.Points = nil
	golden(t, "aborted.golden", r.Markdown())
}

func TestAReportWithoutAnythingStillRenders(t *testing.T) {
	if got := (drill.Report{}).Markdown(); !strings.Contains(got, "did not happen") {
		t.Errorf("it renders as:\n%s", got)
	}
}
