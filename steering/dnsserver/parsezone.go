package dnsserver

import (
	"errors"
	"fmt"
	"hash/fnv"
	"math"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/miekg/dns"
)

// Defaults of a zone's times.
const (
	defaultTTL      = 5 * time.Minute
	defaultRefresh  = time.Hour
	defaultRetry    = 10 * time.Minute
	defaultExpire   = 7 * 24 * time.Hour
	defaultNegative = 30 * time.Second
)

// maxTTL is the largest TTL there is (RFC 2181 §8).
const maxTTL = math.MaxInt32 * time.Second

// ParseZone builds a zone from its config. It reports every mistake it finds; with any, the
// zone is nil.
func ParseZone(c ZoneConfig) (*Zone, []Mistake) {
	p := parser{c: c, places: make(map[dns.RR]int)}
	p.zone()
	if p.z == nil {
		return nil, p.mistakes
	}
	p.ttl = p.seconds("ttl", c.TTL, defaultTTL)
	p.nameservers()
	p.soa()
	for i, r := range c.Records {
		p.record(i, r)
	}
	p.serial()
	p.checkNodes()
	p.checkChains()
	p.checkServers()
	if len(p.mistakes) > 0 {
		return nil, p.mistakes
	}
	return p.z, nil
}

// parser holds what ParseZone knows so far.
type parser struct {
	c        ZoneConfig
	z        *Zone
	ttl      uint32
	soaRR    *dns.SOA
	places   map[dns.RR]int // index in c.Records
	mistakes []Mistake
}

func (p *parser) mistake(path, format string, args ...any) {
	p.mistakes = append(p.mistakes, Mistake{Path: path, Message: fmt.Sprintf(format, args...)})
}

// seconds converts a duration, 0 meaning the default.
func (p *parser) seconds(path string, d, fallback time.Duration) uint32 {
	switch {
	case d == 0:
		d = fallback
	case d < 0 || d > maxTTL:
		p.mistake(path, "%v is not between 1s and %v", d, maxTTL)
		return 0
	case d%time.Second != 0:
		p.mistake(path, "%v is not a whole number of seconds", d)
		return 0
	}
	return uint32(d / time.Second)
}

func (p *parser) zone() {
	name, err := canonical(p.c.Name)
	if err != nil {
		p.mistake("name", "%v", err)
		return
	}
	if name == "." {
		p.mistake("name", "the root zone can't be served")
		return
	}
	p.z = &Zone{name: name, nodes: map[string]*node{name: new(node)}}
}

// nameservers adds the apex's NS records.
func (p *parser) nameservers() {
	if len(p.c.NS) == 0 {
		p.mistake("ns", "the zone has no name servers: name at least one, better two")
	}
	seen := make(map[string]int)
	for i, s := range p.c.NS {
		path := fmt.Sprintf("ns[%d]", i)
		name, err := p.target(s)
		if err != nil {
			p.mistake(path, "%v", err)
			continue
		}
		if first, ok := seen[name]; ok {
			p.mistake(path, "%s is already ns[%d]", name, first)
			continue
		}
		seen[name] = i
		p.z.insert(&dns.NS{Hdr: p.header(p.z.name, dns.TypeNS, p.ttl), Ns: name})
	}
}

func (p *parser) header(owner string, rtype uint16, ttl uint32) dns.RR_Header {
	return dns.RR_Header{Name: owner, Rrtype: rtype, Class: dns.ClassINET, Ttl: ttl}
}

// soa adds the SOA record; its serial follows when the content is known.
func (p *parser) soa() {
	c := p.c.SOA
	rr := &dns.SOA{
		Hdr:     p.header(p.z.name, dns.TypeSOA, p.ttl),
		Serial:  c.Serial,
		Refresh: p.seconds("soa.refresh", c.Refresh, defaultRefresh),
		Retry:   p.seconds("soa.retry", c.Retry, defaultRetry),
		Expire:  p.seconds("soa.expire", c.Expire, defaultExpire),
		Minttl:  p.seconds("soa.negative_ttl", c.NegativeTTL, defaultNegative),
	}
	mname := c.MName
	if mname == "" && len(p.c.NS) > 0 {
		mname = p.c.NS[0] // a bad one is reported there
	}
	var err error
	if rr.Ns, err = p.target(mname); err != nil && c.MName != "" {
		p.mistake("soa.mname", "%v", err)
	}
	mbox := c.MBox
	if mbox == "" {
		mbox = "hostmaster." + p.z.name
	}
	if rr.Mbox, err = p.target(mailbox(mbox)); err != nil {
		p.mistake("soa.mbox", "%v", err)
	}
	p.soaRR = rr
	p.z.insert(rr)
}

// mailbox turns an e-mail address into a domain name (RFC 1035 §8).
func mailbox(s string) string {
	local, domain, ok := strings.Cut(s, "@")
	if !ok || local == "" {
		return s
	}
	return strings.ReplaceAll(local, ".", `\.`) + "." + domain
}

// serial fixes the serial number and the SOA of negative answers.
func (p *parser) serial() {
	if p.soaRR.Serial == 0 {
		h := fnv.New32a()
		for _, name := range sortedKeys(p.z.nodes) {
			for _, s := range p.z.nodes[name].sets {
				lines := make([]string, len(s.rrs))
				for i, rr := range s.rrs {
					lines[i] = rr.String()
				}
				slices.Sort(lines)
				_, _ = h.Write([]byte(strings.Join(lines, "\n"))) // never fails
			}
		}
		p.soaRR.Serial = max(1, h.Sum32())
	}
	negative := *p.soaRR
	negative.Hdr.Ttl = min(negative.Hdr.Ttl, negative.Minttl)
	p.z.negative = &negative
}

// record adds one static record.
func (p *parser) record(i int, r Record) {
	path := fmt.Sprintf("records[%d]", i)
	before := len(p.mistakes)
	owner := p.owner(path+".name", r.Name)
	rtype := p.rtype(path+".type", r.Type)
	ttl := p.ttl
	if r.TTL != 0 {
		ttl = p.seconds(path+".ttl", r.TTL, 0)
	}
	if len(p.mistakes) > before {
		return
	}
	if owner == p.z.name && (rtype == dns.TypeSOA || rtype == dns.TypeNS) {
		p.mistake(path, "the zone's own %s stands in %s, not in records", dns.TypeToString[rtype],
			strings.ToLower(dns.TypeToString[rtype]))
		return
	}
	if rtype == dns.TypeSOA {
		p.mistake(path+".type", "a SOA can't stand below the zone's apex")
		return
	}
	rr, err := p.parse(p.header(owner, rtype, ttl), r.Data)
	if err != nil {
		p.mistake(path+".data", "%v", err)
		return
	}
	p.insert(path, i, rr)
}

// insert adds a record unless it is there already or has another TTL than its set.
func (p *parser) insert(path string, i int, rr dns.RR) {
	for _, other := range p.z.nodes[rr.Header().Name].get(rr.Header().Rrtype) {
		if dns.IsDuplicate(rr, other) {
			p.mistake(path, "the same record is already records[%d]", p.places[other])
			return
		}
		if rr.Header().Ttl != other.Header().Ttl {
			p.mistake(path+".ttl", "records of one name and type share one TTL: records[%d] has %v",
				p.places[other], time.Duration(other.Header().Ttl)*time.Second)
			return
		}
	}
	p.places[rr] = i
	p.z.insert(rr)
}

// owner makes a record's name absolute.
func (p *parser) owner(path, s string) string {
	if s == "" {
		p.mistake(path, `missing; "@" is the zone itself`)
		return ""
	}
	if s == "@" {
		return p.z.name
	}
	name, err := canonical(s)
	if err != nil {
		p.mistake(path, "%v", err)
		return ""
	}
	if under(name, p.z.name) {
		return name
	}
	if strings.HasSuffix(s, ".") {
		p.mistake(path, "%s is outside the zone %s", name, p.z.name)
		return ""
	}
	if name, err = canonical(name + p.z.name); err != nil {
		p.mistake(path, "%v", err)
		return ""
	}
	return name
}

// rtype resolves a type's mnemonic, or TYPE<n> (RFC 3597 §5).
func (p *parser) rtype(path, s string) uint16 {
	upper := strings.ToUpper(s)
	rtype, ok := dns.StringToType[upper]
	if digits, found := strings.CutPrefix(upper, "TYPE"); !ok && found {
		n, err := strconv.ParseUint(digits, 10, 16)
		rtype, ok = uint16(n), err == nil
	}
	switch {
	case s == "":
		p.mistake(path, "missing")
	case !ok:
		p.mistake(path, "%q is no record type", s)
	case rtype == dns.TypeNone || rtype == dns.TypeReserved || rtype == dns.TypeOPT,
		rtype >= 128 && rtype <= 255: // RFC 6895 §3.1: question and meta types
		p.mistake(path, "%s is no type of records that a zone can hold", upper)
	default:
		return rtype
	}
	return 0
}

// parse reads a record's data. The result has passed through its wire form, so that equal
// records look equal however they were written.
func (p *parser) parse(hdr dns.RR_Header, data string) (dns.RR, error) {
	if strings.TrimSpace(data) == "" {
		return nil, errors.New("missing")
	}
	name := dns.TypeToString[hdr.Rrtype]
	if name == "" {
		name = fmt.Sprintf("TYPE%d", hdr.Rrtype)
	}
	// Includes stay off: data must not be able to read files.
	zp := dns.NewZoneParser(strings.NewReader(". 1 IN "+name+" "+data+"\n"), ".", "")
	rr, ok := zp.Next()
	if err := zp.Err(); err != nil {
		return nil, fmt.Errorf("not valid for type %s: %s", name, tidy(err))
	}
	if !ok || rr.Header().Rrtype != hdr.Rrtype {
		return nil, fmt.Errorf("not valid for type %s", name)
	}
	if _, more := zp.Next(); more || zp.Err() != nil {
		return nil, errors.New("more than one record")
	}
	*rr.Header() = hdr
	if err := p.absolute(rr, data); err != nil {
		return nil, err
	}
	return rewire(rr)
}

// tidy takes the library's prefix and its line numbers, which mean nothing here, off an error.
func tidy(err error) string {
	s := strings.TrimPrefix(err.Error(), "dns: ")
	if i := strings.LastIndex(s, " at line: "); i >= 0 {
		s = s[:i]
	}
	return s
}

// rewire packs and unpacks a record.
func rewire(rr dns.RR) (dns.RR, error) {
	buf := make([]byte, dns.Len(rr)+1)
	n, err := dns.PackRR(rr, buf, 0, nil, false)
	if err != nil {
		return nil, fmt.Errorf("not valid on the wire: %s", tidy(err))
	}
	out, _, err := dns.UnpackRR(buf[:n], 0)
	if err != nil {
		return nil, fmt.Errorf("not valid on the wire: %s", tidy(err))
	}
	if out.Header().Rdlength == 0 && out.Header().Rrtype != dns.TypeAPL {
		return nil, errors.New("missing")
	}
	return out, nil
}

// absolute checks the names within a record's data. They were read as absolute ones; "@"
// became the root and is given its meaning here.
func (p *parser) absolute(rr dns.RR, data string) error {
	apex := slices.Contains(strings.Fields(data), "@")
	v := reflect.ValueOf(rr).Elem()
	for i := range v.NumField() {
		tag := v.Type().Field(i).Tag.Get("dns")
		if tag != "cdomain-name" && tag != "domain-name" || v.Field(i).Kind() != reflect.String {
			continue
		}
		name := v.Field(i).String()
		if name == "." && apex {
			v.Field(i).SetString(p.z.name)
			continue
		}
		if err := p.notSingle(name); err != nil {
			return err
		}
	}
	return nil
}

func sortedKeys[V any](m map[string]V) []string {
	keys := make([]string, 0, len(m))
	for k := range m {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	return keys
}
