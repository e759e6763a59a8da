package app

import (
	"fmt"

	"pointsman/internal/config"
	"pointsman/steering"
)

// limitsTo converts what bounds the use of a backend.
func limitsTo(to *steering.Backend, c *config.Config, b config.Backend) (err error) {
	to.Capacity, to.Cost = uint64(b.Capacity), uint64(b.Cost)
	if to.Allow, err = audienceOf(c, b.Allow); err != nil {
		return fmt.Errorf("allow: %w", err)
	}
	if to.Deny, err = audienceOf(c, b.Deny); err != nil {
		return fmt.Errorf("deny: %w", err)
	}
	if to.Location, err = locationOf(b); err != nil {
		return fmt.Errorf("location: %w", err)
	}
	return nil
}

// audienceOf converts whom a backend may answer, or may not; nil stays nil.
func audienceOf(c *config.Config, a *config.Audience) (*steering.Audience, error) {
	if a == nil {
		return nil, nil
	}
	prefixes, err := prefixesOf(c, a.Prefixes, a.Lists)
	if err != nil {
		return nil, err
	}
	asns, err := asnsOf(a.ASNs)
	return &steering.Audience{Countries: a.Countries, Subdivisions: a.Subdivisions, ASNs: asns,
		Prefixes: prefixes}, err
}

// poolsOf converts the pools.
func poolsOf(c *config.Config) (out []steering.Pool) {
	choices := map[string]steering.Choice{config.ChooseWeight: steering.ByWeight,
		config.ChooseFailover: steering.ByOrder, config.ChooseLatency: steering.ByLatency,
		config.ChooseCost:    steering.ByCost,
		config.ChooseNearest: steering.Nearest}
	for _, p := range c.Pools {
		distance, _ := config.Kilometres(p.Within.Distance) // "" is 0
		np := steering.Pool{Name: p.Name, Choose: choices[p.Choose], Within: steering.Tolerance{
			Percent: uint32(p.Within.Percent), Span: p.Within.Span, Distance: distance}}
		for _, m := range p.Members {
			np.Members = append(np.Members,
				steering.Member{Backend: m.Backend, Pool: m.Pool, Weight: uint32(m.Weight)})
		}
		out = append(out, np)
	}
	return out
}

// backendsOfHost are those of the pools of a host and of its places, and of the pools in them, in
// the order of the config.
func backendsOfHost(c *config.Config, h config.Host) (out []config.Backend) {
	pools := make(map[string]config.Pool, len(c.Pools))
	for _, p := range c.Pools {
		pools[p.Name] = p
	}
	used, seen := map[string]bool{}, map[string]bool{}
	var use func(pool string)
	use = func(pool string) {
		if seen[pool] {
			return
		}
		seen[pool] = true
		for _, m := range pools[pool].Members {
			used[m.Backend] = true
			use(m.Pool)
		}
	}
	for _, p := range h.Pools {
		use(p)
	}
	for _, at := range h.Places {
		for _, p := range at.Pools {
			use(p)
		}
	}
	for _, b := range c.Backends {
		if used[b.Name] {
			out = append(out, b)
		}
	}
	return out
}
