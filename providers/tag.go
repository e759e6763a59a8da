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

// NormalizeTag checks a tag and returns it unchanged. A tag keeps its case and its characters:
// two providers tell upper from lower case, so changing it would purge nothing. TagWarnings
// says where it would not work.
func NormalizeTag(raw string) (string, error) {
	if err := checkTag(raw); err != nil {
		return "", fmt.Errorf("reading tag %s: %w", show(raw), err)
	}
	return raw, nil
}

func checkTag(raw string) error {
	if raw == "" {
		return errors.New("empty")
	}
	if len(raw) > maxTag {
		return fmt.Errorf("%d bytes long, and %d is the most", len(raw), maxTag)
	}
	for _, r := range raw {
		switch {
		case r == ' ' || r == '\t':
			return errors.New("white space separates tags; give each on its own")
		case r <= ' ' || r >= 0x7f:
			return fmt.Errorf("%q is not printable ASCII", r)
		}
	}
	return nil
}

// TagWarnings says, in sentences for people, with which providers a normalised tag would not
// work or not mean the same. None means that it works everywhere.
func TagWarnings(tag string) []string {
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
