package tsig

import (
	"crypto/hmac"
	"encoding/binary"
	"errors"
	"fmt"
	"hash"
	"time"
)

// Session is one exchange under a key: a request and its answers. It belongs to one goroutine.
type Session struct {
	key   *Key // nil: the peer's key isn't known
	first *record
	fault Fault
	prior []byte    // the last signature of the exchange
	later bool      // an answer was signed or checked already
	sum   hash.Hash // over what came without a signature since; nil: nothing did
	loose int       // how many messages those are
}

// Accept checks a request to a server. It returns the request without its TSIG record, and the
// session in which it is answered; nil when there was none. A session may have a Fault, which
// the answer, NOTAUTH, then tells the client. The error is ErrFormat.
func Accept(request []byte, keys Ring, now time.Time) ([]byte, *Session, error) {
	body, r, err := split(request)
	if err != nil || r == nil {
		return body, nil, err
	}
	s := &Session{key: keys.find(r.owner, r.algorithm), first: r}
	if s.key == nil {
		s.fault = BadKey
		return body, s, nil
	}
	h := s.key.mac(nil)
	h.Write(body)
	if s.fault, err = r.judge(h, false, now); err != nil {
		return nil, nil, err
	}
	s.prior = r.mac
	return restoreID(body, request), s, nil
}

// restoreID gives a message the ID that it came with. A forwarder may have changed it.
func restoreID(body, packet []byte) []byte {
	copy(body[:2], packet[:2])
	return body
}

// judge compares a signature. The hash has taken in the message.
func (r *record) judge(h hash.Hash, timersOnly bool, now time.Time) (Fault, error) {
	if len(r.mac) > h.Size() || len(r.mac) < max(minMAC, h.Size()/2) {
		return 0, fmt.Errorf("%w: a signature of %d octets", ErrFormat, len(r.mac))
	}
	want := r.finish(h, timersOnly)
	if !hmac.Equal(want[:len(r.mac)], r.mac) {
		return BadSig, nil
	}
	if off := now.Unix() - int64(r.time); off > int64(r.fudge) || -off > int64(r.fudge) {
		return BadTime, nil
	}
	if len(r.mac) < len(want) {
		return BadTrunc, nil // we take whole signatures alone (RFC 8945 §5.2.2.1)
	}
	return 0, nil
}

// Fault is what was wrong with the request.
func (s *Session) Fault() Fault { return s.fault }

// Key is the key of the exchange; nil when the client's isn't known.
func (s *Session) Key() *Key { return s.key }

// Room is how many octets Sign adds at most.
func (s *Session) Room() int {
	size := 6
	if s.key != nil {
		size += s.key.new().Size()
	}
	return len(s.first.owner) + 10 + len(s.first.algorithm) + 16 + size
}

// Sign signs an answer of a server, the next one of the exchange. The answer to a request with a
// signature that isn't good has an empty one (RFC 8945 §5.3.2).
func (s *Session) Sign(answer []byte, now time.Time) []byte {
	r := &record{owner: s.first.owner, algorithm: s.first.algorithm, time: uint64(now.Unix()),
		fudge: fudge, id: binary.BigEndian.Uint16(answer), fault: s.fault}
	switch s.fault {
	case BadSig, BadKey:
		return r.append(answer)
	case BadTime:
		r.time, r.other = s.first.time, appendTime(nil, uint64(now.Unix()))
	}
	h := s.key.mac(s.prior)
	h.Write(answer)
	r.mac = r.finish(h, s.later)
	s.prior, s.later = r.mac, true
	return r.append(answer)
}

// Begin signs a request of a client.
func (k *Key) Begin(request []byte, now time.Time) ([]byte, *Session) {
	r := &record{owner: k.owner, algorithm: k.algorithm, time: uint64(now.Unix()), fudge: fudge,
		id: binary.BigEndian.Uint16(request)}
	h := k.mac(nil)
	h.Write(request)
	r.mac = r.finish(h, false)
	return r.append(request), &Session{key: k, first: r, prior: r.mac}
}

// ErrUnsigned says that an answer has no signature where it needs one.
var ErrUnsigned = errors.New("the answer is not signed")

// Check checks the next answer to a client and returns it without its TSIG record. In an exchange
// of several answers, all but the first and the last may come unsigned; see End.
func (s *Session) Check(answer []byte, now time.Time) ([]byte, error) {
	body, r, err := split(answer)
	if err != nil {
		return nil, err
	}
	if r == nil && (!s.later || s.loose >= maxUnsigned) {
		return nil, ErrUnsigned // and nothing of it counts: anybody may have sent it
	}
	if s.sum == nil {
		s.sum = s.key.mac(s.prior)
	}
	s.sum.Write(body)
	if r == nil {
		s.loose++
		return body, nil
	}
	if r.fault != 0 && len(r.mac) == 0 {
		return nil, fmt.Errorf("the server says %v of our signature by key %s", r.fault, s.key.name)
	}
	if string(r.owner) != string(s.key.owner) || string(r.algorithm) != string(s.key.algorithm) {
		return nil, fmt.Errorf("the answer is signed by another key than %s", s.key.name)
	}
	fault, err := r.judge(s.sum, s.later, now)
	switch {
	case err != nil:
		return nil, err
	case fault == BadTime:
		return nil, fmt.Errorf("the answer was signed %v from our time: one of the clocks is wrong",
			time.Duration(int64(r.time)-now.Unix())*time.Second)
	case fault != 0:
		return nil, fmt.Errorf("the answer's signature is wrong: %v", fault)
	case r.fault != 0:
		return nil, fmt.Errorf("the server says %v of our signature by key %s", r.fault, s.key.name)
	}
	s.prior, s.later, s.sum, s.loose = r.mac, true, nil, 0
	return restoreID(body, answer), nil
}

// End returns ErrUnsigned when what came last was not signed.
func (s *Session) End() error {
	if s.loose > 0 || !s.later {
		return ErrUnsigned
	}
	return nil
}
