package dnsserver

import (
	"bytes"
	"net/netip"

	"github.com/miekg/dns"
)

// quick reads a line that holds nothing but an address record of a plain name below the apex,
// without making garbage of it: large zones consist of such lines. It returns the length of the
// line, or 0 when the line is for the thorough way, which would read the same from it.
func (r *fileReader) quick(data []byte) int {
	end := bytes.IndexByte(data, '\n')
	if end < 0 {
		return 0
	}
	s := scanner{line: data[:end]}
	name := r.fast
	if first := s.word(); s.start > 0 {
		if r.owner == "" {
			return 0
		}
		name = append(name[:0], r.owner...)
		s.at = 0
	} else if name = r.plainName(name[:0], first); name == nil {
		return 0
	}
	r.fast = name
	rest := len(name) - len(r.p.z.name)
	if rest <= 0 || name[rest-1] != '.' || string(name[rest:]) != r.p.z.name ||
		len(r.p.z.nodes) > 1 && r.p.z.nodes[string(name)] != nil {
		return 0
	}
	h, ok := s.header()
	if !ok {
		return 0
	}
	addr, err := netip.ParseAddr(string(s.word()))
	if err != nil || addr.Is4() != (h.rtype == dns.TypeA) || addr.Is4In6() || addr.Zone() != "" {
		return 0
	}
	if trailing := s.word(); len(trailing) > 0 && trailing[0] != ';' {
		return 0
	}
	r.put(name, rest, addr, h)
	return end + 1
}

// put adds an address record to the bulk.
func (r *fileReader) put(name []byte, rest int, addr netip.Addr, h quickHeader) {
	switch {
	case !h.timed:
		h.ttl = r.ttl
	case !r.pinned:
		r.ttl = h.ttl
	}
	z := r.p.z
	if r.owner != string(name) {
		r.owner = string(name)
		dot := bytes.IndexByte(name, '.')
		if string(name[dot+1:]) != r.lead {
			r.lead = r.owner[dot+1:]
			z.lead(r.owner)
		}
	}
	rec := bulkRecord{ttl: h.ttl, line: int32(r.line), file: r.at.file}
	other := z.bulk.add(name[:rest], addr, rec)
	if other < 0 {
		return
	}
	r.at.line = r.line
	o := &z.bulk.recs[other]
	at := r.p.where(spot{file: o.file, line: int(o.line)})
	if o.ttl != h.ttl {
		r.mistake("records of one name and type share one TTL: %s has %ds", at, o.ttl)
		return
	}
	r.mistake("the same record is already %s", at)
}

// plainName appends the canonical form of a name that is made of letters, digits, hyphens,
// underscores and asterisks to dst. It returns nil for any other.
func (r *fileReader) plainName(dst, s []byte) []byte {
	label := 0
	for _, c := range s {
		switch {
		case c == '.':
			if label == 0 {
				return nil
			}
			label = -1
		case c >= 'A' && c <= 'Z':
			c |= 0x20
		case c >= 'a' && c <= 'z', c >= '0' && c <= '9', c == '-', c == '_', c == '*':
		default:
			return nil
		}
		if label++; label > 63 {
			return nil
		}
		dst = append(dst, c)
	}
	if len(s) == 0 {
		return nil
	}
	if label > 0 {
		if r.origin == "." {
			return nil
		}
		dst = append(append(dst, '.'), r.origin...)
	}
	if len(dst) > 254 {
		return nil
	}
	return dst
}

// scanner takes a line apart.
type scanner struct {
	line      []byte
	at, start int
}

// word returns the next word, which starts at s.start; empty at the end.
func (s *scanner) word() []byte {
	i := s.at
	for i < len(s.line) && (s.line[i] == ' ' || s.line[i] == '\t' || s.line[i] == '\r') {
		i++
	}
	s.start = i
	for i < len(s.line) && s.line[i] != ' ' && s.line[i] != '\t' && s.line[i] != '\r' {
		i++
	}
	s.at = i
	return s.line[s.start:i]
}

// quickHeader is what stands between a record's owner and its address.
type quickHeader struct {
	rtype uint16
	ttl   uint32
	timed bool
}

// header reads TTL in seconds, class IN and a type of addresses.
func (s *scanner) header() (h quickHeader, ok bool) {
	classed := false
	for {
		w := s.word()
		switch string(w) {
		case "A":
			h.rtype = dns.TypeA
			return h, true
		case "AAAA":
			h.rtype = dns.TypeAAAA
			return h, true
		case "IN":
			if classed {
				return h, false
			}
			classed = true
			continue
		}
		if h.timed || len(w) == 0 || len(w) > 9 {
			return h, false
		}
		for _, c := range w {
			if c < '0' || c > '9' {
				return h, false
			}
			h.ttl = h.ttl*10 + uint32(c-'0')
		}
		h.timed = true
	}
}
