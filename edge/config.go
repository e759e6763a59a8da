package edge

import (
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// DefaultHealth is the path that a site answers by itself unless Site.Health says otherwise.
const DefaultHealth = "/.well-known/pointsman/health"

// Config is what a Server is made of.
type Config struct {
	// Listen are TCP addresses, "host:port"; port 0 takes a free one. None: only Handler.
	Listen []string
	// Memory is the most bytes of cached objects, bookkeeping included; 0: 256 MiB, negative:
	// nothing is cached. Answers on their way are not counted here but in InFlight.
	Memory int64
	// MaxObject is the largest body cached, in bytes; 0: an eighth of Memory, at most 64 MiB.
	MaxObject int64
	// InFlight is the most bytes kept of all bodies together that are on their way from
	// origins, to be stored or to be shared by those who wait; 0 or less: an eighth of Memory,
	// at least twice MaxObject and 1 MiB. While it is used up, further answers go straight
	// through to the client that asked (`detail="no buffer left"` in Cache-Status) and are not
	// stored; who waited for one of them fetches for itself. A body that proves too long on
	// its way goes on in what it has, no faster than its slowest reader. Not counted: about 32
	// KiB a fetch, and old buffers and stored objects that a client is still being sent.
	InFlight int64
	Sites    []Site
	// Node names this node in Cache-Status, Via and CDN-Loop. It must be unique among caches
	// that forward to each other, as a request that passed it already is refused as a loop.
	// Letters, digits and "-._:" only; empty: "pointsman".
	Node string
	// Logger gets state changes; nil discards them.
	Logger *slog.Logger
	// Registerer gets the metrics; nil: none are registered.
	Registerer prometheus.Registerer
	// Now is the clock; nil: time.Now.
	Now func() time.Time
	// Transport fetches from origins; nil: one of the server's own, without a proxy.
	Transport http.RoundTripper
	// ExposeTags passes Surrogate-Key and Cache-Tag on to clients: for an edge that serves as
	// the origin of another cache.
	ExposeTags bool

	// ReadHeaderTimeout bounds a request's head, default 10 s; IdleTimeout an idle connection,
	// default 60 s; WriteTimeout a client that takes no byte of its answer or sends none of its
	// request's body, default 30 s; FetchTimeout an origin that sends no byte, default 30 s;
	// ShutdownTimeout the requests under way when Run is told to stop, default 10 s.
	ReadHeaderTimeout, IdleTimeout, WriteTimeout, FetchTimeout, ShutdownTimeout time.Duration
}

// Site says where the content of some hosts comes from.
type Site struct {
	// Hosts are the names that the site answers to, without port; at least one, each on one
	// site only. The first names the site in metrics and Stats.
	Hosts []string
	// Origin is scheme://host[:port] of the customer's own server.
	Origin string
	// OriginHost is the Host that the origin is sent; empty: the client's, without its port.
	OriginHost string
	// StaleIfError and StaleWhileRevalidate hold where a response has no such directive (RFC
	// 5861) and forbids nothing. StaleIfError 0: errors of the origin are passed on, but for up
	// to an hour after expiry an object is served when the origin gives no answer at all;
	// negative: not even then. StaleWhileRevalidate 0: none.
	StaleIfError, StaleWhileRevalidate time.Duration
	// DefaultTTL is the lifetime of cacheable answers that say nothing about theirs; 0: none.
	DefaultTTL time.Duration
	// Health is the path that the edge answers itself with 200 "ok" while it runs and 503 while
	// it stops; empty: DefaultHealth.
	Health string
}

// staleIfUnreachable is the default of the bounded use of stale objects without any answer.
const staleIfUnreachable = time.Hour

// withDefaults fills in what the caller left out.
func (c Config) withDefaults() Config {
	orDuration := func(d *time.Duration, def time.Duration) {
		if *d <= 0 {
			*d = def
		}
	}
	orDuration(&c.ReadHeaderTimeout, 10*time.Second)
	orDuration(&c.IdleTimeout, time.Minute)
	orDuration(&c.WriteTimeout, 30*time.Second)
	orDuration(&c.FetchTimeout, 30*time.Second)
	orDuration(&c.ShutdownTimeout, 10*time.Second)
	if c.Memory == 0 {
		c.Memory = 256 << 20
	}
	if c.MaxObject <= 0 {
		c.MaxObject = min(max(c.Memory, 0)/8, 64<<20)
	}
	if c.InFlight <= 0 {
		c.InFlight = max(c.Memory/8, 2*c.MaxObject, 1<<20)
	}
	if c.Node == "" {
		c.Node = "pointsman"
	}
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	if c.Transport == nil {
		c.Transport = newTransport(c.FetchTimeout)
	}
	return c
}

// newTransport makes the client for origins.
func newTransport(timeout time.Duration) *http.Transport {
	return &http.Transport{
		DialContext:           (&net.Dialer{Timeout: min(timeout, 5*time.Second)}).DialContext,
		TLSHandshakeTimeout:   min(timeout, 5*time.Second),
		ResponseHeaderTimeout: timeout,
		ExpectContinueTimeout: time.Second,
		MaxIdleConnsPerHost:   64,
		// Below the keep-alive of common origins (Node: 5 s), or requests that may not be
		// repeated meet connections that are just being closed.
		IdleConnTimeout:        4 * time.Second,
		MaxResponseHeaderBytes: 256 << 10,
		DisableCompression:     true,
	}
}

// site is a Site made ready.
type site struct {
	name       string
	origin     *url.URL
	originHost string
	health     string
	policy     policy
}

// newSites checks sites and indexes them by host. All mistakes are reported, joined.
func newSites(sites []Site) (map[string]*site, error) {
	byHost := map[string]*site{}
	var errs []error
	for i, in := range sites {
		s, err := newSite(in)
		if err != nil {
			errs = append(errs, fmt.Errorf("reading site %d: %w", i, err))
			continue
		}
		for _, host := range in.Hosts {
			h := strings.ToLower(strings.TrimSuffix(host, "."))
			if err := checkHost(h); err != nil {
				errs = append(errs, fmt.Errorf("reading site %q: %w", s.name, err))
			} else if other := byHost[h]; other != nil {
				errs = append(errs, fmt.Errorf("reading site %q: host %q belongs to site %q",
					s.name, host, other.name))
			}
			byHost[h] = s
		}
	}
	if err := errors.Join(errs...); err != nil {
		return nil, err
	}
	return byHost, nil
}

func newSite(in Site) (*site, error) {
	if len(in.Hosts) == 0 {
		return nil, errors.New("a site needs a host")
	}
	u, err := url.Parse(in.Origin)
	if err != nil {
		return nil, fmt.Errorf("parsing origin: %w", err)
	}
	switch {
	case u.Scheme != "http" && u.Scheme != "https" || u.Host == "":
		return nil, fmt.Errorf("origin %q must be http://host or https://host", in.Origin)
	case u.User != nil, u.RawQuery != "", u.Fragment != "", strings.Trim(u.Path, "/") != "":
		return nil, fmt.Errorf("origin %q must be scheme, host and port alone", u.Redacted())
	}
	s := &site{
		name:       strings.ToLower(in.Hosts[0]),
		origin:     u,
		originHost: in.OriginHost,
		health:     in.Health,
	}
	if s.health == "" {
		s.health = DefaultHealth
	}
	if !strings.HasPrefix(s.health, "/") {
		return nil, fmt.Errorf("health path %q must begin with /", in.Health)
	}
	s.policy.DefaultTTL = max(0, in.DefaultTTL)
	s.policy.StaleWhileRevalidate = max(0, in.StaleWhileRevalidate)
	s.policy.StaleIfError = max(0, in.StaleIfError)
	if in.StaleIfError == 0 {
		s.policy.StaleIfUnreachable = staleIfUnreachable
	}
	return s, nil
}

// checkHost refuses what cannot be the host of a request.
func checkHost(h string) error {
	if strings.Contains(h, ":") && net.ParseIP(h) == nil {
		return fmt.Errorf("host %q must have no port", h)
	}
	if h == "" || strings.ContainsAny(h, "/*@?# []") {
		return fmt.Errorf("host %q is not a host name", h)
	}
	return nil
}

// checkNode refuses names that could not stand in the fields that carry them.
func checkNode(name string) error {
	for _, r := range name {
		ok := r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' ||
			strings.ContainsRune("-._:", r)
		if !ok {
			return fmt.Errorf("node name %q may have letters, digits and -._: only", name)
		}
	}
	return nil
}
