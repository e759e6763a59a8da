package edge

import (
	"math"
	"strconv"
	"strings"
	"time"
)

// result is how a request was answered, as metrics tell it.
type result string

const (
	resultHit         result = "hit"         // from the cache, fresh
	resultStale       result = "stale"       // from the cache, stale
	resultRevalidated result = "revalidated" // from the cache, after a 304 of the origin
	resultMiss        result = "miss"        // by a fetch of the whole
	resultPass        result = "pass"        // forwarded as it was
	resultError       result = "error"       // refused, or the origin failed
	resultGone        result = "gone"        // the client left before an answer
	resultHealth      result = "health"      // the edge's own health
)

// cacheStatus is this node's member of Cache-Status (RFC 9211).
type cacheStatus struct {
	hit           bool
	forward       string // fwd; empty: none
	forwardStatus int    // fwd-status; 0: none
	stored        bool
	collapsed     bool
	detail        string
	seconds       int64 // ttl
	hasTTL        bool
}

// ttl notes the freshness left, in whole seconds rounded down, negative when stale.
func (c *cacheStatus) ttl(d time.Duration) {
	c.seconds, c.hasTTL = int64(math.Floor(d.Seconds())), true
}

// member writes it. The node's name was checked to be made of token characters; one that does
// not begin like a token is quoted.
func (c *cacheStatus) member(node string) string {
	var b strings.Builder
	if first := node[0] | 0x20; first >= 'a' && first <= 'z' {
		b.WriteString(node)
	} else {
		b.WriteString(strconv.Quote(node))
	}
	if c.hit {
		b.WriteString("; hit")
	}
	if c.forward != "" {
		b.WriteString("; fwd=" + c.forward)
	}
	if c.forwardStatus != 0 {
		b.WriteString("; fwd-status=" + strconv.Itoa(c.forwardStatus))
	}
	if c.hasTTL {
		b.WriteString("; ttl=" + strconv.FormatInt(c.seconds, 10))
	}
	if c.stored {
		b.WriteString("; stored")
	}
	if c.collapsed {
		b.WriteString("; collapsed")
	}
	if c.detail != "" {
		b.WriteString("; detail=" + strconv.Quote(c.detail))
	}
	return b.String()
}
