package edge

import (
	"net/http"
	"time"

	"pointsman/edge/freshness"
	"pointsman/edge/storage"
)

// candidate is what the cache has for a request, and what was decided on it.
type candidate struct {
	storage.Found
	meta     freshness.Meta
	decision freshness.Decision
	// newest is the key's newest object, whether it matches or not; nil if there is none.
	newest *storage.Object
}

// lookup finds the object that may answer a request, and decides on it.
func (s *Server) lookup(x *exchange) candidate {
	h := x.request.Header
	authorized := len(h["Authorization"]) > 0
	var c candidate
	c.Found, c.newest = s.cache.Get(x.key, func(o *storage.Object) bool {
		return o.Variant == freshness.VaryKey(o.VaryNames, h) &&
			(!authorized || metaOf(o).AuthOK)
	})
	if c.Object != nil {
		c.meta = metaOf(c.Object)
		c.decision = freshness.Decide(c.meta, s.now(), c.SoftPurged)
	}
	return c
}

func metaOf(o *storage.Object) freshness.Meta { return o.Meta.(freshness.Meta) }

// get answers a GET: from the cache, or by a fetch.
func (s *Server) get(x *exchange) {
	c := s.lookup(x)
	switch {
	case c.Object == nil || c.decision.Action == freshness.Validate:
		s.miss(x, c, c.varyNames())
	case c.decision.Action == freshness.ServeStale:
		s.flights.spawn(s.flightKey(x, c.varyNames()), s.newFlight(x, c))
		s.hit(x, c, resultStale)
	default:
		s.hit(x, c, resultHit)
	}
}

// head answers a HEAD: from a stored GET, or by the origin.
func (s *Server) head(x *exchange) {
	c := s.lookup(x)
	switch {
	case c.Object == nil || c.decision.Action == freshness.Validate:
		x.status.forward = c.forward()
		s.pass(x, c)
	case c.decision.Action == freshness.ServeStale:
		s.flights.spawn(s.flightKey(x, c.varyNames()), s.newFlight(x, c))
		s.hit(x, c, resultStale)
	default:
		s.hit(x, c, resultHit)
	}
}

// varyNames are the fields that, as far as is known, select among a key's objects.
func (c candidate) varyNames() []string {
	if c.newest == nil {
		return nil
	}
	return c.newest.VaryNames
}

// forward says, in the words of RFC 9211 §2.2, why a request must go to the origin.
func (c candidate) forward() string {
	switch {
	case c.Object != nil:
		return "stale"
	case c.newest != nil:
		return "vary-miss"
	}
	return "uri-miss"
}

// hit answers from a stored object.
func (s *Server) hit(x *exchange, c candidate, r result) {
	x.result = r
	x.status.hit = true
	x.status.ttl(c.decision.TTL)
	s.sendObject(x, c.Object, c.decision.Age)
}

// stale answers from a stored object, after the origin failed, if that is allowed.
func (s *Server) stale(x *exchange, c candidate, f freshness.Failure) bool {
	if c.Object == nil || !c.decision.UsableOn(f, c.meta) {
		return false
	}
	// A purge may have come since the look-up: what it removed must not come back.
	if now := s.lookup(x); now.Object != c.Object {
		return false
	}
	x.status.forward = "" // RFC 9211 has hit and fwd exclude each other
	x.status.forwardStatus = 0
	x.status.detail = "origin-failed"
	s.hit(x, c, resultStale)
	return true
}

// flightKey is what a request must share with others to wait for one fetch.
func (s *Server) flightKey(x *exchange, varyNames []string) flightKey {
	k := flightKey{key: x.key, variant: freshness.VaryKey(varyNames, x.request.Header)}
	if len(x.request.Header["Authorization"]) > 0 {
		k.variant += "\x01" // what comes may be for those with credentials alone
	}
	return k
}

// miss answers a GET by a fetch, which it may share with others.
func (s *Server) miss(x *exchange, c candidate, varyNames []string) {
	x.status.forward = c.forward()
	asked := freshness.ParseControl(x.request.Header["Cache-Control"])
	switch {
	case asked.OnlyIfCached:
		s.unsatisfiable(x)
		return
	case asked.NoStore, !s.flights.collapsible(x.key, personal(x.request.Header), s.now()):
		s.pass(x, c)
		return
	}
	var late candidate
	f, leader := s.flights.join(s.flightKey(x, varyNames), s.newFlight(x, c), func() bool {
		late = s.lookup(x)
		return late.Object != nil && late.decision.Action == freshness.Serve
	})
	switch {
	case f != nil:
		s.follow(x, c, f, leader)
	case late.Object != nil && late.decision.Action == freshness.Serve:
		s.hit(x, late, resultHit)
	default:
		s.pass(x, c)
	}
}

// unsatisfiable answers only-if-cached with nothing usable in the cache (RFC 9111 §5.2.1.7).
func (s *Server) unsatisfiable(x *exchange) {
	x.result = resultMiss
	x.status.forward = ""
	x.status.detail = "only-if-cached"
	x.writer.Header().Set("Cache-Status", x.status.member(s.config.Node))
	s.say(x, http.StatusGatewayTimeout, "not in the cache")
}

// maxRetries bounds how often a request changes flights when Vary shows that it waited for
// what was meant for others.
const maxRetries = 3

// follow waits for a flight and answers with what it brings.
func (s *Server) follow(x *exchange, c candidate, f *flight, leader bool) {
	var place *reader
	left := false
	leave := func() {
		if !left {
			left = true
			f.alight(place)
		}
	}
	defer leave()
	x.status.collapsed = !leader
	p, err := f.await(x.request.Context(), func(h hint) {
		if leader {
			x.hint(h)
		}
	})
	switch {
	case p == asking:
		x.result = resultGone
	case p == failed:
		leave()
		s.flightFailed(x, c, err)
	case p == handed && leader:
		s.relay(x, f)
	case p == handed:
		leave()
		x.status.collapsed = false
		s.pass(x, c)
	case !leader && f.reason == "" && !f.meta.Reusable():
		// The origin wants to be asked for each use, and may answer each client otherwise.
		leave()
		x.status.collapsed = false
		s.pass(x, c)
	case !leader && !f.suits(x.request.Header):
		leave()
		x.status.collapsed = false
		if x.retries++; x.retries > maxRetries {
			s.pass(x, c)
			return
		}
		s.miss(x, c, f.vary)
	default:
		place = f.reader()
		s.sendFlight(x, f, place)
	}
}

// suits says whether what the flight brings may answer another request than its leader's.
func (f *flight) suits(h http.Header) bool {
	return f.variant == freshness.VaryKey(f.vary, h)
}

// flightFailed answers when a flight brought nothing.
func (s *Server) flightFailed(x *exchange, c candidate, err error) {
	failure := freshness.Unreachable
	if asOriginError(err) {
		failure = freshness.Errored
	}
	switch {
	case s.stale(x, c, failure):
	case failure == freshness.Errored:
		// The leader had something to fall back on and this request has not.
		x.status.collapsed = false
		s.pass(x, candidate{})
	default:
		s.unavailable(x, err)
	}
}

// age is the current age of what a flight brought.
func (f *flight) age(now time.Time) time.Duration {
	return freshness.Decide(f.meta, now, time.Time{}).Age
}
