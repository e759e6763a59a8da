package storage

import (
	"strings"
	"time"
)

// Fetch stands for one attempt to get an object, from before the origin is asked until its
// answer was put or given up. It makes purges reach objects that are not stored yet.
type Fetch struct {
	cache *Cache
	key   Key
	began uint64

	// Guarded by Cache.mu: purges of this key since it began.
	hard   bool
	softAt int64
	ended  bool
}

// Begin notes the start of a fetch. Every Fetch must be ended.
func (c *Cache) Begin(k Key) *Fetch {
	c.mu.Lock()
	defer c.mu.Unlock()
	f := &Fetch{cache: c, key: k, began: c.generation.Load()}
	c.fetches[f] = struct{}{}
	return f
}

// End notes that nothing will be put for this fetch any more. Further calls do nothing.
func (f *Fetch) End() {
	c := f.cache
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.fetches, f)
	f.ended = true
	// Only the end of the oldest fetch can free anything: to look each time would cost a purge
	// of many tags times the number of fetches, under the lock.
	if oldest := c.oldestFetch(); oldest > f.began {
		c.sweep(oldest)
	}
}

// sweep drops the idle records that no fetch can need. Called with mu held.
func (c *Cache) sweep(oldest uint64) {
	for l, r := range c.idle {
		if oldest >= max(r.hard.Load(), r.soft.Load()) {
			delete(c.records, l)
			delete(c.idle, l)
		}
	}
}

// oldestFetch is the lowest generation that a fetch under way began in. Called with mu held.
func (c *Cache) oldestFetch() uint64 {
	oldest := c.generation.Load()
	for f := range c.fetches {
		oldest = min(oldest, f.began)
	}
	return oldest
}

// Purged says whether a purge, hard or soft, has hit what is being fetched since the fetch
// began. With tags nil those are not known yet; then known tells whether the answer is final
// for the purges up to now: it is not when some tag was purged meanwhile. Of an ended fetch, whose
// purges are no longer remembered, any purge since it began is taken to have hit it.
func (f *Fetch) Purged(tags []string, headKnown bool) (purged, known bool) {
	c := f.cache
	if f.began == c.generation.Load() {
		return false, true
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if f.ended || f.hard || f.softAt != 0 || f.hit(c.everything) ||
		f.hit(c.records[label{host: true, name: f.key.Host}]) {
		return true, true
	}
	for _, tag := range tags {
		if f.hit(c.records[label{name: tag}]) {
			return true, true
		}
	}
	return false, headKnown
}

// hit says whether a record was purged since the fetch began.
func (f *Fetch) hit(r *record) bool {
	return r != nil && max(r.hard.Load(), r.soft.Load()) > f.began
}

// Kind says what the items of a purge are.
type Kind uint8

// The kinds of purge.
const (
	URL        Kind = iota // Host and Path exactly, every scheme and every variant
	Prefix                 // Host, and every Path that begins with Path
	Host                   // every object of Host
	Tag                    // every object that carries Tag
	Everything             // every object
)

// Target is what a purge is to hit.
type Target struct {
	Kind Kind
	Host string
	Path string
	Tag  string
}

// Purged is the outcome of a purge.
type Purged struct {
	// Objects is the number hit. For tags, hosts and everything it is the number of stored
	// objects that the last hard purge of the same target had left; it may count an object
	// that another target's purge had removed already.
	Objects int
	// Generation is the purge's own. Objects whose fetch began in an earlier one are hit.
	Generation uint64
}

// Purge removes what a target names, or, with soft, makes it stale since the time at. It holds
// from the moment that it returns, also for objects whose fetch is under way.
func (c *Cache) Purge(t Target, soft bool, at time.Time) Purged {
	c.mu.Lock()
	defer c.mu.Unlock()
	p := Purged{Generation: c.generation.Add(1)}
	switch t.Kind {
	case URL, Prefix:
		p.Objects = c.purgeKeys(t, soft, at)
	case Host:
		p.Objects = c.purgeRecord(label{host: true, name: t.Host}, p.Generation, soft, at)
	case Tag:
		p.Objects = c.purgeRecord(label{name: t.Tag}, p.Generation, soft, at)
	case Everything:
		p.Objects = c.everything.purge(p.Generation, soft, at)
	}
	return p
}

// purgeRecord purges a host or a tag. Called with mu held.
func (c *Cache) purgeRecord(l label, generation uint64, soft bool, at time.Time) int {
	r := c.record(l)
	n := r.purge(generation, soft, at)
	c.forget(r)
	return n
}

// purge notes a purge and gives the number of objects it hit. Called with Cache.mu held.
func (r *record) purge(generation uint64, soft bool, at time.Time) int {
	n := r.live
	if soft {
		r.softAt.Store(at.UnixNano())
		r.soft.Store(generation)
		return n
	}
	r.hard.Store(generation)
	r.live = 0
	return n
}

// purgeKeys purges by key: fetches under way are marked, stored objects dropped or marked.
// Called with mu held.
func (c *Cache) purgeKeys(t Target, soft bool, at time.Time) int {
	for f := range c.fetches {
		switch {
		case !t.matches(f.key):
		case soft:
			f.softAt = at.UnixNano()
		default:
			f.hard = true
		}
	}
	hit := c.entriesOf(t)
	n := 0
	for _, e := range hit {
		if !e.dead() {
			n++
		}
		if soft {
			e.softAt.CompareAndSwap(0, at.UnixNano())
		} else {
			c.drop(e)
		}
	}
	return n
}

// entriesOf collects the entries of a URL or a prefix. Called with mu held.
func (c *Cache) entriesOf(t Target) []*entry {
	var hit []*entry
	if t.Kind == URL {
		for _, scheme := range []string{"http", "https"} {
			k := Key{Scheme: scheme, Host: t.Host, Path: t.Path}
			hit = append(hit, c.shard(k).entries[k]...)
		}
		return hit
	}
	for i := range c.shards {
		for k, entries := range c.shards[i].entries {
			if t.matches(k) {
				hit = append(hit, entries...)
			}
		}
	}
	return hit
}

// matches says whether a URL or prefix target covers a key.
func (t Target) matches(k Key) bool {
	if k.Host != t.Host {
		return false
	}
	if t.Kind == URL {
		return k.Path == t.Path
	}
	return strings.HasPrefix(k.Path, t.Path)
}
