package dnsserver

import (
	"time"

	"github.com/miekg/dns"

	"pointsman/steering/cookie"
	"pointsman/steering/wire"
)

// prove says whether the address of a packet is proven, by its transport or by the COOKIE option
// that it has (nil: none), and makes the cookie that goes back. It must be called before an
// answer is made.
func (w *responder) prove(option []byte, in *ask, now time.Time) {
	w.proven, w.verdict = in.tcp, cookie.None
	if len(option) > 0 {
		w.check(option, in, now)
	}
}

func (w *responder) check(option []byte, in *ask, now time.Time) {
	jar := w.s.jar.Load()
	if jar == nil {
		return // cookies are off: the option is one that we don't know
	}
	w.verdict = jar.Check(option, in.from, now, &w.cookie)
	w.proven = w.proven || w.verdict == cookie.Valid
}

// ownCookie returns the option that goes back; nil: none.
func (w *responder) ownCookie() []byte {
	if w.verdict == cookie.None {
		return nil
	}
	return w.cookie[:]
}

// SetCookies replaces the secrets of DNS cookies (RFC 7873); nil turns cookies off.
func (s *Server) SetCookies(j *cookie.Jar) { s.jar.Store(j) }

// badCookie answers a query whose cookie prove found not to be valid with BADCOOKIE and a new
// one, so that a client that is not forged comes back with it (RFC 7873 §5.2.3). It is for a rate
// limiter, in place of an answer; nil when the query had no cookie, or could not be read.
func (w *responder) badCookie(in ask, now time.Time) []byte {
	q, v := parseQuery(in.packet, in.from)
	if v != accepted || q.edns.version > 0 || q.edns.cookie.raw == nil {
		return nil
	}
	w.prove(q.edns.cookie.raw, &in, now)
	if w.verdict == cookie.None {
		return nil
	}
	r := &response{}
	r.msg.Rcode = dns.RcodeBadCookie
	o := &wire.OPT{UDPSize: w.s.terms.udpSize, DO: q.edns.do, Rcode: dns.RcodeBadCookie >> 4,
		More: &wire.Options{Cookie: w.ownCookie()}}
	out, _, err := pack(&q, r, dns.MaxMsgSize, o)
	if err != nil {
		return nil
	}
	w.counters.answered(q.qtype, dns.RcodeBadCookie, in.proto())
	return out
}
