package transfer

import "time"

// Bounds of the timers, whatever a SOA says.
const (
	minRefresh = 10 * time.Second
	maxRefresh = 24 * time.Hour
	minRetry   = 5 * time.Second
	maxRetry   = time.Hour
	// notifyGap is the least time from one look at the primaries to the next, however many NOTIFY
	// come.
	notifyGap = time.Second
)

// schedule is when a zone's primaries are asked. It is a value; its methods are pure.
type schedule struct {
	timers   Timers
	heard    time.Time // when a primary last said what the newest version is; zero: never
	asked    time.Time // when the last look ended
	failures int       // looks without an answer since
	refused  bool      // the last look brought a zone that can't be taken
	told     time.Time // when it was last said that there is no copy; zero: never
}

// answered notes that we have the newest version.
func (s schedule) answered(t Timers, now time.Time) schedule {
	return schedule{timers: t, heard: now, asked: now}
}

// failed notes a look without an answer, or with one that can't be taken.
func (s schedule) failed(refused bool, now time.Time) schedule {
	s.asked, s.refused = now, refused
	s.failures++
	return s
}

// next returns when to ask again; jitter, from 0 to 1, spreads servers that began together.
func (s schedule) next(jitter float64) time.Time {
	wait := bound(s.timers.Refresh, minRefresh, maxRefresh)
	switch {
	case s.asked.IsZero():
		return time.Time{} // at once
	case s.failures > 0 && !s.refused:
		wait = bound(s.timers.Retry, minRetry, maxRetry)
		// Without a copy nothing but steered names is answered: ask soon, then less often.
		if s.heard.IsZero() {
			wait = bound(minRetry<<min(s.failures-1, 6), minRetry, maxRetry)
		}
	case s.failures > 0: // the same zone would be refused again
		wait = min(wait, 10*time.Minute)
	}
	return s.asked.Add(wait - time.Duration(jitter*float64(wait)/10))
}

// stale reports whether the zone's copy is older than its SOA lets a secondary serve it.
func (s schedule) stale(now time.Time) bool {
	return s.heard.IsZero() || now.Sub(s.heard) > s.timers.Expire
}

func bound(d, least, most time.Duration) time.Duration { return min(max(d, least), most) }
