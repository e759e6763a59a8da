package edge

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/url"
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
	if x.request.ContentLength != 0 {
		out.Body, out.ContentLength = x.request.Body, x.request.ContentLength
		// An origin may answer while it still reads. Writers that can't do both at once are
		// not HTTP/1 ones, which need to be told.
		_ = x.control.EnableFullDuplex()
	}
	ctx, stopHints := x.passHints(ctx)
	began := s.now()
	response, err := s.config.Transport.RoundTrip(out.WithContext(ctx))
	stopHints()
	s.metrics.fetched(x.site.name, s.now().Sub(began), err)
	if err != nil {
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
