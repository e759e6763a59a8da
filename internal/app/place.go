package app

import (
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"slices"
	"strconv"
	"time"

	"pointsman/internal/config"
	"pointsman/steering"
	"pointsman/steering/geo"
)

// placesOf converts the places of a host, with the prefixes of the lists that they name.
func placesOf(c *config.Config, h config.Host) ([]steering.Place, error) {
	var out []steering.Place
	for _, p := range h.Places {
		at := steering.Place{Name: p.Name, Countries: p.Countries, Subdivisions: p.Subdivisions,
			Pools: p.Pools}
		var err error
		if at.ASNs, err = asnsOf(p.ASNs); err != nil {
			return nil, fmt.Errorf("place %q: %w", p.Name, err)
		}
		if at.Prefixes, err = prefixesOf(c, p.Prefixes, p.Lists); err != nil {
			return nil, fmt.Errorf("place %q: %w", p.Name, err)
		}
		out = append(out, at)
	}
	return out, nil
}

// prefixesOf converts prefixes, and adds those of the lists that are named.
func prefixesOf(c *config.Config, texts, lists []string) (out []netip.Prefix, err error) {
	texts = slices.Clone(texts)
	for _, l := range c.Geo.Lists {
		if slices.Contains(lists, l.Name) {
			texts = append(texts, l.Prefixes...)
		}
	}
	for _, text := range texts {
		prefix, err := netip.ParsePrefix(text)
		if err != nil {
			return nil, err
		}
		out = append(out, prefix)
	}
	return out, nil
}

// asnsOf converts numbers of autonomous systems.
func asnsOf(texts []string) (out []uint32, err error) {
	for _, text := range texts {
		n, err := strconv.ParseUint(text, 10, 32)
		if err != nil {
			return nil, err
		}
		out = append(out, uint32(n))
	}
	return out, nil
}

// locationOf converts where a backend is; nil when nobody says.
func locationOf(b config.Backend) (*geo.Point, error) {
	switch {
	case b.Location != nil:
		lat, err1 := config.Microdegrees(b.Location.Latitude)
		lon, err2 := config.Microdegrees(b.Location.Longitude)
		return &geo.Point{Lat: int32(lat), Lon: int32(lon)}, errors.Join(err1, err2)
	case b.Region != "":
		if p, ok := geo.Centroid(b.Region); ok {
			return &p, nil
		}
	}
	return nil, nil
}

// unlocated complains of regions whose centre is not known.
func unlocated(c *config.Config) (bad []pathMistake) {
	for i, b := range c.Backends {
		if _, ok := geo.Centroid(b.Region); b.Region != "" && !ok {
			bad = append(bad, complaint(fmt.Sprintf("backends[%d].region", i),
				fmt.Sprintf("the centre of %s is not known: say location instead", b.Region)))
		}
	}
	return bad
}

// geoWants says what geo data a config needs, if any. Only that is read and unpacked.
func geoWants(c *config.Config) (w geo.Wants, needed bool) {
	asks := func(countries, subdivisions, asns []string) {
		w.Country = w.Country || len(countries) > 0
		w.ASN = w.ASN || len(asns) > 0
		needed = needed || len(countries)+len(subdivisions)+len(asns) > 0
	}
	for _, b := range c.Backends {
		for _, a := range []*config.Audience{b.Allow, b.Deny} {
			if a != nil {
				asks(a.Countries, a.Subdivisions, a.ASNs)
			}
		}
	}
	for _, h := range c.Hosts {
		for _, p := range h.Places {
			asks(p.Countries, p.Subdivisions, p.ASNs)
		}
	}
	for _, p := range c.Pools {
		if p.Choose == config.ChooseNearest {
			needed, w.Country = true, true
		}
	}
	return withFiles(c, w), needed
}

// withFiles adds the files that data is read from.
func withFiles(c *config.Config, w geo.Wants) geo.Wants {
	if c.Geo.Country != "" {
		w.Files = append(w.Files, c.Geo.Country)
	}
	w.Files = append(w.Files, c.Geo.Files...)
	return w
}

// loadGeo reads the geo data that the config asks for. A file that is none is a mistake of the
// config.
func (in *inputs) loadGeo(c *config.Config, r *config.Report) (err error) {
	w, needed := geoWants(c)
	if !needed {
		return nil
	}
	if in.geo, err = geo.Load(w); err == nil || len(w.Files) == 0 {
		return err
	}
	var bad []pathMistake
	for i, path := range w.Files {
		if _, err := geo.Open(path); err != nil {
			bad = append(bad, complaint(geoPath(c, i), err.Error()))
		}
	}
	return fmt.Errorf("%w: %w", ErrConfig, located(r, bad))
}

// geoPath is where the i-th file of geoWants stands in the config.
func geoPath(c *config.Config, i int) string {
	if c.Geo.Country != "" {
		if i == 0 {
			return "geo.country"
		}
		i--
	}
	return fmt.Sprintf("geo.files[%d]", i)
}

// startGeo is loadGeo for a start: a node that can't read a file starts all the same, with the
// built-in data until it can. A name that is answered from the wrong pool here and there is
// better than one that isn't answered.
func (in *inputs) startGeo(c *config.Config, log *slog.Logger) (err error) {
	w, needed := geoWants(c)
	if !needed {
		return nil
	}
	in.geo, err = geo.StandIn(w)
	if err == nil || len(w.Files) == 0 {
		return err
	}
	log.Error("geo data not read, the built-in data stands in", "err", err)
	return nil
}

// reloadGeo is loadGeo for a reload: data that is in force already isn't read again, and a file
// that has broken since doesn't keep the rest of a config from being taken.
func (a *App) reloadGeo(
	old, c *config.Config, r *config.Report, in *inputs,
) error {
	have := a.parts.geo.Data()
	w, needed := geoWants(c)
	if needed && have.Locator != nil && have.Current(w) {
		in.geo = have
		return nil
	}
	was, _ := geoWants(old)
	same := have.Locator != nil && slices.Equal(was.Files, w.Files) &&
		(was.ASN || !w.ASN) && (was.Country || !w.Country)
	err := in.loadGeo(c, r)
	if err != nil && same {
		a.log.Warn("geo data not read, the last good one serves on", "err", err)
		in.geo = have
		return nil
	}
	return err
}

// agedGeo warns of old geo data.
func (in *inputs) agedGeo(r *config.Report, now time.Time) []config.Finding {
	l := in.geo.Locator
	if l == nil || now.Sub(l.Date()) <= geo.Aged {
		return nil
	}
	return []config.Finding{r.Source.Finding("geo", fmt.Sprintf("the geo data (%s) is %d days "+
		"old, and networks have moved since: see geo.files", l.Origin(),
		int(now.Sub(l.Date()).Hours()/24)))}
}
