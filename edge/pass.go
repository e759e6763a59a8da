package edge

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"sync"
	"time"

	"pointsman/edge/freshness"
	"pointsman/edge/storage"
)

// pass forwards a request as it is, for this client alone. c is what may be served if the
// origin fails.
func (s *Server) pass(x *exchange, c candidate) {
	ctx, cancel := context.WithCancelCause(x.request.Context())
	defer cancel(nil)
	out := s.originRequest(ctx, x, false)
	out.Header.Del("Expect") // net/http asks for the body when it is read
	var body *upload
	if x.request.ContentLength != 0 {
		x.ignored = false
		body = &upload{ReadCloser: x.request.Body, exchange: x, timeout: s.config.WriteTimeout}
		defer body.leave()
		out.Body, out.ContentLength = body, x.request.ContentLength
		// An origin may answer while it still reads. Writers that can't do both at once are
		// not HTTP/1 ones, which need to be told.
		_ = x.control.EnableFullDuplex()
	}
	ctx, stopHints := x.passHints(ctx)
	began := s.now()
	response, err := s.config.Transport.RoundTrip(out.WithContext(ctx))
	stopHints()
	left := x.request.Context().Err() != nil || body.stalled()
	s.metrics.fetched(x.site.name, s.now().Sub(began), err, left)
	switch {
	case err != nil && body.stalled():
		s.refused(x, http.StatusRequestTimeout, "the request's body did not come in time")
		return
	case err != nil:
		s.passFailed(x, c, fmt.Errorf("fetching from %s: %w", x.site.origin.Host, err))
		return
	}
	defer func() { _ = response.Body.Close() }() // it was read as far as anyone wanted
	s.cleanResponse(response)
	if serverError(response.StatusCode) && s.stale(x, c, freshness.Errored) {
		return
	}
	s.invalidate(x, response)
	x.result = resultPass
	x.status.forwardStatus = response.StatusCode
	s.sendResponse(x, response, cancel)
}

// upload is a request's body on its way to the origin. A client that sends nothing for too long
// is cut off: it would hold a connection to the origin for as long as it likes.
type upload struct {
	io.ReadCloser
	exchange *exchange
	timeout  time.Duration

	mu   sync.Mutex // guards the rest, and that no deadline is set after left
	left bool
	read bool // to its end
	late bool // the client sent nothing for too long
}

// Read may be called by the transport until after the exchange.
func (u *upload) Read(p []byte) (int, error) {
	u.extend()
	n, err := u.ReadCloser.Read(p)
	u.mu.Lock()
	defer u.mu.Unlock()
	u.late = u.late || errors.Is(err, os.ErrDeadlineExceeded)
	u.read = u.read || err == io.EOF
	if u.read && !u.left {
		// From here on net/http waits on the connection for the client to leave.
		_ = u.exchange.control.SetReadDeadline(time.Time{})
	}
	return n, err
}

// Close reads some of what is left, as net/http's body does.
func (u *upload) Close() error {
	u.extend()
	return u.ReadCloser.Close()
}

// stalled says whether the client, not the origin, kept the exchange from ending.
func (u *upload) stalled() bool {
	if u == nil {
		return false
	}
	u.mu.Lock()
	defer u.mu.Unlock()
	return u.late
}

// extend renews the deadline for the next bytes.
func (u *upload) extend() {
	u.mu.Lock()
	defer u.mu.Unlock()
	if !u.left && !u.read && !u.late {
		_ = u.exchange.control.SetReadDeadline(time.Now().Add(u.timeout)) // recorders have none
	}
}

// leave gives the connection's deadline, renewed once more, back to net/http.
func (u *upload) leave() {
	u.extend()
	u.mu.Lock()
	defer u.mu.Unlock()
	u.left = true
}

// passFailed answers when the origin gave nothing.
func (s *Server) passFailed(x *exchange, c candidate, err error) {
	switch {
	case x.request.Context().Err() != nil:
		x.result = resultGone
	case s.stale(x, c, freshness.Unreachable):
	default:
		s.unavailable(x, err)
	}
}

// relay sends the leader of a flight the response that only it may have.
func (s *Server) relay(x *exchange, f *flight) {
	defer f.cancel(nil)
	defer func() { _ = f.response.Body.Close() }() // it was read as far as anyone wanted
	x.status.detail = f.reason
	if f.tooLarge && x.request.Header.Get("Range") != "" {
		// The fetch was for the whole, of which this client wants a part.
		_ = f.response.Body.Close()
		s.pass(x, candidate{})
		return
	}
	x.result = resultMiss
	x.status.forwardStatus = f.originStatus
	s.sendResponse(x, f.response, f.cancel)
}

// invalidate removes what an unsafe request has changed (RFC 9111 §4.4): the target, and what
// Location and Content-Location name on the same host. It comes before the client's answer, so
// that the client never meets the old state after it.
func (s *Server) invalidate(x *exchange, p *http.Response) {
	switch x.request.Method {
	case http.MethodGet, http.MethodHead, http.MethodOptions:
		return
	}
	if p.StatusCode < 200 || p.StatusCode > 399 {
		return
	}
	targets := map[string]bool{x.key.Path: true}
	for _, name := range [...]string{"Location", "Content-Location"} {
		u, err := url.Parse(p.Header.Get(name))
		if err != nil || p.Header.Get(name) == "" {
			continue
		}
		u = x.request.URL.ResolveReference(u)
		if u.Host == "" || hostOf(&http.Request{Host: u.Host}) == x.key.Host {
			targets[pathOf(u)] = true
		}
	}
	for path := range targets {
		s.cache.Purge(storage.Target{Kind: storage.URL, Host: x.key.Host, Path: path},
			false, s.now())
	}
}

// bodySource is the body of a response that one client gets.
type bodySource struct {
	body     io.Reader
	buffer   []byte
	watchdog *time.Timer
	timeout  time.Duration
}

func (b *bodySource) next(_ context.Context, limit int) ([]byte, bool, error) {
	b.watchdog.Reset(b.timeout)
	n, err := b.body.Read(b.buffer[:min(limit, len(b.buffer))])
	b.watchdog.Stop()
	if n > 0 || err == io.EOF {
		return b.buffer[:n], true, nil
	}
	return nil, true, err
}

func (b *bodySource) advance(int) {}

// sendResponse sends a response as it comes from the origin. cancel ends a fetch that stalls.
func (s *Server) sendResponse(x *exchange, p *http.Response, cancel context.CancelCauseFunc) {
	source := &bodySource{body: p.Body, buffer: make([]byte, 32<<10)}
	source.timeout = s.config.FetchTimeout
	source.watchdog = time.AfterFunc(source.timeout, func() { cancel(stalled{}) })
	defer source.watchdog.Stop()
	s.send(x, &answer{
		status: p.StatusCode, header: p.Header, size: p.ContentLength, source: source,
	})
}
