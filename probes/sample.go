// Package probes measures a target once, and on a schedule, and emits samples. Targets flow
// in from the config, samples out through one bounded channel. Scheduler.Run owns every
// goroutine; a Fault (a drill) is consulted before each probe, at the source.
package probes

import (
	"context"
	"net/netip"
	"time"
)

// Phases are the durations of a probe's steps. A step that did not happen is 0.
type Phases struct {
	DNS, Connect, TLS, FirstByte, Total time.Duration
}

// Outcome is why a sample is good or bad. The zero value is not an outcome.
type Outcome string

// The outcomes. Every one but OK is a failure.
const (
	OK            Outcome = "ok"
	FailedDNS     Outcome = "dns"         // the target's name did not resolve
	FailedConnect Outcome = "connect"     // refused, unreachable, timed out while connecting
	FailedTLS     Outcome = "tls"         // handshake failed or timed out
	FailedCert    Outcome = "certificate" // expired, wrong name, untrusted
	FailedTimeout Outcome = "timeout"     // connected, but the answer did not come in time
	FailedRead    Outcome = "read"        // reset or garbage while answering
	FailedStatus  Outcome = "status"      // answered with a status that was not expected
	FailedBody    Outcome = "body"        // the body did not hold what it must
	FailedHeader  Outcome = "header"      // a header was missing or different
	FailedDrill   Outcome = "drill"       // a drill made this probe fail
)

// Sample is one measurement. It is a value and never changes after it was emitted.
type Sample struct {
	Backend string
	Vantage string
	Target  string // the Target's Name; a backend may have several
	Start   time.Time
	Phases  Phases
	Outcome Outcome
	// Detail says in words what was seen when Outcome is not OK ("status 503, want 200").
	Detail string
	Status int // HTTP status; 0 when there was none
	Remote netip.AddrPort
	// CertExpires is when the leaf certificate ends; zero without TLS.
	CertExpires time.Time
}

// OK reports whether the sample is a success.
func (s Sample) OK() bool { return s.Outcome == OK }

// Prober measures a target once. It respects ctx and the target's timeout, whichever ends
// first, and never panics on what the network sends.
type Prober interface {
	Probe(ctx context.Context, t Target) Sample
}

// Fault makes probes fail at the source. Inject returns the reason when the probe of the
// backend must fail now. It is called before each probe and must not block.
type Fault interface {
	Inject(backend string, now time.Time) (reason string, failing bool)
}
