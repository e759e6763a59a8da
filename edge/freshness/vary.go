package freshness

import (
	"net/http"
	"net/textproto"
	"slices"
	"strings"
)

// VaryNames gives the request fields that a response was selected by, in canonical form,
// sorted, each once. any is true for "*", which no later request matches (RFC 9111 §4.1).
func VaryNames(h http.Header) (names []string, any bool) {
	for _, line := range h["Vary"] {
		for name := range strings.SplitSeq(line, ",") {
			name = trimOWS(name)
			if name == "*" {
				return nil, true
			}
			if name != "" {
				names = append(names, textproto.CanonicalMIMEHeaderKey(name))
			}
		}
	}
	slices.Sort(names)
	return slices.Compact(names), false
}

// VaryKey is the secondary key: equal keys mean that two requests have the same values in the
// named fields. Lines are combined and white space round commas is dropped, as RFC 9111 §4.1
// allows. In the negotiation fields (Accept and its kin), where order and case carry no
// meaning, the members are also sorted and lower-cased. An absent field differs from an empty.
func VaryKey(names []string, h http.Header) string {
	if len(names) == 0 {
		return ""
	}
	var b strings.Builder
	for _, name := range names {
		b.WriteString(name)
		lines, ok := h[name]
		if !ok {
			b.WriteString("\x00")
			continue
		}
		b.WriteByte(':')
		writeNormal(&b, name, lines)
		b.WriteByte('\n') // cannot occur in a field value
	}
	return b.String()
}

// writeNormal appends a field's combined, normalised value.
func writeNormal(b *strings.Builder, name string, lines []string) {
	var members []string
	for _, line := range lines {
		for member := range strings.SplitSeq(line, ",") {
			if member = trimOWS(member); member != "" {
				members = append(members, member)
			}
		}
	}
	switch name {
	case "Accept", "Accept-Encoding", "Accept-Language", "Accept-Charset":
		for i, m := range members {
			members[i] = strings.ToLower(strings.ReplaceAll(m, " ", ""))
		}
		slices.Sort(members)
	}
	for i, m := range members {
		if i > 0 {
			b.WriteByte(',')
		}
		b.WriteString(m)
	}
}
