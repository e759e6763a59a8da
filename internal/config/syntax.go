package config

import (
	"net"
	"net/netip"
	"net/url"
	"strconv"
	"strings"
)

// checkSyntax checks a value that is not empty against a named syntax of a struct tag, and
// returns it normalised.
func checkSyntax(syntax, raw string) (string, *complaint) {
	switch syntax {
	case "name":
		return raw, checkName(raw)
	case "hostname":
		return parseHostname(raw)
	case "mailbox":
		return parseMailbox(raw)
	case "ip":
		return parseIP(raw)
	case "hostport":
		return raw, checkHostPort(raw)
	case "listen":
		return raw, checkListen(raw)
	case "url":
		return raw, checkURL(raw)
	case "token":
		return raw, checkToken(raw)
	case "country":
		return parseCountry(raw)
	case "subdivision":
		return parseSubdivision(raw)
	case "region":
		return parseRegion(raw)
	case "asn":
		return parseASN(raw)
	case "latitude":
		return parseDegrees(raw, 90)
	case "longitude":
		return parseDegrees(raw, 180)
	case "distance":
		return parseDistance(raw)
	case "prefix":
		return parsePrefix(raw)
	case "network":
		return parseNetwork(raw)
	case "addrport":
		return raw, checkAddrPort(raw)
	case "file":
		return raw, nil
	case "dnstap":
		return raw, checkDnstap(raw)
	}
	return "", complain("has an unknown syntax %q in its struct tag", syntax)
}

func isAlnum(c byte) bool {
	return c >= '0' && c <= '9' || c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z'
}

// parseMailbox checks an SOA's mailbox, which is a name: the first dot stands for the @.
func parseMailbox(raw string) (string, *complaint) {
	if local, domain, ok := strings.Cut(raw, "@"); ok {
		c := complain("%s holds an @, for which an SOA has a dot", shown(raw))
		c.suggestion = strings.ReplaceAll(local, ".", `\.`) + "." + domain
		return "", c
	}
	if _, c := parseHostname(strings.ReplaceAll(raw, `\.`, "_")); c != nil {
		return "", c
	}
	return strings.ToLower(strings.TrimSuffix(raw, ".")), nil
}

// checkName keeps names usable in metric labels, store keys, paths and on command lines.
func checkName(raw string) *complaint {
	if len(raw) > 63 {
		return complain("%s is too long: at most 63 characters", shown(raw))
	}
	for i := range len(raw) {
		c := raw[i]
		if !isAlnum(c) && (i == 0 || !strings.ContainsRune("._-", rune(c))) {
			return complain("%s is not a name: letters, digits, and after the first "+
				"character also . _ -", shown(raw))
		}
	}
	return nil
}

// parseHostname checks a DNS name of letters, digits, hyphens and underscores (RFC 1035
// §2.3.1, RFC 2181 §11) and returns it in lower case without a final dot.
func parseHostname(raw string) (string, *complaint) {
	name := strings.ToLower(strings.TrimSuffix(raw, "."))
	if strings.Contains(raw, "://") {
		return "", complain("%s is a URL, and a host name alone is wanted", shown(raw))
	}
	if _, err := netip.ParseAddr(raw); err == nil {
		return "", complain("%s is an address, and a host name is wanted", shown(raw))
	}
	if host, port, ok := strings.Cut(name, ":"); ok && isPort(port, 0) {
		return "", complain("%s holds a port: say %s alone", shown(raw), shown(host))
	}
	if len(name) > 253 {
		return "", complain("%s is too long for a host name: at most 253 characters",
			shown(raw))
	}
	for label := range strings.SplitSeq(name, ".") {
		if c := checkLabel(raw, label); c != nil {
			return "", c
		}
	}
	return name, nil
}

func checkLabel(raw, label string) *complaint {
	switch {
	case label == "":
		return complain("%s is not a host name: a label is empty", shown(raw))
	case len(label) > 63:
		return complain("%s is not a host name: a label has more than 63 characters",
			shown(raw))
	case label[0] == '-' || label[len(label)-1] == '-':
		return complain("%s is not a host name: a label begins or ends with a hyphen",
			shown(raw))
	}
	for i := range len(label) {
		if c := label[i]; c >= 0x80 {
			return complain("%s is not ASCII: write it in its xn-- form", shown(raw))
		} else if !isAlnum(c) && c != '-' && c != '_' {
			return complain("%s is not a host name: %q may not stand in one", shown(raw), c)
		}
	}
	return nil
}

// parseIP checks an address that may be answered to clients, and renders it canonically
// (RFC 5952).
func parseIP(raw string) (string, *complaint) {
	addr, err := netip.ParseAddr(raw)
	switch {
	case err != nil && strings.Contains(raw, "/"):
		return "", complain("%s is a prefix, and one address is wanted", shown(raw))
	case err != nil:
		if _, _, portErr := net.SplitHostPort(raw); portErr == nil {
			return "", complain("%s holds a port: DNS answers carry none", shown(raw))
		}
		return "", complain("%s is not an IPv4 or IPv6 address", shown(raw))
	case addr.Zone() != "":
		return "", complain("%s has a zone, which means nothing to others", shown(raw))
	case addr.Is4In6():
		return "", complain("%s is IPv4 in IPv6: say %s", shown(raw), addr.Unmap())
	case addr.IsUnspecified() || addr.IsMulticast():
		return "", complain("%s is not the address of a server", shown(raw))
	}
	return addr.String(), nil
}

// checkDnstap checks where dnstap goes. A path that is relative would start at whatever folder
// the process was started in.
func checkDnstap(raw string) *complaint {
	kind, at, _ := strings.Cut(raw, ":")
	switch {
	case kind == "tcp":
		return checkHostPort(at)
	case kind != "unix" && kind != "file":
		return complain("%s is not unix:/path, tcp:host:port or file:/path", shown(raw))
	case !strings.HasPrefix(at, "/"):
		return complain("%s does not name an absolute path", shown(raw))
	}
	return nil
}

func isPort(s string, least int) bool {
	n, err := strconv.Atoi(s)
	return err == nil && strconv.Itoa(n) == s && n >= least && n <= 65535
}

// checkHostPort checks what we connect to.
func checkHostPort(raw string) *complaint {
	host, port, err := net.SplitHostPort(raw)
	if err != nil {
		return complain("%s is not host:port, as in 192.0.2.10:443 or [2001:db8::1]:443",
			shown(raw))
	}
	if !isPort(port, 1) {
		return complain("%s has no port from 1 to 65535", shown(raw))
	}
	return checkHost(host)
}

// checkHost checks the host of a URL or of host:port: an address or a name.
func checkHost(host string) *complaint {
	if _, err := netip.ParseAddr(host); err == nil {
		return nil
	}
	if host == "" {
		return complain("has no host")
	}
	_, c := parseHostname(host)
	return c
}

// checkListen checks what we listen on. A name other than localhost would make the socket
// depend on a resolver, which may well be ourselves.
func checkListen(raw string) *complaint {
	host, port, err := net.SplitHostPort(raw)
	if err != nil {
		return complain("%s is not address:port, as in 127.0.0.1:5300 or [::]:53", shown(raw))
	}
	if !isPort(port, 0) {
		return complain("%s has no port from 0 to 65535", shown(raw))
	}
	if host == "" || host == "localhost" {
		return nil
	}
	if _, err := netip.ParseAddr(host); err != nil {
		return complain("%s does not begin with an IP address", shown(raw))
	}
	return nil
}

func checkURL(raw string) *complaint {
	u, err := url.Parse(raw)
	if err == nil && u.User != nil || strings.Contains(raw, "@") && err != nil {
		return complain("holds a user name or password: secrets come by *_file or *_env")
	}
	switch {
	case err != nil:
		return complain("%s is not a URL", shown(raw))
	case u.Scheme != "http" && u.Scheme != "https":
		return complain("%s is not a URL that begins with http:// or https://", shown(raw))
	case u.Host == "":
		return complain("%s has no host", shown(raw))
	case u.Fragment != "":
		return complain("%s has a fragment, which is never sent", shown(raw))
	case u.Port() != "" && !isPort(u.Port(), 1):
		return complain("%s has no port from 1 to 65535", shown(raw))
	}
	return checkHost(u.Hostname())
}

// checkToken checks a field name (RFC 9110 §5.6.2).
func checkToken(raw string) *complaint {
	for i := range len(raw) {
		if !isAlnum(raw[i]) && !strings.ContainsRune("!#$%&'*+-.^_`|~", rune(raw[i])) {
			return complain("%s is not a header name", shown(raw))
		}
	}
	return nil
}
