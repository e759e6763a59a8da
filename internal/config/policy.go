package config

import (
	"cmp"
	"slices"
)

// mostLeaves is how many backends a pool with pools in it may have, theirs counted each time.
const mostLeaves = 1000

// trees are the pools as trees, by their place in the config's list.
type trees struct {
	sizes  map[int]int     // backends of the whole tree, at most mostLeaves+1; 0: being counted
	large  map[int]bool    // those with more, which was reported
	loops  map[[2]int]bool // members, by pool and place, that would close a loop
	leaves map[int][]leaf
}

func newTrees() *trees {
	return &trees{sizes: map[int]int{}, large: map[int]bool{}, loops: map[[2]int]bool{},
		leaves: map[int][]leaf{}}
}

// leaf is a backend of a tree of pools.
type leaf struct {
	backend int  // in the config's list
	usable  bool // no weight between it and the pool is 0
}

// members checks the members of a pool, which stand in the file at a path.
func (c *checker) members(at string, list []Member) {
	backends, pools := c.index("backends"), c.index("pools")
	seen := map[string]int{}
	for j, m := range list {
		path := element(at, j)
		key, name, index := "backend", m.Backend, backends
		switch {
		case m.Backend != "" && m.Pool != "":
			c.mistake(path+".pool", "backend is given too: a member is one of the two")
			continue
		case m.Pool != "":
			key, name, index = "pool", m.Pool, pools
		case m.Backend == "":
			if !c.bad[path+".backend"] && !c.bad[path+".pool"] {
				c.mistake(path, "has neither backend nor pool: it needs one of the two")
			}
			continue
		}
		path += "." + key
		if !c.refer(path, key+"s", name, index) {
			continue
		}
		if first, twice := seen[key+" "+name]; twice {
			c.mistake(path, "%s is a member already, %s: add the weights", shown(name),
				element(at, first))
			continue
		}
		seen[key+" "+name] = j
	}
}

// within reports a tolerance of a pool that has no use for it.
func (c *checker) within(at string, p *Pool) {
	switch {
	case c.bad[parent(at)+".choose"]:
	case p.Choose == ChooseLatency, p.Choose == ChooseCost, p.Choose == ChooseNearest:
		if p.Choose != ChooseLatency && c.src.has(at+".span") {
			c.mistake(at+".span", "belongs to choose: latency, and this pool chooses by %s", p.Choose)
		}
		if p.Choose != ChooseNearest && c.src.has(at+".distance") {
			c.mistake(at+".distance", "belongs to choose: nearest, and this pool chooses by %s",
				p.Choose)
		}
	case c.src.has(at):
		c.mistake(at, "belongs to choose: latency, cost or nearest, and this pool chooses by %s",
			p.Choose)
	}
}

// nesting reports pools that hold themselves, and trees that are too large.
func (c *checker) nesting() {
	for i := range c.cfg.Pools {
		c.size(i)
	}
}

// size counts the backends of a pool's tree. Members that would close a loop are reported, and
// count as none from then on.
func (c *checker) size(pool int) int {
	if n, known := c.trees.sizes[pool]; known {
		return n
	}
	c.trees.sizes[pool] = 0
	p, at := &c.cfg.Pools[pool], element("pools", pool)+".members"
	n, nested, large := 0, false, false
	for j, m := range p.Members {
		within, ok := c.index("pools")[m.Pool]
		if !ok {
			n++
			continue
		}
		size := c.size(within)
		if size == 0 {
			c.trees.loops[[2]int{pool, j}] = true
			c.mistake(element(at, j)+".pool", "%s holds pool %s itself: pools in pools must come "+
				"to an end", shown(m.Pool), shown(p.Name))
		}
		nested, large = true, large || c.trees.large[within]
		n += size
	}
	c.trees.large[pool] = nested && n > mostLeaves
	if c.trees.large[pool] && !large {
		c.mistake(at, "%d backends, those of the pools in it counted each time: at most %d", n,
			mostLeaves)
	}
	c.trees.sizes[pool] = max(1, min(n, mostLeaves+1))
	return c.trees.sizes[pool]
}

// inside returns the pool that is a member of another one, and false for backends, for what
// doesn't exist, and for what would close a loop or is too large: that was reported.
func (c *checker) inside(pool, member int) (int, bool) {
	within, ok := c.index("pools")[c.cfg.Pools[pool].Members[member].Pool]
	return within, ok && !c.trees.loops[[2]int{pool, member}] && c.size(within) <= mostLeaves
}

// leaves lists the backends of a pool and of the pools in it, each once, those that exist.
func (c *checker) leaves(pool int) []leaf {
	if list, known := c.trees.leaves[pool]; known {
		return list
	}
	var list []leaf
	at := map[int]int{}
	add := func(l leaf) {
		if i, twice := at[l.backend]; twice {
			list[i].usable = list[i].usable || l.usable
			return
		}
		at[l.backend] = len(list)
		list = append(list, l)
	}
	for j, m := range c.cfg.Pools[pool].Members {
		if i, ok := c.index("backends")[m.Backend]; ok {
			add(leaf{backend: i, usable: m.Weight > 0})
		}
		if within, ok := c.inside(pool, j); ok {
			for _, l := range c.leaves(within) {
				add(leaf{backend: l.backend, usable: l.usable && m.Weight > 0})
			}
		}
	}
	c.trees.leaves[pool] = list
	return list
}

// mixed names the pool of a tree, itself or one in it, that answers with CNAMEs and addresses at
// the same time; empty when none does. One that fails over has one of its members answer.
func (c *checker) mixed(pool int) string {
	p := &c.cfg.Pools[pool]
	first, cname, address := "", false, false
	for j := range p.Members {
		if within, ok := c.inside(pool, j); ok {
			first = cmp.Or(first, c.factsOf([]string{c.cfg.Pools[within].Name})[0].mixed)
		}
	}
	if first != "" || p.Choose == ChooseFailover {
		return first
	}
	for _, l := range c.leaves(pool) {
		named := c.cfg.Backends[l.backend].CNAME != ""
		cname, address = cname || named, address || !named
	}
	if cname && address {
		return p.Name
	}
	return ""
}

// reach marks a pool and those in it as used.
func (c *checker) reach(pool string, used map[string]bool) {
	i, ok := c.index("pools")[pool]
	if !ok || used["pools "+pool] {
		return
	}
	used["pools "+pool] = true
	for _, m := range c.cfg.Pools[i].Members {
		c.reach(m.Pool, used)
	}
}

// policyTraps warns of policies that don't do what they seem to.
func (c *checker) policyTraps() {
	for i := range c.cfg.Pools {
		if c.cfg.Pools[i].Choose == ChooseLatency {
			c.latencyTraps(i)
		}
	}
	unbounded := map[int]string{} // a host without a load, for each backend
	bounded := map[int]bool{}
	for i := range c.cfg.Hosts {
		h := &c.cfg.Hosts[i]
		for _, p := range c.poolsOf(h) {
			if p.bounded == "" {
				continue
			}
			for _, l := range p.leaves {
				bounded[l.backend] = bounded[l.backend] || h.Load > 0
				if h.Load == 0 {
					unbounded[l.backend] = cmp.Or(unbounded[l.backend], h.Name)
				}
			}
		}
	}
	for i := range c.cfg.Backends {
		at := element("backends", i) + ".capacity"
		switch host := unbounded[i]; {
		case c.cfg.Backends[i].Capacity == 0 || host == "" || !c.whole("hosts"):
		case bounded[i]:
			c.warn(at, "host %s uses the backend too and has no load: its requests come on top of "+
				"what the capacity allows", host)
		default:
			c.warn(at, "no host that uses the backend has a load: nothing is bounded by the capacity")
		}
	}
}

// latencyTraps warns when the latencies that a pool goes by can't be compared.
func (c *checker) latencyTraps(pool int) {
	p, at := &c.cfg.Pools[pool], element("pools", pool)
	kinds := map[string]string{} // a backend of each kind of probe
	for _, l := range c.leaves(pool) {
		b := &c.cfg.Backends[l.backend]
		if b.Probe.URL == "" && b.Probe.Address == "" {
			c.warn(at+".choose", "backend %s is not probed: its latency is never known, so it "+
				"answers only when nobody's is", b.Name)
			continue
		}
		kinds[b.Probe.Kind] = cmp.Or(kinds[b.Probe.Kind], b.Name)
	}
	if h, t := kinds[ProbeHTTP], kinds[ProbeTCP]; h != "" && t != "" {
		c.warn(at+".choose", "backend %s is probed by http and %s by tcp: a connection alone "+
			"always takes less time than a request, so their latencies say little together", h, t)
	}
	if !slices.Contains(c.cfg.Roles, RoleProbe) && c.cfg.Store.Kind != StoreRedis {
		c.warn(at+".choose", "this node does not probe, and no other one tells it: without "+
			"latencies all members answer")
	}
	if p.Within == (Within{}) && c.whole(at) {
		c.warn(at+".choose", "without within only the very fastest answers, and small changes move "+
			"all clients: say within: {percent: 20, span: 10ms}, for example")
	}
}
