package replay

import (
	"cmp"
	"maps"
	"slices"
	"strings"
)

// tally counts what became of lines. It belongs to one goroutine.
type tally struct {
	cfg      *Config
	r        Report
	dropped  map[lane]uint64
	found    []Finding
	unjudged []Finding
}

// lane is one goroutine of a node, which counts what it dropped since its start.
type lane struct {
	source, worker int
}

func newTally(cfg *Config) *tally {
	return &tally{cfg: cfg, dropped: make(map[lane]uint64), r: Report{
		Decisions: make(map[Outcome]int), Answers: make(map[Outcome]int),
		Unmade: make(map[string]int)}}
}

// batch judges the lines of a batch.
func (t *tally) batch(b *batch) {
	octets := 0
	for i, text := range b.lines {
		octets += len(text) + 1
		t.line(b, b.first+i, text)
	}
	t.cfg.Done.Octets.Add(int64(octets))
	t.cfg.Done.Lines.Add(int64(len(b.lines)))
}

func (t *tally) line(b *batch, n int, text []byte) {
	t.r.Lines++
	l, err := Parse(text)
	if err != nil {
		t.note(b, n, Judged{Decision: Unread, Why: err.Error()})
		return
	}
	at := lane{b.source, l.Worker}
	t.dropped[at] = max(t.dropped[at], l.Dropped)
	if t.cfg.Host != "" && l.Host != t.cfg.Host || !strings.HasPrefix(l.TableHash, t.cfg.Table) {
		t.r.Filtered++
		return
	}
	table, err := b.from.Tables.Table(l.TableHash)
	if err != nil {
		t.note(b, n, Judged{Decision: NoTable, Why: err.Error()})
		return
	}
	t.note(b, n, Judge(&l, table, t.cfg.Repeat))
}

// note counts a line, and keeps what there is to say about it.
func (t *tally) note(b *batch, n int, j Judged) {
	t.r.Decisions[j.Decision]++
	what := j.Decision
	if j.Answer != "" {
		t.r.Answers[j.Answer]++
		if what == Equal {
			what = j.Answer
		}
	}
	f := Finding{File: b.from.Name, Line: n, What: what, Why: j.Why, source: b.source}
	switch what {
	case Differs:
		t.found = t.keep(append(t.found, f), 2)
	case NoTable, Unread:
		t.unjudged = t.keep(append(t.unjudged, f), 2)
	case Unmade:
		t.r.Unmade[cmp.Or(j.Why, "nothing is known of the zones")]++
	}
}

// keep cuts findings to the first ones, once there are more than some times as many.
func (t *tally) keep(all []Finding, times int) []Finding {
	if times > 0 && len(all) <= times*t.cfg.Shown {
		return all
	}
	slices.SortFunc(all, func(a, b Finding) int {
		return cmp.Or(cmp.Compare(a.source, b.source), cmp.Compare(a.Line, b.Line))
	})
	return all[:min(len(all), t.cfg.Shown)]
}

func (t *tally) merge(o *tally) {
	t.r.Lines += o.r.Lines
	t.r.Filtered += o.r.Filtered
	for _, both := range [][2]map[Outcome]int{{t.r.Decisions, o.r.Decisions},
		{t.r.Answers, o.r.Answers}} {
		for k, n := range both[1] {
			both[0][k] += n
		}
	}
	for why, n := range o.r.Unmade {
		t.r.Unmade[why] += n
	}
	for at, n := range o.dropped {
		t.dropped[at] = max(t.dropped[at], n)
	}
	t.found = append(t.found, o.found...)
	t.unjudged = append(t.unjudged, o.unjudged...)
}

func (t *tally) report() *Report {
	r := t.r
	for n := range maps.Values(t.dropped) {
		r.Dropped += n
	}
	r.Found = t.keep(append([]Finding{}, t.found...), 0)
	r.Unjudged = t.keep(t.unjudged, 0)
	return &r
}
