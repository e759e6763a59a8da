// Package providers states what a CDN's control API can do and the contract of doing it. A
// Batch flows in, a Receipt or an Error flows out. Each vendor is a folder below; retries,
// pacing and durability belong to package purge, so an implementation makes one attempt and
// tells the truth about it. The package owns no goroutine.
package providers

import (
	"context"
	"fmt"
	"time"
)

// Kind is what a purge names.
type Kind string

// The kinds of purge, from the narrowest to the widest.
const (
	URL        Kind = "url"    // one absolute URL
	Tag        Kind = "tag"    // a surrogate key
	Prefix     Kind = "prefix" // host and path prefix, without scheme: www.example.com/img/
	Host       Kind = "host"   // every object of a host name
	Everything Kind = "everything"
)

// Kinds lists every kind in the order in which people read tables.
func Kinds() []Kind { return []Kind{URL, Prefix, Host, Tag, Everything} }

// Capability says how a provider does one kind of purge.
type Capability struct {
	Native bool `json:"native"` // the API has it
	Soft   bool `json:"soft"`   // it can mark stale instead of evicting
	// MaxBatch is the most items of this kind in one call; 0 when Native is false.
	MaxBatch int `json:"max_batch"`
	// Note tells an operator what to know or what to do instead. May be empty.
	Note string `json:"note,omitempty"`
}

// Capabilities is what one provider can do. It is constant after construction.
type Capabilities struct {
	Kinds map[Kind]Capability `json:"kinds"`
	// Confirms is true when the provider's status API says that a purge is done.
	Confirms bool `json:"confirms"`
	// RepeatKey is true when the provider recognises a repeated Batch.RepeatKey.
	RepeatKey bool `json:"repeat_key"`
	// Propagation is how long a purge usually takes to reach every PoP, as documented.
	Propagation time.Duration `json:"propagation"`
	// Source names the vendor document that these facts come from.
	Source string `json:"source"`
}

// Batch is one API call's worth of purging: items of one kind.
type Batch struct {
	PurgeID string
	// RepeatKey is the same on every attempt at the same batch, also after a restart.
	RepeatKey string
	Kind      Kind
	// Items are normalised: URLs absolute with lower-case scheme and host and an ASCII path;
	// prefixes host and path without scheme; hosts lower case. Empty for Everything, never
	// otherwise.
	Items []string
	Soft  bool
}

// Receipt is the provider's handle for a batch it took.
type Receipt struct {
	Ref string // the provider's identifier for support or polling; may be empty
	// Confirmed is true when the provider said that the purge is done, not just taken.
	Confirmed bool
	// Estimate is how long the provider says it will take; 0 when it doesn't say.
	Estimate time.Duration
}

// Provider speaks one account's purge API. Implementations are safe for concurrent use, make
// exactly one attempt per call, and return an *Error for everything that went wrong.
type Provider interface {
	// Name is the provider's name in the config.
	Name() string
	// Vendor is the kind of API it speaks, such as "fastly".
	Vendor() string
	Capabilities() Capabilities
	// Purge sends one batch. A nil error means that the provider took it.
	Purge(ctx context.Context, b Batch) (Receipt, error)
}

// Class sorts errors by what to do next.
type Class string

// The classes of an Error.
const (
	Invalid     Class = "invalid"     // our request is wrong: never retry
	Auth        Class = "auth"        // credentials or rights: never retry, alert
	NotFound    Class = "not-found"   // no such zone or service: never retry
	Unsupported Class = "unsupported" // the API cannot do this: never retry
	Throttled   Class = "throttled"   // retry after the hint
	Busy        Class = "busy"        // too many in progress: queue, do not spin
	Transient   Class = "transient"   // 5xx, timeouts, resets, unreadable answers: retry
	TooLarge    Class = "too-large"   // split the batch and send again
)

// Error is why a batch was not taken, or why that is not known.
type Error struct {
	Provider  string
	Operation string // such as "POST /zones/…/purge_cache"; never holds a credential
	Class     Class
	Status    int // HTTP status; 0 when there was no answer
	// RetryAfter is how long the provider asked us to wait; 0 when it didn't.
	RetryAfter time.Duration
	// Unknown is true when the purge may have run although we saw an error: the request was
	// written and no readable answer came.
	Unknown bool
	// RetryOnce is true when the provider is known to refuse good requests in short bursts
	// (Cloudflare's 401 with code 10000): worth one more attempt before anybody is alerted,
	// although the Class says never.
	RetryOnce bool
	Message   string // for people: the vendor's words, cut to 300 bytes
	Err       error  // the cause, may be nil
}

// Error implements error.
func (e *Error) Error() string {
	s := fmt.Sprintf("provider %q: %s: %s", e.Provider, e.Operation, e.Class)
	if e.Status != 0 {
		s += fmt.Sprintf(" (HTTP %d)", e.Status)
	}
	if e.Message != "" {
		s += ": " + e.Message
	}
	if e.Err != nil {
		s += ": " + e.Err.Error()
	}
	return s
}

// Unwrap returns the cause.
func (e *Error) Unwrap() error { return e.Err }

// Temporary reports whether another attempt at the same batch can succeed.
func (e *Error) Temporary() bool {
	switch e.Class {
	case Throttled, Busy, Transient:
		return true
	}
	return false
}
