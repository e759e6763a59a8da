package control

import "math"

const (
	// caches is how many caches behind one prefix are told apart.
	caches = 8
	// censusMemory is the time constant, in seconds, by which what was seen fades.
	censusMemory = 3600
	// leastIdle is the shortest mean idle time that counts, in seconds: below it the network's
	// jitter says more than the users. So a cache counts for at most 100 lookups a second.
	leastIdle = 0.01
	// How much before its end an answer may be renewed, and no more: resolvers count whole
	// seconds, and those that prefetch ask again in the last tenth of a TTL.
	earlySeconds, earlyPart = 1.1, 0.12
	// enough renewals are needed before idle times say more than the count of queries.
	enough = 4
	// likely widens a standard deviation to what 9 of 10 estimates are within.
	likely = 1.64
	// saturated is Resolver.Error when many more users may be behind a prefix than can be told.
	saturated = 9
)

// users estimates how often the users behind one prefix look up one host, from the queries that
// get through their caches. An answer that is in a cache hides all lookups for a TTL; the next one
// after its end comes through. So the idle time between that end and the next query is how long
// users let one wait, and its mean is the inverse of their rate, whatever the TTL hid: if lookups
// are a Poisson process, idle times are exponential (renewal theory; Jung, Berger and Balakrishnan,
// Modeling TTL-based Internet caches, 2003).
//
// Times are in seconds since any moment. All sums fade.
type users struct {
	first, last float64 // query
	gap         float64 // between the last two; 0: there were no two

	queries float64
	crowded float64 // of them, those that found no cache free
	busy    float64 // seconds for which answers were handed out
	overlap float64 // seconds for which each two answers were in use together
	early   float64 // renewals that came well before the end
	alike   float64 // caches in use, added up at each renewal
	waited  float64 // idle times, added up; below 0: renewed early
	idle    moments // of the same, without outliers
	gaps    moments // between queries, whoever sent them
	caches  [caches]cache
}

// cache is one answer that somebody holds, or has held.
type cache struct {
	expires float64
	idle    float32 // before it was renewed last, if it was
	ttl     float32 // 0: the place is free
	renewed bool
}

// asked counts one query that was answered with a TTL in seconds, above 0.
func (u *users) asked(at, ttl float64) {
	if u.queries == 0 {
		u.first, u.last = at, at
	} else {
		u.fade(at)
		gap := max(0, at-u.last)
		u.gaps.add(u.gaps.trim(gap), u.gap, u.gap > 0)
		u.gap, u.last = gap, at
	}
	u.queries++
	u.busy += ttl
	for i := range u.caches {
		if u.caches[i].ttl > 0 {
			u.overlap += min(ttl, max(0, u.caches[i].expires-at))
		}
	}
	c := u.expired(at)
	if c == nil {
		if c = u.free(); c == nil {
			u.crowded++
			return
		}
		*c = cache{}
	} else {
		u.renew(c, at)
	}
	c.expires, c.ttl = at+ttl, float32(ttl)
}

// fade lets the sums fade from the last query until a time. When the clock goes back nothing does.
func (u *users) fade(at float64) {
	keep := math.Exp(-max(0, at-u.last) / censusMemory)
	for _, sum := range []*float64{&u.queries, &u.crowded, &u.busy, &u.overlap, &u.early, &u.alike,
		&u.waited} {
		*sum *= keep
	}
	u.idle.fade(keep)
	u.gaps.fade(keep)
}

// faded is how many queries count at a time.
func (u *users) faded(at float64) float64 {
	return u.queries * math.Exp(-max(0, at-u.last)/censusMemory)
}

// expired returns the cache that a query renews: of those that may be empty, the one that was
// expected most closely now. With that rule a cache that was made up, by a query that was sent
// twice, starves. It is nil when all answers are still in use.
func (u *users) expired(at float64) (best *cache) {
	expected := 0.0 // those that prefetch are always early
	if u.idle.n >= enough {
		expected = min(0, u.waited/u.idle.n)
	}
	least := math.Inf(1)
	for i := range u.caches {
		c := &u.caches[i]
		idle := at - c.expires
		if c.ttl == 0 || idle < -earlySeconds-earlyPart*float64(c.ttl) {
			continue
		}
		off := idle - expected
		if off < 0 {
			off *= -4 // that one is late is more likely
		}
		if off < least {
			best, least = c, off
		}
	}
	return best
}

// renew counts the idle time of a cache that is renewed, and frees those that starve.
func (u *users) renew(c *cache, at float64) {
	idle := at - c.expires
	seen := u.idle.trim(idle)
	u.waited += idle
	u.idle.add(seen, float64(c.idle), c.renewed)
	if idle < -earlySeconds {
		u.early++
	}
	c.idle, c.renewed = float32(seen), true
	patience := 3 * max(0, u.waited/u.idle.n)
	for i := range u.caches {
		other := &u.caches[i]
		if other != c && at > other.expires+patience+3*float64(other.ttl) {
			*other = cache{}
		}
		if other.renewed {
			u.alike++
		}
	}
}

func (u *users) free() *cache {
	for i := range u.caches {
		if u.caches[i].ttl == 0 {
			return &u.caches[i]
		}
	}
	return nil
}

// estimate returns the lookups a second, and how far off they may be relative to that; since is
// when counting began.
func (u users) estimate(now, since float64) (load, err float64) {
	u.fade(now)
	if u.idle.n < enough {
		return u.byCount(now, since)
	}
	used, idle, err := u.meanIdle(now)
	// Nobody asks any more: with the idle time as it was, that long a silence has 1 chance in 20.
	quiet := now - u.last - u.busy/u.queries
	load = used / max(idle, leastIdle, quiet/3)
	err *= likely
	if idle < 2*leastIdle {
		err = max(err, saturated)
	}
	if u.crowded > u.queries/10 {
		err = max(err, saturated)
	}
	return load, err
}

// watched is for how many seconds that haven't faded a prefix has been looked at.
func watched(since, now float64) float64 {
	return censusMemory * -math.Expm1(-max(1, now-since)/censusMemory)
}

// byCount is for prefixes that asked so seldom that their caches were mostly empty.
func (u *users) byCount(now, since float64) (load, err float64) {
	time := watched(since, now)
	open := max(time-u.busy, time/caches, u.busy/u.queries/2)
	return u.queries / open, min(3, likely/math.Sqrt(max(u.queries, 0.1)))
}

// meanIdle estimates how many caches there are and the mean idle time of one of them, from the
// mean and from the spread. The first is better while the resolver keeps the TTL, the second when
// idle times are short against what is unknown of its end, or when it ends at another time.
func (u *users) meanIdle(now float64) (used, idle, err float64) {
	const uncertain = 0.3 // of when a TTL ends, in seconds: a whole second's standard deviation
	n := u.idle.n
	mean, spread := u.waited/n, max(u.idle.spread(), leastIdle/2)
	used = max(1, u.alike/n)
	if used > 1.2 {
		if gap := u.gaps.mean(); u.gaps.n > enough && u.gaps.deviation() < gap/5 {
			// One cache that keeps answers for a shorter time than it should.
			return 1, u.gaps.spread(), math.Sqrt(2 / n)
		}
		if open := u.open(now); open > 0.3 {
			return 1, open / (u.queries / watched(u.first, now)), math.Hypot(0.2, 2/math.Sqrt(n))
		}
		used = math.Round(used)
	}
	ofMean, ofSpread := mean*mean/n+uncertain*uncertain, 2*spread*spread/n
	apart := math.Abs(mean-spread) > 3*math.Sqrt(ofMean+ofSpread)
	byMean, bySpread := 1/ofMean, 1/ofSpread
	switch {
	case used > 1 && mean > 1:
		bySpread = 0 // who renewed what is partly chance, and that spreads
	case u.early > n/20:
		byMean = 0
	case apart && mean > spread:
		// One client that asks at fixed times, or many behind a cache that raises TTLs. The lower
		// rate, since the first is far more common; how much more it may be is in the error.
		return used, mean, (mean/spread - 1) / likely
	case apart:
		byMean = 0
	}
	idle = max(leastIdle/2, (mean*byMean+spread*bySpread)/(byMean+bySpread))
	err = 1 / math.Sqrt(byMean+bySpread) / idle
	if used > 1 {
		err = math.Hypot(err, 0.2)
	}
	return used, idle, err
}

// open is the part of the caches that are empty at a time, which is the part of the lookups that
// come through. Of caches that are in use or not by chance, with the same probability p, some are
// in use at a time with the binomial mean c·p and variance c·p·(1−p): that divided is what isn't in
// use, however many caches there are.
func (u *users) open(now float64) float64 {
	time := watched(u.first, now)
	mean := u.busy / time
	return min(1, (2*u.overlap/time+mean-mean*mean)/mean)
}
