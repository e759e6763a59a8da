package dnsserver

import (
	"time"

	"pointsman/steering/cookie"
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
