package edge

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptrace"
	"net/textproto"
	"slices"
	"time"

	"pointsman/edge/freshness"
	"pointsman/edge/storage"
)

// originError is an error status of the origin in whose place a stale object can be served.
type originError int

func (e originError) Error() string { return fmt.Sprintf("the origin answered %d", int(e)) }

func asOriginError(err error) bool {
	var e originError
	return errors.As(err, &e)
}

// stalled is the error of an origin that sent nothing for Config.FetchTimeout.
type stalled struct{}

func (stalled) Error() string   { return "the origin sent nothing in time" }
func (stalled) Timeout() bool   { return true }
func (stalled) Temporary() bool { return true }

// serverError says whether a status is an error in the sense of RFC 5861 §4.
func serverError(status int) bool {
	switch status {
	case 500, 502, 503, 504:
		return true
	}
	return false
}

// fetcher is the work of one flight.
type fetcher struct {
	*flight
	server   *Server
	site     *site
	key      storage.Key
	asked    http.Header   // the client's request header
	request  *http.Request // to the origin
	stale    candidate     // what the cache has
	watchdog *time.Timer
	began    time.Time
}

// newFlight prepares a fetch of the whole response, conditional if there is an object to
// validate. It may outlive the exchange.
func (s *Server) newFlight(x *exchange, c candidate) *flight {
	w := &fetcher{
		flight: newFlight(s.budget),
		server: s,
		site:   x.site,
		key:    x.key,
		asked:  x.request.Header.Clone(),
		stale:  c,
	}
	w.request = s.originRequest(context.Background(), x, true)
	w.request.Method = http.MethodGet
	if c.Object != nil && c.meta.Validator {
		for _, v := range [...][2]string{
			{"ETag", "If-None-Match"}, {"Last-Modified", "If-Modified-Since"},
		} {
			if lines := c.Object.Header[textproto.CanonicalMIMEHeaderKey(v[0])]; len(lines) > 0 {
				w.request.Header.Set(v[1], lines[0])
			}
		}
	}
	w.flight.begin = func() { w.fetch = s.cache.Begin(x.key) }
	w.flight.run = w.run
	return w.flight
}

// run asks the origin and carries the answer to all who wait.
func (w *fetcher) run(ctx context.Context) {
	s := w.server
	w.watchdog = time.AfterFunc(s.config.FetchTimeout, func() { w.cancel(stalled{}) })
	defer w.watchdog.Stop()
	w.began = s.now()
	trace := onHint(func(h hint) { w.update(func() { w.hints = append(w.hints, h) }) })
	response, err := s.config.Transport.RoundTrip(
		w.request.WithContext(httptrace.WithClientTrace(ctx, trace)))
	s.metrics.fetched(w.site.name, s.now().Sub(w.began), err, w.left())
	if err != nil {
		w.fail(ctx, fmt.Errorf("fetching from %s: %w", w.site.origin.Host, err))
		return
	}
	w.watchdog.Reset(s.config.FetchTimeout)
	s.cleanResponse(response)
	if !w.arrived(ctx, response) {
		_ = response.Body.Close() // nothing more is wanted of it
	}
}

// arrived deals with a response whose head has come. It says whether someone else closes it.
func (w *fetcher) arrived(ctx context.Context, p *http.Response) bool {
	s := w.server
	usable := w.stale.Object != nil && w.stale.decision.UsableOn(freshness.Errored, w.stale.meta)
	switch {
	case p.StatusCode == http.StatusNotModified && w.stale.Object != nil:
		return w.confirmed(p)
	case serverError(p.StatusCode) && usable:
		w.fail(ctx, originError(p.StatusCode))
		return false
	}
	received := s.now()
	if p.Header.Get("Date") == "" {
		p.Header.Set("Date", received.UTC().Format(http.TimeFormat)) // RFC 9110 §6.6.1
	}
	meta, reason := w.judge(p.StatusCode, p.Header, received)
	large := p.ContentLength > s.config.MaxObject
	if reason == "" && large {
		reason = "too large"
	}
	if reason != "" && (large || !w.shareable(p, meta)) {
		return w.hand(p, reason, large)
	}
	if !w.reserve(p.ContentLength) {
		return w.hand(p, noBuffer, true)
	}
	w.share(p, meta, reason)
	w.carry(ctx, p)
	return false
}

// shareable says whether an answer that is not stored can still be given to all who waited for
// it: one that was reusable before it came too late, or an error without any sign that it is
// meant for one client, be it in the answer or in the request. Without this, a slow or failing
// origin would be asked by each of them.
func (w *fetcher) shareable(p *http.Response, meta freshness.Meta) bool {
	if meta.Reusable() {
		return true
	}
	c, _ := freshness.ResponseControl(p.Header)
	return serverError(p.StatusCode) && !c.Private && !c.NoStore && !personal(w.asked) &&
		len(p.Header["Set-Cookie"]) == 0 && len(p.Header["Vary"]) == 0
}

// personal says whether a request tells the origin who sends it.
func personal(h http.Header) bool {
	return len(h["Cookie"]) > 0 || len(h["Authorization"]) > 0
}

// judge decides whether a response may be stored.
func (w *fetcher) judge(status int, h http.Header, received time.Time) (freshness.Meta, string) {
	return freshness.Judge(
		freshness.Request{Method: http.MethodGet, Header: w.asked},
		freshness.Response{Status: status, Header: h, Requested: w.began, Received: received},
		w.site.policy)
}

// fail ends the flight without a (whole) answer.
func (w *fetcher) fail(ctx context.Context, err error) {
	if cause := context.Cause(ctx); cause != nil && ctx.Err() != nil {
		err = cause
	}
	w.update(func() { w.phase, w.err = failed, err })
}

// noBuffer is why an answer is not stored that came while Config.InFlight was used up.
const noBuffer = "no buffer left"

// hand gives a response that may not be shared to the leader alone. The others go on at once. A
// leader that wants only a part of a large one asks anew.
func (w *fetcher) hand(p *http.Response, reason string, large bool) bool {
	s := w.server
	// Those reasons are true of one request only, or of one moment, and errors pass.
	switch {
	case reason == "authorization", reason == "request no-store", reason == noBuffer,
		serverError(p.StatusCode):
	default:
		s.flights.markUncacheable(w.key, personal(w.asked), s.now())
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	defer w.signal()
	if w.background || w.abandoned {
		w.phase = handed // to nobody: whoever came to wait asks for himself
		return false
	}
	w.phase, w.response, w.tooLarge, w.reason = handed, p, large, reason
	w.originStatus = p.StatusCode
	return true
}

// share announces a head that all may have.
func (w *fetcher) share(p *http.Response, meta freshness.Meta, reason string) {
	names, _ := freshness.VaryNames(p.Header)
	w.update(func() {
		w.phase = sharing
		w.status, w.header, w.meta, w.size = p.StatusCode, p.Header, meta, p.ContentLength
		w.vary, w.variant = names, freshness.VaryKey(names, w.asked)
		w.tags = tagsOf(p.Header)
		w.storable, w.reason = reason == "", reason
		w.originStatus = p.StatusCode
	})
}

// carry reads the body for all who wait, and stores the whole.
func (w *fetcher) carry(ctx context.Context, p *http.Response) {
	s := w.server
	buffer := make([]byte, 32<<10)
	var got int64
	for {
		n, err := p.Body.Read(buffer)
		w.watchdog.Reset(s.config.FetchTimeout)
		got += int64(n)
		if w.size >= 0 && got > w.size {
			err = errors.New("the body is longer than was said")
		} else if err == io.EOF || err == nil && got == w.size {
			err = w.finish(ctx, buffer[:n])
			if err == nil {
				return
			}
		} else if err == nil {
			// Waiting for readers is not the origin's delay.
			w.watchdog.Stop()
			err = w.append(ctx, buffer[:n], s.config.MaxObject)
			w.watchdog.Reset(s.config.FetchTimeout)
		}
		if err != nil {
			w.fail(ctx, fmt.Errorf("reading from %s: %w", w.site.origin.Host, err))
			return
		}
	}
}

// finish ends the body with its last bytes. The object is stored before anybody can see them, so
// that whoever has read the whole finds it in the cache.
func (w *fetcher) finish(ctx context.Context, last []byte) error {
	w.mu.Lock()
	fits := w.whole(len(last), w.server.config.MaxObject) && w.storable
	whole := w.data
	if fits {
		whole = append(whole, last...) // readers go by the length of data, which is as it was
	}
	outgrew := w.reason == "" && !w.denied
	w.mu.Unlock()
	if !fits {
		if outgrew {
			w.server.flights.markUncacheable(w.key, personal(w.asked), w.server.now())
		}
		if err := w.append(ctx, last, w.server.config.MaxObject); err != nil {
			return err
		}
		w.update(func() { w.phase = complete })
		return nil
	}
	body := whole
	if cap(body)-len(body) > len(body)/16 {
		body = slices.Clone(body)
	}
	body = slices.Clip(body)
	stored := w.store(w.status, w.header, body, w.meta)
	w.update(func() {
		w.data, w.phase = body, complete
		if stored {
			w.settle(0) // the cache accounts for it now
		}
	})
	return nil
}

// store puts an object into the cache, and says whether it took it.
func (w *fetcher) store(status int, h http.Header, body []byte, meta freshness.Meta) bool {
	h = forOthers(h)
	return w.server.cache.Put(w.fetch, &storage.Object{
		Key: w.key, VaryNames: w.vary, Variant: w.variant,
		Status: status, Header: h, Body: body, Tags: tagsOf(h), Meta: meta,
	})
}

// forOthers is a response's header without the fields that the qualified forms of no-cache and
// private keep from everybody but the client that asked (RFC 9111 §5.2.2.4, §5.2.2.7).
func forOthers(h http.Header) http.Header {
	c, _ := freshness.ResponseControl(h)
	if len(c.NoCacheFields)+len(c.PrivateFields) == 0 {
		return h
	}
	h = h.Clone()
	for _, name := range slices.Concat(c.NoCacheFields, c.PrivateFields) {
		h.Del(name)
	}
	return h
}

// confirmed deals with a 304: the stored body stays, its header is renewed.
func (w *fetcher) confirmed(p *http.Response) bool {
	s := w.server
	old := w.stale.Object
	received := s.now()
	h := freshness.Update(old.Header, p.Header)
	if p.Header.Get("Date") == "" {
		h.Set("Date", received.UTC().Format(http.TimeFormat))
	}
	meta, reason := w.judge(old.Status, h, received)
	if reason != "" {
		_ = p.Body.Close() // a 304 has no body
		return w.hand(&http.Response{
			StatusCode: old.Status, Header: h, ContentLength: int64(len(old.Body)),
			Body: io.NopCloser(bytes.NewReader(old.Body)),
		}, reason, false)
	}
	names, _ := freshness.VaryNames(h)
	w.vary, w.variant = names, freshness.VaryKey(names, w.asked)
	w.store(old.Status, h, old.Body, meta)
	w.update(func() {
		w.status, w.header, w.meta, w.size = old.Status, h, meta, int64(len(old.Body))
		w.data, w.tags, w.storable, w.validated = old.Body, tagsOf(h), true, true
		w.originStatus = p.StatusCode
		w.phase = complete
	})
	return false
}
