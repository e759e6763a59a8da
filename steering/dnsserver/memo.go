package dnsserver

import (
	"slices"
	"sync"
	"sync/atomic"

	"github.com/miekg/dns"

	"pointsman/steering"
	"pointsman/steering/wire"
)

// Bounds of what a memo holds for one question.
const (
	// maxVariants is how many decisions about one question are remembered, one for each backend and
	// TTL; with more, as after many changes of backends, it starts anew.
	maxVariants = 128
	// maxPrepared is the largest answer that is remembered, in octets.
	maxPrepared = 4096
)

// memo remembers answers that the ordinary path gave, ready to be copied. It belongs to a set of
// zones and of steered names: within one state, what follows the question in an answer depends
// only on the name, the type, the DO bit and the decision about the first steered name on the
// way. It outlives tables that steer the same names, since answers are kept by decision.
//
// Only names that exist are remembered, and for each of them a few types, so that its size is
// bounded whatever is asked. A name that doesn't exist is answered with the denial of its closest
// encloser (RFC 4592 §3.3.1), which is the same for all such names but for compression pointers.
//
// Readers take no lock. What several of them learn at once is the same.
type memo struct {
	static  *wire.Index // all names of the zones
	steered *wire.Index // the steered names and those above them
	cells   [2][]atomic.Pointer[cell]
	outside [2]atomic.Pointer[entry] // for names in no zone; with DO in the second

	mu      sync.Mutex // guards denials
	denials map[string]*wire.Answer
}

// The kinds of question that a memo remembers, beside denials of names below.
const (
	kindBelow = iota
	kindA
	kindAAAA
	kindCNAME
	kindHTTPS
	kindNS
	kindSOA
	kindTXT
	kindMX
	kindSRV
	kindCAA
	kindPTR
	kindDS
	kinds
)

// kindOf returns 0 for types that are left to the ordinary path.
func kindOf(qtype uint16) int {
	switch qtype {
	case dns.TypeA:
		return kindA
	case dns.TypeAAAA:
		return kindAAAA
	case dns.TypeCNAME:
		return kindCNAME
	case dns.TypeHTTPS:
		return kindHTTPS
	case dns.TypeNS:
		return kindNS
	case dns.TypeSOA:
		return kindSOA
	case dns.TypeTXT:
		return kindTXT
	case dns.TypeMX:
		return kindMX
	case dns.TypeSRV:
		return kindSRV
	case dns.TypeCAA:
		return kindCAA
	case dns.TypePTR:
		return kindPTR
	case dns.TypeDS:
		return kindDS
	}
	return 0
}

// cell holds the entries of one name, by kind and DO bit.
type cell [kinds][2]atomic.Pointer[entry]

// entry is what is known about one question. One with neither answer nor host says that the
// question is for the ordinary path.
type entry struct {
	// answer is given to everybody; nil when something is picked.
	answer *wire.Answer
	// host is the steered name whose decision leads to one of the variants.
	host     string
	variants atomic.Pointer[[]variant]
	bound    atomic.Pointer[binding]
	// avoid holds labels, one octet of length before each, that a name denied by this entry must
	// not have below the encloser: the names in the SOA have them there, and compress otherwise.
	avoid [2]string
	// subject is what its answers count for when answers are limited.
	subject uint64
}

// binding is what an entry has found out about one table: what picks for its host there, and which
// variant each decision leads to. It is immutable. It holds no table, only the host's part: names
// that are never asked for again must keep nothing large.
type binding struct {
	generation uint64 // of the state
	chooser    steering.Chooser
	known      []known
	weighed    bool // the host's lookups are
}

type known struct {
	decision *steering.Decision
	variant  *variant
}

// find returns the variant of a decision of the table; nil when it isn't bound.
func (b *binding) find(d *steering.Decision) *variant {
	for i := range b.known {
		if b.known[i].decision == d {
			return b.known[i].variant
		}
	}
	return nil
}

// variant is the answer that follows from a decision. Without answer, it is for the ordinary
// path.
type variant struct {
	decision steering.Decision
	answer   *wire.Answer
	count    pickCount
}

// place is where the answer to a question belongs in a memo.
type place struct {
	at *atomic.Pointer[entry]
	// common is how many octets the closest encloser's name has, when it is for denials; else 0.
	common int
	// drawn is true when the draw has been taken already.
	drawn bool
	draw  uint64
	// picked is true when something was picked, with or without a draw.
	picked bool
	// weighed is true when the lookups of what was picked for are.
	weighed bool
}

// newMemo makes an empty memo for a state. The names of the zones are taken from prior, when it
// is not nil.
func newMemo(st *state, prior *memo) *memo {
	m := &memo{denials: make(map[string]*wire.Answer)}
	if prior != nil {
		m.static = prior.static
	} else {
		m.static = indexZones(st.zones)
	}
	m.steered = wire.NewIndex(len(st.names.at) + len(st.names.above))
	for name := range st.names.at {
		addName(m.steered, name)
	}
	for name := range st.names.above {
		addName(m.steered, name)
	}
	m.cells[0] = make([]atomic.Pointer[cell], m.static.Len())
	m.cells[1] = make([]atomic.Pointer[cell], m.steered.Len())
	return m
}

func indexZones(zones map[string]*Zone) *wire.Index {
	size := 0
	for _, z := range zones {
		size += z.size()
	}
	x := wire.NewIndex(size)
	for _, z := range zones {
		for name := range z.names() {
			addName(x, name)
		}
	}
	return x
}

// addName adds a canonical name. One that is none can't be asked for either.
func addName(x *wire.Index, name string) {
	var buf [256]byte
	if n, err := dns.PackDomainName(name, buf[:], 0, nil, false); err == nil {
		x.Add(buf[:n])
	}
}

// cell returns the place of a name's cell; nil when the name doesn't exist.
func (m *memo) cell(hash uint64, name []byte) *atomic.Pointer[cell] {
	if i := m.static.Find(hash, name); i >= 0 {
		return &m.cells[0][i]
	}
	if i := m.steered.Find(hash, name); i >= 0 {
		return &m.cells[1][i]
	}
	return nil
}

// find returns the place of the answer to a query, and what the memo knows there. An encloser's
// entry is found for names that don't exist; nil when it isn't theirs. Without a place, nothing
// can be learned either.
func (m *memo) find(q *wire.Query) (*entry, place) {
	kind := kindOf(q.Type)
	if kind == 0 {
		return nil, place{}
	}
	do := 0
	if q.DO {
		do = 1
	}
	name := q.Name()
	if c := m.cell(q.Hash, name); c != nil {
		at := &grow(c)[kind][do]
		return at.Load(), place{at: at}
	}
	for label := name; label[0] != 0; {
		below := label[:1+label[0]]
		label = label[len(below):]
		if c := m.cell(wire.Hash(label), label); c != nil {
			at := &grow(c)[kindBelow][do]
			e := at.Load()
			if e != nil && (e.avoid[0] == string(below) || e.avoid[1] == string(below)) {
				return nil, place{}
			}
			return e, place{at: at, common: len(label)}
		}
	}
	return m.outside[do].Load(), place{at: &m.outside[do]}
}

func grow(at *atomic.Pointer[cell]) *cell {
	if c := at.Load(); c != nil {
		return c
	}
	at.CompareAndSwap(nil, new(cell))
	return at.Load()
}

// find returns the variant for a decision; nil when there is none yet.
func (e *entry) find(d *steering.Decision) *variant {
	list := e.variants.Load()
	if list == nil {
		return nil
	}
	for i := range *list {
		if v := &(*list)[i]; sameAnswer(&v.decision, d) {
			return v
		}
	}
	return nil
}

// bind returns what the entry knows about a state's table; with a nil chooser when its host isn't
// steered there.
func (e *entry) bind(st *state, weigher *weigher) *binding {
	b := e.bound.Load()
	if b == nil || b.generation != st.generation {
		b = &binding{generation: st.generation, chooser: st.table.Chooser(e.host),
			weighed: weigher.of(e.host)}
		e.bound.Store(b)
	}
	return b
}

// extend finds the variant of a decision that isn't bound yet, and binds it; nil when there is none.
func (e *entry) extend(b *binding, d *steering.Decision) *variant {
	v := e.find(d)
	if v == nil {
		return nil
	}
	next := *b
	next.known = append(slices.Clone(b.known), known{decision: d, variant: v})
	e.bound.CompareAndSwap(b, &next) // whoever was faster has found another one: next time
	return v
}

// sameAnswer reports whether two decisions about a host say the same to clients, scope aside,
// and count for the same backend.
func sameAnswer(a, b *steering.Decision) bool {
	return a.Backend == b.Backend && a.CNAME == b.CNAME && a.TTL == b.TTL &&
		slices.Equal(a.V4, b.V4) && slices.Equal(a.V6, b.V6) && a.HTTPS.Equal(b.HTTPS)
}

// learn keeps what the ordinary path answered to a query, if it can be repeated.
func (m *memo) learn(p place, q *query, r *response, counts *metrics) {
	if r.empty || r.msg.Rcode == dns.RcodeServerFailure {
		return // what was picked on the way is not known
	}
	if len(r.picks) == 0 {
		if e := m.prepare(p, q, r); e != nil && p.at.Load() == nil {
			e.subject = r.hash()
			p.at.Store(e)
		}
		return
	}
	if p.common > 0 {
		p.at.Store(new(entry)) // a steered wildcard
		return
	}
	e := p.at.Load()
	if e == nil {
		e = &entry{host: r.picks[0].host, subject: r.hash()}
		if !p.at.CompareAndSwap(nil, e) {
			e = p.at.Load()
		}
	}
	if e.host == r.picks[0].host {
		m.vary(e, q, r, counts)
	}
}

// vary adds a variant.
func (m *memo) vary(e *entry, q *query, r *response, counts *metrics) {
	if e.find(r.first) != nil {
		return
	}
	v := variant{decision: *r.first, count: counts.pickCount(r.picks[0])}
	if len(r.picks) == 1 {
		v.answer = m.share(q, r, len(q.asked))
	}
	for {
		old := e.variants.Load()
		var list []variant
		if old != nil && len(*old) < maxVariants {
			list = slices.Clone(*old)
		}
		list = append(list, v)
		if e.variants.CompareAndSwap(old, &list) {
			return
		}
	}
}

// prepare makes the entry of an answer in which nothing was picked.
func (m *memo) prepare(p place, q *query, r *response) *entry {
	if p.common == 0 {
		return &entry{answer: m.share(q, r, len(q.asked))}
	}
	e := &entry{}
	if r.msg.Rcode != dns.RcodeNameError && r.msg.Rcode != dns.RcodeRefused {
		return e // a delegation, a DNAME, a wildcard
	}
	packed, ok := prepack(q, r)
	if !ok {
		return e
	}
	a, ok := wire.NewDenial(packed, p.common)
	if !ok {
		return e
	}
	a.Explain(r.why)
	encloser := q.asked[len(q.asked)-p.common:]
	var avoid [2]string
	for _, rr := range r.msg.Ns {
		soa := rr.(*dns.SOA) // NewDenial has seen to that
		avoid = [2]string{labelBelow(soa.Ns, encloser), labelBelow(soa.Mbox, encloser)}
	}
	below := q.asked[:len(q.asked)-p.common]
	for len(below) > int(below[0])+1 {
		below = below[below[0]+1:]
	}
	if first := string(lowered(below)); first == avoid[0] || first == avoid[1] {
		return nil // no example for the others
	}
	return &entry{answer: m.intern(a), avoid: avoid}
}

// labelBelow returns the label that a name has just below a name on the wire, on the wire and in
// lower case; "" when it doesn't lie below.
func labelBelow(name string, above []byte) string {
	var buf [256]byte
	n, err := dns.PackDomainName(name, buf[:], 0, nil, false)
	if err != nil {
		return ""
	}
	labels := lowered(buf[:n])
	above = lowered(above)
	for len(labels) > len(above) {
		label := labels[:labels[0]+1]
		labels = labels[len(label):]
		if string(labels) == string(above) {
			return string(label)
		}
	}
	return ""
}

func lowered(name []byte) []byte {
	name = slices.Clone(name)
	wire.Lower(name)
	return name
}

// prepack packs a response without OPT, and false if it is too large to be remembered.
func prepack(q *query, r *response) ([]byte, bool) {
	plain := *q
	plain.edns = edns{}
	whole := *r // packing changes it
	packed, truncated, err := pack(&plain, &whole, maxPrepared, nil)
	return packed, err == nil && !truncated && len(whole.msg.Extra) == len(r.msg.Extra)
}

// share prepares an answer for one name. Denials are shared between all whose octets agree,
// whatever they deny, so that they take no room.
func (m *memo) share(q *query, r *response, common int) *wire.Answer {
	packed, ok := prepack(q, r)
	if !ok {
		return nil
	}
	if denial, ok := wire.NewDenial(packed, common); ok {
		denial.Explain(r.why)
		return m.intern(denial)
	}
	a, ok := wire.NewAnswer(packed)
	if !ok {
		return nil
	}
	a.Explain(r.why)
	return a
}

// intern returns the answer that equals a and was there first.
func (m *memo) intern(a *wire.Answer) *wire.Answer {
	m.mu.Lock()
	defer m.mu.Unlock()
	key := a.Key()
	if first := m.denials[key]; first != nil {
		return first
	}
	m.denials[key] = a
	return a
}
