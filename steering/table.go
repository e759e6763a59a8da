package steering

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"net/netip"
	"slices"
	"time"

	"pointsman/probes/health"
	"pointsman/steering/control"
	"pointsman/steering/geo"
)

// Inputs are everything a table is compiled from.
type Inputs struct {
	// Version orders inputs on one node: it rises with every change of any field below.
	Version uint64
	Now     time.Time
	Spec    *Spec
	View    *health.View
	Shares  control.Shares
	// Guidance is the slow loop's; its splits and limits count by way of Shares.
	Guidance  control.Guidance
	Overrides []Override
	// Latencies are those of backends that ByLatency goes by, made steady; those that are missing
	// are not known.
	Latencies map[string]time.Duration
	// Fed is what feeds say of backends in place of the spec, among it what has ended already.
	Fed []FedValue
	// Countries tell where clients are. Nil: nobody's country is known, and places match by
	// their prefixes alone.
	Countries *geo.Locator
	// Addresses are those that flattened hosts answer with.
	Addresses Addresses
	// Prior may be a table whose work on places is taken over where it is of the same data. It
	// changes how fast Compile is and nothing else.
	Prior *Table
}

// Reason is why a decision fell as it did: the step of the ladder, or an override.
type Reason string

// The reasons.
const (
	ReasonPool     Reason = "pool"        // the first pool has usable members
	ReasonFallback Reason = "fallback"    // an earlier pool has none; a later one answers
	ReasonSpill    Reason = "capacity"    // what the backends of an earlier pool can't take
	ReasonPinned   Reason = "pinned"      // an operator pinned the backend
	ReasonAllDown  Reason = "all-down"    // nothing is usable: all as if healthy
	ReasonDrained  Reason = "all-drained" // all is drained; drained ones answer, never nothing
	// ReasonUnresolved is that of a flattened host none of whose names was ever resolved. There
	// is nothing to answer with yet.
	ReasonUnresolved Reason = "unresolved"
)

// Query is one question about a steered name.
type Query struct {
	Host   string       // canonical: lower case, with the final dot
	Client netip.Prefix // the client's prefix: ECS when present, else the resolver's address
	// Draw is the query's randomness, uniform over all uint64 (see Draws). A sticky host
	// ignores it.
	Draw uint64
}

// Decision is one pick. The slices and strings in it belong to the table: read only.
type Decision struct {
	Host    string
	Backend string
	Pool    string
	Reason  Reason
	CNAME   string       // the target, when the backend is a name
	V4      []netip.Addr // the addresses otherwise; both are empty with ReasonUnresolved alone
	V6      []netip.Addr
	HTTPS   *HTTPS // of a backend with addresses; nil: it has none
	TTL     uint32 // seconds
	// Scope is the ECS scope prefix length for which the decision holds: 0 for everyone.
	Scope uint8
}

// Share is one backend's part of a host's answers.
type Share struct {
	Backend string  `json:"backend"`
	Pool    string  `json:"pool"`
	Share   float64 `json:"share"` // 0 to 1; the shares of a host add up to 1
}

// Table is what Compile makes: for every steered name, who answers and in what parts. It is
// immutable; any number of goroutines may read it. Treat its fields as read-only.
type Table struct {
	// Version orders the tables of one node; a lower one never replaces a higher.
	Version uint64
	// Hash is SHA-256, in hex, over what the table answers: hosts, thresholds, answers,
	// reasons. Version and time are no part of it: nodes with equal inputs have equal hashes.
	Hash string
	// CompiledAt is the Now of its inputs.
	CompiledAt time.Time

	plans    map[string]*plan
	hosts    []string
	compiler *compiler // its inputs, for explanations
}

// Hosts returns the steered names in order. The slice is the caller's own.
func (t *Table) Hosts() []string { return slices.Clone(t.hosts) }

// Has reports whether a name (canonical) is steered.
func (t *Table) Has(host string) bool { return t.plans[host] != nil }

// Shares returns the part of a host's answers that each of its backends has, those with none
// included: one row for each backend, by pool in the host's order, then by name. It is nil
// when the name is not steered. The slice is the caller's own.
//
// When the host has places this is so for clients who are at none of them; backends that only
// places use come last, with 0. SharesAt tells those of a place.
func (t *Table) Shares(host string) []Share { return t.SharesAt(host, "") }

// SharesAt is Shares for the clients at one of the host's places, or with an empty place for
// those at none. It is nil when there is no such place.
func (t *Table) SharesAt(host, place string) []Share {
	if p := t.plan(host, place); p != nil {
		return slices.Clone(p.shares)
	}
	return nil
}

// Places returns the names of a host's places in their order; nil when it has none. The slice
// is the caller's own.
func (t *Table) Places(host string) []string {
	p := t.plans[host]
	if p == nil {
		return nil
	}
	var names []string
	for _, at := range p.places {
		names = append(names, at.place)
	}
	return names
}

// Place returns the name of the host's place where a client is, and the length of the shortest
// prefix around it that is there as a whole. The name is empty when the client is at none; the
// length is 0 when all clients are at the same place, or none.
func (t *Table) Place(host string, client netip.Prefix) (name string, scope uint8) {
	p := t.plans[host]
	if p == nil {
		return "", 0
	}
	p, scope = p.at(client)
	return p.place, scope
}

// plan returns a host's plan at a place, or with an empty place that for clients at none.
func (t *Table) plan(host, place string) *plan {
	p := t.plans[host]
	if p == nil || place == "" {
		return p
	}
	for _, at := range p.places {
		if at.place == place {
			return at
		}
	}
	return nil
}

// Reason returns why a host's candidates are what they are for clients at none of its places,
// and false when it isn't steered.
func (t *Table) Reason(host string) (Reason, bool) { return t.ReasonAt(host, "") }

// ReasonAt is Reason for the clients at one of the host's places; false when there is none of
// that name.
func (t *Table) ReasonAt(host, place string) (Reason, bool) {
	if p := t.plan(host, place); p != nil {
		return p.reason, true
	}
	return "", false
}

// digest hashes the table's content in a canonical form: every text and list with its length
// before it, numbers as 8 octets.
func (t *Table) digest() string {
	sum := sha256.New()
	var w canon
	w.text("pointsman table 5")
	w.number(uint64(len(t.hosts)))
	for _, name := range t.hosts {
		p := t.plans[name]
		w.plan(p)
		w.number(uint64(len(p.places)))
		if p.classes != nil {
			classes := p.classes.Digest()
			w.text(string(classes[:]))
		}
		for _, at := range p.places {
			w.plan(at)
		}
		sum.Write(w.b) // hash.Hash never returns an error
		w.b = w.b[:0]
	}
	return hex.EncodeToString(sum.Sum(nil))
}

// canon gathers what a hash is made of.
type canon struct{ b []byte }

func (w *canon) number(n uint64) { w.b = binary.BigEndian.AppendUint64(w.b, n) }

func (w *canon) text(s string) {
	w.number(uint64(len(s)))
	w.b = append(w.b, s...)
}

func (w *canon) addresses(list []netip.Addr) {
	w.number(uint64(len(list)))
	for _, a := range list {
		w.text(string(a.AsSlice()))
	}
}

func (w *canon) https(h *HTTPS) {
	if h == nil {
		w.number(0)
		return
	}
	w.number(uint64(h.Priority)) // never 0
	w.number(uint64(h.Port))
	hints := uint64(0)
	if h.Hints {
		hints = 1
	}
	w.number(hints)
	w.number(uint64(len(h.ALPN)))
	for _, p := range h.ALPN {
		w.text(p)
	}
}

func (w *canon) plan(p *plan) {
	w.text(p.host)
	w.text(p.place)
	w.number(uint64(p.ttl))
	if p.sticky {
		w.text(string(Sticky))
	} else {
		w.text(string(Spread))
	}
	w.text(string(p.reason))
	w.assignments(p.assigned)
	w.number(uint64(len(p.candidates)))
	for _, c := range p.candidates {
		w.text(c.decision.Backend)
		w.text(c.decision.Pool)
		w.number(c.weight)
		w.number(c.last)
		w.text(c.decision.CNAME)
		w.addresses(c.decision.V4)
		w.addresses(c.decision.V6)
		w.https(c.decision.HTTPS)
		w.number(uint64(c.decision.TTL))
	}
}
