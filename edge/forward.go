package edge

import (
	"context"
	"net"
	"net/http"
	"net/textproto"
	"slices"
	"strings"
)

// hopByHop are the fields that end at this hop (RFC 9110 §7.6.1), besides those that Connection
// names.
var hopByHop = [...]string{
	"Connection", "Keep-Alive", "Proxy-Connection", "Proxy-Authenticate", "Proxy-Authorization",
	"Proxy-Authentication-Info", "Te", "Trailer", "Transfer-Encoding", "Upgrade",
}

// unkeyed are request fields that some origins obey and no cache key holds: passed on, they let
// one client choose what all others get.
var unkeyed = [...]string{
	"Forwarded", "X-Forwarded-Host", "X-Forwarded-Port", "X-Forwarded-Server",
	"X-Forwarded-Scheme", "X-Forwarded-Prefix", "X-Forwarded-Proto", "X-Host",
	"X-Forwarded-Protocol", "X-Forwarded-Ssl", "X-Url-Scheme", "Front-End-Https",
	"X-Original-Url", "X-Original-Host", "X-Rewrite-Url", "X-Http-Method",
	"X-Http-Method-Override", "X-Method-Override",
}

// stripUnkeyed deletes the unkeyed fields, also under the names that gateways (RFC 3875 §4.1.18)
// can't tell from theirs, as in X_Forwarded_Host.
func stripUnkeyed(h http.Header) {
	for _, name := range unkeyed {
		h.Del(name)
	}
	for name := range h {
		if !strings.Contains(name, "_") {
			continue
		}
		dashed := textproto.CanonicalMIMEHeaderKey(strings.ReplaceAll(name, "_", "-"))
		if slices.Contains(unkeyed[:], dashed) {
			delete(h, name)
		}
	}
}

// conditions are the request fields that ask for less than the whole response.
var conditions = [...]string{
	"If-Match", "If-None-Match", "If-Modified-Since", "If-Unmodified-Since", "If-Range", "Range",
}

// stripHops deletes the hop-by-hop fields.
func stripHops(h http.Header) {
	for _, line := range h["Connection"] {
		for name := range strings.SplitSeq(line, ",") {
			if name = textproto.TrimString(name); name != "" {
				h.Del(name)
			}
		}
	}
	for _, name := range hopByHop {
		h.Del(name)
	}
}

// appendMember adds a member to a list field.
func appendMember(h http.Header, name, member string) {
	if lines := h[name]; len(lines) > 0 {
		member = strings.Join(lines, ", ") + ", " + member
	}
	h[name] = []string{member}
}

// originRequest makes the request to the origin, without body. whole leaves out all that would
// make the answer less than the whole, current response.
func (s *Server) originRequest(ctx context.Context, x *exchange, whole bool) *http.Request {
	r := x.request
	u := *r.URL
	u.Scheme, u.Host, u.User, u.Fragment = x.site.origin.Scheme, x.site.origin.Host, nil, ""
	if u.Path == "" && r.Method != http.MethodOptions {
		u.Path = "/"
	}
	h := r.Header.Clone()
	stripHops(h)
	stripUnkeyed(h)
	if whole {
		for _, name := range conditions {
			h.Del(name)
		}
	}
	if ip, _, err := net.SplitHostPort(r.RemoteAddr); err == nil {
		appendMember(h, "X-Forwarded-For", ip)
	}
	h.Set("X-Forwarded-Proto", x.key.Scheme)
	h.Set("X-Forwarded-Host", x.key.Host)
	appendMember(h, "Via", via(r.ProtoMajor, r.ProtoMinor, s.config.Node))
	appendMember(h, "Cdn-Loop", s.config.Node)
	if _, ok := h["User-Agent"]; !ok {
		h["User-Agent"] = []string{""} // or net/http would put its own
	}
	out := &http.Request{
		Method: r.Method, URL: &u, Header: h, Host: x.site.originHost,
		Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1,
	}
	if out.Host == "" {
		out.Host = x.key.Host
	}
	return out.WithContext(ctx)
}

// via is this node's member of a Via field (RFC 9110 §7.6.3) for a message that came with a
// protocol version.
func via(major, minor int, node string) string {
	switch {
	case major >= 2:
		return string(rune('0'+major)) + " " + node
	case minor == 0:
		return "1.0 " + node
	}
	return "1.1 " + node
}

// looped says whether a request passed this node before (RFC 8586).
func (s *Server) looped(h http.Header) bool {
	for _, line := range h["Cdn-Loop"] {
		for member := range strings.SplitSeq(line, ",") {
			id, _, _ := strings.Cut(member, ";")
			if strings.EqualFold(textproto.TrimString(id), s.config.Node) {
				return true
			}
		}
	}
	return false
}

// cleanResponse makes a response's header ours: hop-by-hop fields go, Via comes.
func (s *Server) cleanResponse(p *http.Response) {
	stripHops(p.Header)
	appendMember(p.Header, "Via", via(p.ProtoMajor, p.ProtoMinor, s.config.Node))
}

// tagsOf reads an object's surrogate keys: Surrogate-Key separates them by spaces, Cache-Tag by
// commas. They are compared byte by byte.
func tagsOf(h http.Header) []string {
	var tags []string
	seen := map[string]bool{}
	add := func(tag string) {
		if tag != "" && !seen[tag] {
			seen[tag] = true
			tags = append(tags, tag)
		}
	}
	for _, line := range h["Surrogate-Key"] {
		for tag := range strings.FieldsSeq(line) {
			add(tag)
		}
	}
	for _, line := range h["Cache-Tag"] {
		for tag := range strings.SplitSeq(line, ",") {
			add(textproto.TrimString(tag))
		}
	}
	return tags
}
