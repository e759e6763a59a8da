package steering

import (
	"fmt"
	"strings"
	"time"

	"pointsman/probes/health"
)

// Trace is how a host's part of a table came about. It is made on demand: the table keeps
// its inputs, and the same code that compiled the host runs once more and writes down what it
// does. So a trace can't differ from the table.
type Trace struct {
	Host  string
	Place string // empty for clients who are at no place of the host
	Steps []Step
}

// Step is one step of a compilation or a pick.
type Step struct {
	What   string  `json:"what"`   // "host", "place", "overrides", "pool cdns", "ladder", "pin", "pick" …
	Detail string  `json:"detail"` // what came of it, in words
	Inputs []Input `json:"inputs,omitempty"`
}

// Input is one thing that a step looked at, where it came from and how old it is.
type Input struct {
	// Kind is "health", "latency", "cost", "distance", "addresses", "weight", "factor", "override",
	// "country", "subdivision", "asn", "up", "drain", "capacity" or "split".
	Kind    string `json:"kind"`
	Backend string `json:"backend"` // empty for a country, which is the client's
	Value   string `json:"value"`
	// Source is where the value came from: "config", "view 12", "epoch 4", "feed billing", an
	// override's ID with its actor.
	Source string `json:"source"`
	Reason string `json:"reason,omitempty"`
	// Since is when the value began; zero when it isn't known or comes from the config.
	Since time.Time `json:"since,omitzero"`
	// Seen is when it was last confirmed (the newest sample); zero when it isn't measured.
	Seen time.Time `json:"seen,omitzero"`
	// Expires is when an override, or what a feed said, ends.
	Expires time.Time `json:"expires,omitzero"`
	// AgeSeconds is how long ago, when it was explained, the value was last confirmed (or
	// began, when it isn't measured). It is nil for what has no age.
	AgeSeconds *float64 `json:"age_seconds,omitempty"`
	// Votes are the vantages' opinions behind a state of health.
	Votes []health.Vote `json:"votes,omitempty"`
}

// Trace returns how a host was compiled for clients who are at none of its places, and false
// when the name is not steered.
func (t *Table) Trace(host string) (Trace, bool) { return t.TraceAt(host, "") }

// TraceAt is Trace for the clients at one of the host's places; false when there is none of
// that name.
func (t *Table) TraceAt(host, place string) (Trace, bool) {
	p := t.plan(host, place)
	if p == nil {
		return Trace{}, false
	}
	tr := &Trace{Host: host, Place: place}
	t.compiler.host(t.compiler.hosts[host], p.spot, p.barred, tr)
	return *tr, true
}

// The methods below write one step each. All do nothing on a nil trace, so that compiling
// without one costs no more than the checks.

func (tr *Trace) add(what, detail string, inputs ...Input) *Step {
	tr.Steps = append(tr.Steps, Step{What: what, Detail: detail, Inputs: inputs})
	return &tr.Steps[len(tr.Steps)-1]
}

func (tr *Trace) host(h *Host, pools []string) {
	if tr == nil {
		return
	}
	mode := h.Stickiness
	if mode == "" {
		mode = Spread
	}
	detail := fmt.Sprintf("pools %s in this order, %s, TTL %s, ramp %s",
		strings.Join(pools, ", "), mode, h.TTL, h.Ramp)
	if h.Flatten {
		detail += ", flattened: addresses instead of CNAMEs"
	}
	tr.add("host", detail)
}

func (tr *Trace) barred(backends []string) {
	if tr != nil && len(backends) > 0 {
		tr.add("constraint", strings.Join(backends, ", ")+" may not answer clients there")
	}
}

func (tr *Trace) overrides(o orders, host string) {
	if tr == nil {
		return
	}
	var inputs []Input
	for i := range o.active {
		if v := &o.active[i]; v.Covers(host) {
			inputs = append(inputs, overrideInput(v))
		}
	}
	if len(inputs) > 0 {
		tr.add("overrides", fmt.Sprintf("%d hold for this host", len(inputs)), inputs...)
	}
}

func overrideInput(v *Override) Input {
	value := string(v.Kind)
	switch v.Kind {
	case Weight:
		value = fmt.Sprintf("weight %d", v.Weight)
	case Drain, Pin, Fence:
	default:
		value += " (unknown kind, ignored)"
	}
	source := "override " + v.ID
	if v.Actor != "" {
		source += " by " + v.Actor
	}
	switch {
	case v.Unsaved:
		source += ", which a restart of this node would forget"
	case v.Local:
		source += ", known to this node alone"
	}
	return Input{
		Kind: "override", Backend: v.Backend, Value: value, Source: source,
		Reason: v.Reason, Since: v.Created, Expires: v.Expires,
	}
}

// poolTrace gathers one pool's step.
type poolTrace struct {
	trace  *Trace
	pool   *Pool
	role   string
	inputs []Input
	notes  []string
}

func (tr *Trace) pool(p *Pool, role string) *poolTrace {
	if tr == nil {
		return nil
	}
	return &poolTrace{trace: tr, pool: p, role: role}
}

func (p *poolTrace) member(
	in Inputs, m Member, h health.Health, out, weighted *Override, factor float64,
) {
	if p == nil {
		return
	}
	source := "no view yet"
	if in.View != nil {
		source = fmt.Sprintf("view %d", in.View.Version)
	}
	p.inputs = append(p.inputs, Input{
		Kind: "health", Backend: m.Backend, Value: string(h.State), Source: source,
		Reason: h.Reason, Since: h.Since, Seen: h.LastSample, Votes: h.Votes,
	})
	if weighted != nil {
		p.inputs = append(p.inputs, overrideInput(weighted))
	} else {
		p.inputs = append(p.inputs, Input{
			Kind: "weight", Backend: m.Backend, Value: fmt.Sprint(m.Weight), Source: "config",
		})
	}
	if factor < 1 {
		p.inputs = append(p.inputs, Input{
			Kind: "factor", Backend: m.Backend, Value: fmt.Sprintf("%.2f", factor),
			Source: fmt.Sprintf("epoch %d", in.Shares.Epoch),
			Reason: slowed(in, m.Backend, factor), Since: h.UsableSince,
		})
	}
	if out != nil {
		p.inputs = append(p.inputs, overrideInput(out))
		p.notes = append(p.notes, fmt.Sprintf("%s is out by %s %s", m.Backend, out.Kind, out.ID))
	}
	switch h.State {
	case health.Degraded:
		p.notes = append(p.notes, m.Backend+" is degraded and keeps its full weight")
	case health.Unknown:
		p.notes = append(p.notes, m.Backend+" is not measured and counts as usable")
	case health.Unhealthy:
		p.notes = append(p.notes, m.Backend+" is unhealthy")
	}
}

// slowed says why a backend has not its full weight.
func slowed(in Inputs, backend string, factor float64) string {
	if factor == in.Shares.Limit(backend) {
		return "its cache is cold"
	}
	return "slow start after its return"
}

func (p *poolTrace) close(n *node) {
	if p == nil {
		return
	}
	able, all := 0, 0
	var within []string
	for i, k := range n.kids {
		if k.leaf == nil {
			within = append(within, n.pool.Members[i].Pool)
			continue
		}
		all++
		if k.leaf.able(false) {
			able++
		}
		if k.weight == 0 && !k.leaf.drained {
			p.notes = append(p.notes, k.leaf.backend+" has weight 0")
		}
	}
	detail := fmt.Sprintf("%s: %d of %d members can answer", p.role, able, all)
	if within != nil {
		detail += ", besides those of the pools " + strings.Join(within, ", ")
	}
	if c := p.pool.Choose; c != "" && c != ByWeight {
		detail += ", chosen by " + string(c)
	}
	if len(p.notes) > 0 {
		detail += "; " + strings.Join(p.notes, "; ")
	}
	p.trace.add("pool "+p.pool.Name, detail, p.inputs...)
}

func (tr *Trace) ladder(chosen []standing, rungs []*node, reason Reason) {
	if tr == nil {
		return
	}
	pool := rungOf(rungs, chosen[0])
	detail := map[Reason]string{
		ReasonPool:     "the first pool, " + pool + ", answers",
		ReasonFallback: "no earlier pool can answer; " + pool + " does",
		ReasonAllDown: "no pool has a usable member; " + pool +
			" answers as if all were healthy",
		ReasonDrained: "all members of all pools are drained or weigh 0; " + pool +
			" answers in equal parts, because an answer is never empty",
		ReasonUnresolved: "no backend has an address yet: there is nothing to answer with " +
			"(SERVFAIL) until one of the names is resolved",
	}[reason]
	tr.add("ladder", detail)
}

// rungOf names the pool of a host by which a backend came to be chosen.
func rungOf(rungs []*node, s standing) string {
	for _, n := range rungs {
		for leaf := range n.leaves() {
			if leaf.backend == s.backend && leaf.pool == s.pool {
				return n.pool.Name
			}
		}
	}
	return s.pool
}

func (tr *Trace) pinned(pin *Override, s *standing) {
	if tr == nil {
		return
	}
	detail := s.backend + " takes all by an operator's order"
	if !s.usable {
		detail += ", although it is unhealthy"
	}
	if s.drained {
		detail += ", although it is drained or fenced as well"
	}
	tr.add("pin", detail, overrideInput(pin))
}

func (tr *Trace) pinIgnored(pin *Override, why string) {
	if tr == nil {
		return
	}
	tr.add("pin", "ignored: "+why, overrideInput(pin))
}

func (tr *Trace) mixture(list []candidate) {
	if tr == nil {
		return
	}
	if names, addresses := kinds(list); names != "" && addresses != "" {
		tr.add("mixture", fmt.Sprintf("%s answer with a CNAME, %s with addresses: "+
			"resolvers are known to skew such a mix", names, addresses))
	}
}
