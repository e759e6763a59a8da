//go:build !race

package dnsserver

import (
	"testing"
	"time"

	"pointsman/steering"
	"pointsman/steering/tap"
)

func TestTheFastPathAllocatesNothing(t *testing.T) {
	w := newTwin(t, func(Drawer) *state { return realState(t, steering.NewDraws(1), 1) })
	allocatesNothing(t, w)
}

func TestTheFastPathAllocatesNothingWithATap(t *testing.T) {
	dir := t.TempDir()
	w, _ := tapped(t, tap.Config{
		Dnstap:    &tap.DnstapConfig{To: "file:" + dir + "/dnstap", Sample: 1},
		Decisions: &tap.DecisionConfig{File: dir + "/decisions", Sample: 3}})
	allocatesNothing(t, w)
}

func TestTheFastPathAllocatesNothingWhereLookupsAreWeighed(t *testing.T) {
	allocatesNothing(t, weighing(t))
}

func allocatesNothing(t *testing.T, w *twin) {
	t.Helper()
	w.fast.out = make([]byte, maxPrepared)
	w.fast.s.terms = fullTerms(t)
	w.fast.s.SetCookies(testJar())
	for name, packet := range commonQueries(t) {
		in, now := ask{packet: packet, from: clients[0]}, time.Unix(1e9, 0)
		for range 1000 { // every backend is picked, and then known
			w.fast.answer(in, w.with, now)
		}
		allocs := testing.AllocsPerRun(1000, func() {
			if out := w.fast.answer(in, w.with, now); out == nil || &out[0] != &w.fast.out[0] {
				t.Fatalf("%s: not from the memo", name)
			}
		})
		if allocs != 0 {
			t.Errorf("%s: %v allocations for one answer, want 0", name, allocs)
		}
	}
}
