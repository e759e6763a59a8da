package storage

import (
	"hash/maphash"
	"sync/atomic"
)

// entry is an object with its bookkeeping. The links are guarded by Cache.mu.
type entry struct {
	object  *Object
	size    int64
	began   uint64    // the generation in which its fetch began
	records []*record // all it belongs to: everything, its host, its tags
	hash    uint64

	frequency atomic.Int32 // hits since it was queued, up to maxFrequency
	softAt    atomic.Int64 // when a soft purge of its key hit it, Unix ns; 0: none

	queue      *queue // nil once removed
	prev, next *entry
}

// touch counts a hit.
func (e *entry) touch() {
	if f := e.frequency.Load(); f < maxFrequency {
		e.frequency.CompareAndSwap(f, f+1) // a lost race is a lost count, no more
	}
}

// queue is a FIFO with removal from anywhere.
type queue struct {
	oldest, newest *entry
	bytes          int64
	count          int
}

func (q *queue) push(e *entry) {
	e.queue, e.prev, e.next = q, q.newest, nil
	if q.newest != nil {
		q.newest.next = e
	} else {
		q.oldest = e
	}
	q.newest = e
	q.bytes += e.size
	q.count++
}

func (q *queue) remove(e *entry) {
	if e.prev != nil {
		e.prev.next = e.next
	} else {
		q.oldest = e.next
	}
	if e.next != nil {
		e.next.prev = e.prev
	} else {
		q.newest = e.prev
	}
	e.queue, e.prev, e.next = nil, nil, nil
	q.bytes -= e.size
	q.count--
}

// ghost remembers the hashes of objects that were evicted early, in a ring.
type ghost struct {
	ring  []uint64
	at    int
	known map[uint64]struct{}
}

func newGhost(limit int64) ghost {
	n := min(max(limit/4096, 256), 1<<17)
	return ghost{ring: make([]uint64, n), known: make(map[uint64]struct{})}
}

func (g *ghost) add(hash uint64) {
	if _, ok := g.known[hash]; ok {
		return
	}
	delete(g.known, g.ring[g.at])
	g.ring[g.at] = hash
	g.known[hash] = struct{}{}
	g.at = (g.at + 1) % len(g.ring)
}

func (g *ghost) has(hash uint64) bool {
	_, ok := g.known[hash]
	return ok
}

// hashOf names an object in the ghost; a collision only misplaces one object.
func (c *Cache) hashOf(o *Object) uint64 {
	var h maphash.Hash
	h.SetSeed(c.seed)
	for _, s := range []string{o.Key.Scheme, o.Key.Host, o.Key.Path, o.Variant} {
		_, _ = h.WriteString(s) // never errs
		_ = h.WriteByte(0)
	}
	return h.Sum64()
}

// makeRoom evicts until size more bytes fit. Called with mu held, with size <= limit.
//
// The policy is S3-FIFO (Yang et al., "FIFO queues are all you need for cache eviction", SOSP
// 2023), with bytes for counts: new objects wait in a small queue, a tenth of the limit; those
// hit twice there move to the main queue, the others leave and are remembered; the main queue
// gives an object one more round for every hit.
func (c *Cache) makeRoom(size int64) {
	patience := 4 * (c.small.count + c.main.count) // hits meanwhile must not keep us here
	for c.small.bytes+c.main.bytes+size > c.limit {
		force := patience <= 0
		patience--
		if c.small.bytes > c.limit/10 || c.main.count == 0 {
			c.evictSmall(force)
		} else {
			c.evictMain(force)
		}
	}
}

func (c *Cache) evictSmall(force bool) {
	e := c.small.oldest
	if e.frequency.Load() > 1 && !force && !e.dead() {
		c.small.remove(e)
		e.frequency.Store(0)
		c.main.push(e)
		return
	}
	c.ghost.add(e.hash)
	c.drop(e)
	c.evicted++
}

func (c *Cache) evictMain(force bool) {
	e := c.main.oldest
	if f := e.frequency.Load(); f > 0 && !force && !e.dead() {
		e.frequency.Store(f - 1)
		c.main.remove(e)
		c.main.push(e)
		return
	}
	c.drop(e)
	c.evicted++
}
