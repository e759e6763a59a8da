// Package dnsserver serves zones authoritatively: static records from the config, and steered
// names from the current steering table.
//
// Packets and tables flow in, answers and counts flow out. What to answer is decided by pure
// functions (parseQuery, answer, pack) on an immutable state that is swapped by one atomic
// pointer; sockets and time are outside of them. The sockets are our own, not those of
// miekg/dns, which supplies messages, records and their wire form: so the library's silent
// limits (queries for each connection, accepted headers, buffer sizes, shared ports) don't
// exist here. Server.Run owns every goroutine.
package dnsserver

import (
	"cmp"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/sync/errgroup"
	"golang.org/x/time/rate"

	"pointsman/steering"
	"pointsman/steering/cookie"
	"pointsman/steering/dnssec"
	"pointsman/steering/tap"
)

// Defaults of Config.
const (
	defaultUDPSize = maxUDPSize
	defaultTCPIdle = 10 * time.Second
	defaultMaxTCP  = 1000
	defaultClient  = 100 // TCP connections of one client prefix
)

// Limits of Config.
const (
	maxUDPSize  = 1232 // RFC 9715 §3.1: fits any path without fragments
	maxWorkers  = 1024
	maxCoalesce = time.Millisecond
)

// drainTime is how long packets that have already come are still answered when a server stops.
const drainTime = 50 * time.Millisecond

// Config is what a Server needs.
type Config struct {
	// Listen holds addresses such as "192.0.2.1:53", "[2001:db8::1]:53" or ":53" (all of both
	// families). Each is bound for UDP and TCP. Port 0 chooses a free one, the same for both.
	Listen []string
	// Zones are served from the start.
	Zones []*Zone
	// Table returns the current table, called for each read of packets: it must only load a pointer. A
	// nil function steers nothing; while it returns nil, names that the zones don't have are
	// answered with SERVFAIL instead of being denied.
	Table func() *steering.Table
	// Draws is needed with Table.
	Draws Drawer
	// Weighs says of which steered hosts the users behind each resolver are estimated, for
	// Server.Loads; nil: of none. It is asked once for each question and table, and must be fast
	// and safe for concurrent use.
	Weighs func(host string) bool
	// Now is the time that draws are made at; nil: time.Now, once for packets read together.
	Now func() time.Time
	// Logger gets state changes and faults, never queries; nil: nothing is logged.
	Logger *slog.Logger
	// Registerer gets the metrics; nil: they are not registered.
	Registerer prometheus.Registerer
	// UDPSize bounds answers over UDP, in bytes from 512 to 1232; 0: 1232.
	UDPSize uint16
	// TCPIdle closes a connection on which no whole query comes, or no answer is taken, for so
	// long; 0: 10 s.
	TCPIdle time.Duration
	// MaxTCP bounds the open connections; the longest idle one makes room. 0: 1000.
	MaxTCP int
	// TCPPerClient bounds those of one client prefix; a further one is closed at once. 0: 100.
	TCPPerClient int
	// RateLimit limits responses over UDP; nil: nothing does. See Server.SetRateLimit.
	RateLimit *RateLimit
	// Buckets is how many clients and classes each UDP worker remembers for that, in 8 octets
	// each, up to 2^24; 0: 65,536.
	Buckets int
	// TLSListen holds addresses for DNS over TLS, which count as TCP. They need TLS, the config of
	// which Server.SetTLS replaces.
	TLSListen []string
	TLS       *tls.Config
	// UDPWorkers is how many goroutines answer over UDP on each address, on Linux each with a
	// socket of its own; 0: GOMAXPROCS.
	UDPWorkers int
	// Coalesce lets a UDP worker that gets many packets, but few at a time, sleep for so long
	// before it reads on, so that it wakes once for several of them. That is what the latency of
	// answers grows by at most; 0: it always reads at once. At most 1 ms; only Linux does it.
	Coalesce time.Duration
	// Cookies makes and checks DNS cookies (RFC 7873); nil: a COOKIE option is ignored. See
	// Server.SetCookies.
	Cookies *cookie.Jar
	// Amplification bounds answers over UDP to clients whose address is not proven.
	Amplification Amplification
	// NSID identifies this server to those that ask (RFC 5001, and id.server in class CH), up to
	// 64 octets; empty: nobody is told.
	NSID string
	// Version answers version.bind in class CH, up to 255 octets; empty: that is refused.
	Version string
	// ReportAgent is the name to which resolvers report what is wrong with answers (RFC 9567);
	// empty: none is named.
	ReportAgent string
	// Tap gets a sample of what is answered; nil: nothing is written down. Run runs it.
	Tap *tap.Tap
}

// Served is how many answers of a host named a backend, or denied a type of it that the backend
// doesn't have, since the server was made.
type Served struct {
	Host    string
	Backend string
	Count   uint64
}

// Server answers DNS queries over UDP and TCP. Its methods are safe for concurrent use.
type Server struct {
	cfg     Config
	log     *slog.Logger
	metrics *metrics
	faults  rate.Sometimes // bounds how often faults are logged
	sockets []*socket
	secure  []*net.TCPListener // for TLS
	tls     atomic.Pointer[tls.Config]
	conns   connections
	// limiters are for one UDP goroutine each.
	limiters []*limiter
	nappers  *nappers
	weigher  *weigher // nil: no host asks for it
	ran      atomic.Bool
	terms    terms
	jar      atomic.Pointer[cookie.Jar] // nil: no cookies
	peers    exchanger

	current   atomic.Pointer[published]
	reloading atomic.Bool // current stays as it is, whatever the table
	mu        sync.Mutex  // guards the stores of current and reloading

	// outgrew tells Run that a table needs signatures; awaited is that table.
	outgrew chan struct{}
	awaited atomic.Pointer[steering.Table]
	// signing comes before mu. It guards zones, those to be served.
	signing     sync.Mutex
	zones       []*Zone
	withholding map[string]time.Time // when that was last logged, by zone; guarded by signing
	// unsigned is true while the zones could not be signed and others are served instead.
	unsigned atomic.Bool
}

// published is a state together with what it was made from.
type published struct {
	*state
	table *steering.Table
	zones []*Zone
}

// New binds every address. It starts nothing: Run does, and Close releases the addresses if
// Run is never called.
func New(cfg Config) (*Server, error) {
	if err := cfg.complete(); err != nil {
		return nil, err
	}
	s := &Server{
		cfg:    cfg,
		log:    cfg.Logger,
		faults: rate.Sometimes{First: 1, Interval: 10 * time.Second},
		conns: connections{limit: cfg.MaxTCP, perClient: cfg.TCPPerClient,
			idle: cfg.TCPIdle},
		nappers: newNappers(),
		outgrew: make(chan struct{}, 1),
	}
	s.jar.Store(cfg.Cookies)
	var err error
	if s.terms, err = newTerms(cfg); err != nil {
		return nil, err
	}
	if err := s.setZones(cfg.Zones); err != nil {
		return nil, err
	}
	for _, addr := range cfg.Listen {
		sock, err := bind(addr, cfg.UDPWorkers)
		if err != nil {
			return nil, errors.Join(err, s.Close())
		}
		s.sockets = append(s.sockets, sock)
	}
	if err := s.openTLS(); err != nil {
		return nil, errors.Join(fmt.Errorf("%w: %w", ErrTLSListen, err), s.Close())
	}
	workers := cfg.UDPWorkers * len(s.sockets)
	if s.limiters, err = newLimiters(workers, cfg.Buckets); err != nil {
		return nil, errors.Join(err, s.Close())
	}
	if err := s.SetRateLimit(cfg.RateLimit); err != nil {
		return nil, errors.Join(err, s.Close())
	}
	if s.metrics, err = newMetrics(cfg.Registerer, workers, s.limitedCounts); err != nil {
		return nil, errors.Join(err, s.Close())
	}
	sending := func() float64 { return float64(s.peers.sending.Load()) }
	if err := s.metrics.exchange.register(cfg.Registerer, sending); err != nil {
		return nil, errors.Join(err, s.Close())
	}
	s.weigher = newWeigher(&s.cfg, len(s.metrics.counters), s.now(time.Now()))
	if err := s.weigher.register(cfg.Registerer); err != nil {
		return nil, errors.Join(err, s.Close())
	}
	for n := range s.metrics.counters {
		s.newObserver(n) // all sources are there before the tap runs
	}
	return s, nil
}

// complete checks the config and fills in defaults.
func (c *Config) complete() error {
	if len(c.Listen) == 0 {
		return errors.New("no address to listen on")
	}
	if c.Table != nil && c.Draws == nil {
		return errors.New("a table needs draws")
	}
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	c.UDPWorkers = cmp.Or(c.UDPWorkers, runtime.GOMAXPROCS(0))
	c.UDPSize = cmp.Or(c.UDPSize, defaultUDPSize)
	c.TCPIdle = cmp.Or(c.TCPIdle, defaultTCPIdle)
	c.MaxTCP = cmp.Or(c.MaxTCP, defaultMaxTCP)
	c.TCPPerClient = cmp.Or(c.TCPPerClient, defaultClient)
	if c.UDPSize < minUDPSize || c.UDPSize > maxUDPSize {
		return fmt.Errorf("UDP size of %d bytes is not between 512 and 1232", c.UDPSize)
	}
	if c.TCPIdle < 0 || c.MaxTCP < 0 || c.TCPPerClient < 0 {
		return errors.New("negative limit for TCP")
	}
	if c.UDPWorkers < 0 || c.UDPWorkers > maxWorkers {
		return fmt.Errorf("%d UDP workers are not between 1 and %d", c.UDPWorkers, maxWorkers)
	}
	if c.Coalesce < 0 || c.Coalesce > maxCoalesce {
		return fmt.Errorf("coalescing for %v is not between 0 and %v", c.Coalesce, maxCoalesce)
	}
	return nil
}

// Addrs returns the bound addresses in the order of Config.Listen; they hold for UDP and TCP.
func (s *Server) Addrs() []netip.AddrPort {
	addrs := make([]netip.AddrPort, len(s.sockets))
	for i, sock := range s.sockets {
		addrs[i] = sock.addr
	}
	return addrs
}

// TLSAddrs returns the bound addresses in the order of Config.TLSListen.
func (s *Server) TLSAddrs() []netip.AddrPort {
	addrs := make([]netip.AddrPort, len(s.secure))
	for i, ln := range s.secure {
		addrs[i] = ln.Addr().(*net.TCPAddr).AddrPort()
	}
	return addrs
}

// SetZones replaces all zones at once. Queries in hand are answered from the old ones. On an
// error, when a zone can't be signed, the old ones serve on; Run tries again, unless it is a
// dnssec.ErrUnpublished: then they are taken back, and the caller tries again.
func (s *Server) SetZones(zones []*Zone) error {
	s.signing.Lock()
	defer s.signing.Unlock()
	return s.setZones(zones)
}

// Reload replaces the zones together with whatever table apply brings into force before it
// returns: no query sees one without the other, so that a name can move between static records
// and steering. Until then queries are answered from the old zones and the old table, without
// waiting. An error of apply is returned, and changes nothing here. A dnssec.ErrUnpublished says
// that another node signs and has not done so yet: the old zones serve on, and the caller must
// take back what apply has done. When the zones can't be signed otherwise, which is logged, the
// old ones and the old table serve on until they can. apply must not call SetZones or Reload.
func (s *Server) Reload(zones []*Zone, apply func() error) error {
	s.signing.Lock()
	defer s.signing.Unlock()
	s.reloading.Store(true)
	defer s.reloading.Store(false)
	if err := apply(); err != nil {
		return err
	}
	err := s.setZones(zones)
	if errors.Is(err, dnssec.ErrUnpublished) {
		return err
	}
	if err != nil {
		s.log.Error("zones not signed, the old ones serve on", "err", err)
	}
	return nil
}

// setZones needs s.signing.
func (s *Server) setZones(zones []*Zone) error {
	before := s.zones
	s.zones = zones
	var table *steering.Table
	if s.cfg.Table != nil {
		table = s.cfg.Table()
	}
	// Signing is not tied to any caller's time: what it made is kept.
	next, err := s.build(context.Background(), zones, table)
	if errors.Is(err, dnssec.ErrUnpublished) {
		s.zones = before
		return err
	}
	if err != nil {
		s.unsigned.Store(true)
		return err
	}
	if cur := s.current.Load(); cur != nil {
		s.remember(cur.zones, zones)
	}
	s.publish(next)
	s.tellWithheld(s.now(time.Now()))
	return nil
}

// asPicker keeps a nil table a nil interface.
func asPicker(t *steering.Table) picker {
	if t == nil {
		return nil
	}
	return t
}

// load returns the state for the current table. It takes a lock only when the table is new.
func (s *Server) load() *state {
	cur := s.current.Load()
	if s.reloading.Load() || s.cfg.Table == nil {
		return cur.state
	}
	if table := s.cfg.Table(); table == cur.table || s.outgrown(cur, table) {
		return cur.state
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	cur = s.current.Load()
	table := s.cfg.Table()
	if table == cur.table || s.reloading.Load() || s.outgrown(cur, table) {
		return cur.state
	}
	st := cur.withTable(asPicker(table))
	st.pending = table == nil
	gone := func(p pick) bool { return !answers(table, p) }
	if table != nil && s.metrics.drop(gone) {
		st.memo = newMemo(st, st.memo) // the old one counts for those that are gone
	}
	s.current.Store(&published{state: st, table: table, zones: cur.zones})
	return st
}

// answers reports whether a table knows a backend of a host, drained or not.
func answers(t *steering.Table, p pick) bool {
	return slices.ContainsFunc(t.Shares(p.host), func(s steering.Share) bool {
		return s.Backend == p.backend
	})
}

// Served returns the counts of answers for steered names, ordered by host and backend.
func (s *Server) Served() []Served {
	all := s.metrics.served()
	slices.SortFunc(all, func(a, b Served) int {
		return cmp.Or(cmp.Compare(a.Host, b.Host), cmp.Compare(a.Backend, b.Backend))
	})
	return all
}

// Run answers queries until the context ends or a socket fails. It then stops accepting,
// answers the packets that have already come, and releases the addresses. It may be called
// once.
func (s *Server) Run(ctx context.Context) error {
	if s.ran.Swap(true) {
		return errors.New("running a DNS server twice")
	}
	stopTap := s.runTap(ctx)
	g, ctx := errgroup.WithContext(ctx)
	for i, sock := range s.sockets {
		for j := range s.cfg.UDPWorkers {
			answers := s.newResponder(1 + i*s.cfg.UDPWorkers + j)
			udp := sock.udp[j%len(sock.udp)]
			answers.servedAt(udp.LocalAddr())
			g.Go(func() error { return s.serveUDP(ctx, sock, udp, answers) })
		}
		g.Go(func() error { return s.serveTCP(ctx, sock.tcp, false) })
		s.log.Info("dns socket opened", "address", sock.addr.String())
	}
	for _, ln := range s.secure {
		g.Go(func() error { return s.serveTCP(ctx, ln, true) })
		s.log.Info("dns socket opened", "address", ln.Addr().String(), "tls", true)
	}
	g.Go(func() error { return s.conns.keepSwept(ctx) })
	g.Go(func() error { return s.tellLimited(ctx) })
	g.Go(func() error { return s.keepSigned(ctx) })
	if s.weigher != nil {
		g.Go(func() error { return s.weigher.run(ctx) })
	}
	g.Go(func() error {
		<-ctx.Done()
		until := time.Now().Add(drainTime)
		for _, sock := range s.sockets {
			sock.stop(until)
		}
		for _, ln := range s.secure {
			_ = ln.Close()
		}
		s.conns.stop(until)
		return nil
	})
	return errors.Join(g.Wait(), stopTap(), s.Close())
}

// Close releases the addresses. It is needed only if Run was not called; further calls do
// nothing.
func (s *Server) Close() error {
	var errs []error
	for _, sock := range s.sockets {
		errs = append(errs, sock.close())
	}
	for _, ln := range s.secure {
		errs = append(errs, ignoreClosed(ln.Close()))
	}
	return errors.Join(errs...)
}
