package purge_test

import (
	"encoding/json"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"pointsman/providers"
	"pointsman/purge"
)

// base is when the generated histories begin.
var base = time.Date(2026, 11, 23, 10, 0, 0, 0, time.UTC)

func drawTime(t *rapid.T, name string) time.Time {
	return base.Add(time.Duration(rapid.IntRange(0, 3).Draw(t, name)) * time.Second)
}

func drawPart(t *rapid.T, cut purge.Cut) purge.Part {
	return purge.Part{
		Cut: cut,
		State: rapid.SampledFrom([]purge.State{purge.Queued, purge.Sent, purge.Failed, "split",
			purge.Accepted, purge.Estimated, purge.Confirmed}).Draw(t, "state"),
		Step:     rapid.IntRange(0, 3).Draw(t, "step"),
		Attempts: rapid.IntRange(0, 2).Draw(t, "attempts"),
		SentAt:   drawTime(t, "sent"),
		Ref:      rapid.SampledFrom([]string{"", "x", "y"}).Draw(t, "ref"),
	}
}

func drawDelivery(t *rapid.T, provider string) purge.Delivery {
	d := purge.Delivery{
		Provider: provider,
		Round:    rapid.IntRange(0, 1).Draw(t, "round"),
		Form:     rapid.SampledFrom([]purge.Form{purge.Exact, purge.Widened}).Draw(t, "form"),
		Deadline: drawTime(t, "deadline"),
		Last: purge.Problem{At: drawTime(t, "problem"),
			Message: rapid.SampledFrom([]string{"", "one", "two"}).Draw(t, "message")},
		Check: purge.Check{
			State: rapid.SampledFrom([]purge.CheckState{purge.CheckNone, purge.CheckPending,
				purge.CheckUnverified, purge.CheckVerified}).Draw(t, "check"),
			Attempts: rapid.IntRange(0, 2).Draw(t, "checks")},
	}
	for _, cut := range []purge.Cut{{From: 0, To: 4}, {From: 0, To: 2}, {From: 2, To: 4}} {
		if rapid.Bool().Draw(t, "has") {
			d.Batches = append(d.Batches, drawPart(t, cut))
		}
	}
	return d
}

func drawRecord(t *rapid.T, name string) purge.Record {
	r := purge.Record{
		ID:         "01KARM8D4G0000000000000000",
		Request:    purge.Request{Kind: providers.Tag, Items: []string{"a", "b", "c", "d"}},
		AcceptedAt: drawTime(t, name), Replicated: rapid.Bool().Draw(t, "replicated"),
		AcceptedBy: rapid.SampledFrom([]string{"n1", "n2"}).Draw(t, "node"),
	}
	for _, p := range []string{"p1", "p2", "p3"} {
		if rapid.Bool().Draw(t, p) {
			r.Deliveries = append(r.Deliveries, drawDelivery(t, p))
		}
	}
	return r
}

// text is what a store would hold; it tells nil from empty no more than a store does.
func text(r purge.Record) string {
	raw, err := json.MarshalIndent(r, "", " ")
	if err != nil {
		panic(err)
	}
	return string(raw)
}

func TestMergeIsCommutativeAssociativeAndIdempotent(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		a, b, c := drawRecord(t, "a"), drawRecord(t, "b"), drawRecord(t, "c")
		if d := cmp.Diff(text(purge.Merge(a, b)), text(purge.Merge(b, a))); d != "" {
			t.Fatalf("merge depends on the order (-ab +ba):\n%s", d)
		}
		left := purge.Merge(purge.Merge(a, b), c)
		right := purge.Merge(a, purge.Merge(b, c))
		if d := cmp.Diff(text(left), text(right)); d != "" {
			t.Fatalf("merge depends on the grouping (-(ab)c +a(bc)):\n%s", d)
		}
		ab := purge.Merge(a, b)
		if d := cmp.Diff(text(ab), text(purge.Merge(ab, a))); d != "" {
			t.Fatalf("merging again changed something (-once +twice):\n%s", d)
		}
		if d := cmp.Diff(text(a), text(purge.Merge(a, a))); d != "" {
			t.Fatalf("merging with itself changed something (-a +aa):\n%s", d)
		}
	})
}

func TestMergeNeverTakesBackThatAProviderTookABatch(t *testing.T) {
	taken := map[purge.State]bool{purge.Accepted: true, purge.Estimated: true,
		purge.Confirmed: true}
	rapid.Check(t, func(t *rapid.T) {
		a, b := drawRecord(t, "a"), drawRecord(t, "b")
		rounds := map[string]int{}
		was := map[string]map[purge.Cut]bool{}
		for _, r := range []purge.Record{a, b} {
			for _, d := range r.Deliveries {
				if was[d.Provider] == nil || d.Round > rounds[d.Provider] {
					was[d.Provider], rounds[d.Provider] = map[purge.Cut]bool{}, d.Round
				}
				for _, p := range d.Batches {
					if d.Round == rounds[d.Provider] && taken[p.State] {
						was[d.Provider][p.Cut] = true
					}
				}
			}
		}
		for _, d := range purge.Merge(a, b).Deliveries {
			for _, p := range d.Batches {
				if was[d.Provider][p.Cut] && !taken[p.State] {
					t.Fatalf("provider %s: batch %v was taken and is %s", d.Provider, p.Cut, p.State)
				}
			}
		}
	})
}

func TestTheFurtherStateWinsAMerge(t *testing.T) {
	part := func(s purge.State, step int) purge.Part {
		return purge.Part{Cut: purge.Cut{To: 1}, State: s, Step: step}
	}
	cases := []struct {
		name                 string
		less, more           purge.Part
		lessRound, moreRound int
	}{
		{"sent after queued", part(purge.Queued, 0), part(purge.Sent, 1), 0, 0},
		{"queued for the second attempt after sent for the first",
			part(purge.Sent, 1), part(purge.Queued, 2), 0, 0},
		{"failed after sent", part(purge.Sent, 7), part(purge.Failed, 2), 0, 0},
		{"accepted after failed: it was taken", part(purge.Failed, 9), part(purge.Accepted, 2), 0, 0},
		{"estimated after accepted", part(purge.Accepted, 2), part(purge.Estimated, 2), 0, 0},
		{"confirmed after estimated", part(purge.Estimated, 2), part(purge.Confirmed, 2), 0, 0},
		{"queued anew by the operator after failed",
			part(purge.Failed, 2), part(purge.Queued, 0), 0, 1},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			record := func(p purge.Part, round int) purge.Record {
				return purge.Record{Deliveries: []purge.Delivery{
					{Provider: "p", Round: round, Batches: []purge.Part{p}}}}
			}
			less, more := record(c.less, c.lessRound), record(c.more, c.moreRound)
			for _, got := range []purge.Record{purge.Merge(less, more), purge.Merge(more, less)} {
				if d := cmp.Diff(text(more), text(got)); d != "" {
					t.Errorf("-want +got:\n%s", d)
				}
			}
		})
	}
}
