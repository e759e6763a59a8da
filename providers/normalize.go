package providers

import (
	"errors"
	"fmt"
	"net/netip"
	"strconv"
	"strings"
	"unicode/utf8"
)

// maxURL bounds a URL or a prefix in bytes; no CDN takes a longer request line.
const maxURL = 8192

const (
	lowerHex   = "0123456789abcdef"
	upperHex   = "0123456789ABCDEF"
	wildcard   = "holds a *, which most CDNs take as an ordinary character and then purge nothing; "
	unreserved = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-._~"
	// pathSafe is what RFC 3986 §3.3 allows in a path, without "*", and with the brackets that
	// browsers leave alone.
	pathSafe = unreserved + "!$&'()+,;=:@/[]"
	// querySafe is what the URL standard leaves alone in the query of an http URL.
	querySafe = unreserved + "!$&()+,;=:@/?[]%\\^`{|}"
)

// Normalize applies the rule of a kind to one item; for Everything there is none, so that is
// an error. Normalising twice changes nothing more.
func Normalize(k Kind, raw string) (string, error) {
	switch k {
	case URL:
		return NormalizeURL(raw)
	case Prefix:
		return NormalizePrefix(raw)
	case Host:
		return NormalizeHost(raw)
	case Tag:
		return NormalizeTag(raw)
	}
	return "", fmt.Errorf("a purge of kind %q takes no items", k)
}

// NormalizeURL brings a URL into the one form that every provider is given: absolute, http or
// https, lower-case scheme and host without a default port, dot segments resolved as a browser
// does before it asks, the path in percent-encoded ASCII, no fragment. Escapes that are there
// stay as they are, for caches compare them byte by byte. A "*" and credentials are refused.
func NormalizeURL(raw string) (string, error) {
	u, err := normalizeURL(raw)
	if err != nil {
		return "", fmt.Errorf("reading URL %s: %w", show(raw), err)
	}
	return u, nil
}

func normalizeURL(raw string) (string, error) {
	if err := plain(raw); err != nil {
		return "", err
	}
	scheme, rest, ok := strings.Cut(raw, "://")
	scheme = strings.ToLower(scheme)
	if !ok || scheme == "" || strings.ContainsAny(scheme, "/?#") {
		return "", errors.New("not absolute: want http://HOST/PATH or https://HOST/PATH")
	}
	if scheme != "http" && scheme != "https" {
		return "", fmt.Errorf("scheme %q: want http or https", scheme)
	}
	rest, _, _ = strings.Cut(rest, "#")
	rest, query, hasQuery := strings.Cut(rest, "?")
	host, path, err := hostPath(scheme, rest)
	if err != nil {
		return "", err
	}
	if hasQuery {
		path += "?" + escape(query, querySafe)
	}
	return bounded(scheme + "://" + host + path)
}

// NormalizePrefix brings a prefix into the form HOST/PATH: no scheme (one that is given is
// dropped, since no provider tells them apart), no query, no fragment, no "*". A host alone
// gets its "/". Whether HOST/foo also covers HOST/foobar differs between providers: end it with
// "/" to be sure.
func NormalizePrefix(raw string) (string, error) {
	p, err := normalizePrefix(raw)
	if err != nil {
		return "", fmt.Errorf("reading prefix %s: %w", show(raw), err)
	}
	return p, nil
}

func normalizePrefix(raw string) (string, error) {
	if err := plain(raw); err != nil {
		return "", err
	}
	scheme, rest, ok := strings.Cut(raw, "://")
	switch scheme = strings.ToLower(scheme); {
	case !ok:
		scheme, rest = "", raw
	case scheme != "http" && scheme != "https":
		return "", errors.New("want HOST/PATH")
	}
	if strings.ContainsAny(rest, "?#") {
		return "", errors.New("a prefix has no query and no fragment; " +
			"it covers every query of the paths below it")
	}
	host, path, err := hostPath(scheme, rest)
	if err != nil {
		return "", err
	}
	return bounded(host + path)
}

// NormalizeHost brings a host name into lower case without a final dot. Wildcards, ports,
// schemes, paths and names outside ASCII are refused.
func NormalizeHost(raw string) (string, error) {
	h, err := hostName(raw)
	if err != nil {
		return "", fmt.Errorf("reading host %s: %w", show(raw), err)
	}
	return h, nil
}

// plain refuses what no part of a URL may hold. It runs first, so that what follows sees
// printable text.
func plain(raw string) error {
	switch {
	case raw == "":
		return errors.New("empty")
	case len(raw) > maxURL:
		return fmt.Errorf("%d bytes long, and %d is the most", len(raw), maxURL)
	case !utf8.ValidString(raw):
		return errors.New("not valid UTF-8")
	case strings.TrimSpace(raw) != raw:
		return errors.New("white space around it")
	case strings.Contains(raw, "*"):
		return errors.New(wildcard +
			"purge by prefix, host or tag instead, or write %2A for the character")
	case strings.IndexFunc(raw, func(r rune) bool { return r < ' ' || r == 0x7f }) >= 0:
		return errors.New("holds a control character")
	}
	return nil
}

// bounded refuses what escaping made too long, so that its own output is always accepted.
func bounded(s string) (string, error) {
	if len(s) > maxURL {
		return "", fmt.Errorf("%d bytes long once escaped, and %d is the most", len(s), maxURL)
	}
	return s, nil
}

// hostPath splits and normalises HOST[:PORT][/PATH]. scheme may be empty: then no port is the
// default one.
func hostPath(scheme, s string) (host, path string, err error) {
	if strings.Contains(s, `\`) {
		return "", "", errors.New(`holds a \, which clients read in different ways; write / or %5C`)
	}
	end := strings.IndexByte(s, '/')
	if end < 0 {
		end = len(s)
	}
	if host, err = authority(scheme, s[:end]); err != nil {
		return "", "", err
	}
	if path, err = cleanPath(s[end:]); err != nil {
		return "", "", err
	}
	return host, path, nil
}

func authority(scheme, s string) (string, error) {
	if strings.Contains(s, "@") {
		return "", errors.New("holds credentials or an @ before the host; no cache keys on them")
	}
	name, port := s, ""
	if i := strings.LastIndexByte(s, ':'); i >= 0 && i > strings.LastIndexByte(s, ']') {
		name, port = s[:i], s[i+1:]
	}
	host, err := hostName(name)
	if err != nil {
		return "", err
	}
	if strings.Contains(host, ":") {
		host = "[" + host + "]"
	}
	port, err = cleanPort(scheme, port)
	return host + port, err
}

// cleanPort returns ":PORT", or nothing for the scheme's own port.
func cleanPort(scheme, port string) (string, error) {
	if port == "" {
		return "", nil
	}
	n, err := strconv.ParseUint(port, 10, 16)
	if err != nil || n == 0 {
		return "", errors.New("the port is not a number from 1 to 65535")
	}
	if (scheme == "http" && n == 80) || (scheme == "https" && n == 443) {
		return "", nil
	}
	return ":" + strconv.FormatUint(n, 10), nil
}

// hostName normalises a DNS name or an IP address (an IPv6 one with or without brackets).
func hostName(s string) (string, error) {
	if strings.Contains(s, "*") {
		return "", errors.New(wildcard + "name each host")
	}
	if inner, ok := strings.CutPrefix(s, "["); ok {
		s, ok = strings.CutSuffix(inner, "]")
		if a, err := netip.ParseAddr(s); !ok || err != nil || !a.Is6() {
			return "", errors.New("not an IPv6 address between the brackets")
		}
	}
	if a, err := netip.ParseAddr(s); err == nil {
		if a.Zone() != "" {
			return "", errors.New("an address with a zone means nothing to a CDN")
		}
		return a.String(), nil
	}
	s = strings.ToLower(strings.TrimSuffix(s, "."))
	if s == "" {
		return "", errors.New("no host")
	}
	if len(s) > 253 {
		return "", errors.New("the host is longer than 253 characters (RFC 1035 §2.3.4)")
	}
	for label := range strings.SplitSeq(s, ".") {
		if err := checkLabel(label); err != nil {
			return "", err
		}
	}
	return s, nil
}

func checkLabel(label string) error {
	if label == "" || len(label) > 63 {
		return errors.New("a label of the host is empty or longer than 63 characters")
	}
	if label[0] == '-' || label[len(label)-1] == '-' {
		return errors.New("a label of the host begins or ends with a hyphen")
	}
	for _, r := range label {
		switch {
		case r > 0x7f:
			return errors.New("the host is not ASCII: write an international name in its xn-- form")
		case !strings.ContainsRune("abcdefghijklmnopqrstuvwxyz0123456789-_", r):
			return fmt.Errorf("%q has no place in a host name", r)
		}
	}
	return nil
}

// cleanPath percent-encodes a path and resolves its dot segments, also escaped ones (URL
// standard, "path state"; RFC 3986 §5.2.4). Left in, they would let an item climb out of the
// place in an API's path where a provider puts it.
func cleanPath(p string) (string, error) {
	for i := 0; i < len(p); i++ {
		if p[i] == '%' && (i+2 >= len(p) || !isHex(p[i+1]) || !isHex(p[i+2])) {
			return "", errors.New("a % in the path is not followed by two hex digits; write %25")
		}
	}
	p = escape(p, pathSafe+"%")
	segments := strings.Split(strings.TrimPrefix(p, "/"), "/")
	out := make([]string, 0, len(segments))
	for i, s := range segments {
		last := i == len(segments)-1
		switch strings.ReplaceAll(strings.ToLower(s), "%2e", ".") {
		case ".":
		case "..":
			out = out[:max(len(out)-1, 0)]
		default:
			out = append(out, s)
			continue
		}
		if last {
			out = append(out, "")
		}
	}
	return "/" + strings.Join(out, "/"), nil
}

func escape(s, safe string) string {
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		if c := s[i]; c < 0x80 && strings.IndexByte(safe, c) >= 0 {
			b.WriteByte(c)
		} else {
			b.Write([]byte{'%', upperHex[c>>4], upperHex[c&15]})
		}
	}
	return b.String()
}

func isHex(c byte) bool {
	return strings.IndexByte(lowerHex, c) >= 0 || strings.IndexByte(upperHex, c) >= 0
}

// show quotes an item for an error, cut, and without anything that may be a password.
func show(raw string) string {
	if strings.Contains(raw, "@") {
		return "(hidden, for it holds an @)"
	}
	if len(raw) > 100 {
		raw = strings.ToValidUTF8(raw[:100], "") + "…"
	}
	return strconv.Quote(raw)
}
