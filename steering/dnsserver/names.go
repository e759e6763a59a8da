package dnsserver

import (
	"errors"
	"fmt"
	"strings"

	"github.com/miekg/dns"
)

// notSingle refuses a name of one label: nearly always a relative one, which in data would
// silently mean a top-level domain.
func (p *parser) notSingle(name string) error {
	if dns.CountLabel(name) != 1 {
		return nil
	}
	return fmt.Errorf("names in data are absolute: write %s%s for %s", name,
		strings.TrimSuffix(p.z.name, "."), strings.TrimSuffix(name, "."))
}

// target reads the name of another host.
func (p *parser) target(s string) (string, error) {
	if s == "@" {
		return p.z.name, nil
	}
	name, err := canonical(s)
	if err != nil {
		return "", err
	}
	if name == "." {
		return "", errors.New("the root is no host")
	}
	return name, p.notSingle(name)
}

// canonical checks a name and brings it into canonical form: lower case, with the final dot,
// escapes only where they are needed.
func canonical(s string) (string, error) {
	if s == "" {
		return "", errors.New("missing")
	}
	if strings.ContainsAny(s, " \t\r\n\"();@$") {
		return "", fmt.Errorf("%q is not a domain name", s)
	}
	return normal(s)
}

// normal brings a name into canonical form.
func normal(s string) (string, error) {
	buf := make([]byte, 256)
	n, err := dns.PackDomainName(dns.Fqdn(s), buf, 0, nil, false)
	if err != nil || n > 255 {
		return "", fmt.Errorf("%q is not a domain name", s)
	}
	name, _, err := dns.UnpackDomainName(buf[:n], 0)
	if err != nil {
		return "", fmt.Errorf("%q is not a domain name", s)
	}
	return dns.CanonicalName(name), nil
}

// parent returns a canonical name without its first label; the root's parent is the root.
func parent(name string) string {
	off, end := dns.NextLabel(name, 0)
	if end {
		return "."
	}
	return name[off:]
}

// under reports whether a canonical name is the zone's apex or below it.
func under(name, apex string) bool { return dns.IsSubDomain(apex, name) }
