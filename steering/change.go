package steering

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"pointsman/probes/health"
)

// Change says that a table gave a host other shares, or the same ones for another reason.
type Change struct {
	Seq     uint64    `json:"seq"` // rises by one with each change of this process
	At      time.Time `json:"at"`
	Version uint64    `json:"table_version"`
	Hash    string    `json:"table_hash"`
	// Cause is which inputs moved, in words ("health of a: healthy to unhealthy").
	Cause string `json:"cause"`
	Host  string `json:"host"`
	// Place is the host's place whose shares changed; empty for clients who are at none.
	Place string `json:"place,omitempty"`
	// Before is nil when the host is new, After when it is gone.
	Before []Share `json:"before,omitempty"`
	After  []Share `json:"after,omitempty"`
	Reason Reason  `json:"reason,omitempty"` // of After
}

// changes lists what differs between two tables; before may be nil.
func changes(before, after *Table, cause string, at time.Time) []Change {
	var list []Change
	add := func(was, is *plan) {
		c := Change{At: at, Version: after.Version, Hash: after.Hash, Cause: cause}
		if was != nil {
			c.Host, c.Place, c.Before = was.host, was.place, slices.Clone(was.shares)
		}
		if is != nil {
			c.Host, c.Place, c.After = is.host, is.place, slices.Clone(is.shares)
			c.Reason = is.reason
		}
		list = append(list, c)
	}
	var old map[string]*plan
	if before != nil {
		old = before.plans
		for _, host := range before.hosts {
			for _, was := range old[host].all() {
				if after.plan(host, was.place) == nil {
					add(was, nil)
				}
			}
		}
	}
	for _, host := range after.hosts {
		for _, is := range after.plans[host].all() {
			var was *plan
			if before != nil {
				was = before.plan(host, is.place)
			}
			if was == nil || was.reason != is.reason || !slices.Equal(was.shares, is.shares) {
				add(was, is)
			}
		}
	}
	return list
}

// all are the plans of a host and its places.
func (p *plan) all() []*plan { return append([]*plan{p}, p.places...) }

// mostCauses bounds how many single movements a cause names.
const mostCauses = 8

// cause says in words what moved between two inputs.
func cause(before, after Inputs) string {
	var parts []string
	if before.Spec != after.Spec {
		parts = append(parts, "spec")
	}
	parts = append(parts, healthCauses(before.View, after.View)...)
	parts = append(parts, overrideCauses(before, after)...)
	parts = append(parts, guidanceCauses(before.Guidance, after.Guidance)...)
	parts = append(parts, fedCauses(before, after)...)
	if before.Countries != after.Countries {
		parts = append(parts, "country data")
	}
	parts = append(parts, addressCauses(before.Addresses, after.Addresses)...)
	parts = append(parts, latencyCauses(before, after)...)
	if before.Shares.Epoch != after.Shares.Epoch {
		parts = append(parts, fmt.Sprintf("shares: epoch %d", after.Shares.Epoch))
	}
	if len(parts) > mostCauses {
		rest := len(parts) - mostCauses
		parts = append(parts[:mostCauses], fmt.Sprintf("%d more", rest))
	}
	return strings.Join(parts, "; ")
}

func healthCauses(before, after *health.View) []string {
	if before == after || after == nil {
		return nil
	}
	var parts []string
	for name := range after.Backends {
		was, is := before.Of(name).State, after.Of(name).State
		if was != is {
			parts = append(parts, fmt.Sprintf("health of %s: %s to %s", name, was, is))
		}
	}
	slices.Sort(parts)
	return parts
}

func overrideCauses(before, after Inputs) []string {
	was, is := active(before), active(after)
	var parts []string
	for id, o := range is {
		if _, ok := was[id]; !ok {
			parts = append(parts, fmt.Sprintf("override %s: %s %s", id, o.Kind, o.Backend))
		}
	}
	for id, o := range was {
		if _, ok := is[id]; !ok {
			parts = append(parts, fmt.Sprintf("override %s ended: %s %s", id, o.Kind, o.Backend))
		}
	}
	slices.Sort(parts)
	return parts
}

// active holds the overrides that count at the inputs' time, by ID.
func active(in Inputs) map[string]Override {
	m := make(map[string]Override, len(in.Overrides))
	for _, o := range in.Overrides {
		if o.Active(in.Now) {
			m[o.ID] = o
		}
	}
	return m
}
