package freshness

import (
	"net/http"
	"strings"
	"time"
)

// NotModified says whether a conditional GET or HEAD is answered with 304, given the header of
// the 200 response that would be sent otherwise (RFC 9111 §4.3.2): by If-None-Match with the
// weak comparison, and only without it by If-Modified-Since. now helps to read dates.
func NotModified(q http.Header, p http.Header, now time.Time) bool {
	if lines := q["If-None-Match"]; len(lines) > 0 {
		return anyMatches(lines, p.Get("ETag"))
	}
	since, ok := ParseDate(q.Get("If-Modified-Since"), now)
	if !ok {
		return false
	}
	modified, ok := ParseDate(p.Get("Last-Modified"), now)
	return ok && !modified.After(since)
}

// RangeHolds says whether a Range may be applied: there is no If-Range, or it names the stored
// response by a strong validator (RFC 9110 §13.1.5).
func RangeHolds(q, p http.Header) bool {
	cond := q.Get("If-Range")
	switch {
	case cond == "":
		return true
	case strings.HasPrefix(cond, `"`):
		return cond == p.Get("ETag")
	case strings.HasPrefix(cond, "W/"):
		return false
	}
	return cond == p.Get("Last-Modified")
}

// anyMatches compares a list of entity tags with one, weakly (RFC 9110 §8.8.3.2).
func anyMatches(lines []string, etag string) bool {
	opaque := strings.TrimPrefix(etag, "W/")
	for _, line := range lines {
		if trimOWS(line) == "*" {
			return true
		}
		for line != "" && opaque != "" {
			var tag string
			if tag, line = nextTag(line); tag == opaque {
				return true
			}
		}
	}
	return false
}

// nextTag cuts the first entity tag, without its weakness, off a list. Commas may stand inside
// the quotes. A tag without quotes is taken up to its comma: such senders exist.
func nextTag(s string) (tag, rest string) {
	s = strings.TrimPrefix(strings.TrimLeft(s, " \t,"), "W/")
	if strings.HasPrefix(s, `"`) {
		if end := strings.IndexByte(s[1:], '"'); end >= 0 {
			return s[:end+2], s[end+2:]
		}
	}
	tag, rest, _ = strings.Cut(s, ",")
	return trimOWS(tag), rest
}

// Update gives the header of a stored response after a 304 (RFC 9111 §3.2): each field of the
// 304 replaces the stored one, but for those that describe the body, which stays as it is.
func Update(stored, fresh http.Header) http.Header {
	h := stored.Clone()
	h.Del("Age") // an Age that the 304 does not repeat belongs to the response it replaces
	for name, lines := range fresh {
		switch name {
		case "Content-Length", "Content-Encoding", "Content-Type", "Content-Range",
			"Transfer-Encoding", "Connection", "Trailer", "Upgrade":
		default:
			h[name] = lines
		}
	}
	return h
}
