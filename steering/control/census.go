package control

import (
	"cmp"
	"math"
	"math/bits"
	"net/netip"
	"slices"
	"time"
)

// Bounds of a Census.
const (
	leastBits4, mostBits4 = 8, 24
	leastBits6, mostBits6 = 16, 56
	resolverBits6         = 64
)

// Lookup is one query for a host that was answered.
type Lookup struct {
	Host   string       // canonical
	Client netip.Prefix // from ClientPrefix or ResolverPrefix
	At     time.Duration
	TTL    time.Duration // of the answer
}

// ClientPrefix returns what a client subnet of a query counts as: itself, but no more of it than
// /24 and /56. More bits than RFC 7871 §11.1 recommends would make each user a resolver of their
// own; of fewer than 8 and 16 nobody can be assigned, and the prefix is not valid.
func ClientPrefix(p netip.Prefix) netip.Prefix {
	least, most := leastBits4, mostBits4
	if p.Addr().Is6() {
		least, most = leastBits6, mostBits6
	}
	if p.Bits() < least {
		return netip.Prefix{}
	}
	out, _ := p.Addr().Prefix(min(p.Bits(), most))
	return out
}

// ResolverPrefix returns what a resolver without a client subnet counts as: its IPv4 address, or
// the /64 that its IPv6 address is in, within which hosts change theirs (RFC 8981). Neighbours in
// IPv4 have caches of their own, and are better told apart: one cache is known best.
func ResolverPrefix(a netip.Addr) netip.Prefix {
	a = a.Unmap().WithZone("")
	out, _ := a.Prefix(min(a.BitLen(), resolverBits6))
	return out
}

// Load is what the resolvers of one scope are worth.
type Load struct {
	Scope Scope
	// Resolvers are the heaviest, largest first, up to MostAssigned. Their loads are lookups a
	// second by users.
	Resolvers []Resolver
	// Total is the load of all resolvers of the scope, those not listed or not kept included.
	Total float64
}

// Census estimates for each host and client prefix how often the users behind it look the host
// up, in fixed memory: about 3.5 KB for 8 prefixes. A new prefix takes the place of the one with
// the fewest queries in its set of 8; heavy ones are thus kept whatever comes. What was seen fades
// with a time constant of an hour.
//
// A Census is for one goroutine at a time. Lookups must come about in their order, those of all
// cores together: the gaps between a resolver's queries are what it goes by, and any core sees
// some of them only.
type Census struct {
	sets    []censusSet
	began   float64
	empty   bool
	others  map[string]*others // by host
	evicted uint64
	used    int
}

// censusSet keeps keys together, so that looking for one reads one line of the cache.
type censusSet struct {
	keys  [ways]uint64 // 0: free
	hosts [ways]string
	who   [ways]netip.Prefix
	users [ways]users
}

// others counts the queries of a host from prefixes that are not kept.
type others struct{ queries, at float64 }

func (o *others) fade(at float64) {
	o.queries *= math.Exp(-max(0, at-o.at) / censusMemory)
	o.at = at
}

// NewCensus returns a census for so many pairs of host and prefix, rounded up to a power of two
// from 8 to 1,048,576.
func NewCensus(prefixes int) *Census {
	sets := (max(1, min(prefixes, 1<<20)) + ways - 1) / ways
	return &Census{sets: make([]censusSet, 1<<bits.Len(uint(sets-1))), empty: true,
		others: make(map[string]*others)}
}

// Size is how many pairs of host and prefix a census has room for.
func (c *Census) Size() int { return ways * len(c.sets) }

// Used is how many of them it holds.
func (c *Census) Used() int { return c.used }

// Evicted is how many prefixes had to make room for others so far.
func (c *Census) Evicted() uint64 { return c.evicted }

// Add counts one lookup. One without a TTL hides nothing and counts as one of 1 s, the shortest
// there is. It allocates for a new host alone.
func (c *Census) Add(l Lookup) {
	at, ttl := l.At.Seconds(), max(1, l.TTL.Seconds())
	if c.empty {
		c.empty, c.began = false, at
	}
	if !l.Client.IsValid() {
		c.other(l.Host, 1, at)
		return
	}
	key := hashPrefix(l.Client.Addr().As16(), l.Client.Bits()) ^ hashHost(l.Host)
	key = max(1, key)
	in := &c.sets[key>>32&uint64(len(c.sets)-1)]
	i := slices.Index(in.keys[:], key)
	if i < 0 {
		i = c.room(in, at)
		in.keys[i], in.hosts[i], in.who[i] = key, l.Host, l.Client
		in.users[i] = users{}
	}
	in.users[i].asked(at, ttl)
}

// hashHost is 64-bit FNV-1a.
func hashHost(host string) uint64 {
	h := uint64(0xcbf29ce484222325)
	for i := range len(host) {
		h = (h ^ uint64(host[i])) * 0x100000001b3
	}
	return h
}

// room returns a free way of a set, or frees the one with the fewest queries.
func (c *Census) room(in *censusSet, at float64) int {
	least, fewest := 0, math.Inf(1)
	for i, key := range in.keys {
		if key == 0 {
			c.used++
			return i
		}
		if n := in.users[i].faded(at); n < fewest {
			least, fewest = i, n
		}
	}
	c.evicted++
	c.other(in.hosts[least], fewest, at)
	return least
}

func (c *Census) other(host string, queries, at float64) {
	o := c.others[host]
	if o == nil {
		o = &others{at: at}
		c.others[host] = o
	}
	o.fade(at)
	o.queries += queries
}

// Loads estimates the loads at a time, in the order of their scopes. Only hosts for which keep is
// true are in it, and the others are forgotten. place says where a host's clients of a prefix are.
func (c *Census) Loads(at time.Duration, keep func(host string) bool,
	place func(host string, client netip.Prefix) string,
) []Load {
	now := at.Seconds()
	scopes, hosts := make(map[Scope]*Load), make(map[string]float64)
	for i := range c.sets {
		in := &c.sets[i]
		for j, key := range in.keys {
			if key == 0 {
				continue
			}
			host := in.hosts[j]
			if !keep(host) {
				in.keys[j], in.hosts[j] = 0, ""
				c.used--
				continue
			}
			scope := Scope{Host: host, Place: place(host, in.who[j])}
			l := scopes[scope]
			if l == nil {
				l = &Load{Scope: scope}
				scopes[scope] = l
			}
			load, err := in.users[j].estimate(now, c.began)
			l.Resolvers = append(l.Resolvers, Resolver{Prefix: in.who[j], Load: load, Error: err})
			l.Total += load
			hosts[host] += load
		}
	}
	c.share(now, keep, scopes, hosts)
	out := make([]Load, 0, len(scopes))
	for _, l := range scopes {
		sortResolvers(l.Resolvers)
		l.Resolvers = l.Resolvers[:min(len(l.Resolvers), MostAssigned)]
		out = append(out, *l)
	}
	slices.SortFunc(out, func(a, b Load) int { return a.Scope.Compare(b.Scope) })
	return out
}

// share adds what prefixes that aren't kept are worth to the totals of their host's scopes, in
// proportion: they are light, so that each of their queries is about one lookup.
func (c *Census) share(now float64, keep func(string) bool, scopes map[Scope]*Load,
	hosts map[string]float64,
) {
	for host, o := range c.others {
		if o.fade(now); !keep(host) || o.queries < 1e-3 {
			delete(c.others, host)
			continue
		}
		rate := o.queries / watched(c.began, now)
		if _, known := hosts[host]; !known {
			scope := Scope{Host: host}
			scopes[scope] = &Load{Scope: scope, Total: rate}
			continue
		}
		for scope, l := range scopes {
			if scope.Host == host {
				l.Total += rate * cmp.Or(l.Total, 1) / cmp.Or(hosts[host], 1)
			}
		}
	}
}
