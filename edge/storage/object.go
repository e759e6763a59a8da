// Package storage holds cached objects within a limit of bytes, and forgets them: by size, by
// key, by host, by tag.
//
// Objects flow in from finished fetches and out to whoever answers requests; it knows no
// sockets, no clock and no freshness, and owns no goroutine. Every method may be called from
// many goroutines at once. An Object is immutable from the moment it is put.
//
// Purges work by generations: one counter is raised by every purge, a fetch notes it when it
// begins, and each tag, each host and the whole cache remember the generation of their last
// purge. An object is dead when something it belongs to was purged in a later generation than
// the one its fetch began in, so a purge costs the same whatever it hits, and also reaches
// objects that are on their way.
package storage

// Key is the primary key of an object.
type Key struct {
	Scheme string // "http" or "https", of the client's request
	Host   string // lower case, without port
	Path   string // escaped path, with "?" and the query if there is one
}

// Object is one stored response. Nothing in it may change once it was put.
type Object struct {
	Key Key
	// VaryNames are the request fields that select among the objects of one key, and Variant
	// is the secondary key made of them. Both are only compared here.
	VaryNames []string
	Variant   string

	Status int
	Header map[string][]string
	Body   []byte
	Tags   []string // surrogate keys
	// Meta is what the owner derives from the head and wants beside it; opaque here.
	Meta any
}

// overhead is what an object costs besides its strings: structs, list links, map cells, tag
// records and slice headers, measured on amd64 and rounded up.
const (
	overhead     = 768
	fieldCost    = 64  // of a header field: map cell, slice header
	lineCost     = 16  // of a header line: string header
	tagCost      = 192 // of a tag: its record, its map cell, the pointer to it
	maxVariants  = 64  // of one key; the oldest goes when there are more
	maxFrequency = 3   // S3-FIFO counts to three
)

// Size is the number of bytes that the object is accounted for: body, header, key, tags and the
// bookkeeping.
func (o *Object) Size() int64 {
	n := overhead + cap(o.Body) + len(o.Variant)
	n += 2 * (len(o.Key.Scheme) + len(o.Key.Host) + len(o.Key.Path))
	for name, lines := range o.Header {
		n += fieldCost + len(name)
		for _, line := range lines {
			n += lineCost + len(line)
		}
	}
	for _, name := range o.VaryNames {
		n += lineCost + len(name)
	}
	for _, tag := range o.Tags {
		n += tagCost + 2*len(tag)
	}
	return int64(n)
}
