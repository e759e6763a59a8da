package app

import (
	"context"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"path/filepath"
	"sync"
	"sync/atomic"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"

	"pointsman/edge"
	"pointsman/internal/admin"
	"pointsman/internal/audit"
	"pointsman/internal/config"
	"pointsman/internal/console"
	"pointsman/internal/store"
	"pointsman/internal/store/boltstore"
	"pointsman/internal/store/redisstore"
	"pointsman/probes"
	"pointsman/probes/health"
	"pointsman/providers"
	"pointsman/providers/cloudflare"
	"pointsman/providers/edgecache"
	"pointsman/providers/fastly"
	"pointsman/purge"
	"pointsman/steering"
	"pointsman/steering/alias"
	"pointsman/steering/dnssec"
	"pointsman/steering/dnssec/publish"
	"pointsman/steering/dnsserver"
	"pointsman/steering/drill"
	"pointsman/steering/feed"
	"pointsman/steering/geo"
	"pointsman/steering/override"
	"pointsman/steering/slow"
	"pointsman/steering/transfer"
)

// parts are everything that runs. Those of roles that the node does not have are nil.
type parts struct {
	registry  *prometheus.Registry
	local     *boltstore.Store
	shared    *redisstore.Store // nil on a single node
	audit     *audit.Log
	events    *admin.Events
	book      *override.Book
	feeds     *feed.Keeper
	tracker   *health.Tracker
	scheduler *probes.Scheduler
	geo       *geo.Source
	engine    *steering.Engine
	alias     *alias.Resolver
	slow      *slow.Runner
	drills    *drill.Runner
	dns       *dnsserver.Server
	cookies   *cookieKeeper // nil: there are none, or their secrets are given
	secondary *transfer.Secondary
	notifier  *transfer.Notifier
	edge      *edge.Server
	purge     *purge.Service
	admin     *admin.Server
	board     *publish.Board // of published signatures

	given   atomic.Pointer[given] // see addressesOf
	weighed atomic.Pointer[map[string]bool]
	viewing sync.Mutex // held while a view is handed to the engine, so that the newest wins
}

// sharedOr returns the store that all nodes share, or this node's own.
func (p *parts) sharedOr() store.Store {
	if p.shared != nil {
		return p.shared
	}
	return p.local
}

// sharedStore returns the shared store as an interface that is nil on a single node.
func (p *parts) sharedStore() store.Store {
	if p.shared != nil {
		return p.shared
	}
	return nil
}

// samples is where the tracker reads; without probes it is a channel that stays silent.
func (p *parts) samples() <-chan probes.Sample {
	if p.scheduler == nil {
		return make(chan probes.Sample)
	}
	return p.scheduler.Samples()
}

// wire builds every part, in the order of dependency. It is one straight line on purpose.
func (a *App) wire(ctx context.Context, c *config.Config, in *inputs) (*parts, error) {
	p := &parts{registry: prometheus.NewRegistry()}
	p.registry.MustRegister(collectors.NewGoCollector(),
		collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	a.metrics = newMetrics(p.registry, a.opts.Version)
	if err := a.openStores(c, p); err != nil {
		return nil, err
	}
	shared := p.sharedStore()
	saved := a.readState(ctx, p.local)

	p.events = admin.NewEvents(nil)
	p.audit = audit.New(audit.Config{Shared: shared, Local: p.local, Node: c.Node, Logger: a.log,
		Registerer: p.registry})
	p.engine = steering.NewEngine(steering.EngineConfig{Logger: a.log, Registerer: p.registry,
		Version: saved.Table, OnChange: p.tellChange})
	a.restoreGuidance(ctx, p.local, p.engine)
	p.geo = geo.NewSource(geo.SourceConfig{Logger: a.log, Registerer: p.registry,
		OnChange: p.engine.SetCountries})
	p.alias = alias.New(alias.Config{Servers: in.resolvers, Store: p.local, Logger: a.log,
		Registerer: p.registry, OnChange: p.takeAddresses})
	p.alias.Load(ctx)
	p.resolves(in)
	p.book = override.New(override.Config{Shared: shared, Local: p.local, Node: c.Node,
		Logger: a.log, OnChange: p.engine.SetOverrides})
	if err := p.book.Load(ctx); err != nil {
		return nil, fmt.Errorf("loading the overrides: %w", err)
	}
	p.feeds = feed.New(feed.Config{Shared: shared, Local: p.local, Logger: a.log,
		Registerer: p.registry, OnChange: p.engine.SetFed})
	p.feeds.SetFeeds(in.feeds)
	if err := p.feeds.Load(ctx); err != nil {
		a.log.Warn("what feeds said before the restart not read", "err", err)
	}
	p.tracker = health.New(health.Config{Vantage: c.Vantage, Backends: in.backends,
		Rules: in.rules, Exchange: exchange(c, shared), Control: c.Probing.Control,
		Logger: a.log, Registerer: p.registry, OnChange: p.takeView()})
	p.tracker.Restore(saved.View)
	p.engine.SetView(p.tracker.View())
	p.engine.SetOverrides(p.book.Active(a.started))
	if err := p.steer(in); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrConfig, err)
	}
	p.weigh(in)
	p.slow = a.newSlow(c, p, in)
	p.drills = drill.New(drill.Config{Node: c.Node, Store: p.sharedOr(), Table: p.engine.Table,
		Usable: func(b string) bool { return p.tracker.View().Of(b).State.Usable() },
		Served: p.drillServed, Logger: a.log, OnChange: p.tellDrill})
	if c.HasRole(config.RoleProbe) {
		p.scheduler = probes.NewScheduler(probes.SchedulerConfig{
			Prober: probes.NewProber(probes.ProberConfig{Vantage: c.Vantage,
				Known: p.addressesOf}), Vantage: c.Vantage,
			Fault: p.drills, Budget: float64(c.Probing.Budget), Logger: a.log,
			Registerer: p.registry})
		p.scheduler.SetTargets(in.targets)
	}
	if err := a.wirePurge(c, in, p, shared); err != nil {
		return nil, err
	}
	return p, a.wireServers(c, in, p)
}

// steer puts the spec in force. A node that steers nothing, such as one that is only an edge,
// has no table at all: an empty one is refused everywhere. With an error nothing has changed.
func (p *parts) steer(in *inputs) error {
	before := p.geo.Data()
	p.geo.Use(in.geo)
	p.engine.SetCountries(in.geo.Locator)
	if !in.steers() {
		return nil
	}
	err := p.engine.SetSpec(in.spec)
	if err != nil {
		p.geo.Use(before)
		p.engine.SetCountries(before.Locator)
	}
	return err
}

// openStores opens this node's store, making its folder, and the shared one. Names must be
// answered also after a bad sector (what the file held is set aside, not lost), and where the
// disk takes no writes: from what it holds, or the config alone.
func (a *App) openStores(c *config.Config, p *parts) (err error) {
	p.local, err = boltstore.Open(boltstore.Config{SetAside: true, ReadOnly: true,
		Path: filepath.Join(c.StateDir, "pointsman.db"), OpenFile: a.opts.openFile, Logger: a.log})
	if err != nil {
		return fmt.Errorf("opening the store in state_dir: %w", err)
	}
	a.closers.push(p.local.Close)
	a.metrics.local(p.local.Fault() == nil)
	a.store.begin(c.Store.Kind)
	if c.Store.Kind != config.StoreRedis {
		return nil
	}
	r := c.Store.Redis
	tlsConfig, err := clientTLS(r.TLS, r.Address)
	if err != nil {
		return fmt.Errorf("store.redis.tls: %w", err)
	}
	p.shared, err = redisstore.New(redisstore.Config{Address: r.Address, Username: r.Username,
		Password: r.Password, Prefix: r.Prefix, TLS: tlsConfig, Logger: a.log})
	if err != nil {
		return fmt.Errorf("preparing the shared store: %w", err)
	}
	a.closers.push(p.shared.Close)
	return nil
}

// exchange is how this node's votes reach the others; nil on a single node.
func exchange(c *config.Config, shared store.Store) health.Exchange {
	if shared == nil {
		return nil
	}
	return health.NewStoreExchange(shared, c.Node, c.Vantage, votesTTL)
}

func (a *App) wirePurge(c *config.Config, in *inputs, p *parts, shared store.Store) (err error) {
	p.purge, err = purge.New(purge.Config{Node: c.Node, Local: p.local, Shared: shared,
		Targets: in.purges, Fetcher: fetcher{prober: probes.NewProber(probes.ProberConfig{
			Vantage: c.Vantage}), loaded: &a.loaded}, Verify: c.Purge.Verify,
		RequireReplicated: c.Purge.Durability == config.DurabilityReplicated,
		Deadline:          c.Purge.Deadline, Logger: a.log, Registerer: p.registry})
	if err != nil {
		return fmt.Errorf("preparing purges: %w", err)
	}
	return nil
}

// wireServers binds the sockets of the roles that this node has.
func (a *App) wireServers(c *config.Config, in *inputs, p *parts) (err error) {
	if a.signing, err = dnssec.NewMetrics(p.registry); err != nil {
		return err
	}
	p.board = publish.NewBoard(publish.BoardConfig{Shared: p.sharedOr(), Changed: a.published,
		Logger: a.log})
	zones, signers, err := a.signZones(c, in, p)
	if err != nil {
		return err
	}
	a.signers = signers
	p.board.Set(signers.nodes())
	a.tellFaults()
	if c.HasRole(config.RoleDNS) {
		table := p.engine.Table
		if !in.steers() {
			table = nil // without a table to wait for, all other names can be denied
		}
		written, err := a.newTap(c, p.registry)
		if err != nil {
			return fmt.Errorf("dns: %w", err)
		}
		server := dnsserver.Config{Listen: c.DNS.Listen, Zones: zones,
			Table: table, Draws: steering.NewDraws(seed()), Weighs: p.weighs, Logger: a.log, Tap: written,
			Registerer: p.registry, UDPWorkers: c.DNS.UDPWorkers, Coalesce: c.DNS.Coalesce,
			NSID: c.DNS.NSID, Version: c.DNS.Version, ReportAgent: c.DNS.ReportAgent,
			Amplification: dnsserver.Amplification(c.DNS.Amplification),
			MaxTCP:        c.DNS.TCP.Max, TCPPerClient: c.DNS.TCP.PerClient, TCPIdle: c.DNS.TCP.Idle,
			RateLimit: in.limits, Buckets: c.DNS.RateLimit.Buckets, TLSListen: tlsListen(c),
			TLS: in.dnsTLS}
		if p.dns, err = dnsserver.New(server); err != nil {
			key := "dns.listen"
			if errors.Is(err, dnsserver.ErrTLSListen) {
				key = "dns.tls.listen"
			}
			return fmt.Errorf("%s: %w", key, err)
		}
		a.closers.push(p.dns.Close)
		p.keepCookies(c, a.log)
		if err := a.wirePeers(c, in, p); err != nil {
			return err
		}
	}
	if c.HasRole(config.RoleEdge) && len(c.Edge.Sites) > 0 {
		p.edge, err = edge.New(edge.Config{Listen: c.Edge.Listen, Memory: int64(c.Edge.Memory),
			Sites: in.sites, Node: c.Node, Logger: a.log, Registerer: p.registry})
		if err != nil {
			return fmt.Errorf("edge: %w", err)
		}
		a.closers.push(p.edge.Close)
	}
	if !c.HasRole(config.RoleAdmin) {
		return nil
	}
	tlsConfig, err := serverTLS(c.Admin.TLS)
	if err != nil {
		return fmt.Errorf("admin.tls: %w", err)
	}
	p.admin, err = admin.New(admin.Config{Listen: c.Admin.Listen, TLS: tlsConfig,
		Tokens: tokensOf(c), Node: c.Node, Version: a.opts.Version, Logger: a.log,
		Registerer: p.registry, Gatherer: p.registry, Info: a.info, Engine: p.engine,
		View: p.tracker.View, Served: p.adminServed(), Overrides: book{p.book}, Purge: p.purge,
		Feeds:     feeds{p.feeds},
		Providers: a.providers, Drills: p.drills, Edge: p.edge, Audit: p.audit,
		Events: p.events, Loop: p.loopStatus, Reload: a.Reload, Console: console.Handler()})
	if err != nil {
		return err
	}
	a.closers.push(p.admin.Close)
	return nil
}

// newProvider turns a provider's kind into its implementation.
func newProvider(pc config.Provider) (providers.Provider, error) {
	hc, err := httpClient(pc.CAFile)
	if err != nil {
		return nil, err
	}
	switch pc.Kind {
	case config.ProviderFastly:
		return fastly.New(fastly.Config{Name: pc.Name, BaseURL: pc.BaseURL,
			ServiceID: pc.ServiceID, Token: pc.Token, HTTPClient: hc})
	case config.ProviderCloudflare:
		return cloudflare.New(cloudflare.Config{Name: pc.Name, BaseURL: pc.BaseURL,
			ZoneID: pc.ZoneID, Token: pc.Token, HTTPClient: hc})
	case config.ProviderEdge:
		return edgecache.New(edgecache.Config{Name: pc.Name, Nodes: pc.Nodes, Token: pc.Token,
			HTTPClient: hc})
	}
	return nil, fmt.Errorf("unknown kind %q", pc.Kind)
}

// seed is the start of the node's draws, another one on every node and start.
func seed() uint64 {
	var b [8]byte
	_, _ = rand.Read(b[:]) // crypto/rand never fails: it ends the process instead
	return binary.LittleEndian.Uint64(b[:])
}
