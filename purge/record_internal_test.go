package purge

import (
	"errors"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"pointsman/providers"
)

func someRecord() Record {
	now := time.Date(2026, 11, 23, 10, 0, 0, 123_000_000, time.UTC)
	return Record{
		ID: "01KARM8D4G0000000000000000", AcceptedAt: now, AcceptedBy: "a",
		Request: Request{Kind: providers.Tag, Items: []string{"x", "y"}},
		Deliveries: []Delivery{{Provider: "p", Form: Exact, Kind: providers.Tag, Deadline: now,
			Batches: []Part{{Cut: Cut{0, 2}, State: Sent, Step: 1, SentAt: now}}}},
	}
}

func TestARecordSurvivesItsEncoding(t *testing.T) {
	want := someRecord()
	raw, err := encode(want)
	if err != nil {
		t.Fatal(err)
	}
	got, err := decode(raw)
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(want, got); d != "" {
		t.Errorf("-want +got:\n%s", d)
	}
}

func TestNoPartOfARecordIsReadAsAWholeOne(t *testing.T) {
	raw, err := encode(someRecord())
	if err != nil {
		t.Fatal(err)
	}
	for n := range raw {
		if _, err := decode(raw[:n]); !errors.Is(err, errUnreadable) {
			t.Fatalf("the first %d of %d bytes: %v", n, len(raw), err)
		}
		altered := slices.Clone(raw)
		altered[n] ^= 0x20
		if _, err := decode(altered); !errors.Is(err, errUnreadable) {
			t.Fatalf("byte %d altered: %v", n, err)
		}
	}
	if _, err := decode(append(raw, '\n')); !errors.Is(err, errUnreadable) {
		t.Errorf("a byte too many: %v", err)
	}
}

func TestARecordWhoseBatchesPointOutsideItsItemsIsRefused(t *testing.T) {
	for _, c := range []Cut{{0, 3}, {-1, 1}, {2, 1}} {
		r := someRecord()
		r.Deliveries[0].Batches[0].Cut = c
		raw, err := encode(r)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := decode(raw); !errors.Is(err, errUnreadable) {
			t.Errorf("batch %v of 2 items: %v", c, err)
		}
	}
	r := someRecord()
	r.ID = "../../etc/passwd"
	raw, _ := encode(r)
	if _, err := decode(raw); !errors.Is(err, errUnreadable) {
		t.Errorf("id %q: %v", r.ID, err)
	}
}

func FuzzDecodeNeverPanics(f *testing.F) {
	raw, err := encode(someRecord())
	if err != nil {
		f.Fatal(err)
	}
	f.Add(raw)
	f.Add([]byte(magic))
	f.Add([]byte(magic + "00000000 {}"))
	f.Fuzz(func(t *testing.T, raw []byte) {
		r, err := decode(raw)
		if err != nil {
			return
		}
		_ = statusOf(r)
		for _, d := range r.Deliveries {
			for _, p := range d.Batches {
				_ = itemsFor(r.Request, d.Kind, p.Cut)
			}
		}
	})
}

func TestIDsRiseAlsoWhenTheClockGoesBack(t *testing.T) {
	g := &ids{rand: rand.New(rand.NewPCG(1, 2))}
	now := time.Date(2026, 11, 23, 10, 0, 0, 0, time.UTC)
	last := ""
	for i := range 1000 {
		id := g.next(now.Add(time.Duration(i%7-3) * time.Hour))
		if id <= last || !validID(id) {
			t.Fatalf("id %d is %s after %s", i, id, last)
		}
		last = id
	}
}

// The expected texts are ULID's own examples: its zero, its greatest, and a time from its
// specification (github.com/ulid/spec).
func TestIDsAreULIDs(t *testing.T) {
	if got := encodeID(0, 0, 0); got != strings.Repeat("0", 26) {
		t.Errorf("zero is %s", got)
	}
	const maxTime = 1<<48 - 1
	if got := encodeID(maxTime, 1<<16-1, 1<<64-1); got != "7"+strings.Repeat("Z", 25) {
		t.Errorf("the greatest is %s", got)
	}
	if got := encodeID(1469918176385, 0, 0); !strings.HasPrefix(got, "01ARYZ6S41") {
		t.Errorf("1469918176385 ms is %s", got)
	}
	at := time.UnixMilli(1469918176385)
	if got := bucket(at); got != "01ARYZ" {
		t.Errorf("bucket is %s", got)
	}
	if a, b := bucket(at), bucket(at.Add(bucketSpan)); b <= a {
		t.Errorf("the next bucket is %s after %s", b, a)
	}
}

func TestOnlyULIDsAreValidIDs(t *testing.T) {
	for id, want := range map[string]bool{
		"01ARYZ6S410000000000000000":  true,
		"01aryz6s410000000000000000":  false,
		"81ARYZ6S410000000000000000":  false,
		"01ARYZ6S41000000000000000I":  false,
		"01ARYZ6S41000000000000000/":  false,
		"01ARYZ6S4100000000000000000": false,
		"":                            false,
	} {
		if got := validID(id); got != want {
			t.Errorf("validID(%q) = %v", id, got)
		}
	}
}

func TestARepeatKeyTellsBatchesRoundsAndProvidersApart(t *testing.T) {
	seen := map[string]bool{}
	for _, id := range []string{"A", "B"} {
		for _, provider := range []string{"p", "p|0"} {
			for round := range 2 {
				for _, c := range []Cut{{0, 1}, {0, 11}, {1, 11}, {11, 12}} {
					d := Delivery{Provider: provider, Round: round}
					key := repeatKey(id, d, c)
					if seen[key] || key != repeatKey(id, d, c) {
						t.Errorf("key %s of %s %v %v", key, id, d, c)
					}
					seen[key] = true
				}
			}
		}
	}
}

func TestTheQueueGivesTheEarliestDueThenTheOldest(t *testing.T) {
	now := time.Date(2026, 11, 23, 10, 0, 0, 0, time.UTC)
	q := newQueue(func() time.Time { return now })
	q.push("c", now.Add(-time.Second))
	q.push("b", now)
	q.push("a", now)
	q.push("d", now.Add(time.Minute))
	q.push("b", now.Add(time.Hour)) // later than before: stays
	q.ensure("d", now)              // waits already: stays
	var got []string
	for {
		id, wait, ok := q.take()
		if !ok {
			if wait != time.Minute {
				t.Errorf("the next is due in %v", wait)
			}
			break
		}
		got = append(got, id)
	}
	if d := cmp.Diff([]string{"c", "a", "b"}, got); d != "" {
		t.Errorf("-want +got:\n%s", d)
	}
	// One that is worked at is handed out to nobody else, and what was pushed is not lost.
	q.push("a", now)
	if _, _, ok := q.take(); ok {
		t.Error("a purge was handed out twice")
	}
	q.done("a", now.Add(time.Hour), true)
	if id, _, ok := q.take(); !ok || id != "a" {
		t.Errorf("after done: %q %v", id, ok)
	}
	q.done("a", time.Time{}, false)
	if n := q.depth(); n != 3 { // b and c are out, d waits
		t.Errorf("depth %d", n)
	}
}
