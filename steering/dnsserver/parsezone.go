package dnsserver

import (
	"cmp"
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
	p := parser{c: c, places: make(map[dns.RR]spot)}
	p.zone()
	if p.z == nil {
		return nil, p.mistakes
	}
	p.ttl = p.seconds("ttl", c.TTL, defaultTTL)
	p.file()
	p.nameservers()
	p.soa()
	for i, r := range c.Records {
		p.record(i, r)
	}
	p.serial()
	p.checkNodes()
	p.checkChains()
	p.checkServers()
	p.checkSigned()
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
	order    []dns.RR        // as they were found, without those of the bulk and the config's SOA
	places   map[dns.RR]spot // of those in order
	mistakes []Mistake
	zoneFiles
}

// spot is where a record stands: in the config, or in a line of a zone file.
type spot struct {
	path string // in the config; empty for a file's
	file uint16 // index in zoneFiles.names
	line int
}

func (p *parser) mistake(path, format string, args ...any) {
	p.mistakes = append(p.mistakes, Mistake{Path: path, Message: fmt.Sprintf(format, args...)})
}

// mistakeAt records a mistake in a record, or in one of its keys where it has keys.
func (p *parser) mistakeAt(at spot, key, format string, args ...any) {
	m := Mistake{Path: at.path + key, Message: fmt.Sprintf(format, args...)}
	if at.path == "" {
		m.Path, m.File, m.Line = "file", p.names[at.file], at.line
	}
	p.mistakes = append(p.mistakes, m)
}

// where names a spot in a message.
func (p *parser) where(at spot) string {
	if at.path != "" {
		return at.path
	}
	return fmt.Sprintf("%s:%d", p.names[at.file], at.line)
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
	p.z = &Zone{name: name, nodes: map[string]*node{name: new(node)}, toSign: p.c.Signed}
}

// nameservers adds the apex's NS records.
func (p *parser) nameservers() {
	inFile := p.z.nodes[p.z.name].get(dns.TypeNS)
	switch {
	case len(p.c.NS) == 0 && len(inFile) == 0:
		p.mistake("ns", "the zone has no name servers: name at least one, better two")
	case len(p.c.NS) > 0 && len(inFile) > 0:
		p.mistake("ns", "the zone's NS records stand in the zone file already, %s: take one of "+
			"the two away", p.where(p.places[inFile[0]]))
		return
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
		rr := &dns.NS{Hdr: p.header(p.z.name, dns.TypeNS, p.ttl), Ns: name}
		p.places[rr] = spot{path: path}
		p.z.insert(rr)
	}
}

func (p *parser) header(owner string, rtype uint16, ttl uint32) dns.RR_Header {
	return dns.RR_Header{Name: owner, Rrtype: rtype, Class: dns.ClassINET, Ttl: ttl}
}

// soa adds the SOA record; its serial follows when the content is known.
func (p *parser) soa() {
	if p.soaRR != nil {
		return // from the zone file
	}
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
	if inFile := p.z.nodes[p.z.name].get(dns.TypeNS); mname == "" && len(inFile) > 0 {
		mname = dns.CanonicalName(inFile[0].(*dns.NS).Ns)
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
	p.places[rr] = spot{path: "soa"}
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
	p.version()
	if p.soaRR.Serial == 0 {
		p.z.freeSerial = true
		h := fnv.New32a()
		for _, name := range slices.Sorted(p.z.names()) {
			for _, s := range p.z.node(name).sets {
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
	rr, err := p.parse(p.header(owner, rtype, ttl), r.Data, "")
	if err != nil {
		p.mistake(path+".data", "%v", err)
		return
	}
	p.insert(spot{path: path}, rr)
}

// insert adds a record unless it is there already or has another TTL than its set.
func (p *parser) insert(at spot, rr dns.RR) {
	p.z.bulk.takeOut(rr.Header().Name, func(rr dns.RR, r *bulkRecord) {
		p.keep(spot{file: r.file, line: int(r.line)}, rr)
	})
	for _, other := range p.z.nodes[rr.Header().Name].get(rr.Header().Rrtype) {
		if dns.IsDuplicate(rr, other) {
			p.mistakeAt(at, "", "the same record is already %s", p.where(p.places[other]))
			return
		}
		if rr.Header().Ttl != other.Header().Ttl {
			p.mistakeAt(at, ".ttl", "records of one name and type share one TTL: %s has %v",
				p.where(p.places[other]), time.Duration(other.Header().Ttl)*time.Second)
			return
		}
	}
	p.keep(at, rr)
}

// keep adds a record.
func (p *parser) keep(at spot, rr dns.RR) {
	p.order = append(p.order, rr)
	p.places[rr] = at
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
	rtype, err := typeOf(s)
	if err != nil {
		p.mistake(path, "%v", err)
	}
	return rtype
}

// typeOf returns the type of records that a mnemonic, or TYPE<n>, stands for.
func typeOf(s string) (uint16, error) {
	upper := strings.ToUpper(s)
	rtype, ok := dns.StringToType[upper]
	if digits, found := strings.CutPrefix(upper, "TYPE"); !ok && found {
		n, err := strconv.ParseUint(digits, 10, 16)
		rtype, ok = uint16(n), err == nil
	}
	switch {
	case s == "":
		return 0, errors.New("missing")
	case upper == "ALIAS":
		return 0, errors.New("ALIAS is no type of DNS records: it can't stand here, only in the " +
			"config's records")
	case !ok:
		return 0, fmt.Errorf("%q is no record type", s)
	case rtype == dns.TypeNone || rtype == dns.TypeReserved || rtype == dns.TypeOPT,
		rtype >= 128 && rtype <= 255: // RFC 6895 §3.1: question and meta types
		return 0, fmt.Errorf("%s is no type of records that a zone can hold", upper)
	}
	return rtype, nil
}

// sentinel is a record behind one that is parsed: the library takes missing fields for empty ones
// when nothing follows.
const (
	endOfData = "end-of-data."
	sentinel  = endOfData + " 1 IN A 192.0.2.1\n"
)

// parse reads a record's data. The result has passed through its wire form, so that equal
// records look equal however they were written. Names in the data are relative to the origin;
// without one, as in a config, they must be absolute.
func (p *parser) parse(hdr dns.RR_Header, data, origin string) (dns.RR, error) {
	if strings.TrimSpace(data) == "" {
		return nil, errors.New("missing")
	}
	name := dns.TypeToString[hdr.Rrtype]
	if name == "" {
		name = fmt.Sprintf("TYPE%d", hdr.Rrtype)
	}
	// Includes stay off: data must not be able to read files.
	zp := dns.NewZoneParser(strings.NewReader(". 1 IN "+name+" "+data+"\n"+sentinel),
		cmp.Or(origin, "."), "")
	rr, ok := zp.Next()
	if err := zp.Err(); err != nil {
		if strings.Contains(err.Error(), endOfData) {
			return nil, fmt.Errorf("not valid for type %s: something is missing at the end", name)
		}
		return nil, fmt.Errorf("not valid for type %s: %s", name, tidy(err))
	}
	if !ok || rr.Header().Rrtype != hdr.Rrtype {
		return nil, fmt.Errorf("not valid for type %s", name)
	}
	next, _ := zp.Next()
	if zp.Err() != nil || next == nil || next.Header().Name != endOfData {
		return nil, errors.New("more than one record")
	}
	*rr.Header() = hdr
	if origin == "" {
		if err := p.absolute(rr, data); err != nil {
			return nil, err
		}
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
