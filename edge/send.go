package edge

import (
	"context"
	"net/http"
	"strconv"
	"time"

	"pointsman/edge/freshness"
	"pointsman/edge/storage"
)

// source gives a body piece by piece.
type source interface {
	// next gives at most limit bytes that stay as they are until advance; none at the end.
	// caught tells that nothing more is there yet.
	next(ctx context.Context, limit int) (p []byte, caught bool, err error)
	advance(n int)
}

// answer is a response on its way to a client.
type answer struct {
	status int
	header http.Header // not changed
	size   int64       // of the body, -1 unknown
	source source
	aged   bool // age replaces the header's
	age    time.Duration
	whole  bool // it is a complete representation of which a range may be cut
}

// bytesSource is a body that is all there.
type bytesSource []byte

func (b *bytesSource) next(_ context.Context, limit int) ([]byte, bool, error) {
	return (*b)[:min(limit, len(*b))], false, nil
}

func (b *bytesSource) advance(n int) { *b = (*b)[n:] }

// sendObject answers with a stored object.
func (s *Server) sendObject(x *exchange, o *storage.Object, age time.Duration) {
	body := bytesSource(o.Body)
	s.send(x, &answer{
		status: o.Status, header: o.Header, size: int64(len(o.Body)), source: &body,
		aged: true, age: age, whole: true,
	})
}

// sendFlight answers with what a flight brings.
func (s *Server) sendFlight(x *exchange, f *flight, place *reader) {
	x.result = resultMiss
	if f.validated {
		x.result = resultRevalidated
	}
	if x.status.collapsed {
		s.metrics.collapsed(x.site.name)
	}
	x.status.forwardStatus = f.originStatus
	x.status.stored = f.reason == ""
	x.status.detail = f.reason
	a := &answer{status: f.status, header: f.header, size: f.size, source: place, whole: true}
	if x.status.collapsed {
		a.header = forOthers(f.header)
	}
	if f.reason == "" {
		now := s.now()
		x.status.ttl(f.meta.Lifetime - f.age(now))
		a.aged, a.age = x.status.collapsed || f.validated, f.age(now)
	}
	s.send(x, a)
}

// chunk is the most that is written to a client under one deadline.
const chunk = 256 << 10

// send writes an answer: 304 if the client has it already, the part it wants, or all of it.
func (s *Server) send(x *exchange, a *answer) {
	h := x.writer.Header()
	copyHeader(h, a.header)
	s.dress(x, h, a)
	if a.status == http.StatusOK && x.safe() &&
		freshness.NotModified(x.request.Header, a.header, s.now()) {
		s.notModified(x)
		return
	}
	status, part := s.part(x, a, h)
	size := part.to
	if size >= 0 {
		size -= part.from
	}
	if x.request.Method != http.MethodHead && (size == 0 || !bodiless(status)) {
		s.writeHead(x, status, size)
		s.copyBody(x, a.source, part.from, part.to)
		return
	}
	if lines := a.header["Content-Length"]; len(lines) > 0 && size <= 0 {
		h["Content-Length"] = lines // of a HEAD that the origin answered
		size = -1
	}
	s.writeHead(x, status, size)
}

// part chooses what of the body to send, and the status that says so. Ranges are of GET alone
// (RFC 9110 §14.2).
func (s *Server) part(x *exchange, a *answer, h http.Header) (status int, part byteRange) {
	part.to = a.size
	q := x.request.Header
	if a.status != http.StatusOK || !a.whole || a.size < 0 ||
		x.request.Method != http.MethodGet || !freshness.RangeHolds(q, a.header) {
		return a.status, part
	}
	wanted, verdict := parseRange(q["Range"], a.size)
	switch verdict {
	case rangeUnsatisfiable:
		h.Set("Content-Range", "bytes */"+strconv.FormatInt(a.size, 10))
		h["Content-Type"] = nil
		return http.StatusRequestedRangeNotSatisfiable, byteRange{}
	case rangeOK:
		h.Set("Content-Range", wanted.contentRange(a.size))
		return http.StatusPartialContent, wanted
	}
	return a.status, part
}

// safe says whether the request is one that conditions apply to.
func (x *exchange) safe() bool {
	return x.request.Method == http.MethodGet || x.request.Method == http.MethodHead
}

func bodiless(status int) bool {
	return status == http.StatusNoContent || status == http.StatusNotModified
}

// copyHeader copies a response's fields, but for the length, which writeHead knows better.
func copyHeader(to, from http.Header) {
	for name, lines := range from {
		if name != "Content-Length" {
			to[name] = lines
		}
	}
}

// dress adds and takes what this hop does.
func (s *Server) dress(x *exchange, h http.Header, a *answer) {
	if a.aged {
		h["Age"] = []string{strconv.FormatInt(int64(a.age/time.Second), 10)}
	}
	if !s.config.ExposeTags {
		delete(h, "Surrogate-Key")
		delete(h, "Cache-Tag")
	}
	appendMember(h, "Cache-Status", x.status.member(s.config.Node))
	if _, ok := h["Content-Type"]; !ok {
		h["Content-Type"] = nil // or net/http would guess one
	}
}

// notModified tells the client that it has the current response.
func (s *Server) notModified(x *exchange) {
	h := x.writer.Header()
	for _, name := range [...]string{"Content-Type", "Content-Encoding", "Content-Language",
		"Content-Range"} {
		delete(h, name)
	}
	s.writeHead(x, http.StatusNotModified, -1)
}

// writeHead sends the head; size -1 is a body of unknown length, or none.
func (s *Server) writeHead(x *exchange, status int, size int64) {
	if size >= 0 && !bodiless(status) {
		x.writer.Header().Set("Content-Length", strconv.FormatInt(size, 10))
	}
	s.extend(x)
	x.begun = true
	x.writer.WriteHeader(status)
}

// copyBody sends the bytes from from up to to (-1: the end) of a body. It cuts the connection
// when the body breaks off.
func (s *Server) copyBody(x *exchange, b source, from, to int64) {
	ctx := x.request.Context()
	if to == 0 {
		// Nothing to send, but the end is where the object is known to be stored.
		if _, _, err := b.next(ctx, 1); err != nil {
			abort()
		}
		return
	}
	for at := int64(0); to < 0 || at < to; {
		limit := int64(chunk)
		switch {
		case at < from:
			limit = min(limit, from-at)
		case to >= 0:
			limit = min(limit, to-at)
		}
		p, caught, err := b.next(ctx, int(limit))
		if err != nil {
			abort()
		}
		if len(p) == 0 {
			if to >= 0 {
				abort() // shorter than the head said
			}
			return
		}
		if at >= from {
			s.extend(x)
			n, err := x.writer.Write(p)
			x.sent += int64(n)
			if err != nil {
				return // the client has left, or took nothing for too long
			}
			if caught && at+int64(len(p)) != to {
				_ = x.control.Flush() // a writer that can't is one that doesn't buffer
			}
		}
		at += int64(len(p))
		b.advance(len(p))
	}
}
