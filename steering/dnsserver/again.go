package dnsserver

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"maps"
	"net/netip"
	"time"

	"pointsman/steering"
	"pointsman/steering/tap"
	"pointsman/steering/tsig"
)

// Repeater makes answers again that a server gave: by the same code, from the same zones, table
// and draws. It opens no socket. It is immutable; any number of goroutines may use it.
type Repeater struct {
	terms  terms
	zones  []*Zone
	signed map[string]bool // zones whose answers had signatures
}

// Given is what one answer was made from, besides zones and table.
type Given struct {
	Query []byte // as it was on the wire
	Proto tap.Proto
	// Client is the prefix that the decision was for. It stands for the sender, whom nothing of an
	// answer but the decision depends on.
	Client netip.Prefix
	Draws  []uint64 // of its decisions, in their order, without those that needed none
	// Serial is that of the zone at the time, as the answer's SOA had it; nil: it had none.
	Serial *uint32
	Cookie []byte // the data of the answer's COOKIE option, which follow from a secret
}

// The reasons why an answer can't be made again.
var (
	ErrRepeatSigned = errors.New("it had signatures, which are not made twice alike")
	ErrRepeatKeyed  = errors.New("the query was signed by a key (TSIG)")
)

// NewRepeater returns what repeats the answers of a server with this config, of which only what
// an answer depends on counts; it needs no addresses. Signed names the zones, which the config has
// as they are without signatures, whose answers were signed.
func NewRepeater(cfg Config, signed []string) (*Repeater, error) {
	cfg.Listen = []string{""} // nothing is opened
	if err := cfg.complete(); err != nil {
		return nil, err
	}
	r := &Repeater{zones: cfg.Zones, signed: make(map[string]bool, len(signed))}
	for _, name := range signed {
		r.signed[name] = true
	}
	var err error
	r.terms, err = newTerms(cfg)
	return r, err
}

// Repeated are the answers of one table. It is immutable; any number of goroutines may use it.
type Repeated struct {
	r  *Repeater
	st *state
}

// With returns the answers by a table.
func (r *Repeater) With(table *steering.Table) *Repeated {
	return &Repeated{r: r, st: newState(r.zones, asPicker(table), nil)}
}

// Same reports whether the answer made again has this hash. Two things are not known and tried
// both ways: whether a cookie proved the client's address, which bounds the answer, and whether a
// limit has cut the answer. An error says why it can't be made again.
func (a *Repeated) Same(g Given, hash [sha256.Size]byte) (bool, error) {
	out, err := a.answer(g, g.Proto != tap.UDP)
	if err != nil || sha256.Sum256(out) == hash {
		return err == nil, err
	}
	if g.Proto != tap.UDP {
		return false, nil
	}
	short := cut(bytes.Clone(out), len(g.Query)+serverCookieSize)
	if sha256.Sum256(short) == hash {
		return true, nil
	}
	if len(g.Cookie) == 0 {
		return false, nil
	}
	out, err = a.answer(g, true)
	return err == nil && sha256.Sum256(out) == hash, err
}

// answer makes an answer on the ordinary path, which gives what the fast one gives.
func (a *Repeated) answer(g Given, proven bool) ([]byte, error) {
	in := ask{packet: g.Query, from: g.Client.Addr(), tcp: g.Proto != tap.UDP,
		tls: g.Proto == tap.DOT}
	q, v := parseQuery(in.packet, in.from)
	if special(in.packet) {
		_, session, fault := tsig.Accept(in.packet, nil, time.Time{})
		if session != nil || fault != nil {
			return nil, ErrRepeatKeyed
		}
	}
	st := *a.st
	draws := &redraws{left: g.Draws}
	st.draws = draws
	if g.Serial != nil {
		st.zones = a.r.at(*g.Serial)
	}
	p := proof{proven: proven, cookie: g.Cookie}
	out, o, err := a.r.terms.respond(func(*query, *response) {}, &q, v, in, p, &st, time.Time{})
	switch {
	case err != nil:
		return nil, err
	case o.do && a.signs(o):
		return nil, ErrRepeatSigned
	case draws.lacked:
		return nil, fmt.Errorf("it took more draws than the %d that there are", len(g.Draws))
	}
	return out, nil
}

// signs reports whether an answer led through a zone that was signed.
func (a *Repeated) signs(o outcome) bool {
	for _, p := range o.picks {
		if z := a.st.zone(p.host); z != nil && a.r.signed[z.name] {
			return true
		}
	}
	return false
}

// at returns the zones by name with another serial number in their denials.
func (r *Repeater) at(serial uint32) map[string]*Zone {
	out := make(map[string]*Zone, len(r.zones))
	for _, z := range r.zones {
		out[z.name] = z
	}
	for name, z := range maps.Clone(out) {
		if z.negative == nil || z.negative.Serial == serial {
			continue
		}
		dated, soa := *z, *z.negative
		soa.Serial = serial
		dated.negative = &soa
		out[name] = &dated
	}
	return out
}

// redraws gives the draws that are told. It serves one answer.
type redraws struct {
	left   []uint64
	lacked bool
}

// Next implements Drawer.
func (t *redraws) Next(uint64, netip.Prefix, uint16, time.Time) uint64 {
	if len(t.left) == 0 {
		t.lacked = true
		return 0
	}
	next := t.left[0]
	t.left = t.left[1:]
	return next
}
