package probes

import (
	"crypto/x509"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Kind is a way to probe. The empty Kind means HTTP.
type Kind string

// The kinds.
const (
	HTTP Kind = "http" // one HTTP/1.1 request over a new connection, with TLS for https
	TCP  Kind = "tcp"  // a connection, and a TLS handshake when ServerName is set
)

// Defaults and bounds of a Target's numbers.
const (
	DefaultInterval = time.Second
	DefaultTimeout  = 2 * time.Second
	DefaultMaxBody  = 256 << 10

	minInterval = 10 * time.Millisecond
	maxInterval = time.Hour
	minTimeout  = 10 * time.Millisecond
	maxTimeout  = time.Minute
)

// Target is one thing to measure. A backend may have several, told apart by Name. Treat a
// Target as read-only once it was handed over: its maps and slices are not copied.
type Target struct {
	Name    string // unique among the targets of a Scheduler
	Backend string // whose health the samples speak for
	Kind    Kind   // empty: HTTP
	// URL is asked by an HTTP target: http or https, with a host. A TCP target has none.
	URL string
	// Address is the host:port to dial; empty: the URL's. A TCP target must have one.
	Address string
	// Host is the Host header; empty: the URL's host.
	Host string
	// ServerName is the SNI and the name the certificate must hold; empty: Host without its
	// port, then the URL's host. On a TCP target, setting it asks for a TLS handshake.
	ServerName string
	// Method is GET (also when empty), HEAD or OPTIONS: a probe must be safe to repeat
	// (RFC 9110 §9.2.1).
	Method  string
	Headers map[string]string // sent with the request; not Host
	// Interval is the time between two probes, 10 ms to 1 h; 0: DefaultInterval.
	Interval time.Duration
	// Timeout ends the whole probe, name resolution included, 10 ms to 1 min; 0:
	// DefaultTimeout.
	Timeout time.Duration
	Expect  Expect
	// RootCAs are the authorities to trust; nil: the system's.
	RootCAs *x509.CertPool
	// MaxBody is how many bytes of a body are read; what follows is neither read nor judged.
	// 0: DefaultMaxBody.
	MaxBody int64
}

// Expect is what an HTTP answer must be to count as a success.
type Expect struct {
	Status []int  // accepted statuses; empty: 200 to 299
	Body   string // must occur in the first MaxBody bytes; empty: any body
	// Headers by name: one value of that header must contain the text; "" asks only that the
	// header is present.
	Headers map[string]string
}

// Mistake is something wrong in a Target. Path names the field as the config does
// ("expect.status").
type Mistake struct {
	Path, Message string
}

// Check returns every mistake in the target, or nil.
func (t Target) Check() []Mistake {
	var c checker
	c.check(t.Name != "", "name", "is missing")
	c.check(t.Backend != "", "backend", "is missing")
	switch t.kind() {
	case HTTP:
		c.http(t)
	case TCP:
		c.check(t.Address != "", "address", "is missing: a tcp probe dials host:port")
		c.check(t.URL == "", "url", "has no use in a tcp probe; set address")
	default:
		c.check(false, "kind", fmt.Sprintf("%q is not a kind of probe; use http or tcp", t.Kind))
	}
	if t.Address != "" {
		c.address(t.Address)
	}
	c.span("interval", t.Interval, minInterval, maxInterval)
	c.span("timeout", t.Timeout, minTimeout, maxTimeout)
	c.check(t.MaxBody >= 0, "max_body", "must not be negative")
	return c.mistakes
}

// checker collects mistakes.
type checker struct{ mistakes []Mistake }

func (c *checker) check(ok bool, path, message string) {
	if !ok {
		c.mistakes = append(c.mistakes, Mistake{path, message})
	}
}

func (c *checker) span(path string, d, low, high time.Duration) {
	c.check(d == 0 || d >= low && d <= high, path,
		fmt.Sprintf("%v is not between %v and %v", d, low, high))
}

func (c *checker) http(t Target) {
	u, err := url.Parse(t.URL)
	switch {
	case t.URL == "":
		c.check(false, "url", "is missing")
	case err != nil:
		c.check(false, "url", fmt.Sprintf("%q is not a URL", t.URL))
	default:
		c.check(u.Scheme == "http" || u.Scheme == "https", "url",
			fmt.Sprintf("has scheme %q; use http or https", u.Scheme))
		c.check(u.Hostname() != "", "url", "has no host")
		c.check(u.User == nil, "url", "must not carry a user or password")
		c.check(u.Port() == "" || validPort(u.Port()), "url",
			fmt.Sprintf("has port %q; use 1 to 65535", u.Port()))
	}
	c.check(t.Host == "" || validHost(t.Host), "host",
		fmt.Sprintf("%q is not a host name", t.Host))
	methods := []string{"", http.MethodGet, http.MethodHead, http.MethodOptions}
	c.check(slices.Contains(methods, t.Method), "method",
		fmt.Sprintf("%q is not one of GET, HEAD, OPTIONS", t.Method))
	for _, name := range sortedKeys(t.Headers) {
		c.header("headers."+name, name, t.Headers[name])
		c.check(!strings.EqualFold(name, "Host"), "headers."+name, "set host instead")
	}
	for i, status := range t.Expect.Status {
		c.check(status >= 200 && status <= 599, fmt.Sprintf("expect.status[%d]", i),
			fmt.Sprintf("%d is not a final HTTP status (200 to 599)", status))
	}
	c.check(t.Expect.Body == "" || t.Method != http.MethodHead, "expect.body",
		"cannot be met: the answer to HEAD has no body")
	c.check(int64(len(t.Expect.Body)) <= t.maxBody(), "expect.body",
		fmt.Sprintf("is longer than the %d bytes that are read", t.maxBody()))
	for _, name := range sortedKeys(t.Expect.Headers) {
		c.header("expect.headers."+name, name, t.Expect.Headers[name])
	}
}

func (c *checker) address(address string) {
	host, port, err := net.SplitHostPort(address)
	c.check(err == nil && host != "" && validPort(port), "address",
		fmt.Sprintf("%q is not host:port", address))
}

func (c *checker) header(path, name, value string) {
	c.check(validToken(name), path, "is not a header name")
	c.check(!strings.ContainsAny(value, "\r\n\x00"), path, "has a line break in its value")
}

func validPort(port string) bool {
	n, err := strconv.ParseUint(port, 10, 16)
	return err == nil && n > 0
}

// validHost refuses what could break out of a Host header or a certificate name.
func validHost(host string) bool {
	return !strings.ContainsFunc(host, func(r rune) bool {
		return r <= ' ' || r >= 0x7f || strings.ContainsRune(`/\?#@"<>`, r)
	})
}

// validToken reports whether s is a token (RFC 9110 §5.6.2).
func validToken(s string) bool {
	return s != "" && !strings.ContainsFunc(s, func(r rune) bool {
		return r <= ' ' || r >= 0x7f || strings.ContainsRune(`"(),/:;<=>?@[\]{}`, r)
	})
}

func sortedKeys(m map[string]string) []string {
	keys := make([]string, 0, len(m))
	for k := range m {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	return keys
}

func (t Target) kind() Kind {
	if t.Kind == "" {
		return HTTP
	}
	return t.Kind
}

func (t Target) method() string {
	if t.Method == "" {
		return http.MethodGet
	}
	return t.Method
}

func (t Target) interval() time.Duration {
	if t.Interval <= 0 {
		return DefaultInterval
	}
	return t.Interval
}

func (t Target) timeout() time.Duration {
	if t.Timeout <= 0 {
		return DefaultTimeout
	}
	return t.Timeout
}

func (t Target) maxBody() int64 {
	if t.MaxBody <= 0 {
		return DefaultMaxBody
	}
	return t.MaxBody
}

// equal reports whether two targets ask for the same measurement.
func (t Target) equal(o Target) bool {
	if !t.RootCAs.Equal(o.RootCAs) {
		return false
	}
	t.RootCAs, o.RootCAs = nil, nil
	return reflect.DeepEqual(t, o)
}
