package app

import (
	"fmt"
	"log/slog"
	"net/netip"
	"slices"
	"time"

	"pointsman/internal/config"
	"pointsman/steering"
	"pointsman/steering/geo"
)

// placesOf converts the places of a host, with the prefixes of the lists that they name.
func placesOf(c *config.Config, h config.Host) ([]steering.Place, error) {
	var out []steering.Place
	for _, p := range h.Places {
		at := steering.Place{Name: p.Name, Countries: p.Countries, Pools: p.Pools}
		var err error
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

// asksCountries reports whether any place, allow or deny goes by country. Only then is country
// data unpacked.
func asksCountries(c *config.Config) bool {
	asks := func(a *config.Audience) bool { return a != nil && len(a.Countries) > 0 }
	return slices.ContainsFunc(c.Backends, func(b config.Backend) bool {
		return asks(b.Allow) || asks(b.Deny)
	}) || slices.ContainsFunc(c.Hosts, func(h config.Host) bool {
		return slices.ContainsFunc(h.Places, func(p config.Place) bool {
			return len(p.Countries) > 0
		})
	})
}

// loadGeo reads the country data that the config asks for. A file that is no country data is a
// mistake of the config.
func (in *inputs) loadGeo(c *config.Config, r *config.Report) (err error) {
	if !asksCountries(c) {
		return nil
	}
	if in.geo, err = geo.Load(c.Geo.Country); err != nil && c.Geo.Country != "" {
		bad := []pathMistake{complaint("geo.country", err.Error())}
		return fmt.Errorf("%w: %w", ErrConfig, located(r, bad))
	}
	return err
}

// startGeo is loadGeo for a start: a node that can't read its file starts all the same, with
// the built-in data until it can. A name that is answered from the wrong pool here and there
// is better than one that isn't answered.
func (in *inputs) startGeo(c *config.Config, log *slog.Logger) (err error) {
	if !asksCountries(c) {
		return nil
	}
	in.geo, err = geo.Load(c.Geo.Country)
	if err == nil || c.Geo.Country == "" {
		return err
	}
	log.Error("country data not read, the built-in data stands in", "err", err)
	in.geo, err = geo.StandIn(c.Geo.Country)
	return err
}

// reloadGeo is loadGeo for a reload: data that is in force already isn't read again, and a file
// that has broken since doesn't keep the rest of a config from being taken.
func (a *App) reloadGeo(
	old, c *config.Config, r *config.Report, in *inputs,
) error {
	have := a.parts.geo.Data()
	same := have.Locator != nil && old.Geo.Country == c.Geo.Country
	if same && asksCountries(c) && have.Current() {
		in.geo = have
		return nil
	}
	err := in.loadGeo(c, r)
	if err != nil && same {
		a.log.Warn("country data not read, the last good one serves on", "err", err)
		in.geo = have
		return nil
	}
	return err
}

// agedGeo warns of old country data.
func (in *inputs) agedGeo(r *config.Report, now time.Time) []config.Finding {
	l := in.geo.Locator
	if l == nil || now.Sub(l.Date()) <= geo.Aged {
		return nil
	}
	return []config.Finding{r.Source.Finding("geo", fmt.Sprintf("the country data (%s) is %d days "+
		"old, and networks have moved since: see geo.country", l.Origin(),
		int(now.Sub(l.Date()).Hours()/24)))}
}
