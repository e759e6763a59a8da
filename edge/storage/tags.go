package storage

import (
	"sync/atomic"
	"time"
)

// label names a record: a host or a tag.
type label struct {
	host bool
	name string
}

// record is what is remembered of a tag, of a host, or of the cache as a whole.
type record struct {
	label label
	// hard and soft are the generations of the last purges, 0 for none; softAt is the time of
	// the last soft one, Unix ns. Read without a lock, written under Cache.mu.
	hard, soft atomic.Uint64
	softAt     atomic.Int64

	// Guarded by Cache.mu.
	objects int   // entries stored that carry it
	live    int   // those of them that its last hard purge left alive
	bytes   int64 // accounted for those stored
}

// count adds or takes away an entry. Called with Cache.mu held.
func (r *record) count(e *entry, sign int) {
	r.objects += sign
	r.bytes += int64(sign) * e.size
	if e.began >= r.hard.Load() {
		r.live += sign
	}
}

// dead says whether a hard purge has hit the entry.
func (e *entry) dead() bool {
	for _, r := range e.records {
		if r.hard.Load() > e.began {
			return true
		}
	}
	return false
}

// softPurged is when the first soft purge hit the entry since its fetch began.
func (e *entry) softPurged() time.Time {
	first := e.softAt.Load()
	for _, r := range e.records {
		// softAt is stored before soft, so the time read here is that of this purge or of a
		// later one.
		if r.soft.Load() > e.began {
			if at := r.softAt.Load(); first == 0 || at < first {
				first = at
			}
		}
	}
	if first == 0 {
		return time.Time{}
	}
	return time.Unix(0, first)
}

// recordsOf finds or makes the records of an object. Called with mu held.
func (c *Cache) recordsOf(o *Object) []*record {
	records := make([]*record, 0, len(o.Tags)+2)
	records = append(records, c.everything, c.record(label{host: true, name: o.Key.Host}))
	for _, tag := range o.Tags {
		records = append(records, c.record(label{name: tag}))
	}
	return records
}

func (c *Cache) record(l label) *record {
	r := c.records[l]
	if r == nil {
		r = &record{label: l}
		c.records[l] = r
	}
	delete(c.idle, l)
	return r
}

// release takes an entry from its records, and forgets those that nothing needs any more.
// counted is false for an entry that was never put. Called with mu held.
func (c *Cache) release(e *entry, counted bool) {
	for _, r := range e.records {
		if counted {
			r.count(e, -1)
		}
		c.forget(r)
	}
}

// forget drops a record without objects, unless a fetch that began before its last purge may
// still bring an object that carries it. Called with mu held.
func (c *Cache) forget(r *record) {
	if r.objects > 0 || r == c.everything {
		return
	}
	last := max(r.hard.Load(), r.soft.Load())
	if last > 0 && c.oldestFetch() < last {
		c.idle[r.label] = r
		return
	}
	delete(c.records, r.label)
	delete(c.idle, r.label)
}
