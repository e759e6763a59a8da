package storetest

import (
	"bytes"
	"fmt"
	"math"
	"strings"
	"testing"
	"time"

	"pointsman/internal/store"
)

var logTests = map[string]func(*testing.T, store.Store){
	"a log never written is empty": func(t *testing.T, s store.Store) {
		wantValues(t, s, "log", 0, 10)
		wantError(t, "Trim", s.Trim(t.Context(), "log", 7), nil)
	},
	"a log is read in the order it was written": func(t *testing.T, s store.Store) {
		var sequences []uint64
		for _, v := range []string{"a", "", "c\x00\xff\n", "d"} {
			sequences = append(sequences, mustAppend(t, s, "log", v))
		}
		mustAppend(t, s, "log/other", "x")
		for i := 1; i < len(sequences); i++ {
			if sequences[i] <= sequences[i-1] {
				t.Fatalf("sequences %v do not rise", sequences)
			}
		}
		wantValues(t, s, "log", 0, 10, "a", "", "c\x00\xff\n", "d")
		wantValues(t, s, "log", 0, 2, "a", "")
		wantValues(t, s, "log", sequences[1], 10, "c\x00\xff\n", "d")
		wantValues(t, s, "log", sequences[3], 10)
		wantValues(t, s, "log", math.MaxUint64, 10)
		wantValues(t, s, "log", 0, 0)
		wantValues(t, s, "log", 0, -1)
		records, err := s.Read(t.Context(), "log", sequences[0], 1)
		if err != nil || len(records) != 1 || records[0].Sequence != sequences[1] {
			t.Errorf("Read = %v, %v; want sequence %d", records, err, sequences[1])
		}
	},
	"trimming removes through a sequence and no further": func(t *testing.T, s store.Store) {
		var sequences []uint64
		for i := range 5 {
			sequences = append(sequences, mustAppend(t, s, "log", fmt.Sprint(i)))
		}
		wantError(t, "Trim", s.Trim(t.Context(), "log", sequences[1]), nil)
		wantValues(t, s, "log", 0, 10, "2", "3", "4")
		wantError(t, "Trim", s.Trim(t.Context(), "log", sequences[0]), nil)
		wantValues(t, s, "log", 0, 10, "2", "3", "4")
		wantError(t, "Trim", s.Trim(t.Context(), "log", math.MaxUint64), nil)
		wantValues(t, s, "log", 0, 10)
		if next := mustAppend(t, s, "log", "5"); next <= sequences[4] {
			t.Errorf("sequence %d after %d: a reader's cursor would skip it", next, sequences[4])
		}
		wantValues(t, s, "log", sequences[4], 10, "5")
	},
	"a long log is read whole": func(t *testing.T, s store.Store) {
		const writers, each = 8, 60
		value := bytes.Repeat([]byte("v"), 2<<10)
		together(t, writers, func(int) error {
			for range each {
				if _, err := s.Append(t.Context(), "log", value); err != nil {
					return err
				}
			}
			return nil
		})
		records, err := s.Read(t.Context(), "log", 0, 10*writers*each)
		if err != nil || len(records) != writers*each {
			t.Fatalf("read %d records, %v; want %d", len(records), err, writers*each)
		}
	},
	"a record may be a megabyte": func(t *testing.T, s store.Store) {
		big := strings.Repeat("\xffv", store.MaxValueBytes/2)
		mustAppend(t, s, "log", big)
		records, err := s.Read(t.Context(), "log", 0, 1)
		if err != nil || len(records) != 1 || string(records[0].Value) != big {
			t.Errorf("Read = %d records, %v", len(records), err)
		}
	},
	"a reader following a log misses and repeats nothing": followLog,
}

// followLog reads by cursor while others append: a record that became visible below the
// cursor would be lost to every reader.
func followLog(t *testing.T, s store.Store) {
	const writers, each = 4, 25
	seen := map[string]int{}
	together(t, writers+1, func(i int) error {
		if i < writers {
			for j := range each {
				if _, err := s.Append(t.Context(), "log", fmt.Appendf(nil, "%d/%d", i, j)); err != nil {
					return err
				}
			}
			return nil
		}
		deadline := time.Now().Add(patience)
		for cursor := uint64(0); len(seen) < writers*each; {
			records, err := s.Read(t.Context(), "log", cursor, 7)
			if err != nil {
				return err
			}
			for _, r := range records {
				seen[string(r.Value)]++
				cursor = r.Sequence
			}
			if time.Now().After(deadline) {
				return fmt.Errorf("saw %d records of %d", len(seen), writers*each)
			}
		}
		return nil
	})
	for value, n := range seen {
		if n != 1 {
			t.Errorf("record %s seen %d times", value, n)
		}
	}
}
