package freshness

import (
	"net/http"

	"github.com/dunglas/httpsfv"
)

// ResponseControl gives the directives that govern a response in a CDN's cache: those of
// CDN-Cache-Control when it is a valid, non-empty structured dictionary, else those of
// Cache-Control (RFC 9213 §2.2). In the first case targeted is true, and Cache-Control and
// Expires are not to be looked at.
func ResponseControl(h http.Header) (c Control, targeted bool) {
	if lines := h["Cdn-Cache-Control"]; len(lines) > 0 {
		if c, ok := parseTargeted(lines); ok {
			return c, true
		}
	}
	return ParseControl(h["Cache-Control"]), false
}

// parseTargeted reads a targeted field. A field that is not a dictionary is ignored whole, a
// member of the wrong type on its own (RFC 9213 §2.1).
func parseTargeted(lines []string) (Control, bool) {
	dict, err := httpsfv.UnmarshalDictionary(lines)
	if err != nil || len(dict.Names()) == 0 {
		return Control{}, false
	}
	var c Control
	for _, name := range dict.Names() {
		member, _ := dict.Get(name)
		item, ok := member.(httpsfv.Item)
		if !ok {
			continue
		}
		switch v := item.Value.(type) {
		case bool:
			if v {
				c.applyFlag(name)
			}
		case int64:
			if v >= 0 {
				c.applySeconds(name, v)
			}
		case string:
			if name == "no-cache" || name == "private" {
				c.apply(name, v, true)
			}
		}
	}
	return c, true
}

// applyFlag notes a directive without argument; those that need seconds are left out.
func (c *Control) applyFlag(name string) {
	switch name {
	case "max-age", "s-maxage", "stale-while-revalidate", "stale-if-error":
	default:
		c.apply(name, "", false)
	}
}

// applySeconds notes an integer directive.
func (c *Control) applySeconds(name string, n int64) {
	n = min(n, maxDelta)
	switch name {
	case "max-age":
		c.MaxAge.take(n)
	case "s-maxage":
		c.SMaxAge.take(n)
	case "stale-while-revalidate":
		c.StaleWhileRevalidate.take(n)
	case "stale-if-error":
		c.StaleIfError.take(n)
	}
}
