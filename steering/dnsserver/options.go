package dnsserver

import (
	"bytes"
	"errors"
	"fmt"
	"math"
	"time"

	"github.com/miekg/dns"

	"pointsman/steering/wire"
)

const (
	// paddingBlock is what answers over encrypted transports are padded to a multiple of
	// (RFC 8467 §4.1).
	paddingBlock = 468
	// smallAnswer is the size up to which answers about addresses are not cut, however small the
	// query: eight AAAA records (224 octets) and OPT behind a name of up to 36 octets. At four
	// times a query of 30 octets there would be room for five A or three AAAA records.
	smallAnswer = 288
)

// terms are what every answer depends on beside query and state. They are immutable.
type terms struct {
	udpSize uint16 // announced, and the most octets of an answer over UDP
	nsid    []byte
	agent   []byte // the name on the wire to which resolvers report errors; nil: none
	version string
	// keepAlive is how long idle connections stay open, in units of 100 ms.
	keepAlive uint16
	most      Amplification
}

// Most octets of what a Config says about the server.
const (
	maxNSID    = 64 // so that no truncated answer exceeds four times its query
	maxVersion = 255
)

func newTerms(c Config) (terms, error) {
	t := terms{udpSize: c.UDPSize, nsid: []byte(c.NSID), version: c.Version, most: c.Amplification,
		keepAlive: uint16(min(c.TCPIdle/(100*time.Millisecond), math.MaxUint16))}
	switch {
	case len(c.NSID) > maxNSID:
		return t, fmt.Errorf("NSID of %d octets, at most %d", len(c.NSID), maxNSID)
	case len(c.Version) > maxVersion:
		return t, fmt.Errorf("version of %d octets, at most %d", len(c.Version), maxVersion)
	case t.most.Unsigned < 0 || t.most.Signed < 0:
		return t, errors.New("negative bound of amplification")
	case c.ReportAgent == "":
		return t, nil
	}
	name, err := canonical(c.ReportAgent)
	if err != nil {
		return t, fmt.Errorf("report agent: %w", err)
	}
	buf := make([]byte, 255)
	n, err := dns.PackDomainName(name, buf, 0, nil, false)
	if err != nil || n == 1 {
		return t, fmt.Errorf("report agent: %q is not a domain name", c.ReportAgent)
	}
	t.agent = buf[:n]
	return t, nil
}

// Amplification bounds how many times the octets of its query an answer over UDP may have, as
// long as nothing proves that the query's address is not forged; 0: no bound. Answers of up to 288
// octets to queries for A, AAAA and HTTPS are not cut.
type Amplification struct {
	Unsigned int // for queries without DO
	Signed   int // for queries with DO
}

// limit returns the most octets of an answer, when size is the most that the client takes over
// UDP.
func (t *terms) limit(in *ask, size int, qtype uint16, do, proven bool) int {
	if in.tcp {
		return dns.MaxMsgSize
	}
	most := t.most.Unsigned
	if do {
		most = t.most.Signed
	}
	if proven || most == 0 {
		return size
	}
	most *= len(in.packet)
	if most < smallAnswer &&
		(qtype == dns.TypeA || qtype == dns.TypeAAAA || qtype == dns.TypeHTTPS) {
		most = smallAnswer
	}
	return min(size, most)
}

// more fills in the options of an answer about a name, which is on the wire and in lower case, as
// far as they depend on what the query wants and how it came.
func (t *terms) more(o *wire.Options, in *ask, wants wire.Wants, name []byte) {
	if wants.NSID {
		o.NSID = t.nsid
	}
	if wants.KeepAlive && in.tcp {
		o.KeepAlive = t.keepAlive // RFC 7828 §3.3.2; over UDP it is ignored (§3.3.1)
	}
	if wants.Padding && in.tls {
		o.Block = paddingBlock
	}
	if t.agent != nil && !belongs(name, t.agent) {
		o.Agent = t.agent // not for its own names: a report must not lead to another
	}
}

// belongs reports whether a name on the wire is another one or below it.
func belongs(name, apex []byte) bool {
	for len(name) > len(apex) {
		name = name[1+name[0]:]
	}
	return bytes.Equal(name, apex)
}

// opt returns the OPT record of an answer on the ordinary path; nil without EDNS.
func (q *query) opt(t *terms, in *ask, r *response, cookie []byte) *wire.OPT {
	if !q.edns.present {
		return nil
	}
	o := &wire.OPT{UDPSize: t.udpSize, DO: q.edns.do, Rcode: uint8(r.msg.Rcode >> 4)}
	if r.msg.Rcode == dns.RcodeBadVers {
		return o // what the options of another version mean is not known (RFC 6891 §6.1.3)
	}
	o.More = &wire.Options{Cookie: cookie, Error: r.why}
	t.more(o.More, in, q.edns.wants, lowered(q.asked))
	if r.msg.Rcode != dns.RcodeFormatError && q.edns.subnet.present {
		o.Subnet = q.edns.subnet.raw
		if q.edns.subnet.usable() {
			o.Scope = r.scope
		}
	}
	return o
}
