// Package providertest has one fake purge API for each vendor: an http.Handler as strict as
// the vendor's documents let it be, with faults that can be asked for and a record of every
// purge that took effect. Requests flow in, answers and calls of Apply flow out. It owns no
// goroutine and needs no *testing.T, so a demonstration can run on it; the suite that holds
// providers to the contract is in the folder suite.
package providertest

import (
	"encoding/json"
	"io"
	"net/http"
	"slices"
	"sync"
	"time"

	"pointsman/providers"
)

// Applied is a purge that took effect.
type Applied struct {
	Kind  providers.Kind
	Items []string // as package providers normalises them; nil for Everything
	Soft  bool
	At    time.Time
}

// maxRequest bounds what a fake reads of a request, in bytes.
const maxRequest = 1 << 20

// double is what all fakes share: faults, record, clock.
type double struct {
	// Faults says what goes wrong in which call.
	Faults Faults

	apply func(Applied) error
	now   func() time.Time

	mu      sync.Mutex // guards what follows
	calls   int
	applied []Applied
}

// vendor is what tells the fakes apart.
type vendor interface {
	// handle checks a request and returns either the purge it asks for and the answer to it,
	// or nil and the refusal.
	handle(r *http.Request, body []byte) (*Applied, reply)
	// refusal is the vendor's dialect of a status.
	refusal(status int) reply
}

// reply is an answer before it is written.
type reply struct {
	status int
	header http.Header // may be nil
	body   []byte
}

// jsonReply makes a reply that carries v as JSON.
func jsonReply(status int, v any) reply {
	b, err := json.Marshal(v)
	if err != nil {
		return reply{status: http.StatusInternalServerError, body: []byte(err.Error())}
	}
	return reply{status: status, header: http.Header{"Content-Type": {"application/json"}}, body: b}
}

func newDouble(apply func(Applied) error, now func() time.Time) double {
	if now == nil {
		now = time.Now
	}
	return double{apply: apply, now: now}
}

// Calls is how many requests came, answered or not.
func (d *double) Calls() int {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.calls
}

// Applied returns the purges that took effect, in their order.
func (d *double) Applied() []Applied {
	d.mu.Lock()
	defer d.mu.Unlock()
	return slices.Clone(d.applied)
}

// Inject queues faults for the next calls, one each.
func (d *double) Inject(f ...Fault) { d.Faults.Push(f...) }

// serve runs one request through fault, vendor and effect.
func (d *double) serve(w http.ResponseWriter, r *http.Request, v vendor) {
	body, err := io.ReadAll(io.LimitReader(r.Body, maxRequest+1))
	if err != nil {
		return // the client went away
	}
	d.mu.Lock()
	d.calls++
	n := d.calls
	d.mu.Unlock()
	// So that waits given as points in time agree with this fake's clock.
	w.Header().Set("Date", d.now().UTC().Format(http.TimeFormat))
	fault := d.Faults.next(n)
	if instead(w, r, fault, v) {
		return
	}
	if r.ContentLength < 0 {
		write(w, v.refusal(http.StatusLengthRequired)) // gateways in front of the real ones do
		return
	}
	if len(body) > maxRequest {
		write(w, v.refusal(http.StatusRequestEntityTooLarge))
		return
	}
	purge, answer := v.handle(r, body)
	if purge != nil {
		if err := d.take(*purge); err != nil {
			write(w, v.refusal(http.StatusInternalServerError))
			return
		}
	}
	after(w, r, fault, answer)
}

// take puts a purge into effect and records it, unless the effect fails.
func (d *double) take(a Applied) error {
	a.At = d.now()
	if d.apply != nil {
		if err := d.apply(a); err != nil {
			return err
		}
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	d.applied = append(d.applied, a)
	return nil
}

func write(w http.ResponseWriter, a reply) {
	for k, v := range a.header {
		w.Header()[k] = v
	}
	w.WriteHeader(a.status)
	_, _ = w.Write(a.body)
}
