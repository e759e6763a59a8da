package config

import (
	"slices"
	"time"
)

// The values of Host.Balance.
const (
	BalanceQueries = "queries"
	BalanceTraffic = "traffic"
	BalanceLatency = "latency"
	BalanceLoad    = "load"
	BalanceCost    = "cost"
)

// leastTTL is the default of hosts[].least_ttl, where ttl is no shorter.
const leastTTL = 5 * time.Second

// steering checks what the slow loop goes by. Whether its gain is safe is for package slow to say.
func (c *checker) steering() {
	for i := range c.cfg.Backends {
		at := element("backends", i)
		if k := c.cfg.Backends[i].Contract; k != nil {
			c.contract(at+".contract", k)
		}
		if k := c.cfg.Backends[i].Cache; k != nil && k.Warm > k.Cold {
			c.mistake(at+".cache.warm", "%s is above cold, %s: a warm cache misses less", k.Warm, k.Cold)
		}
	}
	for i := range c.cfg.Hosts {
		c.balance(element("hosts", i), &c.cfg.Hosts[i])
	}
}

// contract checks that a contract is by volume or by 95/5.
func (c *checker) contract(at string, k *Contract) {
	switch {
	case len(k.Tiers) > 0 && c.src.has(at+".peak"):
		c.mistake(at+".peak", "tiers are given too: a contract is by volume or by 95/5")
	case len(k.Tiers) == 0 && !c.src.has(at+".peak") && !c.bad[at+".peak"]:
		c.mistake(at, "has neither tiers nor peak: it needs one of the two")
	case k.Peak == 0 && c.src.has(at+".peak"):
		c.mistake(at+".peak", "is 0: say what a Mbit/s costs in a month")
	}
	before := 0
	for i, t := range k.Tiers {
		path := element(at+".tiers", i)
		switch last := i == len(k.Tiers)-1; {
		case last && t.UpTo > 0:
			c.mistake(path+".up_to", "is the end of the last tier, which has none: leave it out")
		case !last && t.UpTo == 0 && !c.bad[path+".up_to"]:
			c.mistake(path, "has no up_to: the last tier alone is without end")
		case !last && t.UpTo <= before:
			c.mistake(path+".up_to", "%d is not above %d: tiers must rise", t.UpTo, before)
		}
		before = t.UpTo
	}
}

// balance checks what a host's balance needs.
func (c *checker) balance(at string, h *Host) {
	if h.LeastTTL > h.TTL && !c.bad[at+".ttl"] {
		c.mistake(at+".least_ttl", "%v is above ttl, %v", h.LeastTTL, h.TTL)
	}
	if h.Balance == BalanceQueries && c.src.has(at+".least_ttl") {
		c.warn(at+".least_ttl", "has no use with balance: queries")
	}
	if h.Balance == BalanceCost && h.Load == 0 && c.whole(at) {
		c.warn(at+".balance", "the host has no load: until the loads of all its backends are "+
			"measured, weights are the goal")
	}
	if h.Balance != BalanceLoad {
		return
	}
	var without []string
	for _, p := range c.poolsOf(h) {
		for _, l := range p.leaves {
			b := &c.cfg.Backends[l.backend]
			if b.Capacity == 0 && !slices.Contains(without, b.Name) &&
				!c.bad[element("backends", l.backend)+".capacity"] {
				without = append(without, b.Name)
				c.mistake(at+".balance", "load needs the capacity of every backend, and %s has none",
					b.Name)
			}
		}
	}
}
