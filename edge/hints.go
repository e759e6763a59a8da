package edge

import (
	"context"
	"net/http"
	"net/http/httptrace"
	"net/textproto"
	"sync"
)

// hint is an interim response of the origin, above all 103 (RFC 8297).
type hint struct {
	code   int
	header http.Header
}

// onHint makes a transport report interim responses, but for those between two neighbours.
func onHint(report func(hint)) *httptrace.ClientTrace {
	return &httptrace.ClientTrace{Got1xxResponse: func(code int, h textproto.MIMEHeader) error {
		if code != http.StatusContinue && code != http.StatusSwitchingProtocols {
			header := http.Header(h).Clone()
			stripHops(header)
			report(hint{code, header})
		}
		return nil
	}}
}

// hint sends an interim response on to the client, unless it speaks HTTP/1.0.
func (x *exchange) hint(h hint) {
	if !x.request.ProtoAtLeast(1, 1) {
		return
	}
	to := x.writer.Header()
	for name, lines := range h.header {
		to[name] = lines
	}
	x.writer.WriteHeader(h.code)
	for name := range h.header {
		delete(to, name)
	}
}

// passHints makes interim responses go on to the client while the origin is asked. The function
// returned ends that: the transport may call the hook from another goroutine.
func (x *exchange) passHints(ctx context.Context) (context.Context, func()) {
	var mu sync.Mutex // guards over, and the writer while hints may come
	over := false
	trace := onHint(func(h hint) {
		mu.Lock()
		defer mu.Unlock()
		if !over {
			x.hint(h)
		}
	})
	return httptrace.WithClientTrace(ctx, trace), func() {
		mu.Lock()
		defer mu.Unlock()
		over = true
	}
}
