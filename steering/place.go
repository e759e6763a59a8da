package steering

import (
	"cmp"
	"encoding/binary"
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strings"
	"time"

	"pointsman/steering/geo"
)

// hostAndPlaces compiles a host with its places and constraints.
func (c *compiler) hostAndPlaces(h *Host) (*plan, error) {
	sets := c.constraints(h)
	fields, fieldsKey := c.fieldsOf(h)
	if len(h.Places) == 0 && len(sets) == 0 && fields == nil {
		p := c.host(h, locale{}, nil, nil)
		return p, p.answerable()
	}
	parted, err := c.partition(h, sets, fields, fieldsKey)
	if err != nil {
		return nil, fmt.Errorf("host %q: %w", h.Name, err)
	}
	var p *plan
	for i, combo := range parted.combos {
		var at locale
		if combo.Place > 0 {
			at.place = &h.Places[combo.Place-1]
		}
		if combo.Zone > 0 {
			at.zone = parted.zones[combo.Place][combo.Zone]
		}
		one := c.host(h, at, barred(sets, combo.In), nil)
		if err := one.answerable(); err != nil {
			return nil, err
		}
		if i == 0 {
			p, one.place = one, "" // whoever is nowhere, whatever is barred there
			continue
		}
		if one.place == "" {
			one.place = unconstrained
		}
		p.places = append(p.places, one)
	}
	p.classes = parted.classes
	p.listForeign()
	return p, nil
}

// unconstrained is the place of clients who are at none, and whom every backend may answer, on
// hosts where that is not so for all.
const unconstrained = "unconstrained"

// answerable returns an error when a plan has no answer.
func (p *plan) answerable() error {
	switch {
	case len(p.candidates) > 0:
		return nil
	case len(p.barred) > 0:
		return fmt.Errorf("host %q: allow and deny leave no backend for clients at %q", p.host,
			p.place)
	case p.place != "":
		return fmt.Errorf("host %q has no answer at place %q", p.host, p.place)
	}
	return fmt.Errorf("host %q has no answer", p.host)
}

// constraint is a set of clients whom some backends may answer, or may not.
type constraint struct {
	rule geo.Rule
	key  string
	// allowed are the backends that may answer these clients alone, denied those that may not.
	allowed, denied []string
}

// constraints gathers those of a host's backends, equal ones once, in the order of their content.
func (c *compiler) constraints(h *Host) []constraint {
	if !c.constrained {
		return nil
	}
	byKey := make(map[string]*constraint)
	of := func(a *Audience) *constraint {
		key := string(a.key(nil))
		if byKey[key] == nil {
			byKey[key] = &constraint{key: key, rule: a.rule()}
		}
		return byKey[key]
	}
	seen := make(map[string]bool)
	for _, pool := range h.allPools() {
		c.backends(pool, func(m Member) {
			b := c.specs[m.Backend]
			if seen[m.Backend] {
				return
			}
			seen[m.Backend] = true
			if b.Allow != nil {
				k := of(b.Allow)
				k.allowed = append(k.allowed, m.Backend)
			}
			if b.Deny != nil {
				k := of(b.Deny)
				k.denied = append(k.denied, m.Backend)
			}
		})
	}
	var list []constraint
	for _, key := range slices.Sorted(maps.Keys(byKey)) {
		list = append(list, *byKey[key])
	}
	return list
}

// barred lists the backends that may not answer clients of whom so many sets hold.
func barred(sets []constraint, in []bool) []string {
	var out []string
	for i, s := range sets {
		if in[i] {
			out = append(out, s.denied...)
		} else {
			out = append(out, s.allowed...)
		}
	}
	slices.Sort(out)
	return slices.Compact(out)
}

// placeName tells a place, or none, with a zone and barred backends from the same without.
func placeName(place, zone string, barred []string) string {
	if zone != "" {
		place += " " + zone
	}
	if len(barred) > 0 {
		place += " without " + strings.Join(barred, ", ")
	}
	return strings.TrimSpace(place)
}

// listForeign adds the backends that only places use to the host's shares, with 0.
func (p *plan) listForeign() {
	listed := make(map[string]bool, len(p.shares))
	for _, s := range p.shares {
		listed[s.Backend] = true
	}
	for _, at := range p.places {
		for _, s := range at.shares {
			if !listed[s.Backend] {
				listed[s.Backend] = true
				p.shares = append(p.shares, Share{Backend: s.Backend, Pool: s.Pool})
			}
		}
	}
}

// classBook keeps the classes of each set of places and constraints, so that hosts with equal ones
// share them, and so that a table takes over what the one before it had.
type classBook struct {
	countries *geo.Locator
	byKey     map[string]partition
	prior     map[string]partition // of a table of the same country data, while compiling
}

type partition struct {
	classes *geo.Classes
	combos  []geo.Combination
	zones   [][]*zone // by place, the first being for clients at none, and number
}

func newClassBook(in Inputs) classBook {
	b := classBook{countries: in.Countries, byKey: make(map[string]partition)}
	if p := in.Prior; p != nil && p.compiler.in.Countries == in.Countries {
		b.prior = p.compiler.classes.byKey
	}
	return b
}

// partition returns the classes of a host's places, distances and constraints, and what each of
// them means.
func (c *compiler) partition(
	h *Host, sets []constraint, fields [][]field, fieldsKey string,
) (partition, error) {
	b, key := &c.classes, placesKey(h.Places)+fieldsKey
	for _, s := range sets {
		key += "|" + s.key
	}
	p, known := b.byKey[key]
	if !known {
		p, known = b.prior[key]
	}
	if !known {
		var zones [][]uint8
		var err error
		if fields != nil {
			if zones, p.zones, err = c.zonesOf(fields); err != nil {
				return p, err
			}
		}
		list := make([]geo.Rule, len(sets))
		for i, s := range sets {
			list[i] = s.rule
		}
		p.classes, p.combos, err = b.countries.Partition(rules(h.Places), list, zones)
		if err != nil {
			return p, err
		}
	}
	b.byKey[key] = p
	return p, nil
}

// zonesOf divides clients into zones, at none of a host's places and at each.
func (c *compiler) zonesOf(fields [][]field) (of [][]uint8, list [][]*zone, err error) {
	r := geo.NewRuler()
	of, list = make([][]uint8, len(fields)), make([][]*zone, len(fields))
	for i, f := range fields {
		if len(f) == 0 {
			continue
		}
		if of[i], list[i], err = c.zones(f, r); err != nil {
			return nil, nil, err
		}
	}
	return of, list, nil
}

func rules(places []Place) []geo.Rule {
	list := make([]geo.Rule, len(places))
	for i, p := range places {
		list[i] = p.audience().rule()
	}
	return list
}

func (a *Audience) rule() geo.Rule {
	return geo.Rule{Countries: a.Countries, Subdivisions: a.Subdivisions, ASNs: a.ASNs,
		Prefixes: a.Prefixes}
}

// placesKey is equal for places with the same clients, whatever their names and pools.
func placesKey(places []Place) string {
	var b []byte
	for i := range places {
		b = places[i].audience().key(b)
	}
	return string(b)
}

// key appends what is equal for equal audiences, in whatever order things stand.
func (a *Audience) key(b []byte) []byte {
	b = binary.AppendUvarint(b, uint64(len(a.Countries)))
	for _, code := range slices.Sorted(slices.Values(a.Countries)) {
		b = append(b, code...) // two letters each
	}
	b = binary.AppendUvarint(b, uint64(len(a.Subdivisions)))
	for _, code := range slices.Sorted(slices.Values(a.Subdivisions)) {
		b = append(append(b, code...), 0)
	}
	b = binary.AppendUvarint(b, uint64(len(a.ASNs)))
	for _, asn := range slices.Sorted(slices.Values(a.ASNs)) {
		b = binary.BigEndian.AppendUint32(b, asn)
	}
	prefixes := slices.SortedFunc(slices.Values(a.Prefixes), func(a, b netip.Prefix) int {
		return cmp.Or(a.Addr().Compare(b.Addr()), cmp.Compare(a.Bits(), b.Bits()))
	})
	b = binary.AppendUvarint(b, uint64(len(prefixes)))
	for _, prefix := range prefixes {
		b = append(b, byte(prefix.Addr().BitLen()), byte(prefix.Bits()))
		b = append(b, prefix.Addr().AsSlice()...)
	}
	return b
}

// placeStep says how a client came to its place, or to none.
func (t *Table) placeStep(l locale, client netip.Prefix, scope uint8) Step {
	at := l.place
	a := client.Addr().Unmap()
	if !a.IsValid() {
		return Step{What: "place", Detail: "the client is not known, so it is at no place"}
	}
	step := Step{What: "place"}
	if prefix, ok := at.holds(a); ok {
		step.Detail = fmt.Sprintf("%s is in %s, a prefix of place %s", a, prefix, at.Name)
	} else {
		step.Detail = t.byData(&step, a, at)
	}
	where, _ := t.compiler.in.Countries.Locate(a)
	step.Detail += t.spotStep(l.zone, where)
	if held, err := a.Prefix(int(scope)); err == nil {
		step.Detail += "; so is all of " + held.String()
	}
	return step
}

// holds finds the longest prefix of a place, which may be nil, that holds an address.
func (p *Place) holds(a netip.Addr) (found netip.Prefix, ok bool) {
	if p == nil {
		return netip.Prefix{}, false
	}
	for _, prefix := range p.Prefixes {
		if prefix.Contains(a) && (!ok || prefix.Bits() > found.Bits()) {
			found, ok = prefix, true
		}
	}
	return found, ok
}

// byData adds what data says of an address to a step, and says what place that leads to.
func (t *Table) byData(step *Step, a netip.Addr, at *Place) string {
	data := t.compiler.in.Countries
	where, _ := data.Locate(a)
	known := locationInputs(where, data)
	step.Inputs = append(step.Inputs, known...)
	source := ""
	if date := data.Date(); !date.IsZero() {
		source = " by data of " + date.Format(time.DateOnly)
	}
	found := where.String()
	switch {
	case at == nil && where.Country == "" && found == "":
		return fmt.Sprintf("the country of %s is not known%s, and no prefix holds it: "+
			"the host's own pools", a, source)
	case at == nil:
		return fmt.Sprintf("%s is in %s%s, which no place lists: the host's own pools",
			a, found, source)
	case slices.Contains(at.ASNs, where.ASN) && where.ASN != 0:
		found = fmt.Sprintf("AS%d", where.ASN)
	case slices.Contains(at.Subdivisions, where.Subdivision):
		found = where.Subdivision
	default:
		found = where.Country
	}
	return fmt.Sprintf("%s is in %s%s, which place %s lists", a, found, source, at.Name)
}

// locationInputs are what geo data says of a client, with its sources: the country always, the
// rest where there is data of it.
func locationInputs(where geo.Location, data *geo.Locator) []Input {
	country := Input{Kind: "country", Value: cmp.Or(where.Country, "unknown"),
		Source: data.Origin(), Since: data.Date()}
	list := []Input{country}
	for _, s := range data.Sources() {
		in := Input{Kind: s.Kind, Source: s.Origin, Since: s.Date}
		switch s.Kind {
		case "country":
			list[0].Source, list[0].Since = s.Origin, s.Date
			continue
		case "subdivision":
			in.Value = cmp.Or(where.Subdivision, "unknown")
		case "asn":
			if in.Value = "unknown"; where.ASN != 0 {
				in.Value = fmt.Sprintf("AS%d", where.ASN)
			}
		default:
			continue // distances name it
		}
		list = append(list, in)
	}
	return list
}
