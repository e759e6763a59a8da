package dnsserver

import (
	"strings"

	"github.com/miekg/dns"

	"pointsman/steering/wire"
)

// identify answers what is asked about the server itself in class CH (RFC 4892 §2), if the
// operator gave a text to answer with: the version, or the identity, which is that of NSID. All
// else in that class stays refused.
func (t *terms) identify(q *query, r *response) {
	if q.qclass != dns.ClassCHAOS || q.opcode != dns.OpcodeQuery ||
		r.msg.Rcode != dns.RcodeRefused || q.qtype != dns.TypeTXT && q.qtype != dns.TypeANY {
		return
	}
	text := ""
	switch q.name {
	case "version.bind.", "version.server.":
		text = t.version
	case "id.server.", "hostname.bind.":
		text = string(t.nsid)
	}
	if text == "" {
		return
	}
	r.msg.Rcode, r.why = dns.RcodeSuccess, nil
	r.msg.Authoritative = true
	hdr := dns.RR_Header{Name: q.name, Rrtype: dns.TypeTXT, Class: dns.ClassCHAOS}
	r.msg.Answer = []dns.RR{&dns.TXT{Hdr: hdr, Txt: []string{escaped(text)}}}
}

// escaped is a text as zone files have it.
func escaped(text string) string {
	return strings.NewReplacer(`\`, `\\`, `"`, `\"`).Replace(text)
}

// Extended DNS Errors (RFC 8914 §4). All but those without a code of their own come without
// text, which is shorter and says as much.
func whyOther(text string) *wire.Error { return &wire.Error{Text: text} }
func whyMissing() *wire.Error          { return &wire.Error{Code: dns.ExtendedErrorCodeRRSIGsMissing} }
func whyNotReady() *wire.Error         { return &wire.Error{Code: dns.ExtendedErrorCodeNotReady} }
func whyForeign() *wire.Error          { return &wire.Error{Code: dns.ExtendedErrorCodeNotAuthoritative} }
func whyUnsupported() *wire.Error      { return &wire.Error{Code: dns.ExtendedErrorCodeNotSupported} }

// whyNoType is Invalid Query Type (RFC 9824 §10).
func whyNoType() *wire.Error { return &wire.Error{Code: 30} }
