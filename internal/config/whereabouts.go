package config

import (
	"fmt"
	"strconv"
	"strings"
)

// farthest is how many kilometres two places are apart at most, about.
const farthest = 20_000

// parseSubdivision checks the code of a part of a country and returns it in upper case. Which
// parts a country has isn't checked: the standard's list changes too often.
func parseSubdivision(raw string) (string, *complaint) {
	code := strings.ToUpper(raw)
	country, part, ok := strings.Cut(code, "-")
	if !ok || len(part) < 1 || len(part) > 3 || strings.ContainsFunc(part, func(r rune) bool {
		return (r < 'A' || r > 'Z') && (r < '0' || r > '9')
	}) {
		return "", complain("%s is not a subdivision's code, as in US-CA (ISO 3166-2)", shown(raw))
	}
	known, c := parseCountry(country)
	if c != nil {
		if c.suggestion != "" {
			c.suggestion += "-" + part
		}
		return "", c
	}
	return known + "-" + part, nil
}

// parseRegion checks the code of a country or a subdivision.
func parseRegion(raw string) (string, *complaint) {
	if strings.Contains(raw, "-") {
		return parseSubdivision(raw)
	}
	return parseCountry(raw)
}

// parseASN checks the number of an autonomous system and returns its digits (RFC 5396).
func parseASN(raw string) (string, *complaint) {
	digits := raw
	if len(raw) > 2 && strings.EqualFold(raw[:2], "AS") {
		digits = raw[2:]
	}
	n, err := strconv.ParseUint(digits, 10, 32)
	if err != nil || n == 0 || strconv.FormatUint(n, 10) != digits {
		return "", complain("%s is not an AS number, as in 64496 or AS64496", shown(raw))
	}
	return digits, nil
}

// parseDegrees checks a latitude or longitude.
func parseDegrees(raw string, most int64) (string, *complaint) {
	n, err := Microdegrees(raw)
	switch {
	case err != nil:
		return "", complain("%s", err)
	case n > most*million || n < -most*million:
		return "", complain("%s is not from -%d to %d", raw, most, most)
	}
	return raw, nil
}

// Microdegrees reads a number of degrees with at most six decimals, in millionths.
func Microdegrees(s string) (int64, error) {
	digits, negative := strings.CutPrefix(s, "-")
	p, err := ParsePrice(digits)
	if err != nil {
		return 0, fmt.Errorf("%q is not a number of degrees such as -33.87", s)
	}
	if negative {
		p = -p
	}
	return int64(p), nil
}

// parseDistance checks a number of kilometres.
func parseDistance(raw string) (string, *complaint) {
	n, err := Kilometres(raw)
	switch {
	case err != nil:
		c := complain("%s", err)
		if _, err := strconv.ParseUint(raw, 10, 31); err == nil {
			c.suggestion = raw + "km"
		}
		return "", c
	case n > farthest:
		return "", complain("%s is too much: at most %dkm", raw, farthest)
	}
	return raw, nil
}

// Kilometres reads a distance such as 300km.
func Kilometres(s string) (uint32, error) {
	digits, ok := strings.CutSuffix(s, "km")
	n, err := strconv.ParseUint(digits, 10, 31)
	if !ok || err != nil {
		return 0, fmt.Errorf("%q is not a distance in whole kilometres such as 300km", s)
	}
	return uint32(n), nil
}

// located checks where backends are, and that those of pools that choose the nearest are anywhere.
func (c *checker) located() {
	for i := range c.cfg.Backends {
		b := &c.cfg.Backends[i]
		if at := element("backends", i); b.Location != nil && c.src.has(at+".region") {
			c.mistake(at+".region", "location is given too: one of them is enough")
		}
	}
	for i := range c.cfg.Pools {
		if c.cfg.Pools[i].Choose != ChooseNearest || !c.whole("backends") {
			continue
		}
		for _, l := range c.leaves(i) {
			b := &c.cfg.Backends[l.backend]
			if b.Location == nil && b.Region == "" {
				c.mistake(element("pools", i)+".choose", "backend %s has no location and no region: "+
					"how near it is can't be known", b.Name)
			}
		}
	}
}

// subdivisionTraps warns of subdivisions that no file can know.
func (c *checker) subdivisionTraps() {
	if len(c.cfg.Geo.Files) > 0 || c.cfg.Geo.Country != "" {
		return
	}
	warn := func(at string, list []string) {
		if len(list) > 0 {
			c.warn(at+".subdivisions", "the built-in data knows no subdivisions, so nobody is in "+
				"any: name a file of city data in geo.files")
		}
	}
	c.eachAudience(func(at string, a *Audience) { warn(at, a.Subdivisions) })
	for i := range c.cfg.Hosts {
		for j := range c.cfg.Hosts[i].Places {
			warn(element(element("hosts", i)+".places", j), c.cfg.Hosts[i].Places[j].Subdivisions)
		}
	}
}

// requires reports backends that lack a type of records that a host must have. What stands at the
// target of a CNAME is not known here, so addresses are not asked of CNAMEs.
func (c *checker) requires(at string, h *Host) {
	c.distinct(at+".require_types", h.RequireTypes)
	for j, kind := range h.RequireTypes {
		seen := map[int]bool{}
		for _, p := range c.poolsOf(h) {
			for _, l := range p.leaves {
				if b := &c.cfg.Backends[l.backend]; !seen[l.backend] && b.lacks(kind, h.Flattened) {
					c.mistake(element(at+".require_types", j), "backend %s of pool %s has no %s record: "+
						"its clients would get an empty answer", b.Name, p.name, kind)
				}
				seen[l.backend] = true
			}
		}
	}
}

// lacks reports whether a backend surely has no record of a type.
func (b *Backend) lacks(kind string, flattened bool) bool {
	named := b.CNAME != ""
	switch kind {
	case "HTTPS":
		return b.HTTPS == nil && (!named || flattened)
	case "A":
		return !named && !hasFamily(b.Addresses, false)
	}
	return !named && !hasFamily(b.Addresses, true)
}

// hasFamily reports whether any address is of IPv6, or of IPv4.
func hasFamily(addresses []string, six bool) bool {
	for _, a := range addresses {
		if strings.Contains(a, ":") == six {
			return true
		}
	}
	return false
}
