package dnsserver

import (
	"iter"
	"slices"
	"time"

	"github.com/miekg/dns"
)

// ZoneConfig is a zone as the operator wrote it. Names of records are relative to the zone;
// "@" is the zone itself; a name that ends in the zone's own name, or in a dot, is absolute.
// Names inside data (and in NS and SOA) are always absolute, with or without the final dot,
// except "@".
type ZoneConfig struct {
	Name string
	// TTL is that of records which do not say otherwise, and of SOA and NS; 0: 5 minutes.
	TTL     time.Duration
	SOA     SOA
	NS      []string
	Records []Record
	// File holds more records; nil: there are none. When it has the zone's SOA record, SOA is
	// not used; when it has NS records of the zone, NS must be empty.
	File *ZoneFile
	// Before is the version in force, for a serial that isn't the file's own: it stays when the
	// content is the same, and else comes after that one; nil: there is none.
	Before *Zone
	// Rising makes SOA.Serial take the place of a serial of 0 in the file too.
	Rising bool
	// Signed says that the zone will be signed: records that signing adds are mistakes then.
	Signed bool
}

// SOA holds the fields of the zone's SOA record (RFC 1035 §3.3.13). Times are whole seconds.
type SOA struct {
	MName string // empty: the first of NS
	MBox  string // a domain name, or an address with "@"; empty: hostmaster.<zone>
	// Serial is served as given. 0: one derived from the zone's content, equal on every node
	// that has the same content; it changes with the content but doesn't rise (RFC 1982).
	Serial uint32
	// Zero means 1 hour, 10 minutes, 7 days and 30 seconds.
	Refresh, Retry, Expire, NegativeTTL time.Duration
}

// Record is one static record. Data is in the form of zone files (RFC 1035 §5.1, RFC 3597).
type Record struct {
	Name string
	Type string
	TTL  time.Duration // 0: the zone's
	Data string
}

// Mistake is something wrong in a config. Path is relative to the config it was found in, such
// as "records[3].data"; it is empty when the whole is meant.
type Mistake struct {
	Path    string
	Message string
	// File is set for a mistake in a zone file, with the line, from 1; 0: the file as a whole.
	// Path is "file" then.
	File string
	Line int
}

// Zone holds a zone's static records. It is immutable and safe for concurrent use.
type Zone struct {
	name  string // canonical
	nodes map[string]*node
	bulk  *bulk // the names that nodes doesn't hold; may be nil
	// digest is Digest.
	digest string
	// negative is the SOA as it stands in negative answers: its TTL is the smaller of its own
	// and the MINIMUM field (RFC 2308 §5).
	negative *dns.SOA
	signer   ZoneSigner // nil: the zone isn't signed
	// freeSerial is true when the SOA's serial was derived from the content.
	freeSerial bool
	absent     bool // see AbsentZone
	toSign     bool // see ZoneConfig.Signed
}

// Name returns the zone's name in canonical form: lower case, with the final dot.
func (z *Zone) Name() string { return z.name }

// Digest identifies the content of the zone's file and of all that it includes: SHA-256 in hex;
// empty without a file.
func (z *Zone) Digest() string { return z.digest }

// node returns a canonical name's node; nil when the name isn't there.
func (z *Zone) node(name string) *node {
	if n := z.nodes[name]; n != nil {
		return n
	}
	return z.bulk.node(name)
}

// has reports whether a canonical name is there.
func (z *Zone) has(name string) bool {
	return z.nodes[name] != nil || z.bulk.find(name) >= 0
}

// size returns the number of names.
func (z *Zone) size() int { return len(z.nodes) + z.bulk.size() }

// names lists the names, in any order.
func (z *Zone) names() iter.Seq[string] {
	return func(yield func(string) bool) {
		for name := range z.nodes {
			if !yield(name) {
				return
			}
		}
		for name := range z.bulk.all() {
			if !yield(name) {
				return
			}
		}
	}
}

// all lists the names with their nodes, in any order.
func (z *Zone) all() iter.Seq2[string, *node] {
	return func(yield func(string, *node) bool) {
		for name := range z.names() {
			if !yield(name, z.node(name)) {
				return
			}
		}
	}
}

// node is a name in the zone. One without sets is an empty non-terminal (RFC 4592 §2.2.2).
type node struct {
	sets []rrset // ordered by type
}

// rrset holds records of one owner and type; all have the same TTL (RFC 2181 §5.2).
type rrset struct {
	rtype uint16
	rrs   []dns.RR
}

// get returns the records of a type; nil when there are none. It accepts a nil node.
func (n *node) get(rtype uint16) []dns.RR {
	if n == nil {
		return nil
	}
	for _, s := range n.sets {
		if s.rtype == rtype {
			return s.rrs
		}
	}
	return nil
}

// has reports whether there are records of a type.
func (n *node) has(rtype uint16) bool { return len(n.get(rtype)) > 0 }

// add appends a record and keeps the sets ordered by type.
func (n *node) add(rr dns.RR) {
	rtype := rr.Header().Rrtype
	i, ok := slices.BinarySearchFunc(n.sets, rtype, func(s rrset, t uint16) int {
		return int(s.rtype) - int(t)
	})
	if !ok {
		n.sets = slices.Insert(n.sets, i, rrset{rtype: rtype})
	}
	n.sets[i].rrs = append(n.sets[i].rrs, rr)
}

// addressed reports whether the node has an A or AAAA record.
func (n *node) addressed() bool { return n.has(dns.TypeA) || n.has(dns.TypeAAAA) }

// insert adds a record, and every name between it and the apex.
func (z *Zone) insert(rr dns.RR) {
	owner := rr.Header().Name
	if z.nodes[owner] == nil {
		z.nodes[owner] = new(node)
		z.lead(owner)
	}
	z.nodes[owner].add(rr)
}

// lead sees to it that every name between one and the apex is there (RFC 4592 §2.2.2).
func (z *Zone) lead(name string) {
	for name != z.name {
		name = parent(name)
		if z.has(name) {
			return // and so is all above it
		}
		z.nodes[name] = new(node)
	}
}

// cutAbove returns the name of the zone cut at or above a name of the zone, below the apex; ""
// when there is none.
func (z *Zone) cutAbove(name string) string {
	cut := ""
	for ; name != z.name; name = parent(name) {
		if z.nodes[name].has(dns.TypeNS) { // no name of the bulk has
			cut = name
		}
	}
	return cut
}
