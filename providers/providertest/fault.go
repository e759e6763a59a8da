package providertest

import (
	"crypto/tls"
	"net"
	"net/http"
	"strconv"
	"sync"
	"time"
)

// Fault is what goes wrong in one call.
type Fault string

// Faults instead of an effect.
const (
	None         Fault = ""
	BadRequest   Fault = "400"
	Unauthorized Fault = "401"
	Forbidden    Fault = "403"
	Missing      Fault = "404"
	TooLarge     Fault = "413"
	Throttled    Fault = "429, in the vendor's dialect"
	ServerError  Fault = "500"
	BadGateway   Fault = "502 with a page of HTML"
	Unavailable  Fault = "503 with Retry-After"
	HTML         Fault = "200 with a page of HTML"
	Redirect     Fault = "307 to another path of the same server"
	ResetBefore  Fault = "reset before the effect"
	HangBefore   Fault = "no answer and no effect"
)

// Faults after the effect.
const (
	ResetAfter  Fault = "reset after the effect"
	HangAfter   Fault = "effect and no answer"
	Drip        Fault = "effect and an answer a byte at a time"
	Truncated   Fault = "effect and an answer cut short"
	Garbage     Fault = "effect and a success that cannot be read"
	Empty       Fault = "effect and a success without a body"
	OtherObject Fault = "effect and a success with another JSON object"
	Huge        Fault = "effect and an answer of 2 MiB"
)

const (
	page = "<!doctype html><html><body><h1>Something is wrong</h1></body></html>"
	// dripPause is the time between two bytes of a Drip.
	dripPause = 50 * time.Millisecond
	// retryAfterSeconds is the wait that the fakes ask for with a fault's 429 or 503.
	retryAfterSeconds = 7
)

// FaultWait is the wait that a Throttled or Unavailable fault asks for.
const FaultWait = retryAfterSeconds * time.Second

// Faults chooses what goes wrong. The zero value lets everything go right. It is safe for
// concurrent use.
type Faults struct {
	mu     sync.Mutex // guards what follows
	queue  []Fault
	choose func(call int) Fault
}

// Push queues faults for the next calls, one each; None lets a call pass.
func (f *Faults) Push(faults ...Fault) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.queue = append(f.queue, faults...)
}

// Choose sets who decides when the queue is empty. call counts from 1; nil lets all pass.
func (f *Faults) Choose(choose func(call int) Fault) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.choose = choose
}

func (f *Faults) next(call int) Fault {
	f.mu.Lock()
	choose := f.choose
	if len(f.queue) > 0 {
		first := f.queue[0]
		f.queue = f.queue[1:]
		f.mu.Unlock()
		return first
	}
	f.mu.Unlock()
	if choose == nil {
		return None
	}
	return choose(call)
}

// instead answers with a fault that replaces the effect; false when there is none.
func instead(w http.ResponseWriter, r *http.Request, f Fault, v vendor) bool {
	status := map[Fault]int{BadRequest: 400, Unauthorized: 401, Forbidden: 403, Missing: 404,
		TooLarge: 413, Throttled: 429, ServerError: 500, Unavailable: 503}[f]
	switch f {
	case HTML:
		writePage(w, http.StatusOK)
	case BadGateway:
		writePage(w, http.StatusBadGateway)
	case Redirect:
		w.Header().Set("Location", "/elsewhere")
		w.WriteHeader(http.StatusTemporaryRedirect)
	case ResetBefore:
		reset(w)
	case HangBefore:
		<-r.Context().Done()
	default:
		if status == 0 {
			return false
		}
		if f == Unavailable {
			w.Header().Set("Retry-After", strconv.Itoa(retryAfterSeconds))
		}
		write(w, v.refusal(status))
	}
	return true
}

// after writes the answer the way a fault wants it.
func after(w http.ResponseWriter, r *http.Request, f Fault, a reply) {
	switch f {
	case ResetAfter:
		reset(w)
	case HangAfter:
		<-r.Context().Done()
	case Drip:
		drip(w, r, a)
	case Truncated:
		w.Header().Set("Content-Length", strconv.Itoa(len(a.body)))
		a.body = a.body[:len(a.body)/2]
		write(w, a)
		_ = http.NewResponseController(w).Flush()
		reset(w)
	case Garbage:
		a.body = []byte(`{"status":"o`)
		write(w, a)
	case Empty:
		a.body = nil
		write(w, a)
	case OtherObject:
		a.body = []byte(`{"hello":"world"}`)
		write(w, a)
	case Huge:
		a.body = append(make([]byte, 0, 2<<20), a.body...)
		for len(a.body) < 2<<20 {
			a.body = append(a.body, ' ')
		}
		write(w, a)
	default:
		write(w, a)
	}
}

func writePage(w http.ResponseWriter, status int) {
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	w.WriteHeader(status)
	_, _ = w.Write([]byte(page))
}

// drip writes a byte at a time until the client leaves or the answer is out.
func drip(w http.ResponseWriter, r *http.Request, a reply) {
	body := a.body
	a.body = nil
	write(w, a)
	out := http.NewResponseController(w)
	tick := time.NewTicker(dripPause)
	defer tick.Stop()
	for _, b := range body {
		select {
		case <-r.Context().Done():
			return
		case <-tick.C:
		}
		if _, err := w.Write([]byte{b}); err != nil {
			return
		}
		_ = out.Flush()
	}
}

// reset ends the connection with a TCP reset where it can, and abruptly where it cannot.
func reset(w http.ResponseWriter) {
	conn, _, err := http.NewResponseController(w).Hijack()
	if err != nil {
		panic(http.ErrAbortHandler) // how net/http is told to cut a connection
	}
	raw := conn
	if t, ok := conn.(*tls.Conn); ok {
		raw = t.NetConn()
	}
	if t, ok := raw.(*net.TCPConn); ok {
		_ = t.SetLinger(0)
	}
	_ = conn.Close()
}
