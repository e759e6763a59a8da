package purge

import (
	"fmt"
	"slices"
	"time"

	"pointsman/providers"
)

// Outcome sums up a purge in one word.
type Outcome string

// The outcomes.
const (
	Pending Outcome = "pending" // at least one provider is not finished
	// Done: every provider took it, and none that was looked at still serves the old object.
	// Where there was nothing to look at, the provider's word stands and the result says so.
	Done       Outcome = "done"
	Unverified Outcome = "unverified" // done by the providers' word, but not seen to be
	Partly     Outcome = "partly"     // done at some providers, or for some items only
	NotDone    Outcome = "failed"     // done nowhere
)

// ExitCode is what a command that waited for the purge exits with: 0 done, 1 failed or still
// pending, 3 partly, 4 done but unverified.
func (o Outcome) ExitCode() int {
	switch o {
	case Done:
		return 0
	case Partly:
		return 3
	case Unverified:
		return 4
	}
	return 1
}

// Durabilities of an accepted purge.
const (
	Local      = "local"      // on this node's disk
	Replicated = "replicated" // and in the shared store
)

// Status is what is known of a purge. It is a value, safe to keep and to marshal.
type Status struct {
	ID         string    `json:"id"`
	Request    Request   `json:"request"`
	AcceptedAt time.Time `json:"accepted_at"`
	AcceptedBy string    `json:"accepted_by"`
	Durability string    `json:"durability"` // Local or Replicated
	Summary    Outcome   `json:"outcome"`    // as Outcome returns it
	Results    []Result  `json:"results"`    // one per provider, sorted by its name
	// Warnings say, for people, which of the request's tags do not work or do not mean the same
	// at some CDNs, whether those are configured or not; at most 10 and a count of the others.
	Warnings []string `json:"warnings,omitempty"`
}

// Result is one provider's part of a Status.
type Result struct {
	Provider string         `json:"provider"`
	Form     Form           `json:"form"`
	Reason   string         `json:"reason,omitempty"` // what differs from the request, and why
	Kind     providers.Kind `json:"kind"`             // as sent
	Soft     bool           `json:"soft,omitempty"`   // as sent
	State    State          `json:"state"`
	Final    bool           `json:"final"`
	// Calls, and how many of them the provider took or refused for good.
	Batches       int `json:"batches"`
	BatchesTaken  int `json:"batches_taken"`
	BatchesFailed int `json:"batches_failed,omitempty"`
	Attempts      int `json:"attempts"` // calls made, repeats included
	// LastError is the last thing that went wrong, also if a later attempt succeeded; Advice
	// tells what to do about a failure.
	LastError string    `json:"last_error,omitempty"`
	Advice    string    `json:"advice,omitempty"`
	Refs      []string  `json:"refs,omitempty"` // the provider's identifiers, for its support
	SentAt    time.Time `json:"sent_at,omitzero"`
	DoneAt    time.Time `json:"done_at,omitzero"` // when the last batch was settled
	NextAt    time.Time `json:"next_at,omitzero"` // of the next attempt or look, when one is due
	Deadline  time.Time `json:"deadline,omitzero"`
	// Check is "verified", "unverified", "pending" or empty; CheckReason says what was seen, or
	// why there is nothing to verify with.
	Check       CheckState `json:"check,omitempty"`
	CheckReason string     `json:"check_reason,omitempty"`
	CheckedAt   time.Time  `json:"checked_at,omitzero"`
}

// Outcome sums up the results.
func (s Status) Outcome() Outcome {
	var taken, failed, unverified bool
	for _, r := range s.Results {
		if !r.Final {
			return Pending
		}
		taken = taken || r.BatchesTaken > 0
		failed = failed || r.State == Failed || r.State == Unsupported
		unverified = unverified || r.Check == CheckUnverified
	}
	switch {
	case failed && taken:
		return Partly
	case failed:
		return NotDone
	case unverified:
		return Unverified
	}
	return Done
}

// Final reports whether nothing more will happen by itself.
func (s Status) Final() bool { return s.Outcome() != Pending }

func statusOf(r Record) Status {
	s := Status{ID: r.ID, Request: r.Request, AcceptedAt: r.AcceptedAt,
		AcceptedBy: r.AcceptedBy, Durability: Local}
	if r.Replicated {
		s.Durability = Replicated
	}
	for _, d := range r.Deliveries {
		s.Results = append(s.Results, resultOf(d))
	}
	s.Summary = s.Outcome()
	s.Warnings = warningsOf(r.Request)
	return s
}

// warningsOf lists what is not portable in a request's tags.
func warningsOf(r Request) []string {
	if r.Kind != providers.Tag {
		return nil
	}
	var out []string
	more := 0
	for _, tag := range r.Items {
		for _, w := range providers.TagWarnings(tag) {
			if len(out) == maxMistakes {
				more++
				continue
			}
			out = append(out, fmt.Sprintf("tag %s: %s", shortened(tag), w))
		}
	}
	if more > 0 {
		out = append(out, fmt.Sprintf("and %d more", more))
	}
	return out
}

// shortened is a tag as it is shown, which may be a thousand bytes long.
func shortened(tag string) string {
	const shown = 64
	if len(tag) > shown {
		return fmt.Sprintf("%q...", tag[:shown]) // tags are ASCII
	}
	return fmt.Sprintf("%q", tag)
}

func resultOf(d Delivery) Result {
	out := Result{
		Provider: d.Provider, Form: d.Form, Reason: d.Reason, Kind: d.Kind, Soft: d.Soft,
		State: d.State(), Final: d.Final(), Deadline: d.Deadline,
		LastError: d.Last.Message, Advice: d.Last.Advice,
	}
	if d.Last.Class != "" {
		out.LastError = fmt.Sprintf("%s: %s", d.Last.Class, d.Last.Message)
	}
	if out.State != Failed {
		out.Advice = ""
	}
	if !slices.Contains([]State{Failed, Unsupported}, out.State) {
		out.Check, out.CheckReason, out.CheckedAt = d.Check.State, d.Check.Reason, d.Check.At
	}
	for _, p := range d.Batches {
		out.count(p)
	}
	if _, due := d.next(); !out.Final {
		out.NextAt = due
	}
	return out
}

// count adds one batch to a result.
func (r *Result) count(p Part) {
	r.Attempts += p.Attempts
	r.SentAt, r.DoneAt = later(r.SentAt, p.SentAt), later(r.DoneAt, p.DoneAt)
	if p.State == split {
		return
	}
	r.Batches++
	if p.State == Failed {
		r.BatchesFailed++
	}
	if rank(p.State) >= rank(Accepted) {
		r.BatchesTaken++
	}
	if p.Ref != "" && !slices.Contains(r.Refs, p.Ref) {
		r.Refs = append(r.Refs, p.Ref)
	}
}
