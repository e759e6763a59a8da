package freshness

import (
	"strings"
	"time"
)

// maxDelta is where delta-seconds saturate (RFC 9111 §1.2.2).
const maxDelta = int64(1) << 31

// Delta is an optional number of seconds, as a directive's argument.
type Delta struct {
	// Seconds is 0 to 2^31; greater values saturate there. An argument that is not a plain
	// decimal integer counts as 0: RFC 9111 §4.2.1 asks to treat such responses as stale.
	Seconds int64
	// Set says that the directive was there. The zero Delta is an absent directive.
	Set bool
}

// Duration is the delta as a duration, 0 when absent.
func (d Delta) Duration() time.Duration { return time.Duration(d.Seconds) * time.Second }

// take records another occurrence: of several, the smallest counts, which is the cautious one
// of the two readings that RFC 9111 §4.2.1 allows.
func (d *Delta) take(seconds int64) {
	if !d.Set || seconds < d.Seconds {
		*d = Delta{Seconds: seconds, Set: true}
	}
}

// Control holds the cache directives of one message (RFC 9111 §5.2, RFC 5861, RFC 8246). The
// zero value is a message without any.
type Control struct {
	NoStore         bool
	NoCache         bool // the unqualified form: validate before every use
	Private         bool // the unqualified form
	Public          bool
	MustRevalidate  bool
	ProxyRevalidate bool
	MustUnderstand  bool
	OnlyIfCached    bool

	// NoCacheFields and PrivateFields are the field names, lower case, of the qualified forms:
	// those fields may not be stored, the rest may.
	NoCacheFields []string
	PrivateFields []string

	MaxAge               Delta
	SMaxAge              Delta
	StaleWhileRevalidate Delta
	StaleIfError         Delta
}

// ParseControl reads the lines of a Cache-Control field. It never refuses: an unknown or broken
// directive is skipped, and whatever follows it still counts, so that no mistake of a sender
// can hide a later no-store. A quoted argument without its closing quote ends at the comma.
func ParseControl(lines []string) Control {
	var c Control
	for _, line := range lines {
		for line != "" {
			var name, arg string
			var hasArg bool
			name, arg, hasArg, line = nextDirective(line)
			c.apply(name, arg, hasArg)
		}
	}
	return c
}

// nextDirective cuts the first directive off a field line.
func nextDirective(s string) (name, arg string, hasArg bool, rest string) {
	s = strings.TrimLeft(s, " \t,")
	end := strings.IndexAny(s, "=,")
	if end < 0 {
		return trimOWS(s), "", false, ""
	}
	name = trimOWS(s[:end])
	if s[end] == ',' {
		return name, "", false, s[end+1:]
	}
	s = s[end+1:]
	if value, after, ok := quoted(s); ok {
		_, rest, _ = strings.Cut(after, ",")
		return name, value, true, rest
	}
	arg, rest, _ = strings.Cut(s, ",")
	return name, trimOWS(arg), true, rest
}

// quoted reads a quoted-string at the start of s (RFC 9110 §5.6.4).
func quoted(s string) (value, rest string, ok bool) {
	if s == "" || s[0] != '"' {
		return "", s, false
	}
	var b strings.Builder
	for i := 1; i < len(s); i++ {
		switch {
		case s[i] == '"':
			return b.String(), s[i+1:], true
		case s[i] == '\\' && i+1 < len(s):
			i++
			b.WriteByte(s[i])
		default:
			b.WriteByte(s[i])
		}
	}
	return "", s, false
}

// apply notes one directive.
func (c *Control) apply(name, arg string, hasArg bool) {
	switch strings.ToLower(name) {
	case "no-store":
		c.NoStore = true
	case "no-cache":
		c.NoCacheFields = qualify(&c.NoCache, c.NoCacheFields, arg)
	case "private":
		c.PrivateFields = qualify(&c.Private, c.PrivateFields, arg)
	case "public":
		c.Public = true
	case "must-revalidate":
		c.MustRevalidate = true
	case "proxy-revalidate":
		c.ProxyRevalidate = true
	case "must-understand":
		c.MustUnderstand = true
	case "only-if-cached":
		c.OnlyIfCached = true
	default:
		c.applyDelta(strings.ToLower(name), arg, hasArg)
	}
}

// applyDelta notes a directive with seconds. One of ours without a readable number is taken as
// 0, which makes the response stale rather than fresh for a time nobody meant.
func (c *Control) applyDelta(name, arg string, hasArg bool) {
	var d *Delta
	switch name {
	case "max-age":
		d = &c.MaxAge
	case "s-maxage":
		d = &c.SMaxAge
	case "stale-while-revalidate":
		d = &c.StaleWhileRevalidate
	case "stale-if-error":
		d = &c.StaleIfError
	default:
		return
	}
	seconds, ok := parseDelta(arg)
	if !ok || !hasArg {
		seconds = 0
	}
	d.take(seconds)
}

// qualify notes a directive that may name fields: without any it holds for the whole message.
func qualify(whole *bool, fields []string, arg string) []string {
	named := false
	for name := range strings.SplitSeq(arg, ",") {
		if name = strings.ToLower(trimOWS(name)); name != "" {
			fields, named = append(fields, name), true
		}
	}
	*whole = *whole || !named
	return fields
}

// parseDelta reads delta-seconds: digits only, saturating.
func parseDelta(s string) (int64, bool) {
	if s == "" {
		return 0, false
	}
	var n int64
	for i := range len(s) {
		if s[i] < '0' || s[i] > '9' {
			return 0, false
		}
		if n = n*10 + int64(s[i]-'0'); n > maxDelta {
			n = maxDelta
		}
	}
	return n, true
}

func trimOWS(s string) string { return strings.Trim(s, " \t") }
