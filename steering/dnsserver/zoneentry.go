package dnsserver

import (
	"bytes"
	"errors"
	"fmt"
	"math"
	"strings"
)

// fileEntry is a directive or a record: a line, or several that parentheses or quotes join (RFC
// 1035 §5.1). Comments, parentheses and the line breaks between them are gone.
type fileEntry struct {
	// owned is true when the entry doesn't begin with a blank.
	owned bool
	words []string // up to the first quote
	rest  string   // from the first quote on
}

func (e *fileEntry) blank() bool { return len(e.words) == 0 && e.rest == "" }

// next reads the next entry and stands behind it, also when there is a mistake in it.
func (r *fileReader) next() (fileEntry, error) {
	start := r.pos
	e := fileEntry{owned: strings.IndexByte(" \t\r\n;()", r.data[start]) < 0}
	flat, err := r.flatten()
	if err != nil {
		return fileEntry{}, err
	}
	head := flat
	if quote := firstQuote(flat); quote >= 0 {
		head, e.rest = flat[:quote], strings.TrimSpace(flat[quote:])
		if i := lastBlank(head); i < len(head) { // the quote stands within a word
			head, e.rest = head[:i], head[i:]+e.rest
		}
	}
	e.words = splitWords(head)
	if e.owned && len(e.words) == 0 && e.rest != "" {
		return fileEntry{}, errors.New("begins with a quote, where a name is wanted")
	}
	return e, nil
}

// flatten reads to the end of the entry and writes it on one line.
func (r *fileReader) flatten() (string, error) {
	var out strings.Builder
	depth, quoted, first := 0, false, r.pos
	for ; r.pos < len(r.data); r.pos++ {
		c := r.data[r.pos]
		if r.pos-first > maxEntry {
			r.skip()
			return "", errors.New("is too long: a quote or a parenthesis isn't closed")
		}
		switch {
		case c == '\\' && r.pos+1 < len(r.data) && r.data[r.pos+1] != '\n' && r.data[r.pos+1] != '\r':
			out.WriteByte(c)
			r.pos++
			out.WriteByte(r.data[r.pos])
		case c == '\n' && !quoted && depth == 0:
			r.pos++
			r.line++
			return out.String(), nil
		case c == '\n':
			r.line++
			if quoted { // a line break in a text would be a mystery to whoever reads the zone
				r.pos++
				return "", errors.New("a quote isn't closed on its line")
			}
			out.WriteByte(' ')
		case c == '"':
			quoted = !quoted
			out.WriteByte(c)
		case quoted:
			out.WriteByte(c)
		case c == '(', c == ')':
			if depth += 1; c == ')' {
				depth -= 2
			}
			if depth < 0 {
				r.skip()
				return "", errors.New("a parenthesis closes that none has opened")
			}
			out.WriteByte(' ')
		case c == ';':
			if n := bytes.IndexByte(r.data[r.pos:], '\n'); n >= 0 {
				r.pos += n - 1
			} else {
				r.pos = len(r.data) - 1
			}
		case c == '\r':
			out.WriteByte(' ')
		case c < ' ' && c != '\t' || c == 0x7f:
			r.skip()
			return "", fmt.Errorf("holds a control byte 0x%02x", c)
		default:
			out.WriteByte(c)
		}
	}
	switch {
	case quoted:
		return "", errors.New("a quote isn't closed")
	case depth > 0:
		return "", errors.New("a parenthesis isn't closed")
	}
	return out.String(), nil
}

// skip goes to the next line.
func (r *fileReader) skip() {
	n := bytes.IndexByte(r.data[r.pos:], '\n')
	if n < 0 {
		r.pos = len(r.data)
		return
	}
	r.pos += n + 1
	r.line++
}

// firstQuote returns where the first quote stands that is not escaped; −1 when there is none.
func firstQuote(s string) int {
	for i := 0; i < len(s); i++ {
		switch s[i] {
		case '\\':
			i++
		case '"':
			return i
		}
	}
	return -1
}

// lastBlank returns where the last word of a text begins.
func lastBlank(s string) int {
	at := 0
	for i := 0; i < len(s); i++ {
		switch s[i] {
		case '\\':
			i++
		case ' ', '\t':
			at = i + 1
		}
	}
	return at
}

// splitWords splits at blanks that are not escaped.
func splitWords(s string) []string {
	var words []string
	start := -1
	for i := 0; i < len(s); i++ {
		switch {
		case s[i] == ' ' || s[i] == '\t':
			if start >= 0 {
				words = append(words, s[start:i])
			}
			start = -1
		case start < 0:
			start = i
			fallthrough
		default:
			if s[i] == '\\' {
				i++
			}
		}
	}
	if start >= 0 {
		words = append(words, s[start:])
	}
	return words
}

// recordHeader is what stands between a record's owner and its data.
type recordHeader struct {
	rtype string
	ttl   uint32
	timed bool // ttl was given
}

// readHeader reads TTL and class, in any order and each at most once, and the type.
func readHeader(words []string) (h recordHeader, rest []string, err error) {
	classed := false
	for i, w := range words {
		upper := strings.ToUpper(w)
		switch {
		case !classed && isClass(upper):
			if upper != "IN" && upper != "CLASS1" {
				return h, nil, fmt.Errorf("class %s isn't served, only IN", upper)
			}
			classed = true
		case !h.timed && w[0] >= '0' && w[0] <= '9':
			if h.ttl, err = parseTTL(w); err != nil {
				return h, nil, err
			}
			h.timed = true
		default:
			h.rtype = w
			return h, words[i+1:], nil
		}
	}
	return h, nil, errors.New("has no record type")
}

func isClass(s string) bool {
	return s == "IN" || s == "CH" || s == "HS" || s == "CS" || s == "ANY" || s == "NONE" ||
		strings.HasPrefix(s, "CLASS")
}

// parseTTL reads seconds, or numbers with the units s, m, h, d and w.
func parseTTL(s string) (uint32, error) {
	var sum, n uint64
	digits := false
	for i := range len(s) {
		c := s[i]
		if c >= '0' && c <= '9' {
			n, digits = n*10+uint64(c-'0'), true
			if n > math.MaxInt32 {
				return 0, fmt.Errorf("%q is more than the longest time there is (RFC 2181 §8)", s)
			}
			continue
		}
		unit := strings.IndexByte("smhdw", c|0x20)
		if unit < 0 || !digits {
			return 0, fmt.Errorf("%q is not a time", s)
		}
		sum += n * [...]uint64{1, 60, 3600, 86400, 7 * 86400}[unit]
		n, digits = 0, false
	}
	if sum += n; sum > math.MaxInt32 {
		return 0, fmt.Errorf("%q is more than the longest time there is (RFC 2181 §8)", s)
	}
	return uint32(sum), nil
}
