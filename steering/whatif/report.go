package whatif

import (
	"cmp"
	"maps"
	"math"
	"slices"

	"pointsman/steering"
)

// Report is what a change comes to. Parts, shares and churn are from 0 to 1.
type Report struct {
	Moments int       `json:"moments"` // that were weighed
	Queries float64   `json:"queries"`
	Gained  []string  `json:"gained"` // names that are steered only after the change
	Lost    []string  `json:"lost"`
	Refused []Refusal `json:"refused"` // moments at which the new config made no table
	Hosts   []Host    `json:"hosts"`
	// Churn is over the queries for names that stay steered; Least is the least that the new
	// shares allow.
	Churn    float64   `json:"churn"`
	Least    float64   `json:"least_churn"`
	Backends []Backend `json:"backends"`
}

// Group is some queries for a host.
type Group struct {
	Name  string  `json:"name"` // of a country or place; empty: none
	Part  float64 `json:"part"` // of the host's queries
	Churn float64 `json:"churn"`
	// Least is the least churn between the two divisions: their total variation.
	Least  float64 `json:"least_churn"`
	Shares []Share `json:"shares"`
}

// Share is a backend's part of answers before and after.
type Share struct {
	Backend string  `json:"backend"`
	Old     float64 `json:"old"`
	New     float64 `json:"new"`
}

// Host is what a change comes to for one host.
type Host struct {
	Host    string  `json:"host"`
	Queries float64 `json:"queries"`
	Load    uint64  `json:"load"` // requests/s by the new config, or the old one's; 0: not known
	Group
	Countries []Group `json:"countries"`
	Places    []Group `json:"places"` // those of the new config
	// Cost is the mean price of a GB, in millionths; nil: no backend of the host has a price.
	Cost *Pair `json:"cost,omitempty"`
	// Origin is the part of requests that go to the origin; nil: the miss ratio of a backend that
	// answers isn't known.
	Origin *Pair `json:"origin,omitempty"`
}

// Pair is a number before and after.
type Pair struct {
	Old float64 `json:"old"`
	New float64 `json:"new"`
}

// Backend is one backend's load, as far as the hosts' loads are known: the highest of all moments.
type Backend struct {
	Backend  string `json:"backend"`
	Capacity uint64 `json:"capacity"` // requests/s, of the new config or else the old one; 0: none
	Load     Pair   `json:"load"`     // requests/s
	// Unknown hosts are answered by it too, with a load that isn't known.
	Unknown []string `json:"unknown,omitempty"`
}

// Used is a load as a part of the capacity; 0 without one.
func (b *Backend) Used(load float64) float64 {
	if b.Capacity == 0 {
		return 0
	}
	return load / float64(b.Capacity)
}

// substance is the part of a host's queries that a moment needs for its peaks to count: fewer say
// too little of how the host's load divided then.
const substance = 0.01

// Report sums up what was added. It refers to the specs of the last moment that was weighed.
func (c *Comparison) Report() *Report {
	r := &Report{Moments: c.moments, Refused: append([]Refusal{}, c.refused...),
		Gained: []string{}, Lost: []string{}, Hosts: []Host{}, Backends: []Backend{}}
	if c.moments == 0 {
		return r
	}
	specs := newSpecs(c.old.Inputs().Spec, c.new.Inputs().Spec)
	kept := newSums()
	moved, least := 0.0, 0.0
	for _, name := range slices.Sorted(maps.Keys(c.hosts)) {
		h := c.hosts[name]
		r.Queries += h.all.weight
		switch {
		case !h.in[0]:
			r.Gained = append(r.Gained, name)
		case !h.in[1]:
			r.Lost = append(r.Lost, name)
		default:
			kept.weight += h.all.weight
			moved += h.all.moved
			least += h.all.least() * h.all.weight
		}
		r.Hosts = append(r.Hosts, c.host(name, h, specs))
	}
	if kept.weight > 0 {
		r.Churn, r.Least = moved/kept.weight, least/kept.weight
	}
	r.Backends = c.backends(specs)
	return r
}

func (c *Comparison) host(name string, h *host, specs specs) Host {
	out := Host{Host: name, Queries: h.all.weight, Load: specs.loads[name],
		Group: h.all.group("", h.all.weight), Countries: groups(h.countries, h.all.weight),
		Places: groups(h.places, h.all.weight)}
	price := func(i int) func(string) (float64, bool) {
		return func(b string) (float64, bool) {
			cost := specs.backends[i][b].Cost
			return float64(cost), cost > 0
		}
	}
	miss := func(b string) (float64, bool) { m, ok := c.cfg.Miss[b]; return m, ok }
	out.Cost = mean(out.Shares, price(0), price(1))
	out.Origin = mean(out.Shares, miss, miss)
	return out
}

// mean weighs values by shares; nil when one that has a share is not known.
func mean(shares []Share, old, new func(backend string) (float64, bool)) *Pair {
	var p Pair
	for _, s := range shares {
		was, ok := old(s.Backend)
		if s.Old > 0 && !ok {
			return nil
		}
		is, ok := new(s.Backend)
		if s.New > 0 && !ok {
			return nil
		}
		p.Old, p.New = p.Old+s.Old*was, p.New+s.New*is
	}
	if len(shares) == 0 {
		return nil
	}
	return &p
}

// group sums up a group that is a part of so many queries.
func (s *sums) group(name string, of float64) Group {
	g := Group{Name: name, Least: s.least(), Shares: []Share{}}
	if s.weight == 0 {
		return g
	}
	g.Part, g.Churn = s.weight/of, s.moved/s.weight
	for _, b := range slices.Sorted(maps.Keys(s.backends)) {
		n := s.backends[b]
		g.Shares = append(g.Shares, Share{Backend: b, Old: n[0] / s.weight, New: n[1] / s.weight})
	}
	return g
}

// least is the total variation between the divisions before and after.
func (s *sums) least() float64 {
	if s.weight == 0 {
		return 0
	}
	sum := 0.0
	for _, name := range slices.Sorted(maps.Keys(s.backends)) { // so that equal sums are equal
		n := s.backends[name]
		sum += math.Abs(n[0] - n[1])
	}
	return sum / 2 / s.weight
}

// groups lists groups, the largest first.
func groups(all map[string]*sums, of float64) []Group {
	out := []Group{}
	for name, s := range all {
		out = append(out, s.group(name, of))
	}
	slices.SortFunc(out, func(a, b Group) int {
		return cmp.Or(cmp.Compare(b.Part, a.Part), cmp.Compare(a.Name, b.Name))
	})
	return out
}

// specs are the two specs, indexed.
type specs struct {
	backends [2]map[string]steering.Backend
	loads    map[string]uint64 // by host
}

func newSpecs(old, new *steering.Spec) specs {
	s := specs{loads: make(map[string]uint64)}
	for i, spec := range []*steering.Spec{old, new} {
		s.backends[i] = make(map[string]steering.Backend)
		for _, b := range spec.Backends {
			s.backends[i][b.Name] = b
		}
		for _, h := range spec.Hosts {
			s.loads[h.Name] = cmp.Or(h.Load, s.loads[h.Name])
		}
	}
	return s
}

// backends returns the highest loads of all moments.
func (c *Comparison) backends(specs specs) []Backend {
	all := make(map[string]*Backend)
	at := func(name string) *Backend {
		if all[name] == nil {
			all[name] = &Backend{Backend: name, Capacity: cmp.Or(specs.backends[1][name].Capacity,
				specs.backends[0][name].Capacity)}
		}
		return all[name]
	}
	for _, p := range c.peaks {
		now := make(map[string]*Pair)
		for _, name := range slices.Sorted(maps.Keys(p)) { // so that equal loads are equal
			s := p[name]
			if s.weight < substance*c.hosts[name].all.weight {
				continue
			}
			c.peakOf(name, s, float64(specs.loads[name]), at, now)
		}
		for b, load := range now {
			at(b).Load.Old = max(at(b).Load.Old, load.Old)
			at(b).Load.New = max(at(b).Load.New, load.New)
		}
	}
	out := []Backend{}
	for _, name := range slices.Sorted(maps.Keys(all)) {
		out = append(out, *all[name])
	}
	return out
}

// peakOf adds a host's load at a moment to its backends' loads.
func (c *Comparison) peakOf(
	name string, s *sums, load float64, at func(string) *Backend, now map[string]*Pair,
) {
	for b, n := range s.backends {
		if now[b] == nil {
			now[b] = &Pair{}
		}
		if to := at(b); load == 0 && !slices.Contains(to.Unknown, name) {
			to.Unknown = append(to.Unknown, name)
			slices.Sort(to.Unknown)
		}
		now[b].Old += load * n[0] / s.weight
		now[b].New += load * n[1] / s.weight
	}
}
