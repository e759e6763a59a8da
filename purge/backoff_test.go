package purge_test

import (
	"testing"
	"time"

	"pgregory.net/rapid"

	"pointsman/purge"
)

func TestBackoffStaysWithinItsBounds(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		attempt := rapid.IntRange(-1, 1<<30).Draw(t, "attempt")
		hint := time.Duration(rapid.Int64Range(-1, int64(100*24*time.Hour)).Draw(t, "hint"))
		r := rapid.Float64Range(0, 0.999999).Draw(t, "r")
		got := purge.Backoff(attempt, hint, r)
		switch {
		case hint > 0 && (got < min(hint, time.Hour) || got > 75*time.Minute):
			t.Fatalf("hint %v gave %v", hint, got)
		case hint <= 0 && (got < 100*time.Millisecond || got > time.Minute):
			t.Fatalf("attempt %d gave %v", attempt, got)
		}
	})
}

func TestBackoffDoublesItsCeilingUpToAMinute(t *testing.T) {
	almost := 0.9999
	for i, want := range []time.Duration{500 * time.Millisecond, time.Second, 2 * time.Second,
		4 * time.Second, 8 * time.Second, 16 * time.Second, 32 * time.Second, time.Minute,
		time.Minute} {
		got := purge.Backoff(i+1, 0, almost)
		if got > want || got < want*99/100 {
			t.Errorf("attempt %d: at most %v, want about %v", i+1, got, want)
		}
	}
}
