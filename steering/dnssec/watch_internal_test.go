package dnssec

import (
	"bytes"
	"context"
	"log/slog"
	"strings"
	"testing"
	"time"
)

func TestTheLogWarnsDailyThenHourlyOfSignaturesThatEnd(t *testing.T) {
	now := time.Date(2026, 3, 1, 0, 0, 0, 0, time.UTC)
	clock := func() time.Time { return now }
	signer, err := New(Config{Zone: "example.test.", Folder: t.TempDir(), Publishes: true, Now: clock})
	if err != nil {
		t.Fatal(err)
	}
	z := smallZone(t)
	if _, err := signer.Sign(context.Background(), z); err != nil {
		t.Fatal(err)
	}
	p, ok, err := signer.Publication()
	if err != nil || !ok {
		t.Fatal(err)
	}
	var log bytes.Buffer
	f := NewFollower(FollowerConfig{Zone: "example.test.", Refresh: 5 * 24 * time.Hour, Now: clock,
		Logger: slog.New(slog.NewTextHandler(&log, nil))})
	if err := f.Take(context.Background(), p, false); err != nil {
		t.Fatal(err)
	}
	signed, err := f.Sign(context.Background(), z)
	if err != nil {
		t.Fatal(err)
	}
	// until lets time pass, and returns how often each level was heard.
	until := func(left time.Duration) [2]int {
		log.Reset()
		for ; signed.Expires().Sub(now) > left; now = now.Add(time.Minute) {
			if _, err := f.Advance(context.Background()); err != nil {
				t.Fatal(err)
			}
		}
		return [2]int{strings.Count(log.String(), "level=WARN"), strings.Count(log.String(), "level=ERROR")}
	}
	const day = 24 * time.Hour
	for _, stage := range []struct {
		left time.Duration
		want [2]int
	}{{4 * day, [2]int{}}, {2 * day, [2]int{2, 0}}, {day, [2]int{0, 24}}, {0, [2]int{0, 24}}} {
		if got := until(stage.left); got != stage.want {
			t.Errorf("until %v before the end: %v warnings and errors, want %v", stage.left, got, stage.want)
		}
	}
	// Signatures that have ended are served on: there are no better ones.
	if _, err := f.Sign(context.Background(), z); err != nil {
		t.Error(err)
	}
}
