package storage

import (
	"hash/maphash"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

const shardCount = 64

// Cache is a store in memory. Look-ups take a read lock on one of many shards; everything that
// changes what is stored goes through one mutex, which is never held over I/O.
type Cache struct {
	limit  int64
	seed   maphash.Seed
	shards [shardCount]shard

	everything *record
	generation atomic.Uint64 // raised under mu

	mu          sync.Mutex // guards all below, and every change of the shards
	small, main queue
	ghost       ghost
	records     map[label]*record
	fetches     map[*Fetch]struct{}
	idle        map[label]*record // purged, without objects, kept for fetches under way
	evicted     uint64
}

// shard is a part of the index. The slices are replaced, never edited, so a reader may go on
// with the one it found.
type shard struct {
	mu      sync.RWMutex // guards entries; taken after Cache.mu
	entries map[Key][]*entry
}

// New makes an empty cache of at most limit bytes as Object.Size counts them; less than 0 is 0,
// which stores nothing. The memory of the eviction policy, at most 1/128 of the limit or
// 4 MiB, comes on top.
func New(limit int64) *Cache {
	c := &Cache{
		limit:      max(limit, 0),
		seed:       maphash.MakeSeed(),
		everything: &record{},
		ghost:      newGhost(limit),
		records:    map[label]*record{},
		fetches:    map[*Fetch]struct{}{},
		idle:       map[label]*record{},
	}
	for i := range c.shards {
		c.shards[i].entries = map[Key][]*entry{}
	}
	return c
}

func (c *Cache) shard(k Key) *shard {
	return &c.shards[maphash.Comparable(c.seed, k)%shardCount]
}

// Found is the result of a look-up.
type Found struct {
	Object *Object
	// SoftPurged is when a soft purge made the object stale; the zero time if none did.
	SoftPurged time.Time
}

// Get looks up the newest object of a key that match accepts and no purge has removed. The
// second result is the key's newest object, matching or not; nil if there is none.
func (c *Cache) Get(k Key, match func(*Object) bool) (found Found, newest *Object) {
	s := c.shard(k)
	s.mu.RLock()
	entries := s.entries[k]
	s.mu.RUnlock()
	for _, e := range slices.Backward(entries) {
		if e.dead() {
			c.remove(e)
			continue
		}
		if newest == nil {
			newest = e.object
		}
		if match(e.object) {
			e.touch()
			return Found{Object: e.object, SoftPurged: e.softPurged()}, newest
		}
	}
	return Found{}, newest
}

// remove takes a dead entry out, if nobody else has.
func (c *Cache) remove(e *entry) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if e.queue != nil {
		c.drop(e)
	}
}

// Put stores an object that f fetched, in place of an older one of the same key and variant. It
// refuses, and says so, when the object is larger than the limit or was purged since f began.
// An object purged softly since then is stored, and is stale at once.
func (c *Cache) Put(f *Fetch, o *Object) bool {
	size := o.Size()
	if size > c.limit {
		return false
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	e := &entry{object: o, size: size, began: f.began, hash: c.hashOf(o)}
	e.records = c.recordsOf(o)
	if f.hard || e.dead() {
		c.release(e, false)
		return false
	}
	e.softAt.Store(f.softAt)
	// First of all, so that no eviction below finds a record of this object unused.
	for _, r := range e.records {
		r.count(e, 1)
	}
	c.replace(e)
	c.makeRoom(size)
	if c.ghost.has(e.hash) {
		c.main.push(e)
	} else {
		c.small.push(e)
	}
	s := c.shard(o.Key)
	s.mu.Lock()
	s.entries[o.Key] = append(slices.Clone(s.entries[o.Key]), e)
	s.mu.Unlock()
	return true
}

// replace drops what e takes the place of. Called with mu held.
func (c *Cache) replace(e *entry) {
	s := c.shard(e.object.Key)
	s.mu.RLock()
	entries := s.entries[e.object.Key]
	s.mu.RUnlock()
	left := len(entries)
	for _, old := range entries {
		same := old.object.Variant == e.object.Variant &&
			slices.Equal(old.object.VaryNames, e.object.VaryNames)
		if same || left >= maxVariants {
			c.drop(old)
			left--
		}
	}
}

// drop removes an entry from its queue, the index and its records. Called with mu held, once
// for an entry.
func (c *Cache) drop(e *entry) {
	e.queue.remove(e)
	s := c.shard(e.object.Key)
	s.mu.Lock()
	rest := slices.DeleteFunc(slices.Clone(s.entries[e.object.Key]),
		func(other *entry) bool { return other == e })
	if len(rest) == 0 {
		delete(s.entries, e.object.Key)
	} else {
		s.entries[e.object.Key] = rest
	}
	s.mu.Unlock()
	c.release(e, true)
}

// Stats is a snapshot of a cache.
type Stats struct {
	Limit   int64
	Bytes   int64  // accounted, never above Limit
	Objects int    // stored, those that a purge has hidden but eviction not yet freed included
	Evicted uint64 // objects that made room for others
	Tags    int    // distinct tags and hosts remembered
}

// Stats gives a snapshot.
func (c *Cache) Stats() Stats {
	c.mu.Lock()
	defer c.mu.Unlock()
	return Stats{
		Limit:   c.limit,
		Bytes:   c.small.bytes + c.main.bytes,
		Objects: c.small.count + c.main.count,
		Evicted: c.evicted,
		Tags:    len(c.records),
	}
}

// Host counts the stored objects of a host and the bytes they are accounted for, hidden ones
// included as in Stats.
func (c *Cache) Host(host string) (objects int, bytes int64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	r := c.records[label{host: true, name: host}]
	if r == nil {
		return 0, 0
	}
	return r.objects, r.bytes
}
