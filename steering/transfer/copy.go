// Package transfer fetches zones from their primaries, keeps copies of them on disk, and tells
// other servers of changes.
//
// Addresses, keys and the timers of SOA records flow in; checked copies of zones flow out, by
// Config.Take. What to do when is decided by pure functions on explicit times. Secondary.Run and
// Notifier.Run own the goroutines.
package transfer

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/miekg/dns"
)

// MaxCopy is the most that a zone may have in the form of a zone file, in octets.
const MaxCopy = 64 << 20

// Timers are those of a zone's SOA record (RFC 1035 §3.3.13).
type Timers struct{ Refresh, Retry, Expire time.Duration }

// Copy is a zone as a primary had it. It is immutable.
type Copy struct {
	Zone   string // canonical: lower case, with the final dot
	Serial uint32
	Timers Timers
	// Data is the zone in the form of a zone file (RFC 1035 §5), a record in each line; names are
	// absolute. The SOA comes first, and nothing comes twice.
	Data []byte
	// Signed is true when the primary's zone had records of DNSSEC. They aren't in Data: their
	// signatures would deny every steered name.
	Signed bool
	// Fetched is when the copy came.
	Fetched time.Time
}

// errMismatch says that changes don't fit the copy that they are for.
var errMismatch = errors.New("the changes are for another content of the zone than we have")

// newCopy makes a copy of records; the SOA stands apart.
func newCopy(zone string, soa *dns.SOA, lines []string, signed bool) (*Copy, error) {
	own := *soa
	own.Hdr.Name = zone
	var data bytes.Buffer
	data.WriteString(own.String() + "\n")
	for _, l := range lines {
		data.WriteString(l)
		data.WriteByte('\n')
		if data.Len() > MaxCopy {
			return nil, fmt.Errorf("the zone is larger than %d MiB", MaxCopy>>20)
		}
	}
	return &Copy{Zone: zone, Serial: soa.Serial, Data: data.Bytes(), Signed: signed,
		Timers: timersOf(soa)}, nil
}

func timersOf(soa *dns.SOA) Timers {
	seconds := func(n uint32) time.Duration { return time.Duration(n) * time.Second }
	return Timers{seconds(soa.Refresh), seconds(soa.Retry), seconds(soa.Expire)}
}

// lineOf writes a record as a line of a zone file, its owner in lower case.
func lineOf(rr dns.RR) string {
	rr.Header().Name = dns.CanonicalName(rr.Header().Name)
	return rr.String()
}

// identity is a line without its TTL: what makes a record the same one (RFC 2181 §5).
func identity(line string) string {
	owner, rest, _ := strings.Cut(line, "\t")
	_, rest, _ = strings.Cut(rest, "\t")
	return owner + "\t" + rest
}

// changed applies changes to a copy: first what goes, then what comes, in each of the steps.
func (c *Copy) changed(soa *dns.SOA, changes []step) (*Copy, error) {
	lines := slices.Collect(strings.Lines(string(c.Data)))[1:] // without the SOA
	at := make(map[string]int, len(lines))
	for i, l := range lines {
		lines[i] = strings.TrimSuffix(l, "\n")
		at[identity(lines[i])] = i
	}
	signed := c.Signed
	for _, s := range changes {
		for _, l := range s.gone {
			i, ok := at[identity(l)]
			if !ok {
				return nil, errMismatch
			}
			delete(at, identity(l))
			lines[i] = ""
		}
		for _, l := range s.come {
			if _, twice := at[identity(l)]; twice {
				return nil, errMismatch
			}
			at[identity(l)] = len(lines)
			lines = append(lines, l)
		}
		signed = signed || s.signed
	}
	lines = slices.DeleteFunc(lines, func(l string) bool { return l == "" })
	return newCopy(c.Zone, soa, lines, signed)
}

// ofDNSSEC reports whether records of a type belong to a zone's signatures, or are a digest of
// all of the zone (RFC 8976), which no longer fits a zone with steered names.
func ofDNSSEC(rtype uint16) bool {
	switch rtype {
	case dns.TypeRRSIG, dns.TypeNSEC, dns.TypeNSEC3, dns.TypeNSEC3PARAM, dns.TypeDNSKEY,
		dns.TypeCDS, dns.TypeCDNSKEY, dns.TypeZONEMD:
		return true
	}
	return rtype == 65534 // where BIND keeps the state of its signing
}

// Newer reports whether serial number a comes after b (RFC 1982 §3.2).
func Newer(a, b uint32) bool { return a != b && a-b < 1<<31 }
