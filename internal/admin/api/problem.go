package api

import (
	"fmt"
	"strings"
	"time"
)

// The stable codes of a Problem.
const (
	CodeBadRequest   = "bad-request"
	CodeUnauthorized = "unauthorized" // no or unknown credentials
	CodeForbidden    = "forbidden"    // known, but the scope is missing
	CodeNotFound     = "not-found"
	CodeConflict     = "conflict"
	CodeRefused      = "refused" // a guard said no; Detail says why
	CodeUnavailable  = "unavailable"
	CodeInternal     = "internal"
	CodeTooLarge     = "too-large"
	CodeTooMany      = "too-many-requests"
)

// Problem is an error as RFC 9457 shapes it, with a stable code to branch on.
type Problem struct {
	Type   string `json:"type"`
	Title  string `json:"title"`
	Status int    `json:"status"`
	Detail string `json:"detail,omitempty"`
	Code   string `json:"code"`
	// Findings lists the mistakes of a refused config, one per line of the file.
	Findings []string `json:"findings,omitempty"`
	// RetryAfter is how long to wait, from the header; 0 when the server didn't say.
	RetryAfter time.Duration `json:"-"`
}

// Error implements error. What went wrong comes first and alone where the server said it in
// words; the status is added where the words may come from something in between, or are none.
func (p *Problem) Error() string {
	s := p.Detail
	if p.Code == "" || s == "" {
		s = strings.TrimSuffix(fmt.Sprintf("HTTP %d %s: %s", p.Status, p.Title, s), ": ")
	}
	for _, f := range p.Findings {
		s += "\n" + f
	}
	return s
}
