package purge

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"pointsman/providers"
)

// phase is what a delivery waits for.
type phase int

const (
	phaseNone  phase = iota // nothing: it is final
	phaseSend               // a batch to be sent
	phaseCheck              // an estimate to pass, or a verification
)

// next says what to do next about a delivery, and not before when (zero: now).
func (d Delivery) next() (phase, time.Time) {
	if d.Final() {
		return phaseNone, time.Time{}
	}
	var send, check time.Time
	pending, estimating := false, false
	for _, p := range d.Batches {
		switch {
		case p.State == Queued || p.State == Sent:
			send = earliest(send, p.NotBefore, pending)
			pending = true
		case p.State == Accepted && !p.EstimateAt.IsZero():
			check = earliest(check, p.EstimateAt, estimating)
			estimating = true
		}
	}
	switch {
	case pending:
		return phaseSend, send
	case estimating:
		return phaseCheck, check
	}
	return phaseCheck, d.Check.NotBefore
}

// earliest returns the earlier time; have says whether a is one at all.
func earliest(a, b time.Time, have bool) time.Time {
	if have && a.Before(b) {
		return a
	}
	return b
}

// begin makes the record of an accepted purge from its plan.
// verifiable are the providers that have a backend to fetch through.
func begin(
	id string, req Request, plan []Planned, verifiable map[string]bool, now time.Time, c Config,
) Record {
	now = stamp(now)
	r := Record{ID: id, Request: req, AcceptedAt: now, AcceptedBy: c.Node}
	for _, p := range plan {
		d := Delivery{Provider: p.Provider, Form: p.Form, Reason: p.Reason, Kind: p.Kind,
			Soft: p.Soft, Deadline: now.Add(c.Deadline), Check: beginCheck(req, verifiable[p.Provider], c)}
		for _, cut := range p.Batches {
			d.Batches = append(d.Batches, Part{Cut: cut, State: Queued})
		}
		r.Deliveries = append(r.Deliveries, d)
	}
	slices.SortFunc(r.Deliveries, func(x, y Delivery) int {
		return strings.Compare(x.Provider, y.Provider)
	})
	return r
}

func beginCheck(req Request, backends bool, c Config) Check {
	switch {
	case !c.Verify || c.Fetcher == nil:
		return Check{Reason: "verification is off in this node's config"}
	case !backends:
		return Check{Reason: "the config names no backend of this provider to fetch through"}
	case len(witnesses(req)) == 0:
		return Check{Reason: "nothing to verify with; give --verify-url"}
	}
	return Check{State: CheckPending}
}

// markSent returns the batch as it is journaled before a call.
func (p Part) markSent(now time.Time) Part {
	p.State, p.Step, p.SentAt = Sent, p.Step+1, stamp(now)
	return p
}

// putBack returns a batch that was marked sent but was not sent after all.
func (p Part) putBack(until time.Time) Part {
	p.State, p.Step, p.NotBefore = Queued, p.Step+1, stamp(until)
	return p
}

// taken returns the batch after the provider took it.
func (p Part) taken(r providers.Receipt, now time.Time) Part {
	p.Attempts, p.Step = p.Attempts+1, p.Step+1
	p.State, p.Ref, p.DoneAt = Accepted, cleanRef(r.Ref), stamp(now)
	switch {
	case r.Confirmed:
		p.State = Confirmed
	case r.Estimate > 0:
		p.EstimateAt = stamp(now.Add(min(r.Estimate, hintCap)))
	}
	return p
}

// Bytes of a provider's text that a record keeps.
const (
	maxRef     = 64
	maxMessage = 400
)

// cleanRef makes a provider's identifier fit a record: short, and nothing that JSON escapes.
func cleanRef(ref string) string {
	return cutText(strings.Map(func(r rune) rune {
		if r <= ' ' || r > '~' || r == '"' || r == '\\' {
			return '_'
		}
		return r
	}, ref), maxRef)
}

// refused returns the batch, and its halves if it was split, after an error, and the error in
// the words of a record. r is random in [0, 1).
func (p Part) refused(
	e *providers.Error, now time.Time, r float64,
) (out Part, halves []Part, why Problem) {
	p.Attempts, p.Step = p.Attempts+1, p.Step+1
	why = Problem{At: stamp(now), Class: e.Class, Message: cutText(e.Error(), maxMessage)}
	if e.Unknown {
		why.Message = cutText("outcome unknown: "+e.Error(), maxMessage)
	}
	switch {
	case e.Temporary():
		p.State = Queued
		p.NotBefore = stamp(now.Add(Backoff(p.Attempts, hint(e), r)))
	case e.Class == providers.TooLarge && p.To-p.From > 1:
		middle := p.From + (p.To-p.From)/2
		p.State, p.DoneAt = split, stamp(now)
		for _, c := range []Cut{{p.From, middle}, {middle, p.To}} {
			halves = append(halves, Part{Cut: c, State: Queued})
		}
	default:
		p.State, p.DoneAt = Failed, stamp(now)
		why.Advice = advice(e)
	}
	return p, halves, why
}

// advice says what to do about an error that no repeat of the call can mend.
func advice(e *providers.Error) string {
	const then = ", then run: pointsman purge retry ID"
	switch e.Class {
	case providers.Auth:
		return fmt.Sprintf("check the credentials of provider %q and their rights%s",
			e.Provider, then)
	case providers.NotFound:
		return fmt.Sprintf("check the zone or service that the config names for provider %q%s",
			e.Provider, then)
	case providers.Unsupported:
		return "purge by another kind: pointsman providers lists what each can do"
	case providers.TooLarge:
		return "this one item is too large for the provider: purge a wider kind"
	}
	return "the provider refused the items: correct them and purge again"
}

// asError makes any error of a provider one with a class. What is not a *providers.Error tells
// nothing about the outcome, so it is retried.
func asError(name string, err error) *providers.Error {
	var e *providers.Error
	if errors.As(err, &e) {
		return e
	}
	return &providers.Error{Provider: name, Operation: "purge", Class: providers.Transient,
		Unknown: true, Err: err}
}

// fail fails every batch that is still pending; it reports whether any was.
func (d *Delivery) fail(now time.Time) bool {
	found := false
	for i, p := range d.Batches {
		if p.State == Queued || p.State == Sent {
			p.State, p.Step, p.DoneAt = Failed, p.Step+1, stamp(now)
			d.Batches[i], found = p, true
		}
	}
	return found
}

// expire is fail at the deadline.
func (d *Delivery) expire(now time.Time) bool {
	if !d.fail(now) {
		return false
	}
	why := "it was never tried: the provider is not in this node's config, or its queue stood"
	if d.Last.Message != "" {
		why = "last: " + d.Last.Message
	}
	d.Last = Problem{At: stamp(now), Class: d.Last.Class,
		Message: cutText("the deadline passed before the provider took it; "+why, maxMessage),
		Advice:  "see what the provider reports, then run: pointsman purge retry ID"}
	return true
}

// passEstimates makes accepted batches estimated whose stated time is over.
func (d *Delivery) passEstimates(now time.Time) bool {
	found := false
	for i, p := range d.Batches {
		if p.State == Accepted && !p.EstimateAt.IsZero() && !now.Before(p.EstimateAt) {
			d.Batches[i].State, found = Estimated, true
		}
	}
	return found
}

// retry starts a new round: failed batches are sent again, an unverified delivery is looked at
// again. It reports whether there was anything to do.
func (d *Delivery) retry(now time.Time, deadline time.Duration) bool {
	again := false
	for i, p := range d.Batches {
		if p.State == Failed {
			d.Batches[i], again = Part{Cut: p.Cut, State: Queued, Attempts: p.Attempts}, true
		}
	}
	if d.Check.State == CheckUnverified || again && d.Check.State == CheckVerified {
		d.Check, again = Check{State: CheckPending}, true
	}
	if !again {
		return false
	}
	d.Round++
	d.Last.Advice = "" // it was followed, or so we are told
	d.Deadline = stamp(now.Add(deadline))
	return true
}

// retry starts a new round of every delivery that has ended without success.
func (r *Record) retry(now time.Time, deadline time.Duration) bool {
	again := false
	for i := range r.Deliveries {
		if d := &r.Deliveries[i]; d.Final() && d.retry(now, deadline) {
			again = true
		}
	}
	return again
}

// repeatKey is equal for every attempt at one batch of one round, on any node, also after a
// restart; a retry by the operator is a new wish and gets a new key.
func repeatKey(id string, d Delivery, c Cut) string {
	text := d.Provider + "|" + strconv.Itoa(d.Round) + "|" +
		strconv.Itoa(c.From) + "-" + strconv.Itoa(c.To)
	sum := sha256.Sum256([]byte(text))
	return id + "-" + hex.EncodeToString(sum[:6])
}

// cutText shortens a text that others wrote to at most n bytes of whole characters.
func cutText(s string, n int) string {
	if len(s) <= n {
		return s
	}
	for n > 0 && s[n]&0xC0 == 0x80 {
		n--
	}
	return s[:n]
}
