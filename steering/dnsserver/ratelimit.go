package dnsserver

import (
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"math/bits"
	"net/netip"
	"slices"
	"time"
)

// RateLimit bounds how many responses over UDP one client prefix gets, so that queries with a
// forged source are of no use against whoever has that address. Responses are counted apart for
// each client prefix and class; a rate of 0 bounds nothing. What is beyond its rate gets no
// answer, but each Slip-th an answer without records, which sends a client that is really there
// to TCP. As long as queries come faster than the rate, all answers are withheld.
//
// A socket's workers share the rates evenly, and each counts for itself: the system divides the
// packets of one prefix among them by port, and resolvers choose their ports at random (RFC 5452
// §9.2).
type RateLimit struct {
	// Answers are responses a second with records, or to another zone's servers, counted for each
	// name; what a wildcard answers counts as one name. Up to 100,000, as all rates.
	Answers int
	// NXDomain are denials of names, counted for each zone.
	NXDomain int
	// NoData are denials of types, counted for each name.
	NoData int
	// Errors are all response codes above 0 but NXDOMAIN.
	Errors int
	// All are responses of any class.
	All int
	// Slip is which of the withheld answers still goes out, cut down: 1 is each, 2 each second,
	// and so on up to 15; 0 is none.
	Slip int
	// IPv4Prefix and IPv6Prefix are how many bits of an address tell clients apart, up to 32 and
	// 64; 0: 24 and 56.
	IPv4Prefix, IPv6Prefix int
	// Exempt are clients that are never limited, nor by Config.TCPPerClient.
	Exempt []netip.Prefix
	// Observe counts what would have been withheld, and withholds nothing.
	Observe bool
}

// Limits of RateLimit, and its bounds in time.
const (
	maxRate    = 100_000
	maxSlip    = 15
	maxBuckets = 1 << 24
	// burstTime is how long a client that was silent may be answered at once for.
	burstTime = uint64(time.Second / time.Microsecond)
	// leastBurst is what each worker lets pass at once, however small its share of the rate.
	leastBurst = 8
	// debtTime bounds for how long a client that asked too much must be silent, beyond the burst.
	debtTime = uint64(5 * time.Second / time.Microsecond)
)

// Defaults of RateLimit.
const (
	defaultIPv4Prefix = 24
	defaultIPv6Prefix = 56
	defaultBuckets    = 1 << 16
)

// class is what a response is counted as.
type class uint8

const (
	classAnswer class = iota
	classNXDomain
	classNoData
	classError
	classAll
	classes
)

var classNames = [classes]string{"answers", "nxdomain", "nodata", "errors", "all"}

// rates is a RateLimit made ready for one worker. It is immutable. Times are in microseconds.
type rates struct {
	step         [classes]uint64 // between two responses; 0: not limited
	burst        [classes]uint64
	slip         uint64
	mask4, mask6 uint64
	exempt       []netip.Prefix
	observe      bool
}

// newRates checks a RateLimit and divides it among so many workers.
func newRates(c RateLimit, workers int) (*rates, error) {
	v4, v6 := c.IPv4Prefix, c.IPv6Prefix
	if v4 == 0 {
		v4 = defaultIPv4Prefix
	}
	if v6 == 0 {
		v6 = defaultIPv6Prefix
	}
	switch {
	case v4 < 0 || v4 > 32 || v6 < 0 || v6 > 64:
		return nil, fmt.Errorf("client prefixes of /%d and /%d are not within /32 and /64", v4, v6)
	case c.Slip < 0 || c.Slip > maxSlip:
		return nil, fmt.Errorf("slip %d is not between 0 and %d", c.Slip, maxSlip)
	}
	r := &rates{slip: uint64(c.Slip), observe: c.Observe, exempt: slices.Clone(c.Exempt),
		mask4: ^uint64(0) << (32 - v4), mask6: ^uint64(0) << (64 - v6)}
	for i, rate := range [classes]int{c.Answers, c.NXDomain, c.NoData, c.Errors, c.All} {
		if rate < 0 || rate > maxRate {
			return nil, fmt.Errorf("%d responses a second are not between 0 and %d", rate, maxRate)
		}
		if rate > 0 {
			r.step[i] = uint64(workers) * uint64(time.Second/time.Microsecond) / uint64(rate)
			r.burst[i] = max(burstTime, leastBurst*r.step[i])
		}
	}
	return r, nil
}

// client returns the prefix that an address counts for, as a number, and its family.
func (r *rates) client(a netip.Addr) (prefix, family uint64) {
	if a.Is4() {
		b := a.As4()
		return uint64(binary.BigEndian.Uint32(b[:])) & r.mask4, 4
	}
	b := a.As16()
	return binary.BigEndian.Uint64(b[:8]) & r.mask6, 6
}

// prefix returns the prefix that an address counts for.
func (r *rates) prefix(a netip.Addr) netip.Prefix {
	length := bits.OnesCount64(r.mask6)
	if a = a.Unmap(); a.Is4() {
		length = bits.OnesCount32(uint32(r.mask4))
	}
	p, _ := a.Prefix(length) // newRates has checked the length
	return p
}

// trusts reports whether an address is exempt.
func (r *rates) trusts(a netip.Addr) bool {
	return slices.ContainsFunc(r.exempt, func(p netip.Prefix) bool { return p.Contains(a) })
}

// A bucket is one word: of the key's hash, how many answers were withheld since the last slip, and
// the time at which the client owes nothing (the theoretical arrival time of the generic cell rate
// algorithm), in microseconds. That time wraps around every 12 days: as nobody owes more than
// seconds, the difference to now tells all.
const (
	timeBits = 40
	timeMask = 1<<timeBits - 1
	tagShift = timeBits + 4
	slipMask = 1<<(tagShift-timeBits) - 1
)

// owes returns how long from now on a bucket is in debt.
func owes(bucket, now uint64) uint64 {
	debt := (bucket - now) & timeMask
	if debt > 1<<(timeBits-1) {
		return 0 // in the past
	}
	return debt
}

// bucketSet is the buckets among which a key finds its own, on one line of the cache.
type bucketSet [8]uint64

// buckets hold what clients have got of late. Their memory is fixed, and nobody who doesn't know
// the key can aim at another's bucket. When a set is full, who owes the least is forgotten.
type buckets struct {
	sets []bucketSet // a power of two
	key  [3]uint64
}

// newBuckets makes room for so many clients and classes, rounded up to a power of two.
func newBuckets(n int) (*buckets, error) {
	if n < 0 || n > maxBuckets {
		return nil, fmt.Errorf("%d buckets are not between 1 and %d", n, maxBuckets)
	}
	if n == 0 {
		n = defaultBuckets
	}
	b := &buckets{sets: make([]bucketSet, 1<<bits.Len(uint((n-1)/len(bucketSet{}))))}
	var key [8 * len(b.key)]byte
	if _, err := rand.Read(key[:]); err != nil {
		return nil, errors.Join(errors.New("drawing a key"), err)
	}
	for i := range b.key {
		b.key[i] = binary.LittleEndian.Uint64(key[8*i:])
	}
	return b, nil
}

// fold mixes two words, by the 128 bits of their product.
func fold(a, b uint64) uint64 {
	hi, lo := bits.Mul64(a, b)
	return hi ^ lo
}

// of starts the search for a client's buckets.
func (b *buckets) of(client, family uint64) uint64 {
	return fold(client^b.key[0], family^b.key[1])
}

// find returns the bucket of a client, a class and a subject: the one it has, or the one it gets.
func (b *buckets) find(client uint64, c class, subject, now uint64) *uint64 {
	h := fold(client^subject, b.key[2]^uint64(c)<<1|1)
	set := &b.sets[h&uint64(len(b.sets)-1)]
	tag := h >> tagShift
	for i := range set {
		if set[i]>>tagShift == tag {
			return &set[i]
		}
	}
	least, at := ^uint64(0), 0
	for i := range set {
		if debt := owes(set[i], now); debt < least {
			least, at = debt, i
		}
	}
	set[at] = tag<<tagShift | now&timeMask
	return &set[at]
}

// fate is what becomes of a response.
type fate uint8

const (
	sent    fate = iota
	dropped      // silence
	slipped      // a response without records
)

// charge counts a response of a class and decides about it. It depends on its arguments alone, and
// allocates nothing.
func (r *rates) charge(b *buckets, from netip.Addr, c class, subject, now uint64) fate {
	client := b.of(r.client(from))
	f := r.one(b, client, c, subject, now)
	if all := r.one(b, client, classAll, 0, now); f == sent {
		f = all
	}
	return f
}

// one charges one bucket.
func (r *rates) one(b *buckets, client uint64, c class, subject, now uint64) fate {
	step := r.step[c]
	if step == 0 {
		return sent
	}
	bucket := b.find(client, c, subject, now)
	debt, slips, f := owes(*bucket, now)+step, *bucket>>timeBits&slipMask, sent
	if debt > r.burst[c] {
		debt, f = min(debt, r.burst[c]+debtTime), dropped
		if slips++; r.slip > 0 && slips >= r.slip {
			slips, f = 0, slipped
		}
		slips &= slipMask
	}
	*bucket = *bucket>>tagShift<<tagShift | slips<<timeBits | (now+debt)&timeMask
	return f
}
