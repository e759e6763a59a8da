package steering

import (
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strings"
	"time"
)

// Resolved is what a name led to when it was last resolved.
type Resolved struct {
	V4, V6 []netip.Addr  // either may be empty, not both
	TTL    time.Duration // as the name's owner gave it, not counted down; above 0
	At     time.Time     // when it was last confirmed
}

// Addresses are the last good addresses of CNAME targets, by canonical name. A name that was
// never resolved is missing. They are immutable.
type Addresses map[string]Resolved

// same reports whether two would be answered alike, whenever they were confirmed.
func (a Addresses) same(b Addresses) bool { return maps.EqualFunc(a, b, Resolved.same) }

func (r Resolved) same(o Resolved) bool {
	return r.TTL == o.TTL && slices.Equal(r.V4, o.V4) && slices.Equal(r.V6, o.V6)
}

// Targets returns the names that the spec's flattened hosts need addresses of, in order.
func (s *Spec) Targets() []string { return s.targets(func(h *Host) bool { return h.Flatten }) }

// Names returns the names that the spec's hosts answer with as CNAMEs, in order.
func (s *Spec) Names() []string { return s.targets(func(h *Host) bool { return !h.Flatten }) }

// targets returns the CNAMEs of the backends of some hosts.
func (s *Spec) targets(of func(*Host) bool) []string {
	pools := make(map[string]*Pool, len(s.Pools))
	for i := range s.Pools {
		pools[s.Pools[i].Name] = &s.Pools[i]
	}
	used, members := make(map[string]bool), make(map[string]bool)
	var use func(pool string)
	use = func(pool string) {
		if p := pools[pool]; p != nil && !used[pool] {
			used[pool] = true
			for _, m := range p.Members {
				members[m.Backend] = m.Pool == "" || members[m.Backend]
				use(m.Pool)
			}
		}
	}
	for i := range s.Hosts {
		if of(&s.Hosts[i]) {
			for _, pool := range s.Hosts[i].allPools() {
				use(pool)
			}
		}
	}
	var names []string
	for _, b := range s.Backends {
		if b.CNAME != "" && members[b.Name] {
			names = append(names, b.CNAME)
		}
	}
	slices.Sort(names)
	return slices.Compact(names)
}

// flatten returns what a backend with a CNAME answers by its addresses; it has none while its
// name was never resolved.
func flatten(b Backend, known Addresses) answer {
	r := known[b.CNAME]
	a := newAnswer(Backend{Addresses: slices.Concat(r.V4, r.V6), HTTPS: b.HTTPS})
	a.ttl = r.TTL
	return a
}

// answer returns what a backend answers for a host.
func (c *compiler) answer(h *Host, backend string) answer {
	if h.Flatten {
		if a, ok := c.flat[backend]; ok {
			return a
		}
	}
	return c.answers[backend]
}

// mute reports whether there is nothing to answer with, as before a name was first resolved.
func (a answer) mute() bool { return a.cname == "" && len(a.v4) == 0 && len(a.v6) == 0 }

// decision fills in what a backend answers for a host. The TTL is that given, or that of the
// addresses' owner when it is shorter.
func (a answer) decision(h *Host, ttl time.Duration, backend, pool string) Decision {
	if a.ttl > 0 {
		ttl = min(ttl, a.ttl)
	}
	return Decision{Host: h.Name, Backend: backend, Pool: pool, CNAME: a.cname, V4: a.v4, V6: a.v6,
		HTTPS: a.https, TTL: uint32(max(1, ttl.Seconds()))}
}

// sameAddresses reports whether two tables answer flattened hosts with the same addresses.
func (t *Table) sameAddresses(o *Table) bool {
	return len(t.compiler.flat) == 0 && len(o.compiler.flat) == 0 ||
		t.compiler.in.Addresses.same(o.compiler.in.Addresses)
}

// addressCauses says whose addresses moved.
func addressCauses(before, after Addresses) []string {
	var parts []string
	for name, r := range after {
		if was, ok := before[name]; !ok || !was.same(r) {
			parts = append(parts, "addresses of "+strings.TrimSuffix(name, "."))
		}
	}
	slices.Sort(parts)
	return parts
}

// flattened says where the addresses of a flattened host's backend come from.
func (p *poolTrace) flattened(in Inputs, backend, cname string) {
	if p == nil || cname == "" {
		return
	}
	step := Input{Kind: "addresses", Backend: backend, Value: "none",
		Source: "look-up of " + strings.TrimSuffix(cname, ".")}
	r, ok := in.Addresses[cname]
	if !ok {
		p.notes = append(p.notes, backend+" is out: its name is not resolved yet")
		p.inputs = append(p.inputs, step)
		return
	}
	var texts []string
	for _, a := range slices.Concat(r.V4, r.V6) {
		texts = append(texts, a.String())
	}
	step.Value, step.Seen = strings.Join(texts, " "), r.At
	step.Reason = fmt.Sprintf("answered instead of the name, with a TTL of %s or the host's", r.TTL)
	p.inputs = append(p.inputs, step)
}
