package config

import (
	_ "embed"
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"pointsman/internal/nearest"
)

//go:embed countries.txt
var countries string // a code and a name on each line, with a tab between them

// mostPlaces is how many places a host may have.
const mostPlaces = 250

// allPools are the pools of the host and of its places, each once.
func (h *Host) allPools() []string {
	if len(h.Places) == 0 {
		return h.Pools
	}
	all := slices.Clone(h.Pools)
	for i := range h.Places {
		for _, p := range h.Places[i].Pools {
			if !slices.Contains(all, p) {
				all = append(all, p)
			}
		}
	}
	return all
}

// namePlaces gives places without a name one.
func (h *Host) namePlaces() {
	for i := range h.Places {
		p := &h.Places[i]
		if p.Name != "" {
			continue
		}
		codes := slices.Concat(slices.Sorted(slices.Values(p.Countries)),
			slices.Sorted(slices.Values(p.Subdivisions)))
		for _, asn := range p.ASNs {
			codes = append(codes, "as"+asn)
		}
		p.Name = strings.ToLower(strings.Join(codes, "-"))
		if p.Name == "" || len(p.Name) > 63 {
			p.Name = fmt.Sprintf("place-%d", i+1)
		}
	}
}

// parseCountry checks a country's code and returns it in upper case.
func parseCountry(raw string) (string, *complaint) {
	code := strings.ToUpper(raw)
	var names []string
	byName := map[string]string{ // what people write instead
		"UK": "GB", "EN": "GB", "EL": "GR", "USA": "US", "England": "GB", "Great Britain": "GB",
		"America": "US", "Korea": "KR", "Holland": "NL", "Czech Republic": "CZ",
	}
	for line := range strings.Lines(countries) {
		known, name, ok := strings.Cut(strings.TrimSpace(line), "\t")
		if !ok {
			continue // a comment
		}
		if known == code {
			return code, nil
		}
		byName[name] = known
	}
	for name := range byName {
		names = append(names, name)
	}
	slices.Sort(names)
	c := complain("%s is not a country's two-letter code (ISO 3166-1)", shown(raw))
	if len(raw) == 2 {
		c.suggestion = byName[code]
	} else if near := nearest.Name(raw, names); near != "" {
		c.suggestion = byName[near]
	} else {
		c.suggestion = byName[raw]
	}
	return "", c
}

// parsePrefix checks a network that clients may be in, and renders it canonically.
func parsePrefix(raw string) (string, *complaint) { return parsePrefixUpTo(raw, 64) }

// parseNetwork checks a prefix of any length.
func parseNetwork(raw string) (string, *complaint) { return parsePrefixUpTo(raw, 128) }

func parsePrefixUpTo(raw string, most6 int) (string, *complaint) {
	p, err := netip.ParsePrefix(raw)
	if a, addrErr := netip.ParseAddr(raw); addrErr == nil {
		c := complain("%s is an address, and a prefix is wanted", shown(raw))
		if a.Is4() {
			c.suggestion = raw + "/32"
		} else if p, err := a.Prefix(most6); err == nil && !a.Is4In6() && a.Zone() == "" {
			c.suggestion = p.String()
		}
		return "", c
	}
	switch {
	case err != nil:
		return "", complain("%s is not a prefix, as in 203.0.113.0/24 or 2001:db8::/32", shown(raw))
	case p.Addr().Is4In6():
		return "", complain("%s is IPv4 in IPv6: say the IPv4 prefix", shown(raw))
	case p.Addr().Is6() && p.Bits() > most6:
		c := complain("%s is longer than /64, and IPv6 clients are told apart by /64", shown(raw))
		c.suggestion = netip.PrefixFrom(p.Addr(), 64).Masked().String()
		return "", c
	case p.Masked() != p:
		c := complain("%s has bits set behind its length", shown(raw))
		c.suggestion = p.Masked().String()
		return "", c
	}
	return p.String(), nil
}

// lists checks the named lists of prefixes.
func (c *checker) lists() {
	lists := c.cfg.Geo.Lists
	c.unique("geo.lists", "name", len(lists), func(i int) string { return lists[i].Name })
	for i := range lists {
		seen := covers{}
		c.cover(&seen, element("geo.lists", i)+".prefixes", lists[i].Prefixes)
		seen.report(c)
	}
}

// places checks the places of a host. Within each place and over all of them nothing may be
// said twice: the second time it would never count.
func (c *checker) places(at string, h *Host, pools map[string]int) {
	at += ".places"
	if len(h.Places) > mostPlaces {
		c.mistake(at, "%d places: at most %d may be told apart", len(h.Places), mostPlaces)
	}
	c.unique(at, "name", len(h.Places), func(i int) string { return h.Places[i].Name })
	lists := c.index("geo.lists")
	listed := map[string]string{} // where each code was listed first
	var seen covers
	for i := range h.Places {
		p, path := &h.Places[i], element(at, i)
		c.order(path, "place "+p.Name, p.Pools, pools)
		if p.empty() && c.whole(path) {
			c.mistake(path, "has no countries, subdivisions, asns, prefixes or lists: it holds nobody")
		}
		c.once(listed, path+".countries", p.Countries)
		c.once(listed, path+".subdivisions", p.Subdivisions)
		c.once(listed, path+".asns", p.ASNs)
		c.cover(&seen, path+".prefixes", p.Prefixes)
		c.distinct(path+".lists", p.Lists)
		for j, name := range p.Lists {
			here := element(path+".lists", j)
			if c.refer(here, "geo.lists", name, lists) && !slices.Contains(p.Lists[:j], name) {
				seen.list(here, name, c.cfg.Geo.Lists[lists[name]].Prefixes)
			}
		}
	}
	seen.report(c)
}

// once reports codes that were listed before, and notes the others.
func (c *checker) once(listed map[string]string, path string, codes []string) {
	for j, code := range codes {
		here := element(path, j)
		if first, twice := listed[code]; twice && code != "" {
			c.mistake(here, "%s is listed already, %s", code, first)
			continue
		}
		listed[code] = here
	}
}

// empty reports whether nothing says who is at a place.
func (p *Place) empty() bool {
	return len(p.Countries)+len(p.Subdivisions)+len(p.ASNs)+len(p.Prefixes)+len(p.Lists) == 0
}

// covers gathers prefixes in the order in which they count, to find those that an earlier one
// leaves nothing of.
type covers struct {
	all   []covered
	first map[netip.Prefix]int // the place in all of each prefix
}

type covered struct {
	path   string
	prefix netip.Prefix
	list   string // the list that it comes from; empty when it stands at path itself
}

// cover adds the prefixes of a key.
func (c *checker) cover(s *covers, path string, prefixes []string) {
	for i, raw := range prefixes {
		if p, err := netip.ParsePrefix(raw); err == nil {
			s.add(covered{path: element(path, i), prefix: p})
		}
	}
}

// list adds the prefixes of a list that the key at path names.
func (s *covers) list(path, name string, prefixes []string) {
	for _, raw := range prefixes {
		if p, err := netip.ParsePrefix(raw); err == nil {
			s.add(covered{path: path, prefix: p, list: name})
		}
	}
}

func (s *covers) add(p covered) {
	if s.first == nil {
		s.first = map[netip.Prefix]int{}
	}
	if _, twice := s.first[p.prefix]; !twice {
		s.first[p.prefix] = len(s.all)
	}
	s.all = append(s.all, p)
}

// report reports each prefix that lies within an earlier one. A narrow one before a wide one is
// fine: it is an exception.
func (s *covers) report(c *checker) {
	for i, p := range s.all {
		for bits := p.prefix.Bits(); bits >= 0; bits-- {
			wider := netip.PrefixFrom(p.prefix.Addr(), bits).Masked()
			j, there := s.first[wider]
			if !there || j >= i {
				continue
			}
			what := p.prefix.String()
			if p.list != "" {
				what += " of list " + p.list
			}
			c.mistake(p.path, "%s lies within %s, %s: it would never count", what, wider,
				s.all[j].path)
			break
		}
	}
}
