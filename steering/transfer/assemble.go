package transfer

import (
	"errors"
	"fmt"

	"github.com/miekg/dns"
)

// step is one version's difference from the one before.
type step struct {
	from       uint32
	soa        *dns.SOA
	gone, come []string
	signed     bool
}

// assembler puts the records of AXFR or IXFR answers together, in the order in which they come
// (RFC 5936 §2.2, RFC 1995 §4). It is a pure step function.
type assembler struct {
	zone string
	have *Copy // what IXFR is relative to; nil: AXFR

	count int
	size  int
	soa   *dns.SOA // the first record
	whole bool     // all of the zone comes
	lines []string
	seen  map[string]bool
	steps []step
	gone  bool // the last of steps is at what goes
	sign  bool
	done  bool
}

var errBehind = errors.New("records behind the end of the transfer")

// add takes in the next record.
func (a *assembler) add(rr dns.RR) error {
	if a.done {
		return errBehind
	}
	if a.size += dns.Len(rr); a.size > 2*MaxCopy {
		return fmt.Errorf("the transfer is larger than %d MiB", 2*MaxCopy>>20)
	}
	a.count++
	if rr.Header().Class != dns.ClassINET {
		return fmt.Errorf("a record of class %d", rr.Header().Class)
	}
	soa, isSOA := rr.(*dns.SOA)
	name := dns.CanonicalName(rr.Header().Name)
	switch {
	case a.count == 1 && !isSOA:
		return errors.New("the transfer doesn't begin with the SOA")
	case isSOA && name != a.zone:
		return fmt.Errorf("a SOA of %s in the zone %s", name, a.zone)
	case !dns.IsSubDomain(a.zone, name):
		return fmt.Errorf("%s is outside the zone %s", name, a.zone)
	case a.count == 1:
		a.soa = soa
		return nil
	case a.count == 2 && (a.have == nil || !isSOA || soa.Serial != a.have.Serial):
		a.whole, a.seen = true, make(map[string]bool)
	}
	if a.whole {
		return a.addWhole(rr, isSOA)
	}
	return a.addStep(rr, soa)
}

func (a *assembler) addWhole(rr dns.RR, isSOA bool) error {
	if isSOA {
		if rr.(*dns.SOA).Serial != a.soa.Serial {
			return errors.New("the zone changed while it was transferred")
		}
		a.done = true
		return nil
	}
	if ofDNSSEC(rr.Header().Rrtype) {
		a.sign = true
		return nil
	}
	line := lineOf(rr)
	if id := identity(line); !a.seen[id] {
		a.seen[id] = true
		a.lines = append(a.lines, line)
	}
	return nil
}

// addStep takes in a record of IXFR: SOA, what goes, SOA, what comes, and so on; the last SOA is
// the first one again.
func (a *assembler) addStep(rr dns.RR, soa *dns.SOA) error {
	last := len(a.steps) - 1
	switch {
	case soa != nil && a.gone: // ends what goes
		a.steps[last].soa, a.gone = soa, false
	case soa != nil && last >= 0 && a.steps[last].soa.Serial == a.soa.Serial &&
		soa.Serial == a.soa.Serial:
		a.done = true
	case soa != nil:
		if last >= 0 && a.steps[last].soa.Serial != soa.Serial {
			return errors.New("the versions don't follow each other")
		}
		a.steps, a.gone = append(a.steps, step{from: soa.Serial}), true
	case ofDNSSEC(rr.Header().Rrtype):
		a.steps[last].signed = true
	case a.gone:
		a.steps[last].gone = append(a.steps[last].gone, lineOf(rr))
	default:
		a.steps[last].come = append(a.steps[last].come, lineOf(rr))
	}
	return nil
}

// complete reports whether all has come.
func (a *assembler) complete() bool { return a.done }

// alone reports whether nothing but the SOA has come.
func (a *assembler) alone() bool { return a.count == 1 }

// copy makes the zone of what has come.
func (a *assembler) copy() (*Copy, error) {
	switch {
	case !a.done:
		return nil, errors.New("the transfer has no end")
	case a.whole:
		return newCopy(a.zone, a.soa, a.lines, a.sign)
	}
	return a.have.changed(a.soa, a.steps)
}
