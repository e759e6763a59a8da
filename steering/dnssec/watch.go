package dnssec

import (
	"context"
	"log/slog"
	"time"
)

// watch looks whether the first of a zone's signatures comes to its end, which it does when
// signing has stopped: each is replaced long before.
type watch struct {
	zone    string
	refresh time.Duration
	log     *slog.Logger
	metrics *Metrics
	expires time.Time // zero: nothing is signed yet
	said    time.Time // when the last warning was logged
}

// look takes the first end in.
func (w *watch) look(expires, now time.Time) {
	w.expires = expires
	w.metrics.expires(w.zone, expires)
	w.again(now)
}

// again warns each day when a fifth of the time for replacing signatures has gone by, and each
// hour when three fifths have: with the defaults, 4 and 2 days before the end.
func (w *watch) again(now time.Time) {
	left := w.expires.Sub(now)
	if w.expires.IsZero() || left >= w.refresh*4/5 {
		return
	}
	level, every := slog.LevelWarn, 24*time.Hour
	if left < w.refresh*2/5 {
		level, every = slog.LevelError, time.Hour
	}
	if now.Sub(w.said) < every {
		return
	}
	w.said = now
	w.log.Log(context.Background(), level, "signatures were not replaced in time",
		"expires", w.expires.UTC(), "left", left)
}
