package steering

import (
	"cmp"
	"slices"
)

// Variants returns every answer that a host can give under its spec, whatever shares, health,
// guidance and overrides say, but for its TTL, which may be shorter than here: one decision for
// each backend of its pools, those of its places included, ordered by backend. Reason and Scope
// are those of no query and empty. A backend of a flattened host whose name is not
// resolved yet has neither CNAME nor addresses. It is nil when the name isn't steered. The slice
// is the caller's own; what it refers to belongs to the table: read only.
func (t *Table) Variants(host string) []Decision {
	c := t.compiler
	h := c.hosts[host]
	if h == nil {
		return nil
	}
	var out []Decision
	for _, pool := range h.allPools() {
		c.backends(pool, func(m Member) {
			at, found := slices.BinarySearchFunc(out, m.Backend, func(d Decision, b string) int {
				return cmp.Compare(d.Backend, b)
			})
			if found {
				return
			}
			out = slices.Insert(out, at, c.answer(h, m.Backend).decision(h, h.TTL, m.Backend, pool))
		})
	}
	return out
}

// SameVariants reports whether two tables have the same hosts with the same variants. For
// tables of one spec and of the same addresses, which a change of health, shares or overrides
// leaves alone, it looks no further. A nil table has no variants.
func (t *Table) SameVariants(o *Table) bool {
	if t == nil || o == nil {
		return t == o
	}
	if t.compiler.in.Spec == o.compiler.in.Spec && t.sameAddresses(o) {
		return true
	}
	return slices.Equal(t.hosts, o.hosts) && !slices.ContainsFunc(t.hosts, func(h string) bool {
		return !slices.EqualFunc(t.Variants(h), o.Variants(h), sameAnswer)
	})
}

// sameAnswer compares what clients see of two decisions, and by which name they are known.
func sameAnswer(a, b Decision) bool {
	return a.Backend == b.Backend && a.CNAME == b.CNAME && a.TTL == b.TTL &&
		slices.Equal(a.V4, b.V4) && slices.Equal(a.V6, b.V6) && a.HTTPS.Equal(b.HTTPS)
}
