package freshness

import (
	"strings"
	"time"
)

// The three forms of an HTTP date (RFC 9110 §5.6.7).
const (
	imfFixdate = "Mon, 02 Jan 2006 15:04:05 GMT"
	rfc850     = "Monday, 02-Jan-06 15:04:05 GMT"
	asctime    = "Mon Jan _2 15:04:05 2006"
)

// ParseDate reads an HTTP date in one of the three forms of RFC 9110 §5.6.7, strictly: a
// missing leading zero, a doubled space or another zone make it invalid, since a date that was
// misread would keep a response for a time nobody meant. Letters may have any case, and the name
// of the day is not compared with the date.
// A two-digit year more than 50 years after near is of the century before.
func ParseDate(s string, near time.Time) (time.Time, bool) {
	if n := len(s) - len("GMT"); n > 0 && strings.EqualFold(s[n:], "GMT") {
		s = s[:n] + "GMT"
	}
	for _, layout := range []string{imfFixdate, rfc850, asctime} {
		t, err := time.Parse(layout, s)
		// time.Parse is lenient (one-digit hours, extra spaces); writing it back is not.
		if err != nil || !strings.EqualFold(t.Format(layout), s) && !wrongWeekday(t, layout, s) {
			continue
		}
		if layout == rfc850 {
			t = century(t, near)
		}
		return t.UTC(), true
	}
	return time.Time{}, false
}

// wrongWeekday says that s is t but for the name of the day, which carries no information.
func wrongWeekday(t time.Time, layout, s string) bool {
	sep := ","
	if layout == asctime {
		sep = " "
	}
	_, want, _ := strings.Cut(t.Format(layout), sep)
	_, got, ok := strings.Cut(s, sep)
	return ok && strings.EqualFold(got, want)
}

// century moves a two-digit year to the century that RFC 9110 §5.6.7 asks for.
func century(t, near time.Time) time.Time {
	base := near.UTC().Year() / 100 * 100
	year := base + t.Year()%100
	if year > near.UTC().Year()+50 {
		year -= 100
	}
	return time.Date(year, t.Month(), t.Day(), t.Hour(), t.Minute(), t.Second(), 0, time.UTC)
}
