package steering

import (
	"fmt"
	"net/netip"
	"slices"
	"time"
)

// Explanation is one decision with all that led to it, as the admin API shows it.
type Explanation struct {
	Host   string `json:"host"`
	Client string `json:"client"`
	// Draw is the query's randomness; as text, because JSON's numbers don't hold 64 bits
	// everywhere.
	Draw         uint64    `json:"draw,string"`
	At           time.Time `json:"at"`
	TableVersion uint64    `json:"table_version"`
	TableHash    string    `json:"table_hash"`
	CompiledAt   time.Time `json:"compiled_at"`
	// CompiledAgeSeconds is how long before At the table was compiled.
	CompiledAgeSeconds float64 `json:"compiled_age_seconds"`
	Steps              []Step  `json:"steps"`
	// Shares are those of the clients at the same place.
	Shares   []Share `json:"shares"`
	Decision Decided `json:"decision"`
}

// Decided is a Decision for people and JSON.
type Decided struct {
	Place      string       `json:"place,omitempty"` // where the client is; empty: at no place
	Backend    string       `json:"backend"`
	Pool       string       `json:"pool"`
	Reason     Reason       `json:"reason"`
	CNAME      string       `json:"cname,omitempty"`
	Addresses  []netip.Addr `json:"addresses,omitempty"`
	TTLSeconds uint32       `json:"ttl_seconds"`
	Scope      uint8        `json:"scope"`
}

// Explain says what a table answers a client that asks for a host with a draw, and why. Ages
// count back from now. It returns false when the name is not steered. It is pure: the same
// arguments always give the same explanation.
func Explain(
	t *Table, host string, client netip.Prefix, draw uint64, now time.Time,
) (Explanation, bool) {
	d, ok := t.Pick(Query{Host: host, Client: client, Draw: draw})
	if !ok {
		return Explanation{}, false
	}
	place, scope := t.Place(host, client)
	at := t.plan(host, place)
	trace, _ := t.TraceAt(host, place)
	if t.plans[host].classes != nil {
		trace.Steps = slices.Insert(trace.Steps, 1, t.placeStep(at.spot, client, scope))
	}
	pick := at.pickStep(client, draw, d)
	if own, _ := at.assigned.find(client); own != nil {
		trace.Steps = append(trace.Steps, own.step(t.compiler.in))
		pick = own.pickStep(draw, d)
	}
	e := Explanation{
		Host: host, Draw: draw, At: now,
		TableVersion: t.Version, TableHash: t.Hash, CompiledAt: t.CompiledAt,
		CompiledAgeSeconds: now.Sub(t.CompiledAt).Seconds(),
		Steps:              append(trace.Steps, pick),
		Shares:             t.SharesAt(host, place),
		Decision: Decided{
			Place: place, Backend: d.Backend, Pool: d.Pool, Reason: d.Reason, CNAME: d.CNAME,
			Addresses: slices.Concat(d.V4, d.V6), TTLSeconds: d.TTL, Scope: d.Scope,
		},
	}
	if client.Addr().IsValid() {
		e.Client = client.String()
	}
	for i := range e.Steps {
		for j := range e.Steps[i].Inputs {
			e.Steps[i].Inputs[j].age(now)
		}
	}
	return e, true
}

// age fills in how old an input is.
func (in *Input) age(now time.Time) {
	from := in.Seen
	if from.IsZero() {
		from = in.Since
	}
	if from.IsZero() {
		return
	}
	age := now.Sub(from).Seconds()
	in.AgeSeconds = &age
}

// pickStep says how the pick fell among the candidates.
func (p *plan) pickStep(client netip.Prefix, draw uint64, d Decision) Step {
	switch {
	case len(p.candidates) == 1:
		return Step{What: "pick", Detail: d.Backend + " is the only candidate"}
	case p.sticky && !client.Addr().IsValid():
		return Step{What: "pick", Detail: "the client is not known; " + d.Backend +
			" ranks first for all such clients"}
	case p.sticky:
		_, length := stickyKey(client)
		kept := netip.PrefixFrom(client.Addr().Unmap(), int(length)).Masked()
		return Step{What: "pick", Detail: fmt.Sprintf(
			"%s ranks first of %d candidates for clients in %s",
			d.Backend, len(p.candidates), kept)}
	}
	// 2^-64 of the draw, for people: where between 0 and 1 it fell, and whose piece that is.
	low, high := 0.0, 1.0
	for _, c := range p.candidates {
		high = (float64(c.last) + 1) / (1 << 64)
		if draw <= c.last {
			break
		}
		low = high
	}
	return Step{What: "pick", Detail: fmt.Sprintf(
		"the draw %.6f falls into %s's part, %.6f to %.6f",
		float64(draw)/(1<<64), d.Backend, low, high)}
}
