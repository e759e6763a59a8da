package audit_test

import (
	"bytes"
	"fmt"
	"strings"
	"testing"

	"pointsman/internal/audit"
	"pointsman/internal/store"
)

func TestTamperingIsFound(t *testing.T) {
	const n = 100 // past a checkpoint
	original := newStore(t)
	l := audit.New(audit.Config{Local: original})
	for i := range n {
		record(t, l, fmt.Sprintf("act-%d-", i))
	}
	records, err := original.Read(t.Context(), nodeLog, 0, 2*n)
	if err != nil || len(records) != n {
		t.Fatalf("%d records, %v", len(records), err)
	}
	checkpoint, err := original.Get(t.Context(), "audit/checkpoint/local")
	if err != nil {
		t.Fatal(err)
	}
	change := func(at int, old, replacement string) func([][]byte) [][]byte {
		return func(r [][]byte) [][]byte {
			r[at] = bytes.Replace(r[at], []byte(old), []byte(replacement), 1)
			return r
		}
	}
	for name, c := range map[string]struct {
		tamper func([][]byte) [][]byte
		want   string
	}{
		"nothing":      {func(r [][]byte) [][]byte { return r }, ""},
		"a word":       {change(40, "act-40-", "act-41-"), "entry 42 is not chained"},
		"the last":     {change(n-1, "ops", "spo"), ""}, // known to the writer alone, see below
		"checkpointed": {change(63, "ops", "spo"), "is not the one that was written"},
		"removed": {func(r [][]byte) [][]byte { return append(r[:7:7], r[8:]...) },
			"entry 9 follows entry 7"},
		"removed first": {func(r [][]byte) [][]byte { return r[1:] }, "entry 2 follows entry 0"},
		"swapped": {func(r [][]byte) [][]byte { r[7], r[8] = r[8], r[7]; return r },
			"entry 9 follows entry 7"},
		"repeated": {func(r [][]byte) [][]byte { return append(r[:8:8], r[7:]...) },
			"entry 8 follows entry 8"},
		"cut":      {func(r [][]byte) [][]byte { return r[:20] }, "the log ends with entry 20"},
		"emptied":  {func(r [][]byte) [][]byte { return nil }, "the log ends with entry 0"},
		"garbage":  {func(r [][]byte) [][]byte { r[9] = []byte("{}\n"); return r }, "without id"},
		"half":     {func(r [][]byte) [][]byte { r[9] = r[9][:30]; return r }, "without its end"},
		"nothings": {func(r [][]byte) [][]byte { r[9] = nil; return r }, "an empty record"},
		"noise":    {func(r [][]byte) [][]byte { r[9] = []byte("\xff\n"); return r }, "decoding"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			values := make([][]byte, n)
			for i := range values {
				values[i] = bytes.Clone(records[i].Value)
			}
			s := copied(t, c.tamper(values), checkpoint.Value)
			err := audit.New(audit.Config{Local: s}).Verify(t.Context())
			if (err == nil) != (c.want == "") || err != nil && !strings.Contains(err.Error(), c.want) {
				t.Errorf("Verify = %v, want %q", err, c.want)
			}
		})
	}
}

// copied builds a store that holds these records as a node's log.
func copied(t *testing.T, values [][]byte, checkpoint []byte) store.Store {
	t.Helper()
	s := newStore(t)
	for _, v := range values {
		if _, err := s.Append(t.Context(), nodeLog, v); err != nil {
			t.Fatal(err)
		}
	}
	_, err := s.Put(t.Context(), "audit/checkpoint/local", checkpoint, store.PutOptions{})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestTheWriterKnowsItsOwnEnd(t *testing.T) {
	s := newStore(t)
	l := audit.New(audit.Config{Local: s})
	record(t, l, "a")
	record(t, l, "b")
	if err := s.Trim(t.Context(), nodeLog, 2); err != nil {
		t.Fatal(err)
	}
	if err := l.Verify(t.Context()); err == nil || !strings.Contains(err.Error(), "2 were written") {
		t.Errorf("Verify = %v", err)
	}
}

func TestTheChainGoesOnAfterARestart(t *testing.T) {
	s := newStore(t)
	for run := range 4 {
		l := audit.New(audit.Config{Local: s})
		for i := range 30 { // over a checkpoint
			record(t, l, fmt.Sprintf("%d-%d", run, i))
		}
		verify(t, l)
	}
	entries, err := audit.New(audit.Config{Local: s}).Recent(t.Context(), 1)
	if err != nil || len(entries) != 1 || entries[0].Number != 120 {
		t.Errorf("Recent = %+v, %v", entries, err)
	}
}
