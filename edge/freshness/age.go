package freshness

import (
	"net/http"
	"strings"
	"time"
)

// Age is the value of an Age field: its first list member, digits only, saturating at 2^31
// seconds. Anything else counts as absent (RFC 9111 §5.1).
func Age(h http.Header) (time.Duration, bool) {
	lines := h["Age"]
	if len(lines) == 0 {
		return 0, false
	}
	first, _, _ := strings.Cut(lines[0], ",")
	n, ok := parseDelta(trimOWS(first))
	return time.Duration(n) * time.Second, ok
}

// initialAge is corrected_initial_age of RFC 9111 §4.2.3.
func initialAge(p Response) time.Duration {
	age, _ := Age(p.Header)
	delay := max(0, p.Received.Sub(p.Requested))
	return max(apparentAge(p), age+delay)
}

// apparentAge is how far the origin's Date lies behind the time of receipt.
func apparentAge(p Response) time.Duration {
	date, ok := dateOf(p)
	if !ok {
		return 0
	}
	// A Date is cut to its second, so up to one second of this is not age.
	return max(0, p.Received.Sub(date)).Truncate(time.Second)
}

// dateOf is the response's Date.
func dateOf(p Response) (time.Time, bool) {
	return ParseDate(p.Header.Get("Date"), p.Received)
}
