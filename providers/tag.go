package providers

import (
	"errors"
	"fmt"
	"strings"
)

// The limits of tags, in bytes: maxTag is Cloudflare's, the longest that any provider takes;
// portableTag fits them all.
const (
	maxTag      = 1024
	portableTag = 120
)

// NormalizeTag checks a tag and says where it would not work. A tag keeps its case and its
// characters: two providers tell upper from lower case, so changing it would purge nothing.
// The warnings are sentences for people; none means that the tag works with every provider.
func NormalizeTag(raw string) (tag string, warnings []string, err error) {
	if raw == "" {
		return "", nil, errors.New("reading tag: empty")
	}
	if len(raw) > maxTag {
		return "", nil, fmt.Errorf("reading tag %s: %d bytes long, and %d is the most",
			show(raw), len(raw), maxTag)
	}
	for _, r := range raw {
		switch {
		case r == ' ' || r == '\t':
			return "", nil, fmt.Errorf("reading tag %s: white space separates tags; give each on its own",
				show(raw))
		case r <= ' ' || r >= 0x7f:
			return "", nil, fmt.Errorf("reading tag %s: %q is not printable ASCII", show(raw), r)
		}
	}
	return raw, tagWarnings(raw), nil
}

func tagWarnings(tag string) []string {
	var out []string
	if len(tag) > portableTag {
		out = append(out, fmt.Sprintf("%d bytes long: Akamai takes 128, Google about 120", len(tag)))
	}
	if strings.ToLower(tag) != tag {
		out = append(out, "upper case: Cloudflare and CloudFront ignore case, Fastly and Akamai do not")
	}
	if strings.Contains(tag, ",") {
		out = append(out, "a comma: Cloudflare, Akamai and CloudFront separate tags by it, "+
			"so this one never matches there")
	}
	odd := strings.Map(func(r rune) rune {
		if strings.ContainsRune("abcdefghijklmnopqrstuvwxyz0123456789._~+-/,", r) {
			return -1
		}
		return r
	}, strings.ToLower(tag))
	if odd != "" {
		out = append(out, odd+" outside a-z 0-9 . _ ~ + - /, which is what every provider takes "+
			"(Akamai refuses : * @ =)")
	}
	return out
}
