package steering

import (
	"cmp"
	"encoding/binary"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"

	"pointsman/steering/geo"
)

// hostAndPlaces compiles a host with its places.
func (c *compiler) hostAndPlaces(h *Host) (*plan, error) {
	p := c.host(h, nil, nil)
	for i := range h.Places {
		at := c.host(h, &h.Places[i], nil)
		p.places = append(p.places, at)
		if len(at.candidates) == 0 {
			return nil, fmt.Errorf("host %q has no answer at place %q", h.Name, at.place)
		}
	}
	if len(p.candidates) == 0 {
		return nil, fmt.Errorf("host %q has no answer", h.Name)
	}
	if len(h.Places) > 0 {
		p.classes = c.classes.of(h)
		p.listForeign()
	}
	return p, nil
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

// classBook keeps the classes of each set of places, so that hosts with equal places share
// one, and so that a table takes over what the one before it had.
type classBook struct {
	countries *geo.Locator
	byPlaces  map[string]*geo.Classes
	prior     *Table // of the same country data, while compiling; nil when there is none
	same      bool   // prior is of the same spec too
}

func newClassBook(in Inputs) classBook {
	b := classBook{countries: in.Countries, byPlaces: make(map[string]*geo.Classes)}
	p := in.Prior
	if p == nil || p.compiler.in.Countries != in.Countries {
		return b
	}
	b.prior = p
	if b.same = p.compiler.in.Spec == in.Spec; b.same {
		b.byPlaces = p.compiler.classes.byPlaces
	}
	return b
}

// of returns the classes of a host's places.
func (b *classBook) of(h *Host) *geo.Classes {
	if b.same {
		return b.prior.plans[h.Name].classes
	}
	key := placesKey(h.Places)
	if c := b.byPlaces[key]; c != nil {
		return c
	}
	var c *geo.Classes
	if b.prior != nil {
		c = b.prior.compiler.classes.byPlaces[key]
	}
	if c == nil {
		c = b.countries.Classify(rules(h.Places))
	}
	b.byPlaces[key] = c
	return c
}

func rules(places []Place) []geo.Rule {
	list := make([]geo.Rule, len(places))
	for i, p := range places {
		list[i] = geo.Rule{Countries: p.Countries, Prefixes: p.Prefixes}
	}
	return list
}

// placesKey is equal for places with the same countries and prefixes, whatever their names
// and pools.
func placesKey(places []Place) string {
	var b []byte
	for _, p := range places {
		b = binary.AppendUvarint(b, uint64(len(p.Countries)))
		for _, code := range slices.Sorted(slices.Values(p.Countries)) {
			b = append(b, code...) // two letters each
		}
		prefixes := slices.SortedFunc(slices.Values(p.Prefixes), func(a, b netip.Prefix) int {
			return cmp.Or(a.Addr().Compare(b.Addr()), cmp.Compare(a.Bits(), b.Bits()))
		})
		b = binary.AppendUvarint(b, uint64(len(prefixes)))
		for _, prefix := range prefixes {
			b = append(b, byte(prefix.Addr().BitLen()), byte(prefix.Bits()))
			b = append(b, prefix.Addr().AsSlice()...)
		}
	}
	return string(b)
}

// placeStep says how a client came to its place, or to none.
func (t *Table) placeStep(h *Host, place string, client netip.Prefix, scope uint8) Step {
	a := client.Addr().Unmap()
	if !a.IsValid() {
		return Step{What: "place", Detail: "the client is not known, so it is at no place"}
	}
	step := Step{What: "place"}
	if prefix, ok := t.byPrefix(h, place, a); ok {
		step.Detail = fmt.Sprintf("%s is in %s, a prefix of place %s", a, prefix, place)
	} else {
		step.Detail = t.byCountry(&step, a, place)
	}
	if held, err := a.Prefix(int(scope)); err == nil {
		step.Detail += "; so is all of " + held.String()
	}
	return step
}

// byPrefix finds the longest prefix of a place that holds an address.
func (t *Table) byPrefix(h *Host, place string, a netip.Addr) (found netip.Prefix, ok bool) {
	for i := range h.Places {
		if h.Places[i].Name != place {
			continue
		}
		for _, p := range h.Places[i].Prefixes {
			if p.Contains(a) && (!ok || p.Bits() > found.Bits()) {
				found, ok = p, true
			}
		}
	}
	return found, ok
}

// byCountry adds the country of an address to a step and says what place it leads to.
func (t *Table) byCountry(step *Step, a netip.Addr, place string) string {
	data := t.compiler.in.Countries
	location, _ := data.Locate(a)
	in := Input{Kind: "country", Value: location.Country, Source: data.Origin(), Since: data.Date()}
	if in.Value == "" {
		in.Value = "unknown"
	}
	step.Inputs = append(step.Inputs, in)
	source := ""
	if date := data.Date(); !date.IsZero() {
		source = " by data of " + date.Format(time.DateOnly)
	}
	switch {
	case location.Country == "":
		return fmt.Sprintf("the country of %s is not known%s, and no prefix holds it: "+
			"the host's own pools", a, source)
	case place == "":
		return fmt.Sprintf("%s is in %s%s, which no place lists: the host's own pools",
			a, location.Country, source)
	}
	return strings.Join([]string{a.String(), "is in", location.Country + source + ",",
		"which place", place, "lists"}, " ")
}
