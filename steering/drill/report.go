package drill

import (
	"fmt"
	"strings"
	"time"

	"pointsman/steering"
)

// State is where a drill is.
type State string

// The states. Done, Aborted and Failed are final.
const (
	Running   State = "running"   // the backend's probes fail
	Restoring State = "restoring" // the fault is lifted; waiting for the share to come back
	Done      State = "done"
	Aborted   State = "aborted" // a guard, an operator or a restart ended it early; restored
	Failed    State = "failed"  // it ended, but the backend did not leave or did not come back
)

// Final reports whether the drill is over.
func (s State) Final() bool { return s == Done || s == Aborted || s == Failed }

// Report is a drill: while it runs, and what it measured. Durations count from Started until
// the fault was lifted, those of the return from Lifted; one that did not happen is 0.
type Report struct {
	ID      string    `json:"id"`
	Plan    Plan      `json:"plan"`
	Node    string    `json:"node"`
	State   State     `json:"state"`
	Message string    `json:"message"`
	Started time.Time `json:"started"`
	Ends    time.Time `json:"ends"` // when the fault is lifted at the latest
	Lifted  time.Time `json:"lifted,omitzero"`
	Ended   time.Time `json:"ended,omitzero"`
	// Aborted says why the fault was lifted before its time; empty when it was not.
	Aborted string `json:"aborted,omitempty"`

	Detected time.Duration `json:"detected"` // until this node held the backend unhealthy
	Shifted  time.Duration `json:"shifted"`  // until no answer names the backend
	Returned time.Duration `json:"returned"` // until it had a share again
	Restored time.Duration `json:"restored"` // until its share was what it had been

	Hosts  []string `json:"hosts"`
	Before []Point  `json:"before"` // one per host: the shares when it began
	Points []Point  `json:"points"` // the shares over time, once a second
}

// Point is a steered name's shares at one moment.
type Point struct {
	After  time.Duration    `json:"after"` // since Started
	Host   string           `json:"host"`
	Reason string           `json:"reason"`
	Shares []steering.Share `json:"shares"`
	// Answered is the share of answers that named the drilled backend since the last point;
	// below 0 when no answer was given.
	Answered float64 `json:"answered"`
}

// Markdown renders the report for people.
func (r Report) Markdown() string {
	var b strings.Builder
	fmt.Fprintf(&b, "# Drill %s: %s\n\n", r.ID, r.Plan.Backend)
	fmt.Fprintf(&b, "%s: %s.\n\n", r.State, oneLine(r.Message))
	fmt.Fprintf(&b, "Started %s on node %s by %s (%s), for %s.\n\n",
		r.Started.UTC().Format(time.RFC3339), r.Node, oneLine(r.Plan.Actor),
		oneLine(r.Plan.Reason), r.Plan.For)
	b.WriteString("| measured | time |\n|---|---|\n")
	for _, row := range []struct {
		what string
		d    time.Duration
	}{
		{"fault begun to detected", r.Detected},
		{"fault begun to out of every answer", r.Shifted},
		{"fault lifted to first share", r.Returned},
		{"fault lifted to full share", r.Restored},
	} {
		fmt.Fprintf(&b, "| %s | %s |\n", row.what, orNever(row.d))
	}
	for _, host := range r.Hosts {
		r.shares(&b, host)
	}
	return b.String()
}

// oneLine keeps what people typed from breaking the report's layout.
func oneLine(s string) string { return strings.Join(strings.Fields(s), " ") }

func orNever(d time.Duration) string {
	if d == 0 {
		return "did not happen"
	}
	return d.Round(10 * time.Millisecond).String()
}

// shares writes one line for each moment at which a name's shares were different.
func (r Report) shares(b *strings.Builder, host string) {
	fmt.Fprintf(b, "\n## %s\n\n| after | shares | answers naming %s | reason |\n|---|---|---|---|\n",
		host, r.Plan.Backend)
	last := ""
	for _, p := range append(append([]Point(nil), r.Before...), r.Points...) {
		if p.Host != host {
			continue
		}
		line := shareText(p.Shares)
		if line == last {
			continue
		}
		last = line
		answered := "-"
		if p.Answered >= 0 {
			answered = fmt.Sprintf("%.1f %%", p.Answered*100)
		}
		fmt.Fprintf(b, "| %s | %s | %s | %s |\n", p.After.Round(100*time.Millisecond), line,
			answered, p.Reason)
	}
}

func shareText(shares []steering.Share) string {
	var parts []string
	for _, s := range shares {
		if s.Share > 0 {
			parts = append(parts, fmt.Sprintf("%s %.1f %%", s.Backend, s.Share*100))
		}
	}
	return strings.Join(parts, ", ")
}
