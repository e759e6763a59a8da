package dnsserver

import (
	"net/netip"
	"slices"
	"time"

	"github.com/miekg/dns"

	"pointsman/steering"
)

// Drawer gives each query its randomness. steering.Draws satisfies it. It must be safe for
// concurrent use.
type Drawer interface {
	// Next returns the draw for a question of a client about a steered name, by the sequence of
	// its chooser.
	Next(sequence uint64, client netip.Prefix, qtype uint16, now time.Time) uint64
}

// picker is what the answers need of a table; *steering.Table satisfies it.
type picker interface {
	Chooser(host string) steering.Chooser
	Hosts() []string
	Variants(host string) []steering.Decision
}

// state is everything an answer depends on besides the question. It is immutable.
type state struct {
	zones map[string]*Zone
	table picker // nil: nothing is steered, or pending
	// generation tells states apart that have different tables.
	generation uint64
	// pending is true as long as a table is expected and not there: any name may be steered,
	// so that nothing may be denied.
	pending bool
	draws   Drawer
	names   *steeredNames
	memo    *memo                  // nil: every query takes the ordinary path
	signed  map[string]*signedZone // by zone; those that aren't signed are missing
	// withheld zones should be signed, and have no signatures yet: they are answered with
	// SERVFAIL, since validating resolvers would take unsigned answers for forged ones.
	withheld map[string]error // why, by zone
}

// steeredNames knows where steered names stand in the tree of names.
type steeredNames struct {
	hosts []string // as the table listed them
	at    map[string]struct{}
	above map[string]struct{} // their ancestors, which exist because they do
}

func newState(zones []*Zone, table picker, draws Drawer) *state {
	st := &state{zones: make(map[string]*Zone, len(zones)), draws: draws}
	for _, z := range zones {
		st.zones[z.name] = z
	}
	return st.withTable(table)
}

// withTable returns a state with another table.
func (st *state) withTable(table picker) *state {
	next := *st
	next.table, next.generation = table, st.generation+1
	var hosts []string
	if table != nil {
		hosts = table.Hosts()
	}
	if st.names == nil || !slices.Equal(st.names.hosts, hosts) {
		next.names = newSteeredNames(hosts)
		if st.memo != nil {
			next.memo = newMemo(&next, st.memo)
		}
	}
	return &next
}

func newSteeredNames(hosts []string) *steeredNames {
	s := &steeredNames{
		hosts: slices.Clone(hosts),
		at:    make(map[string]struct{}, len(hosts)),
		above: make(map[string]struct{}),
	}
	for _, h := range hosts {
		s.at[h] = struct{}{}
		for up := parent(h); up != "."; up = parent(up) {
			s.above[up] = struct{}{}
		}
	}
	return s
}

// steers reports whether a canonical name is steered. It accepts a nil state.
func (st *state) steers(name string) bool {
	if st == nil {
		return false
	}
	_, ok := st.names.at[name]
	return ok
}

// exists reports whether a canonical name is steered, or above a steered one. It accepts a nil
// state.
func (st *state) exists(name string) bool {
	if st == nil {
		return false
	}
	_, ok := st.names.above[name]
	return ok || st.steers(name)
}

// zone returns the zone that a canonical name lies in, the deepest one; nil when there is none.
func (st *state) zone(name string) *Zone {
	for off, end := 0, false; !end; off, end = dns.NextLabel(name, off) {
		if z := st.zones[name[off:]]; z != nil {
			return z
		}
	}
	return nil
}

// zoneFor is zone, but for DS at an apex it prefers the zone above (RFC 4035 §3.1.4.1).
func (st *state) zoneFor(name string, qtype uint16) *Zone {
	z := st.zone(name)
	if qtype == dns.TypeDS && z != nil && name == z.name {
		if above := st.zone(parent(name)); above != nil {
			return above
		}
	}
	return z
}
