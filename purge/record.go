package purge

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"hash/crc32"
	"slices"
	"strings"
	"time"

	"pointsman/providers"
)

// State is how far a delivery has come.
type State string

// The states, each further than the one before; Failed and Unsupported are final.
const (
	Queued    State = "queued"    // nothing was sent yet, or the next attempt is awaited
	Sent      State = "sent"      // a call may have gone out; its outcome is not known yet
	Accepted  State = "accepted"  // the provider took it
	Estimated State = "estimated" // taken, and the time that the provider stated has passed
	Confirmed State = "confirmed" // the provider said that it is done
	Verified  State = "verified"  // seen, by fetching as a client would
	Failed    State = "failed"
	// Unsupported says that the provider cannot do it; nothing was sent.
	Unsupported State = "unsupported"

	// split marks a batch that was too large; its halves stand beside it. Never shown.
	split State = "split"
)

// rank orders a batch's states. Pending ones share a rank and are told apart by Step. Taken
// outranks failed: whoever saw the provider take a batch knows more than whoever did not.
func rank(s State) int {
	switch s {
	case Failed:
		return 1
	case split:
		return 2
	case Accepted:
		return 3
	case Estimated:
		return 4
	case Confirmed:
		return 5
	}
	return 0
}

// Record is one purge as the journal holds it. Records are values: whoever changes one works
// on a clone. Times are UTC in whole milliseconds.
type Record struct {
	ID         string    `json:"id"`
	Request    Request   `json:"request"`
	AcceptedAt time.Time `json:"accepted_at"`
	AcceptedBy string    `json:"accepted_by"` // the node
	// Replicated is true once the shared store has taken a copy.
	Replicated bool       `json:"replicated,omitempty"`
	Deliveries []Delivery `json:"deliveries"` // one per provider, sorted by its name
}

// Delivery is one provider's share of a purge.
type Delivery struct {
	Provider string `json:"provider"`
	// Round counts the operator's retries. A higher round replaces a lower one whole.
	Round  int            `json:"round,omitempty"`
	Form   Form           `json:"form"`
	Reason string         `json:"reason,omitempty"`
	Kind   providers.Kind `json:"kind"`
	Soft   bool           `json:"soft,omitempty"`
	// Deadline is when batches that no attempt has settled fail.
	Deadline time.Time `json:"deadline"`
	Batches  []Part    `json:"batches,omitempty"` // sorted by From, then the longer first
	Last     Problem   `json:"last,omitzero"`
	Check    Check     `json:"check,omitzero"`
}

// Part is one batch of a delivery, known by its range of items, and how far it has come.
type Part struct {
	Cut
	State State `json:"state"`
	// Step rises with each change below Accepted, so that the later of two pending states is
	// known wherever they meet.
	Step       int       `json:"step,omitempty"`
	Attempts   int       `json:"attempts,omitempty"`
	NotBefore  time.Time `json:"not_before,omitzero"`
	SentAt     time.Time `json:"sent_at,omitzero"`
	DoneAt     time.Time `json:"done_at,omitzero"`
	EstimateAt time.Time `json:"estimate_at,omitzero"` // when Accepted becomes Estimated
	Ref        string    `json:"ref,omitempty"`
}

// Problem is the last thing that went wrong with a delivery; what ended a batch outlives what
// only delayed another.
type Problem struct {
	At      time.Time       `json:"at,omitzero"`
	Class   providers.Class `json:"class,omitempty"`
	Message string          `json:"message,omitempty"`
	Advice  string          `json:"advice,omitempty"` // what to do; empty while it is retried
}

// CheckState is how far a delivery's verification has come.
type CheckState string

// The states of a verification.
const (
	CheckNone       CheckState = ""           // nothing to verify with; Check.Reason says why
	CheckPending    CheckState = "pending"    // to be done, or to be repeated
	CheckUnverified CheckState = "unverified" // given up; Check.Reason says what was seen
	CheckVerified   CheckState = "verified"
)

// Check is the verification of a delivery.
type Check struct {
	State     CheckState `json:"state,omitempty"`
	Attempts  int        `json:"attempts,omitempty"`
	NotBefore time.Time  `json:"not_before,omitzero"`
	At        time.Time  `json:"at,omitzero"` // of the last attempt
	Reason    string     `json:"reason,omitempty"`
}

// State sums up the batches and the check.
func (d Delivery) State() State {
	if d.Form == FormUnsupported {
		return Unsupported
	}
	var queued, sent, failed bool
	lowest := Confirmed
	for _, p := range d.Batches {
		switch p.State {
		case Queued:
			queued = true
		case Sent:
			sent = true
		case Failed:
			failed = true
		case split:
		default:
			if rank(p.State) < rank(lowest) {
				lowest = p.State
			}
		}
	}
	switch {
	case sent:
		return Sent
	case queued:
		return Queued
	case failed:
		return Failed
	case d.Check.State == CheckVerified:
		return Verified
	}
	return lowest
}

// Final reports whether nothing more will happen to the delivery by itself.
func (d Delivery) Final() bool {
	switch d.State() {
	case Unsupported, Failed:
		return true
	case Queued, Sent:
		return false
	}
	for _, p := range d.Batches {
		if p.State == Accepted && !p.EstimateAt.IsZero() {
			return false
		}
	}
	return d.Check.State != CheckPending
}

// Final reports whether every delivery is.
func (r Record) Final() bool {
	return !slices.ContainsFunc(r.Deliveries, func(d Delivery) bool { return !d.Final() })
}

// delivery returns the delivery to a provider, or nil.
func (r *Record) delivery(provider string) *Delivery {
	for i := range r.Deliveries {
		if r.Deliveries[i].Provider == provider {
			return &r.Deliveries[i]
		}
	}
	return nil
}

// clone copies what changes; the request is shared, for nobody changes it.
func (r Record) clone() Record {
	r.Deliveries = slices.Clone(r.Deliveries)
	for i := range r.Deliveries {
		r.Deliveries[i].Batches = slices.Clone(r.Deliveries[i].Batches)
	}
	return r
}

// stamp makes a time fit for a record: equal after a trip through JSON.
func stamp(t time.Time) time.Time { return t.UTC().Truncate(time.Millisecond) }

// errUnreadable says that a stored value is no record: cut, altered, or of another format.
var errUnreadable = errors.New("unreadable purge record")

// magic leads every stored record and names its format.
const magic = "purge1 "

// encode returns the record with a checksum, so that a half or altered value is never read as
// a whole one, whatever store it comes from.
func encode(r Record) ([]byte, error) {
	var buffer bytes.Buffer
	to := json.NewEncoder(&buffer)
	to.SetEscapeHTML(false) // six bytes for each "&" of a URL would burst the store's limit
	if err := to.Encode(r); err != nil {
		return nil, fmt.Errorf("encoding purge %s: %w", r.ID, err)
	}
	body := buffer.Bytes()
	head := fmt.Sprintf("%s%08x ", magic, crc32.Checksum(body, crc32.MakeTable(crc32.Castagnoli)))
	return append([]byte(head), body...), nil
}

func decode(raw []byte) (Record, error) {
	rest, ok := strings.CutPrefix(string(raw), magic)
	sum, body, two := strings.Cut(rest, " ")
	if !ok || !two {
		return Record{}, fmt.Errorf("%w: no header", errUnreadable)
	}
	have := crc32.Checksum([]byte(body), crc32.MakeTable(crc32.Castagnoli))
	if want := fmt.Sprintf("%08x", have); want != sum {
		return Record{}, fmt.Errorf("%w: checksum %s, computed %s", errUnreadable, sum, want)
	}
	var r Record
	if err := json.Unmarshal([]byte(body), &r); err != nil {
		return Record{}, fmt.Errorf("%w: %w", errUnreadable, err)
	}
	return r, r.check()
}

// check refuses a record whose batches point outside its items: sending it would panic.
func (r Record) check() error {
	if !validID(r.ID) {
		return fmt.Errorf("%w: id %q", errUnreadable, r.ID)
	}
	for _, d := range r.Deliveries {
		for _, p := range d.Batches {
			if p.From < 0 || p.To < p.From || p.To > len(r.Request.Items) {
				return fmt.Errorf("%w: purge %s: provider %q: batch of items %d to %d of %d",
					errUnreadable, r.ID, d.Provider, p.From, p.To, len(r.Request.Items))
			}
		}
	}
	return nil
}
