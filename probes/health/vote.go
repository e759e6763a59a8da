package health

import (
	"log/slog"
	"maps"
	"slices"
	"time"

	"pointsman/probes"
)

// summary is what one vantage holds of a backend, over all its targets.
type summary struct {
	state    State
	reason   string
	last     time.Time     // start of the newest sample; zero when there is none
	latency  time.Duration // of the slowest target
	certEnds time.Time     // of the certificate that ends first
}

// severity orders the states of a backend's targets, the worst highest: a backend is as well
// as its worst target, since a client may meet any of them. Unknown hides Healthy, so that a
// backend is not Healthy before each target has risen.
func severity(s State) int {
	return slices.Index([]State{Healthy, Unknown, Degraded, Unhealthy}, s)
}

// summarize folds a backend's targets into one. It forgets targets whose samples stopped
// while others' went on: they are no longer in the config.
func summarize(records map[string]Record, r Rules) summary {
	out := summary{state: Unknown}
	for _, s := range records {
		if s.Last.Start.After(out.last) {
			out.last = s.Last.Start
		}
	}
	worst := -1
	for _, target := range slices.Sorted(maps.Keys(records)) {
		s := records[target]
		if r.StaleAfter > 0 && out.last.Sub(s.Last.Start) > r.StaleAfter {
			delete(records, target)
			continue
		}
		out.latency = max(out.latency, s.Latency)
		if out.certEnds.IsZero() || !s.CertEnds.IsZero() && s.CertEnds.Before(out.certEnds) {
			out.certEnds = s.CertEnds
		}
		state, reason := s.Verdict()
		if n := severity(state); n > worst {
			worst, out.state, out.reason = n, state, reason
			if len(records) > 1 && state != Healthy {
				out.reason = target + ": " + reason
			}
		}
	}
	return out
}

// vote makes this vantage's vote of a summary. While we doubt ourselves it abstains from
// calling a usable backend Unhealthy.
func (t *Tracker) vote(b *backend, s summary) Vote {
	v := Vote{Vantage: t.vantage, State: s.state, At: s.last.UTC(), Reason: s.reason}
	if t.doubt && s.state == Unhealthy && b.health.State.Usable() {
		v.State = Unknown
		v.Reason = "not believed, as everything fails, the control too: " + s.reason
	}
	return v
}

// doubtOurselves finds out whether every target that is measured fails, those of the controls
// included. A drill's failures say nothing about our eyes: a control under a drill is as good
// as none.
func (t *Tracker) doubtOurselves() {
	was := t.doubt
	t.doubt = len(t.control) > 0
	for _, name := range t.control {
		b := t.backends[name]
		t.doubt = t.doubt && b != nil && len(b.records) > 0
		if !t.doubt {
			break
		}
		for _, s := range b.records {
			t.doubt = t.doubt && s.Last.Outcome != probes.FailedDrill
		}
	}
	for _, b := range t.backends {
		for _, s := range b.records {
			t.doubt = t.doubt && !s.Last.OK()
		}
	}
	if t.doubt != was {
		t.metrics.doubt.Set(oneIf(t.doubt))
		t.later(slog.LevelWarn, "self-doubt changed", "vantage", t.vantage, "doubt", t.doubt)
	}
}
