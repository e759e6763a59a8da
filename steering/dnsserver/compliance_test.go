package dnsserver_test

import (
	"encoding/binary"
	"fmt"
	"testing"
	"time"

	"github.com/miekg/dns"

	"pointsman/steering/dnsserver"
)

// The bits of a header's flags (RFC 1035 §4.1.1, RFC 4035 §3.1.6).
const (
	flagAA, flagTC, flagRD, flagRA = 1 << 10, 1 << 9, 1 << 8, 1 << 7
	flagZ, flagAD, flagCD          = 1 << 6, 1 << 5, 1 << 4
	flagQR                         = 1 << 15
)

// form is one way of asking, whatever the question. What an unaware server does with each of
// them is a known fault in the field (RFC 8906 §3 and §8).
type form struct {
	name    string
	flags   uint16 // added to the query's
	opcode  int    // other than QUERY: the header alone is sent
	qtype   uint16 // in place of the question's
	tcp     bool
	edns    bool
	version uint8
	do      bool
	size    uint16 // 1232 unless given
	z       uint16 // flags of the OPT record besides DO
	options []dns.EDNS0
}

// forms are the plain question, then each thing that a server must take in its stride.
func forms() []form {
	unknown := &dns.EDNS0_LOCAL{Code: 100}
	nsid := &dns.EDNS0_NSID{Code: dns.EDNS0NSID}
	expire := &dns.EDNS0_LOCAL{Code: dns.EDNS0EXPIRE}
	cookie := &dns.EDNS0_COOKIE{Code: dns.EDNS0COOKIE, Cookie: "0102030405060708"}
	subnet := &dns.EDNS0_LOCAL{Code: dns.EDNS0SUBNET, Data: []byte{0, 1, 0, 0}}
	one := func(o dns.EDNS0) []dns.EDNS0 { return []dns.EDNS0{o} }
	all := []dns.EDNS0{nsid, subnet, expire, cookie}
	return []form{
		{name: "plain"},
		{name: "AA", flags: flagAA}, {name: "AD", flags: flagAD}, {name: "CD", flags: flagCD},
		{name: "RA", flags: flagRA}, {name: "RD", flags: flagRD}, {name: "TC", flags: flagTC},
		{name: "Z", flags: flagZ},
		{name: "an unknown opcode", opcode: 15},
		{name: "an unknown opcode and every flag", opcode: 15,
			flags: flagAA | flagTC | flagRD | flagRA | flagZ | flagAD | flagCD},
		{name: "an unknown type", qtype: 666},
		{name: "TCP", tcp: true},
		{name: "EDNS", edns: true},
		{name: "EDNS of 512", edns: true, do: true, size: 512},
		{name: "EDNS of less than it may", edns: true, do: true, size: 1},
		{name: "EDNS over TCP", edns: true, do: true, size: 512, tcp: true},
		{name: "an unknown option", edns: true, options: one(unknown)},
		{name: "DO", edns: true, do: true},
		{name: "DO and CD", edns: true, do: true, flags: flagCD},
		{name: "DO, AD and RD", edns: true, do: true, flags: flagAD | flagRD},
		{name: "an unknown flag", edns: true, z: 0x0080},
		{name: "every flag of EDNS", edns: true, do: true, z: 0x7fff},
		{name: "NSID", edns: true, options: one(nsid)},
		{name: "a cookie", edns: true, options: one(cookie)},
		{name: "a cookie with DO", edns: true, do: true, options: one(cookie)},
		{name: "a cookie with AD and RD", edns: true, flags: flagAD | flagRD, options: one(cookie)},
		{name: "EXPIRE", edns: true, options: one(expire)},
		{name: "a client subnet", edns: true, options: one(subnet)},
		{name: "many options", edns: true, options: all},
		{name: "version 1", edns: true, version: 1},
		{name: "version 1 and an unknown option", edns: true, version: 1, options: one(unknown)},
		{name: "version 1 and an unknown flag", edns: true, version: 1, z: 0x0080},
		{name: "version 1 and DO", edns: true, version: 1, do: true},
		{name: "version 1 and NSID", edns: true, version: 1, options: one(nsid)},
		{name: "version 1 and a cookie", edns: true, version: 1, options: one(cookie)},
		{name: "version 1 and EXPIRE", edns: true, version: 1, options: one(expire)},
		{name: "version 1 and a client subnet", edns: true, version: 1, options: one(subnet)},
		{name: "version 255 over TCP", edns: true, version: 255, tcp: true},
	}
}

// packet is a question in a form.
func (f form) packet(t *testing.T, q question) []byte {
	t.Helper()
	m := new(dns.Msg)
	m.Id = dns.Id()
	if f.opcode == 0 {
		m.Question = []dns.Question{{Name: q.name, Qtype: dns.StringToType[q.qtype],
			Qclass: dns.ClassINET}}
		if f.qtype != 0 {
			m.Question[0].Qtype = f.qtype
		}
	}
	if f.edns {
		size := f.size
		if size == 0 {
			size = 1232
		}
		opt := &dns.OPT{Hdr: dns.RR_Header{Name: ".", Rrtype: dns.TypeOPT, Class: size},
			Option: f.options}
		opt.SetVersion(f.version)
		opt.Hdr.Ttl |= uint32(f.z)
		opt.SetDo(f.do)
		m.Extra = append(m.Extra, opt)
	}
	raw, err := m.Pack()
	if err != nil {
		t.Fatal(err)
	}
	binary.BigEndian.PutUint16(raw[2:], uint16(f.opcode)<<11|f.flags)
	return raw
}

// put sends a packet and returns the answer as it came.
func put(s *dnsserver.Server, tcp bool, packet []byte) ([]byte, error) {
	network := map[bool]string{false: "udp", true: "tcp"}[tcp]
	conn, err := dns.DialTimeout(network, s.Addrs()[0].String(), 5*time.Second)
	if err != nil {
		return nil, err
	}
	defer conn.Close()
	conn.UDPSize = 65535
	if err := conn.SetDeadline(time.Now().Add(5 * time.Second)); err != nil {
		return nil, err
	}
	if _, err := conn.Write(packet); err != nil {
		return nil, err
	}
	return conn.ReadMsgHeader(nil)
}

// judge says all that is wrong with an answer.
func (f form) judge(q question, referral bool, packet, raw []byte) (wrong []string) {
	bad := func(format string, args ...any) { wrong = append(wrong, fmt.Sprintf(format, args...)) }
	m := new(dns.Msg)
	if err := m.Unpack(raw); err != nil {
		return append(wrong, fmt.Sprintf("%v in %x", err, raw))
	}
	flags := binary.BigEndian.Uint16(raw[2:])
	if flags&flagQR == 0 || m.Id != binary.BigEndian.Uint16(packet) || m.Opcode != f.opcode {
		bad("no answer to this query: %v", m.MsgHdr)
	}
	// No recursion, nothing validated, Z is zero, RD comes back (RFC 1035 §4.1.1, RFC 4035 §3.1.6).
	if flags&(flagRA|flagZ|flagAD) != 0 || (flags^f.flags)&flagRD != 0 && f.opcode == 0 {
		bad("flags %04x for %04x", flags, f.flags)
	}
	rcode, full := q.rcode, f.version == 0 && f.opcode == 0
	switch {
	case f.opcode != 0:
		rcode = dns.RcodeNotImplemented
	case f.version != 0:
		rcode = dns.RcodeBadVers // RFC 6891 §6.1.3
	}
	if m.Rcode != rcode {
		bad("%s, want %s", dns.RcodeToString[m.Rcode], dns.RcodeToString[rcode])
	}
	if want := full && !referral; m.Authoritative != want {
		bad("authoritative %v", m.Authoritative)
	}
	if !full && len(m.Answer)+len(m.Ns) > 0 {
		bad("records in a refusal: %v %v", m.Answer, m.Ns)
	}
	limit := 512
	if f.edns {
		if limit = 1232; f.size != 0 {
			limit = 512 // a smaller size counts as this (RFC 6891 §6.2.3)
		}
	}
	switch {
	case f.tcp && m.Truncated:
		bad("truncated over TCP")
	case !f.tcp && len(raw) > limit:
		bad("%d octets, at most %d fit", len(raw), limit)
	case m.Truncated && f.size == 0 && f.edns:
		bad("truncated, and 1,232 octets were free")
	}
	f.judgeOPT(m, bad)
	if full && !m.Truncated {
		f.judgeRecords(q, referral, m, bad)
	}
	return wrong
}

// judgeOPT looks at the OPT record: there is one when one was asked with, and not otherwise
// (RFC 6891 §6.1.1, §7), of our version, with DO as it was (RFC 3225 §3) and no other flag.
func (f form) judgeOPT(m *dns.Msg, bad func(string, ...any)) {
	opt := m.IsEdns0()
	if (opt != nil) != f.edns {
		bad("OPT in the answer: %v", opt)
	}
	if opt == nil {
		return
	}
	if opt.Version() != 0 || opt.UDPSize() < 512 || opt.Do() != f.do {
		bad("%v", opt)
	}
	if opt.Hdr.Ttl&0x7fff != 0 {
		bad("unknown flags came back: %08x", opt.Hdr.Ttl)
	}
	asked := map[uint16]bool{dns.EDNS0EDE: true} // may always come (RFC 8914 §2)
	for _, o := range f.options {
		asked[o.Option()] = o.Option() != 100 && o.Option() != dns.EDNS0EXPIRE
	}
	for _, o := range opt.Option {
		if !asked[o.Option()] {
			bad("option %d, which was not asked for, or is unknown", o.Option())
		}
	}
}

// judgeRecords looks at what a whole answer holds.
func (f form) judgeRecords(q question, referral bool, m *dns.Msg, bad func(string, ...any)) {
	counts := map[uint16]int{}
	for _, rr := range append(append([]dns.RR{}, m.Answer...), m.Ns...) {
		counts[rr.Header().Rrtype]++
	}
	switch {
	case referral && (counts[dns.TypeNS] == 0 || len(m.Answer) > 0):
		bad("no referral: %v", m)
	case !referral && len(m.Answer) == 0 && counts[dns.TypeSOA] != 1:
		bad("a denial without the zone's SOA (RFC 2308 §3): %v", m)
	}
	signed := counts[dns.TypeRRSIG] > 0
	if want := f.do && !q.insecure; signed != want {
		bad("signed is %v, DO %v: %v", signed, f.do, m)
	}
}

// TestEveryFormOfAskingGetsWhatTheRFCsSay asks each question in each form, of a signed zone and
// of one that is not.
func TestEveryFormOfAskingGetsWhatTheRFCsSay(t *testing.T) {
	const e = ".example.test."
	referrals := []question{{"safe" + e, "A", 0, false}, {"x.safe" + e, "TXT", 0, false}}
	plain := []question{
		{"www" + e, "A", 0, true}, {"cdn" + e, "A", 0, true}, {"cdn" + e, "TXT", 0, true},
		{"ns1" + e, "A", 0, true}, {"ns1" + e, "MX", 0, true}, {"example.test.", "SOA", 0, true},
		{"gone" + e, "A", dns.RcodeNameError, true}, {"EXAMPLE.test.", "NS", 0, true},
	}
	every := func(s *dnsserver.Server, list []question, referral bool) {
		for _, q := range list {
			for _, f := range forms() {
				packet := f.packet(t, q)
				raw, err := put(s, f.tcp, packet)
				if err != nil {
					t.Errorf("%s %s with %s: %v", q.name, q.qtype, f.name, err)
					continue
				}
				// DS alone is the parent's to answer (RFC 4035 §3.1.4.1).
				below := referral || f.qtype != 0 && q.name == "safe"+e
				for _, wrong := range f.judge(q, below, packet, raw) {
					t.Errorf("%s %s with %s: %s", q.name, q.qtype, f.name, wrong)
				}
			}
		}
	}
	for _, policy := range signings() {
		s := startSecure(t, policy)
		every(s.Server, questions(), false)
		every(s.Server, referrals, true)
	}
	every(start(t, example(t, pointer(compile(t, 1, 70, 20, 10)))), plain, false)
}

// TestWhatDoesNotFitIsCutAtThePlaceThatTheClientNames asks for more than 512 octets.
func TestWhatDoesNotFitIsCutAtThePlaceThatTheClientNames(t *testing.T) {
	s := start(t, example(t, pointer(compile(t, 1, 70, 20, 10))))
	big := question{"big.example.test.", "TXT", 0, true} // some 2,300 octets
	for _, f := range []form{{}, {edns: true, size: 512}, {edns: true}, {edns: true, size: 65535}} {
		raw, err := put(s, false, f.packet(t, big))
		if err != nil {
			t.Fatal(err)
		}
		m := new(dns.Msg)
		if err := m.Unpack(raw); err != nil {
			t.Fatal(err)
		}
		if !m.Truncated || len(raw) > 1232 || len(m.Answer) != 0 || (m.IsEdns0() != nil) != f.edns {
			t.Errorf("%+v: %d octets: %v", f, len(raw), m)
		}
	}
}
