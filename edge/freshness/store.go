package freshness

import (
	"net/http"
	"time"
)

// Request is what the decisions need of a request.
type Request struct {
	Method string
	Header http.Header
}

// Response is what the decisions need of a response.
type Response struct {
	Status int
	Header http.Header
	// Requested and Received are when the request was sent and the response's head came.
	Requested, Received time.Time
}

// Policy is what the site's operator wants where a response does not say.
type Policy struct {
	// DefaultTTL is the lifetime of a response whose status allows heuristics (RFC 9110 §15.1)
	// and that has neither explicit freshness nor a Last-Modified. Zero: none.
	DefaultTTL time.Duration
	// StaleWhileRevalidate and StaleIfError stand in for the directives of RFC 5861. Zero: none.
	StaleWhileRevalidate, StaleIfError time.Duration
	// StaleIfUnreachable is how long after expiry a response may be used when no connection to
	// the origin gives an answer (RFC 9111 §4.2.4 allows it to a disconnected cache).
	StaleIfUnreachable time.Duration
}

// Meta is all that later decisions need of a stored response; made once, when it is stored.
type Meta struct {
	Received   time.Time
	InitialAge time.Duration // corrected_initial_age, RFC 9111 §4.2.3
	Lifetime   time.Duration // freshness_lifetime, RFC 9111 §4.2.1
	Heuristic  bool          // the lifetime was not stated by the origin
	Validate   bool          // no-cache: validate before every use
	AuthOK     bool          // may answer requests with Authorization, RFC 9111 §3.5
	Validator  bool          // there is an ETag or Last-Modified to validate with

	// How long after expiry it may still be used: while it is fetched anew, when the origin
	// answers with an error, when the origin cannot be reached. All zero when stale use is
	// forbidden (must-revalidate, proxy-revalidate, no-cache).
	WhileRevalidate, IfError, IfUnreachable time.Duration
}

// heuristicCap bounds lifetimes that are guessed from Last-Modified. RFC 9111 §4.2.2 suggests
// the tenth; without a bound a page untouched for years would stay for months.
const heuristicCap = 24 * time.Hour

// Judge decides whether a shared cache may store the response to a request (RFC 9111 §3), and
// whether it would ever be of use. An empty reason means yes; else it is a short constant
// phrase. Meta is valid for what may be stored, of use or not, and zero for the rest.
func Judge(q Request, p Response, policy Policy) (m Meta, reason string) {
	c, targeted := ResponseControl(p.Header)
	if reason := forbidden(q, p, c); reason != "" {
		return Meta{}, reason
	}
	m = Meta{Received: p.Received, InitialAge: initialAge(p), Validate: c.NoCache}
	m.AuthOK = c.Public || c.MustRevalidate || c.SMaxAge.Set
	m.Validator = p.Header.Get("ETag") != "" || p.Header.Get("Last-Modified") != ""
	var stated bool
	m.Lifetime, stated = explicitLifetime(p, c, targeted)
	if !stated {
		if !heuristicStatus(p.Status) && !c.Public {
			return Meta{}, "status needs explicit freshness"
		}
		m.Heuristic = true
		m.Lifetime = heuristicLifetime(p, policy)
	}
	m.windows(c, policy)
	if !m.useful() {
		return m, "no freshness and no validator"
	}
	return m, ""
}

// forbidden gives the reason why a response must not be stored, if there is one.
func forbidden(q Request, p Response, c Control) string {
	noStore := c.NoStore
	if c.MustUnderstand {
		// RFC 9111 §5.2.2.3: no-store is for those who do not know the status.
		if !understood(p.Status) {
			return "must-understand"
		}
		noStore = false
	}
	switch {
	case q.Method != http.MethodGet:
		return "method"
	case p.Status < 200 || p.Status > 599:
		return "status not final"
	case p.Status == http.StatusPartialContent || p.Status == http.StatusNotModified:
		return "partial"
	case noStore:
		return "no-store"
	case c.Private:
		return "private"
	case ParseControl(q.Header["Cache-Control"]).NoStore:
		return "request no-store"
	case q.Header.Get("Authorization") != "" && !c.Public && !c.MustRevalidate && !c.SMaxAge.Set:
		return "authorization"
	}
	if _, any := VaryNames(p.Header); any {
		return "vary *"
	}
	return ""
}

// explicitLifetime is the lifetime that the origin stated (RFC 9111 §4.2.1).
func explicitLifetime(p Response, c Control, targeted bool) (time.Duration, bool) {
	switch {
	case c.SMaxAge.Set:
		return c.SMaxAge.Duration(), true
	case c.MaxAge.Set:
		return c.MaxAge.Duration(), true
	}
	expires := p.Header["Expires"]
	if targeted || len(expires) == 0 {
		return 0, false
	}
	at, ok := ParseDate(expires[0], p.Received)
	if !ok {
		return 0, true // RFC 9111 §5.3: an invalid date, above all "0", is in the past
	}
	date, ok := dateOf(p)
	if !ok {
		date = p.Received
	}
	return max(0, at.Sub(date)), true
}

// heuristicLifetime guesses a lifetime (RFC 9111 §4.2.2). A response that sets a cookie gets
// none: it is probably made for one client, and only an explicit lifetime says otherwise.
func heuristicLifetime(p Response, policy Policy) time.Duration {
	if len(p.Header["Set-Cookie"]) > 0 {
		return 0
	}
	modified, ok := ParseDate(p.Header.Get("Last-Modified"), p.Received)
	if !ok {
		return policy.DefaultTTL
	}
	date, ok := dateOf(p)
	if !ok {
		date = p.Received
	}
	return min(max(0, date.Sub(modified)/10), heuristicCap)
}

// windows notes how long the response may be used after its expiry. s-maxage forbids stale use
// that nobody asked for (RFC 9111 §5.2.2.10); where the origin itself adds a directive of RFC
// 5861 beside it, that is the explicit permission of §4.2.4.
func (m *Meta) windows(c Control, policy Policy) {
	if c.MustRevalidate || c.ProxyRevalidate || c.NoCache {
		return
	}
	if !c.SMaxAge.Set {
		m.WhileRevalidate = policy.StaleWhileRevalidate
		m.IfError = policy.StaleIfError
		m.IfUnreachable = max(policy.StaleIfUnreachable, policy.StaleIfError)
	}
	if c.StaleWhileRevalidate.Set {
		m.WhileRevalidate = c.StaleWhileRevalidate.Duration()
	}
	if c.StaleIfError.Set {
		m.IfError = c.StaleIfError.Duration()
		m.IfUnreachable = m.IfError
	}
}

// useful says whether a stored copy could ever answer anything.
func (m Meta) useful() bool {
	if m.Validate {
		return m.Validator
	}
	fresh := m.Lifetime - m.InitialAge
	return fresh > 0 || m.Validator || !m.Heuristic && fresh+max(m.WhileRevalidate, m.IfError) > 0
}

// Reusable says whether the response may answer another request than the one it was fetched for
// without asking the origin first: only that allows several waiting clients to share it (RFC
// 9111 §4). What has no lifetime at all may have been made for one client.
func (m Meta) Reusable() bool {
	return !m.Validate && (m.Lifetime > 0 || m.WhileRevalidate > 0)
}

// heuristicStatus says whether a status is cacheable by default (RFC 9110 §15.1). 206 is one of
// them and is missing, as partial responses are not stored.
func heuristicStatus(status int) bool {
	switch status {
	case 200, 203, 204, 300, 301, 308, 404, 405, 410, 414, 501:
		return true
	}
	return false
}

// understood says whether this cache knows what a status asks of caches: the final statuses of
// RFC 9110 §15 but for the partial ones, which it does not store.
func understood(status int) bool {
	switch status {
	case 206, 304:
		return false
	case 200, 201, 202, 203, 204, 205, 300, 301, 302, 303, 305, 307, 308,
		400, 401, 402, 403, 404, 405, 406, 407, 408, 409, 410, 411, 412, 413, 414, 415, 416,
		417, 421, 422, 426, 500, 501, 502, 503, 504, 505:
		return true
	}
	return false
}
