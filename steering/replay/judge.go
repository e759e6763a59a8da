package replay

import (
	"fmt"
	"net/netip"
	"strings"

	"pointsman/steering"
)

// Outcome is what became of a line, or of its answer.
type Outcome string

// The outcomes.
const (
	Equal   Outcome = "equal"
	Differs Outcome = "differs"
	// Inexact lines tell less of the client than the decision went by: nothing follows from them.
	Inexact Outcome = "inexact"
	NoTable Outcome = "no table" // its file is gone, or does not compile to the hash
	Unread  Outcome = "unread"   // no line of a decision log
	// Untold answers have no query in their line, which would tell more of a client than it may.
	Untold Outcome = "untold"
	// Unmade answers can't be made again: they had signatures, or nothing is known of the zones.
	Unmade Outcome = "unmade"
)

// Repeat makes the answer of a line again, by its table, and reports whether it has the hash that
// the line says. Client is the line's. An error says why it can't be made again.
type Repeat func(table *steering.Table, l *Line, draws []uint64) (same bool, err error)

// Judged is what became of one line.
type Judged struct {
	Decision Outcome
	Answer   Outcome // empty when the decision is no Equal one
	Why      string  // in words; empty when all is equal
}

// Judge makes a line's decisions and, with a repeat, its answer again, and compares. It is pure when
// repeat is.
func Judge(l *Line, table *steering.Table, repeat Repeat) Judged {
	if !l.Exact {
		return Judged{Decision: Inexact, Why: "the client's prefix was shortened"}
	}
	if why := differs(l, table); why != "" {
		return Judged{Decision: Differs, Why: why}
	}
	j := Judged{Decision: Equal}
	switch {
	case len(l.Query) == 0 || len(l.AnswerSHA256) == 0:
		j.Answer = Untold
		return j
	case repeat == nil:
		j.Answer = Unmade
		return j
	case !whole(l, table):
		j.Answer = Untold
		return j
	}
	same, err := repeat(table, l, l.draws())
	switch {
	case err != nil:
		j.Answer, j.Why = Unmade, err.Error()
	case same:
		j.Answer = Equal
	default:
		j.Answer, j.Why = Differs, "the same decisions give other octets"
	}
	return j
}

// differs says in words in what the decisions made again are others; empty: in nothing.
func differs(l *Line, table *steering.Table) string {
	var diff differences
	made, ok := table.Pick(steering.Query{Host: l.Host, Client: l.Client, Draw: uint64(l.Draw)})
	if !ok {
		return fmt.Sprintf("%s is not steered by table %s", l.Host, table.Hash)
	}
	diff.decision(l.Host, &l.Decided, &made)
	diff.add("ttl", l.TTL, made.TTL)
	place, _ := table.Place(l.Host, l.Client)
	diff.add("place", l.Place, place)
	scope := made.Scope
	for _, f := range l.Then {
		made, ok := table.Pick(steering.Query{Host: f.Host, Client: l.Client, Draw: uint64(f.Draw)})
		if !ok {
			return fmt.Sprintf("%s is not steered by table %s", f.Host, table.Hash)
		}
		diff.decision(f.Host, &f.Decided, &made)
		scope = max(scope, made.Scope)
	}
	diff.add("scope", l.Scope, scope)
	return strings.Join(diff, ", ")
}

// differences gathers what is other than the log says.
type differences []string

func (d *differences) decision(host string, l *Decided, made *steering.Decision) {
	d.add(host+" backend", l.Backend, made.Backend)
	d.add(host+" pool", l.Pool, made.Pool)
	d.add(host+" reason", l.Reason, made.Reason)
}

func (d *differences) add(what string, logged, made any) {
	if logged != made {
		*d = append(*d, fmt.Sprintf("%s: logged %v, made %v", what, logged, made))
	}
}

// whole reports whether an answer to the first address of the client's prefix has the same
// decisions: when the prefix of a resolver was shortened, that stands for its address.
func whole(l *Line, table *steering.Table) bool {
	if l.ClientSource == "ecs" || !l.Client.IsValid() {
		return l.Client.IsValid()
	}
	one := *l
	one.Client = netip.PrefixFrom(l.Client.Addr(), l.Client.Addr().BitLen())
	return one.Client == l.Client || differs(&one, table) == ""
}
