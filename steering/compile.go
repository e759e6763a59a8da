package steering

import (
	"cmp"
	"fmt"
	"math"
	"net/netip"
	"slices"
	"strings"
	"time"
)

// weightUnit is what a configured weight of 1 counts in a table, so that the factors of a
// ramp keep six digits in integers. Integers divide alike on every machine; floats may not.
const weightUnit = 1_000_000

// Compile makes the table that in describes. It is pure: the same inputs give the same
// content and Hash on every node, in whatever order backends, pools, members, hosts and
// overrides stand. The table keeps in (for explanations), so in must not change afterwards.
//
// For each host the first pool that has a usable, undrained member with a weight answers.
// When no pool has one, health is ignored (ReasonAllDown); when even then nothing is left
// because all is drained or weighs 0, the first pool answers in equal parts (ReasonDrained).
// A member whose name a flattened host has no addresses for is passed over in all of that; when
// there are no others, the host has nothing to answer with (ReasonUnresolved).
// A pin to a backend of the host comes before all that. Each place of the host goes through
// the same with its own pools, as if it were a host.
//
// The error holds every mistake of the spec, joined. A table with a host that has no answer
// is an error too; it can't be published.
func Compile(in Inputs) (*Table, error) {
	if err := validate(in.Spec); err != nil {
		return nil, fmt.Errorf("compiling table %d: %w", in.Version, err)
	}
	c := newCompiler(in)
	t := &Table{
		Version:    in.Version,
		CompiledAt: in.Now,
		plans:      make(map[string]*plan, len(in.Spec.Hosts)),
		hosts:      make([]string, 0, len(in.Spec.Hosts)),
		compiler:   c,
	}
	for i := range in.Spec.Hosts {
		h := &in.Spec.Hosts[i]
		p, err := c.hostAndPlaces(h)
		if err != nil {
			return nil, fmt.Errorf("compiling table %d: %w", in.Version, err)
		}
		t.plans[h.Name] = p
		t.hosts = append(t.hosts, h.Name)
	}
	c.verdicts = nil
	c.classes.prior = nil // or every table would keep all those before it
	slices.Sort(t.hosts)
	t.Hash = t.digest()
	return t, nil
}

// compiler holds one compilation's inputs, indexed. It is read-only once built.
type compiler struct {
	in       Inputs
	hosts    map[string]*Host
	answers  map[string]answer
	flat     map[string]answer // of backends with a CNAME, for flattened hosts
	specs    map[string]*Backend
	pools    map[string]*Pool  // members in the order of their names, unless it counts
	caps     map[string]uint64 // by backend, in millionths of each of its hosts; see capacities
	orders   orders
	fed      fed
	classes  classBook
	verdicts verdicts // while compiling
	// constrained is true when any backend has an audience.
	constrained bool
	// nearest is true when any pool chooses the nearest.
	nearest bool
}

// answer is what a backend puts into a response.
type answer struct {
	cname  string
	v4, v6 []netip.Addr
	https  *HTTPS
	ttl    time.Duration // the longest; 0: the host's
}

func newCompiler(in Inputs) *compiler {
	c := &compiler{
		in:      in,
		hosts:   make(map[string]*Host, len(in.Spec.Hosts)),
		answers: make(map[string]answer, len(in.Spec.Backends)),
		flat:    make(map[string]answer),
		pools:   make(map[string]*Pool, len(in.Spec.Pools)),
		specs:   make(map[string]*Backend, len(in.Spec.Backends)),
		orders:  newOrders(in.Overrides, in.Now),
		fed:     newFed(in.Fed, in.Now),
		classes: newClassBook(in),
	}
	c.in.Prior, c.verdicts = nil, make(verdicts)
	flattens := false
	for i := range in.Spec.Hosts {
		c.hosts[in.Spec.Hosts[i].Name] = &in.Spec.Hosts[i]
		flattens = flattens || in.Spec.Hosts[i].Flatten
	}
	for i := range in.Spec.Backends {
		b := &in.Spec.Backends[i]
		c.specs[b.Name], c.answers[b.Name] = b, newAnswer(*b)
		c.constrained = c.constrained || b.Allow != nil || b.Deny != nil
		if b.CNAME != "" && flattens {
			c.flat[b.Name] = flatten(*b, in.Addresses)
		}
	}
	for _, p := range in.Spec.Pools {
		if p.Choose != ByOrder {
			p.Members = slices.SortedFunc(slices.Values(p.Members), func(a, b Member) int {
				return cmp.Or(cmp.Compare(a.Backend, b.Backend), cmp.Compare(a.Pool, b.Pool))
			})
		}
		c.nearest = c.nearest || p.Choose == Nearest
		c.pools[p.Name] = &p
	}
	c.caps = c.capacities()
	return c
}

func newAnswer(b Backend) answer {
	a := answer{cname: b.CNAME, https: b.HTTPS}
	if b.CNAME != "" {
		a.https = nil // it stands at the target
	}
	for _, addr := range b.Addresses {
		if addr = addr.Unmap(); addr.Is4() {
			a.v4 = append(a.v4, addr)
		} else {
			a.v6 = append(a.v6, addr)
		}
	}
	slices.SortFunc(a.v4, netip.Addr.Compare)
	slices.SortFunc(a.v6, netip.Addr.Compare)
	return a
}

// standing is one backend's position before the ladder is walked.
type standing struct {
	backend, pool string
	reason        Reason // empty: that of the plan
	usable        bool
	drained       bool
	mute          bool   // a flattened host has no addresses for it
	barred        bool   // may not answer, whatever happens
	weight        uint64 // in weightUnits; 0 takes nothing
}

// able reports whether the member may answer when health counts, or when it does not.
func (s standing) able(ignoreHealth bool) bool {
	return (s.usable || ignoreHealth) && !s.drained && !s.mute && !s.barred && s.weight > 0
}

// host compiles one host as it is for clients at a locale, without the backends that are barred
// there. With a trace it also writes down every step;
// the plan is the same.
func (c *compiler) host(h *Host, at locale, barred []string, tr *Trace) *plan {
	pools, place := h.Pools, ""
	if at.place != nil {
		pools, place = at.place.Pools, at.place.Name
	}
	tr.host(h, pools)
	tr.barred(barred)
	tr.overrides(c.orders, h.Name)
	v := c.verdict(h, at, pools, barred, tr)
	p := &plan{
		host:   h.Name,
		place:  placeName(place, at.zoneName(), barred),
		spot:   at,
		barred: barred,
		ttl:    uint32(h.ttl(v.down != "").Seconds()),
		sticky: h.Stickiness == Sticky,
		reason: v.reason,
		shares: v.shares,
	}
	p.fill(c, h, v.chosen, h.ttl(v.down != ""))
	if !p.sticky && len(p.candidates) > 1 {
		p.sequence = sequence(h.Name, p.place)
	}
	p.assigned = c.assign(h, p, v.guide)
	tr.mixture(p.candidates)
	return p
}

// factor is how much of its weight a backend has on a host. A host without a ramp takes a
// returning backend back at once, but no faster than its cache warms.
func (c *compiler) factor(h *Host, backend string) float64 {
	if h.Ramp == 0 {
		return c.in.Shares.Limit(backend)
	}
	return c.in.Shares.Factor(backend)
}

// scale turns a weight and a factor into weightUnits. A weight above 0 never becomes 0 by a
// small factor, nor by one that is not a number.
func scale(weight uint32, factor float64) uint64 {
	if weight == 0 {
		return 0
	}
	parts := uint64(1)
	switch {
	case factor >= 1:
		parts = weightUnit
	case factor > 0:
		parts = max(1, uint64(math.Round(factor*weightUnit)))
	}
	return uint64(weight) * parts
}

// pinned returns the backend that an operator's pin gives everything to, or nil.
func (c *compiler) pinned(h *Host, rungs []*node, tr *Trace) ([]standing, Reason) {
	for i := range c.orders.pins {
		pin := &c.orders.pins[i]
		if !pin.Covers(h.Name) {
			continue
		}
		s := find(rungs, pin.Backend)
		if s == nil {
			tr.pinIgnored(pin, "the backend is in none of this host's pools")
			continue
		}
		if s.mute {
			tr.pinIgnored(pin, "the backend's name is not resolved yet")
			continue
		}
		if s.barred {
			tr.pinIgnored(pin, "the backend may not answer these clients")
			continue
		}
		if later := c.orders.drainAfter(pin, h.Name); later != nil {
			tr.pinIgnored(pin, "the backend was drained later, by "+later.ID)
			continue
		}
		tr.pinned(pin, s)
		return []standing{{backend: s.backend, pool: s.pool, weight: weightUnit}}, ReasonPinned
	}
	return nil, ""
}

// fill turns the chosen members into candidates.
func (p *plan) fill(c *compiler, h *Host, chosen []standing, ttl time.Duration) {
	total, sum := total(chosen), uint64(0)
	p.candidates = make([]candidate, 0, len(chosen))
	for _, s := range chosen {
		sum += s.weight
		d := c.answer(h, s.backend).decision(h, ttl, s.backend, s.pool)
		d.Reason = cmp.Or(s.reason, p.reason)
		p.candidates = append(p.candidates, candidate{
			decision: d,
			weight:   s.weight,
			last:     threshold(sum, total),
			seed:     mix(hashString(s.backend)),
		})
	}
}

// kinds says in words what the candidates answer with.
func kinds(list []candidate) (names, addresses string) {
	var n, a []string
	for _, c := range list {
		if c.decision.CNAME != "" {
			n = append(n, c.decision.Backend)
		} else {
			a = append(a, c.decision.Backend)
		}
	}
	return strings.Join(n, ", "), strings.Join(a, ", ")
}
