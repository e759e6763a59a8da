package probes

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strconv"
	"time"
)

// ProberConfig is what a NetProber needs. The zero value works.
type ProberConfig struct {
	Vantage string // stands in every sample
	// Resolver turns names into addresses; nil: the system's. Nothing is cached here: a probe
	// sees what a client would see.
	Resolver *net.Resolver
	// Known, when not nil, returns the addresses that clients are given for a name; they are
	// dialled without a look-up then, in that order. Empty: the name is looked up.
	Known func(host string) []netip.Addr
	// Now is the clock of sample times and certificate checks; nil: time.Now. Durations are
	// always measured on the monotonic clock.
	Now       func() time.Time
	UserAgent string // empty: "pointsman"
}

// NetProber probes over the network, each time on a new connection: no reuse, no redirects,
// no proxy, certificates always verified. It is safe for concurrent use and holds no state
// between probes. A lookup that the resolver was not done with when a probe ended is left to
// the resolver's own timeout; nothing else outlives a call.
type NetProber struct {
	vantage   string
	resolver  *net.Resolver
	known     func(host string) []netip.Addr
	now       func() time.Time
	userAgent string
}

var _ Prober = (*NetProber)(nil)

// NewProber returns a prober of HTTP and TCP targets.
func NewProber(c ProberConfig) *NetProber {
	p := &NetProber{c.Vantage, c.Resolver, c.Known, c.Now, c.UserAgent}
	if p.resolver == nil {
		p.resolver = net.DefaultResolver
	}
	if p.now == nil {
		p.now = time.Now
	}
	if p.userAgent == "" {
		p.userAgent = "pointsman"
	}
	return p
}

// Probe measures a target once. It ends with ctx or the target's timeout, whichever is
// first, and tells every failure in the sample. The target should have passed Check.
func (p *NetProber) Probe(ctx context.Context, t Target) Sample {
	return p.measure(ctx, t, func(ctx context.Context, m *measurement) *failure {
		switch t.kind() {
		case HTTP:
			return m.http(ctx, nil)
		case TCP:
			return m.tcp(ctx)
		default:
			return fail(FailedConnect, "%q is not a kind of probe", t.Kind)
		}
	})
}

// measurement is one probe under way. It belongs to one goroutine.
type measurement struct {
	prober   *NetProber
	target   Target
	sample   Sample
	timeout  time.Duration
	deadline time.Time // the timeout's end, or that of the caller's context if it is sooner
}

// measure runs a probe between two readings of the clock, under the target's timeout.
func (p *NetProber) measure(
	ctx context.Context, t Target, run func(context.Context, *measurement) *failure,
) Sample {
	ctx, cancel := context.WithTimeout(ctx, t.timeout())
	defer cancel()
	m := &measurement{prober: p, target: t, timeout: t.timeout()}
	m.deadline, _ = ctx.Deadline()
	m.sample = Sample{
		Backend: t.Backend, Vantage: p.vantage, Target: t.Name, Start: p.now().UTC(), Outcome: OK,
	}
	began := time.Now()
	f := run(ctx, m)
	m.sample.Phases.Total = time.Since(began)
	if f != nil {
		m.sample.Outcome, m.sample.Detail = f.outcome, f.detail
	}
	return m.sample
}

// connect resolves, dials and, when a server name is given, completes a TLS handshake. The
// caller closes the connection. Reads and writes on it end with the probe.
func (m *measurement) connect(
	ctx context.Context, address, serverName string,
) (net.Conn, func(), *failure) {
	addresses, f := m.resolve(ctx, address)
	if f != nil {
		return nil, nil, f
	}
	raw, f := m.dial(ctx, addresses)
	if f != nil {
		return nil, nil, f
	}
	_ = raw.SetDeadline(m.deadline)
	// A deadline in the past is what unblocks a read when ctx is cancelled.
	stop := context.AfterFunc(ctx, func() { _ = raw.SetDeadline(time.Unix(1, 0)) })
	end := func() { stop(); _ = raw.Close() }
	if serverName == "" {
		return raw, end, nil
	}
	secured, f := m.handshake(ctx, raw, serverName)
	if f != nil {
		end()
		return nil, nil, f
	}
	return secured, end, nil
}

// resolve returns the addresses behind host:port, in the order in which to try them.
func (m *measurement) resolve(
	ctx context.Context, address string,
) ([]netip.AddrPort, *failure) {
	host, service, err := net.SplitHostPort(address)
	if err != nil {
		return nil, fail(FailedConnect, "%q is not host:port", address)
	}
	port, err := strconv.ParseUint(service, 10, 16)
	if err != nil {
		return nil, fail(FailedConnect, "%q is not a port", service)
	}
	if ip, err := netip.ParseAddr(host); err == nil {
		return []netip.AddrPort{netip.AddrPortFrom(ip, uint16(port))}, nil
	}
	if m.prober.known != nil {
		if ips := m.prober.known(host); len(ips) > 0 {
			return withPort(ips, uint16(port)), nil
		}
	}
	began := time.Now()
	ips, err := m.prober.resolver.LookupNetIP(ctx, "ip", host)
	m.sample.Phases.DNS = time.Since(began)
	if err != nil {
		return nil, m.dnsFailure(host, err)
	}
	if len(ips) == 0 {
		return nil, fail(FailedDNS, "%s has no address", host)
	}
	return withPort(ips, uint16(port)), nil
}

func withPort(ips []netip.Addr, port uint16) []netip.AddrPort {
	out := make([]netip.AddrPort, len(ips))
	for i, ip := range ips {
		out[i] = netip.AddrPortFrom(ip.Unmap(), port)
	}
	return out
}

// dial tries the addresses in turn, giving each an equal part of the time that is left.
func (m *measurement) dial(
	ctx context.Context, addresses []netip.AddrPort,
) (net.Conn, *failure) {
	began := time.Now()
	defer func() { m.sample.Phases.Connect = time.Since(began) }()
	var last error
	for i, address := range addresses {
		m.sample.Remote = address
		part := time.Until(m.deadline) / time.Duration(len(addresses)-i)
		dialer := net.Dialer{KeepAlive: -1, Timeout: max(part, 1)}
		conn, err := dialer.DialContext(ctx, "tcp", address.String())
		if err == nil {
			return conn, nil
		}
		last = err
		if ctx.Err() != nil {
			break
		}
	}
	return nil, m.connectFailure(last)
}

// handshake completes TLS on raw and notes when the leaf certificate ends, also when the
// certificate is refused.
func (m *measurement) handshake(
	ctx context.Context, raw net.Conn, serverName string,
) (net.Conn, *failure) {
	conn := tls.Client(raw, &tls.Config{
		ServerName: serverName,
		RootCAs:    m.target.RootCAs,
		Time:       m.prober.now,
		MinVersion: tls.VersionTLS12,
		NextProtos: m.protocols(),
	})
	began := time.Now()
	err := conn.HandshakeContext(ctx)
	m.sample.Phases.TLS = time.Since(began)
	if err != nil {
		var refused *tls.CertificateVerificationError
		if errors.As(err, &refused) && len(refused.UnverifiedCertificates) > 0 {
			m.sample.CertExpires = refused.UnverifiedCertificates[0].NotAfter
		}
		return nil, m.tlsFailure(serverName, err)
	}
	if certs := conn.ConnectionState().PeerCertificates; len(certs) > 0 {
		m.sample.CertExpires = certs[0].NotAfter
	}
	return conn, nil
}

// protocols is what ALPN offers: HTTP/1.1 is all that http speaks, and another TCP service
// is offered nothing (RFC 7301 §3.2).
func (m *measurement) protocols() []string {
	if m.target.kind() == HTTP {
		return []string{"http/1.1"}
	}
	return nil
}

// tcp measures a TCP target.
func (m *measurement) tcp(ctx context.Context) *failure {
	_, end, f := m.connect(ctx, m.target.Address, m.target.ServerName)
	if f != nil {
		return f
	}
	end()
	return nil
}

// failure is why a probe failed, in one word and in a sentence.
type failure struct {
	outcome Outcome
	detail  string
}

func fail(o Outcome, format string, args ...any) *failure {
	return &failure{o, fmt.Sprintf(format, args...)}
}
