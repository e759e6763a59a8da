package edge

import (
	"errors"
	"fmt"
	"net"
	"net/http"
	"strconv"
	"strings"
	"time"

	"pointsman/edge/storage"
)

// exchange is one client's request on its way through the server.
type exchange struct {
	writer  http.ResponseWriter
	control *http.ResponseController
	request *http.Request
	site    *site
	key     storage.Key
	status  cacheStatus
	result  result
	sent    int64 // bytes of body
	begun   bool  // a final head was written
	retries int   // flights left for another
	ignored bool  // the request has a body that nobody reads, yet net/http will
}

// serve answers one request.
func (s *Server) serve(w http.ResponseWriter, r *http.Request) {
	host := hostOf(r)
	x := &exchange{
		writer:  w,
		control: http.NewResponseController(w),
		request: r,
		site:    (*s.sites.Load())[host],
		key:     keyOf(r, host),
		ignored: r.ContentLength != 0,
	}
	defer s.finish(x)
	s.extend(x)
	if status, why := s.refuse(x); status != 0 {
		s.refused(x, status, why)
		return
	}
	if len(r.TransferEncoding) > 0 && r.ProtoMajor == 1 {
		// net/http has dropped a Content-Length that stood beside it, and no longer says so;
		// RFC 9112 §6.3 asks to close the connection then, so it is closed after any of these.
		w.Header().Set("Connection", "close")
	}
	switch {
	case r.URL.Path == x.site.health && (r.Method == http.MethodGet || r.Method == http.MethodHead):
		s.health(x)
	case r.Method == http.MethodGet:
		s.get(x)
	case r.Method == http.MethodHead:
		s.head(x)
	default:
		x.status.forward = "method"
		s.pass(x, candidate{})
	}
}

// finish counts the exchange, and turns a panic into an answer.
func (s *Server) finish(x *exchange) {
	if p := recover(); p != nil {
		x.result = resultError
		s.count(x)
		if err, ok := p.(error); ok && errors.Is(err, http.ErrAbortHandler) {
			panic(p) // net/http's way to cut the connection, which is meant
		}
		s.log.Error("request panicked", "err", fmt.Sprint(p))
		if x.begun {
			panic(http.ErrAbortHandler)
		}
		http.Error(x.writer, "internal error", http.StatusInternalServerError)
		return
	}
	s.count(x)
}

// abort cuts the client's connection, for an answer that cannot be finished: anything else
// would let it take a part for the whole.
func abort() { panic(http.ErrAbortHandler) }

// keyOf is the primary key of a request.
func keyOf(r *http.Request, host string) storage.Key {
	k := storage.Key{Scheme: "http", Host: host, Path: pathOf(r.URL)}
	if r.TLS != nil {
		k.Scheme = "https"
	}
	return k
}

// hostOf is the request's host: lower case, without port and final dot.
func hostOf(r *http.Request) string {
	host := r.Host
	if h, _, err := net.SplitHostPort(host); err == nil {
		host = h
	}
	host = strings.TrimSuffix(strings.TrimPrefix(host, "["), "]")
	return strings.ToLower(strings.TrimSuffix(host, "."))
}

// refuse gives the status and reason for requests that go nowhere; 0 lets them pass.
func (s *Server) refuse(x *exchange) (status int, why string) {
	r := x.request
	switch r.Method {
	case http.MethodConnect, http.MethodTrace, "TRACK", "PRI", "PURGE", "BAN":
		return http.StatusMethodNotAllowed, "method not allowed here"
	}
	switch {
	case x.site == nil:
		return http.StatusMisdirectedRequest, "no site has this host"
	case s.looped(r.Header):
		return http.StatusLoopDetected, "the request has passed this node before"
	}
	for _, line := range r.Header["Upgrade"] {
		for p := range strings.SplitSeq(line, ",") {
			if strings.EqualFold(strings.TrimSpace(p), "h2c") {
				return http.StatusBadRequest, "upgrading to h2c is refused"
			}
		}
	}
	if r.URL.Opaque != "" {
		// The origin would get a target that the cache's key does not hold.
		return http.StatusBadRequest, "the target is neither a path nor a URL with a host"
	}
	if len(r.Header["Host"]) > 0 {
		return http.StatusBadRequest, "more than one Host"
	}
	return 0, ""
}

// refused answers a request that goes nowhere.
func (s *Server) refused(x *exchange, status int, why string) {
	x.result = resultError
	x.writer.Header().Set("Connection", "close")
	s.say(x, status, why)
}

// say sends a short text of our own.
func (s *Server) say(x *exchange, status int, text string) {
	h := x.writer.Header()
	h.Set("Content-Type", "text/plain; charset=utf-8")
	h.Set("Cache-Control", "no-store")
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Content-Length", strconv.Itoa(len(text)+1))
	s.extend(x)
	x.begun = true
	x.writer.WriteHeader(status)
	if x.request.Method != http.MethodHead {
		n, _ := x.writer.Write([]byte(text + "\n")) // a client that has left misses nothing
		x.sent += int64(n)
	}
}

// health answers for the edge itself.
func (s *Server) health(x *exchange) {
	x.result = resultHealth
	if s.draining.Load() {
		s.say(x, http.StatusServiceUnavailable, "stopping")
		return
	}
	s.say(x, http.StatusOK, "ok")
}

// unavailable answers for an origin that gave none.
func (s *Server) unavailable(x *exchange, err error) {
	x.result = resultError
	status, why := http.StatusBadGateway, "the origin gave no answer"
	var timeout net.Error
	if errors.As(err, &timeout) && timeout.Timeout() {
		status, why = http.StatusGatewayTimeout, "the origin gave no answer in time"
	}
	x.writer.Header().Set("Cache-Status", x.status.member(s.config.Node))
	s.say(x, status, why)
}

// extend renews the client's deadline for the next write.
func (s *Server) extend(x *exchange) {
	// Recorders in tests have no deadline, and one that can't be set is no reason to stop.
	_ = x.control.SetWriteDeadline(time.Now().Add(s.config.WriteTimeout))
	if x.ignored { // sooner, as net/http reads what it can before it writes
		_ = x.control.SetReadDeadline(time.Now().Add(s.config.WriteTimeout / 2))
	}
}
