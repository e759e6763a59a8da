package dnssec_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"pointsman/steering/dnssec"
)

var day0 = time.Date(2026, 3, 1, 0, 0, 0, 0, time.UTC)

const day = 24 * time.Hour

// at returns facts of a zone whose keys are replaced after 30 days, or 10 for a ZSK.
func at(since time.Duration, split bool, delegated ...uint16) dnssec.Facts {
	return dnssec.Facts{Now: day0.Add(since), Split: split, KeyLifetime: 30 * day,
		ZoneKeyLifetime: 10 * day, KeyTTL: time.Hour, ZoneTTL: 2 * time.Hour, ParentTTL: day,
		Propagation: time.Hour, Delegated: delegated}
}

// history steps a state on every 10 minutes and writes down what happens and when. Keys get the
// tags 1, 2, 3 and so on; the parent names what delegated says.
func history(split bool, length time.Duration, delegated func(now time.Duration) []uint16) []string {
	var s dnssec.State
	var out []string
	tag := uint16(0)
	for now := time.Duration(0); now <= length; now += 10 * time.Minute {
		next := dnssec.Next(s, at(now, split, delegated(now)...))
		for slices.ContainsFunc(next.Keys, func(k dnssec.Key) bool { return k.Phase == dnssec.Wanted }) {
			tag++
			next = dnssec.Made(next, tag, day0.Add(now))
		}
		for _, k := range next.Keys {
			if !slices.Contains(s.Keys, k) {
				out = append(out, fmt.Sprintf("%v %s %d %s", now, k.Role, k.Tag, k.Phase))
			}
		}
		for _, k := range s.Keys {
			if !slices.ContainsFunc(next.Keys, func(o dnssec.Key) bool { return o.Tag == k.Tag }) {
				out = append(out, fmt.Sprintf("%v %s %d gone", now, k.Role, k.Tag))
			}
		}
		s = next
	}
	return out
}

func TestAZoneKeyIsReplacedByPrePublication(t *testing.T) {
	got := history(true, 21*day, func(time.Duration) []uint16 { return nil })
	want := []string{
		"0s ksk 1 active", "0s zsk 2 active",
		"238h0m0s zsk 3 published", // KeyTTL and Propagation before the other is 10 days old
		"240h0m0s zsk 2 retired", "240h0m0s zsk 3 active",
		"243h0m0s zsk 2 gone", // ZoneTTL and Propagation later
		"478h0m0s zsk 4 published",
		"480h0m0s zsk 3 retired", "480h0m0s zsk 4 active",
		"483h0m0s zsk 3 gone",
	}
	if d := cmp.Diff(want, got); d != "" {
		t.Errorf("(-want +got):\n%s", d)
	}
}

func TestAKeyThatComesLateIsPublishedLongEnoughAllTheSame(t *testing.T) {
	s := dnssec.State{Keys: []dnssec.Key{{Tag: 1, Role: dnssec.KSK, Phase: dnssec.Active, Since: day0},
		{Tag: 2, Role: dnssec.ZSK, Phase: dnssec.Active, Since: day0}}}
	down := 20 * day // nobody was there to replace the key
	s = dnssec.Made(dnssec.Next(s, at(down, true)), 3, day0.Add(down))
	for _, c := range []struct {
		after time.Duration
		want  dnssec.Phase
	}{{0, dnssec.Published}, {2*time.Hour - time.Second, dnssec.Published}, {2 * time.Hour, dnssec.Active}} {
		next := dnssec.Next(s, at(down+c.after, true))
		if got := next.Keys[2]; got.Tag != 3 || got.Phase != c.want {
			t.Errorf("after %v: %v, want %s", c.after, got, c.want)
		}
	}
}

func TestTheKeyThatTheParentNamesIsReplacedByDoubleSignatures(t *testing.T) {
	parent := func(now time.Duration) []uint16 { // takes two days to see what the zone asks for
		if now >= 33*day {
			return []uint16{2}
		}
		return []uint16{1}
	}
	got := history(false, 40*day, parent)
	want := []string{
		"0s csk 1 active",
		"720h0m0s csk 2 published", // signs everything from here on
		"723h0m0s csk 2 ready",     // ZoneTTL and Propagation later: CDS names it
		"792h0m0s csk 1 retired", "792h0m0s csk 2 active",
		"817h0m0s csk 1 gone", // ParentTTL and Propagation later
	}
	if d := cmp.Diff(want, got); d != "" {
		t.Errorf("(-want +got):\n%s", d)
	}
}

func TestWithoutTheParentTheOldKeyStays(t *testing.T) {
	for about, tags := range map[string][]uint16{"unseen": nil, "old": {1}, "none of ours": {}} {
		got := history(false, 90*day, func(time.Duration) []uint16 { return tags })
		if last := got[len(got)-1]; last != "723h0m0s csk 2 ready" {
			t.Errorf("%s: it went on: %v", about, got)
		}
	}
}

func TestAParentThatTurnsBackKeepsTheOldKey(t *testing.T) {
	got := history(false, 60*day, func(now time.Duration) []uint16 {
		if now >= 31*day && now < 31*day+time.Hour {
			return []uint16{2}
		}
		return []uint16{1}
	})
	if joined := strings.Join(got, ", "); strings.Contains(joined, "gone") ||
		!strings.Contains(joined, "csk 1 retired") {
		t.Errorf("%v", got)
	}
}

func TestNoLifetimeMeansNoReplacement(t *testing.T) {
	s := dnssec.State{}
	for _, split := range []bool{false, true} {
		f := at(0, split)
		f.KeyLifetime, f.ZoneKeyLifetime = 0, 0
		s = dnssec.Next(dnssec.State{}, f)
		for tag := uint16(1); int(tag) <= len(s.Keys); tag++ {
			s = dnssec.Made(s, tag, f.Now)
		}
		f.Now = f.Now.Add(50 * 365 * day)
		if d := cmp.Diff(s, dnssec.Next(s, f)); d != "" {
			t.Errorf("split=%t: (-before +after):\n%s", split, d)
		}
	}
}

// Whatever the clock and the parent do, keys that caches may need are there.
func TestKeysInUseAreNeverLost(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		split := rapid.Bool().Draw(t, "split")
		var s dnssec.State
		tag, now := uint16(0), time.Duration(0)
		for range rapid.IntRange(1, 200).Draw(t, "steps") {
			now += time.Duration(rapid.Int64Range(-int64(day), int64(8*day)).Draw(t, "dt"))
			var parent []uint16
			for _, k := range s.Keys {
				if rapid.Bool().Draw(t, "named") {
					parent = append(parent, k.Tag)
				}
			}
			before := s
			s = dnssec.Next(s, at(now, split, parent...))
			for slices.ContainsFunc(s.Keys, func(k dnssec.Key) bool { return k.Phase == dnssec.Wanted }) {
				tag++
				s = dnssec.Made(s, tag, day0.Add(now))
			}
			active := map[dnssec.Role]int{}
			for _, k := range s.Keys {
				if k.Phase == dnssec.Active {
					active[k.Role]++
				}
			}
			if split && (active[dnssec.KSK] != 1 || active[dnssec.ZSK] != 1 || len(s.Keys) > 4) ||
				!split && (active[dnssec.CSK] != 1 || len(s.Keys) > 2) {
				t.Fatalf("keys: %v", s.Keys)
			}
			for _, k := range before.Keys { // only a key that was retired long enough goes
				gone := !slices.ContainsFunc(s.Keys, func(o dnssec.Key) bool { return o.Tag == k.Tag })
				if gone && (k.Phase != dnssec.Retired || day0.Add(now).Sub(k.Since) < 3*time.Hour) {
					t.Fatalf("%v went at %v", k, now)
				}
			}
		}
	})
}
