package dnsserver

import (
	"context"
	"encoding/binary"
	"net/netip"
	"sync/atomic"
	"time"

	"github.com/miekg/dns"

	"pointsman/steering/wire"
)

// serverCookieSize is how much longer than the query a cut answer may be: by a server cookie
// (RFC 9018 §4), so that a client with cookies learns how to prove itself.
const serverCookieSize = 16

// fates are the values of the metric's label, in the order of what was done.
var fates = [...]string{"dropped", "slipped", "would"}

// limiter limits the responses of one UDP goroutine, which alone calls limit.
type limiter struct {
	rates   atomic.Pointer[rates] // nil: nothing is limited
	buckets *buckets
	epoch   time.Time
	counts  [len(fates)]atomic.Uint64
	example atomic.Pointer[limited] // nil: wanted
}

// limited is an example of a client that got no answer.
type limited struct {
	from netip.Addr
	kind class
}

// SetRateLimit replaces the limits; nil lifts them. With an error the old ones stay.
func (s *Server) SetRateLimit(c *RateLimit) error {
	var r *rates
	if c != nil {
		var err error
		if r, err = newRates(*c, s.cfg.UDPWorkers); err != nil {
			return err
		}
	}
	for _, l := range s.limiters {
		l.rates.Store(r)
	}
	s.conns.trust(r)
	return nil
}

// newLimiters makes a limiter for each UDP goroutine.
func newLimiters(n, size int) ([]*limiter, error) {
	out := make([]*limiter, n)
	for i := range out {
		b, err := newBuckets(size)
		if err != nil {
			return nil, err
		}
		out[i] = &limiter{buckets: b, epoch: time.Now()}
	}
	return out, nil
}

// limit returns what goes out for an answer to a packet: the answer, less, or nothing. It may
// change the answer.
func (l *limiter) limit(in ask, out []byte, subject uint64, now time.Time) []byte {
	r := l.rates.Load()
	if r == nil || len(out) < headerSize {
		return out
	}
	from, c := in.from.Unmap(), classify(out)
	if c == classError {
		subject = 0
	}
	if r.trusts(from) {
		return out
	}
	f := r.charge(l.buckets, from, c, subject, uint64(now.Sub(l.epoch)/time.Microsecond))
	if f == sent {
		return out
	}
	if l.example.Load() == nil {
		l.example.Store(&limited{from: from, kind: c})
	}
	switch {
	case r.observe:
		l.counts[2].Add(1)
		return out
	case f == slipped:
		l.counts[1].Add(1)
		return cut(out, len(in.packet)+serverCookieSize)
	}
	l.counts[0].Add(1)
	return nil
}

// classify says what a packed response counts as.
func classify(out []byte) class {
	switch authoritative := out[2]&4 != 0; {
	case out[3]&0xF == dns.RcodeNameError:
		return classNXDomain
	case out[3]&0xF != 0, extended(out):
		return classError
	case authoritative && out[2]&2 == 0 && binary.BigEndian.Uint16(out[6:]) == 0: // not TC
		return classNoData
	}
	return classAnswer // or a referral
}

// extended reports whether a response has an error that only OPT tells of, as BADVERS is
// (RFC 6891 §6.1.3). It then has no records besides.
func extended(out []byte) bool {
	if len(out) < headerSize || binary.BigEndian.Uint32(out[6:]) != 0 ||
		binary.BigEndian.Uint16(out[10:]) == 0 {
		return false
	}
	at := headerSize
	if binary.BigEndian.Uint16(out[4:]) > 0 {
		end, ok := skipName(out, at)
		if !ok {
			return false
		}
		at = end + 4
	}
	return at+5 < len(out) && out[at] == 0 && out[at+5] != 0 &&
		binary.BigEndian.Uint16(out[at+1:]) == dns.TypeOPT
}

// hash identifies what a response counts for.
func (r *response) hash() uint64 { return wire.Hash([]byte(r.subject)) }

// cut takes all records but OPT from a packed response, in place, and OPT's options too when it
// is longer than so many octets with them. TC says what is missing (RFC 2181 §9); nothing is
// denied that isn't proved. Nil means that it can't be read.
func cut(out []byte, most int) []byte {
	if binary.BigEndian.Uint16(out[4:]) == 0 {
		return out // a header alone
	}
	end, ok := skipName(out, headerSize)
	if end += 4; !ok || end > len(out) {
		return nil
	}
	left, additional := end, uint16(0)
	records := 0
	for i := 6; i < headerSize; i += 2 {
		records += int(binary.BigEndian.Uint16(out[i:]))
	}
	for at, i := end, 0; i < records; i++ {
		fixed, ok := skipName(out, at)
		if !ok || fixed+10 > len(out) {
			return nil
		}
		next := fixed + 10 + int(binary.BigEndian.Uint16(out[fixed+8:]))
		if next > len(out) {
			return nil
		}
		if binary.BigEndian.Uint16(out[fixed:]) == dns.TypeOPT {
			left, additional = end+copy(out[end:], out[at:next]), 1
		}
		at = next
	}
	if left > most && additional == 1 {
		left = end + 11
		binary.BigEndian.PutUint16(out[left-2:], 0)
	}
	if records > int(additional) {
		out[2] |= 2
		out[3] &^= 0xF
	}
	binary.BigEndian.PutUint32(out[6:], 0)
	binary.BigEndian.PutUint16(out[10:], additional)
	return out[:left]
}

// tellEvery is how often a line is logged while clients are limited.
const tellEvery = 10 * time.Second

// tellLimited logs that clients are limited, with one of them as an example: the metrics don't
// say who it is.
func (s *Server) tellLimited(ctx context.Context) error {
	tick := time.NewTicker(tellEvery)
	defer tick.Stop()
	var told [len(fates)]uint64
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
		now := s.limitedCounts()
		if now == told {
			continue
		}
		attrs := make([]any, 0, 12)
		for i, what := range fates {
			attrs = append(attrs, what, now[i]-told[i])
		}
		for _, l := range s.limiters {
			if e, r := l.example.Swap(nil), l.rates.Load(); e != nil && r != nil {
				attrs = append(attrs, "client", r.prefix(e.from).String(), "class",
					classNames[e.kind])
				break
			}
		}
		s.log.Warn("answers were rate limited", attrs...)
		told = now
	}
}

// limitedCounts sums up what was limited.
func (s *Server) limitedCounts() (n [len(fates)]uint64) {
	for _, l := range s.limiters {
		for i := range n {
			n[i] += l.counts[i].Load()
		}
	}
	return n
}
