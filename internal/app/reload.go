package app

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"time"

	"github.com/fsnotify/fsnotify"

	"pointsman/internal/admin/api"
	"pointsman/internal/config"
	"pointsman/steering/dnssec"
	"pointsman/steering/dnsserver"
)

// settle is how long a changed file must be quiet before it is read: editors write in pieces.
const settle = 300 * time.Millisecond

// hashOf identifies what a configuration makes of the traffic: the merged values without
// secrets and without what differs from node to node, so that nodes which agree have the same.
func hashOf(c *config.Config, zones []*dnsserver.Zone) string {
	shared := *c
	shared.User, shared.Group = "", ""
	shared.Node, shared.Vantage, shared.StateDir, shared.Roles = "", "", "", nil
	shared.DNS = config.DNS{RateLimit: c.DNS.RateLimit, Version: c.DNS.Version,
		ReportAgent: c.DNS.ReportAgent, Cookies: c.DNS.Cookies, Amplification: c.DNS.Amplification}
	shared.Edge.Listen, shared.Admin = nil, config.Admin{}
	shared.Log, shared.Store = config.Log{}, config.Store{}
	shared.Zones = slices.Clone(c.Zones)
	for i, z := range zones {
		shared.Zones[i].File = "" // wherever it lies, and whatever the primary has
		if c.Zones[i].Primary == nil {
			shared.Zones[i].File = z.Digest()
		}
		if d := shared.Zones[i].DNSSEC; d != nil {
			signing := *d
			signing.Mode, signing.KeyDir = "", "" // the signer's are its own
			shared.Zones[i].DNSSEC = &signing
		}
	}
	raw, err := json.Marshal(shared)
	if err != nil {
		return "unknown" // plain values always marshal
	}
	sum := sha256.Sum256(raw)
	return hex.EncodeToString(sum[:])
}

func warningsOf(r *config.Report) []string {
	var out []string
	for _, w := range r.Warnings {
		out = append(out, w.String())
	}
	return out
}

// Reload reads the configuration again. Either all of it is in force when Reload returns nil,
// or nothing has changed. A refused one is a *api.Problem that lists every mistake.
func (a *App) Reload(ctx context.Context) (api.Reloaded, error) {
	a.reloading.Lock()
	defer a.reloading.Unlock()
	old := a.loaded.Load()
	next, in, err := a.prepare(old.config)
	if err == nil {
		a.parts.findAddresses(ctx, in)
		if err = a.swap(next, in); err != nil {
			a.parts.forget()
		}
	}
	a.metrics.reload(err)
	a.unpublished.Store(errors.Is(err, dnssec.ErrUnpublished))
	if err != nil {
		a.log.Error("config refused, the old one serves on", "err", err)
		a.parts.events.Add("config", "config refused, the old one serves on: "+firstLine(err), nil)
		return api.Reloaded{}, refusal(err)
	}
	a.metrics.config(next)
	changed := next.hash != old.hash
	for _, f := range next.in.serials {
		a.log.Warn("serial of a zone not raised", "reason", f.String())
	}
	a.log.Info("config reloaded", "hash", next.hash, "changed", changed)
	if changed {
		a.parts.events.Add("config", "config "+next.hash[:12]+" is in force", nil)
	}
	return api.Reloaded{ConfigHash: next.hash, Changed: changed, Warnings: next.warnings}, nil
}

// prepare does all that can fail and touches nothing that runs.
func (a *App) prepare(old *config.Config) (*loadedConfig, *inputs, error) {
	c, report, err := a.opts.load()
	if err != nil {
		return nil, nil, err
	}
	if bad := needRestart(old, c); len(bad) > 0 {
		return nil, nil, fmt.Errorf("%w: %w", ErrConfig, located(report, bad))
	}
	in, err := convertAfter(c, report, a.inForce())
	if err != nil {
		return nil, nil, err
	}
	if err := a.reloadGeo(old, c, report, in); err != nil {
		return nil, nil, err
	}
	return &loadedConfig{config: c, hash: hashOf(c, in.zones), at: time.Now(),
		warned: warningsOf(report), warnings: in.received.warnings(warningsOf(report)),
		purges: in.purges, zones: in.zones, in: in}, in, nil
}

// swap puts a prepared configuration in force. The steps that may refuse come first, and
// are taken back should a later one refuse; the rest cannot fail.
func (a *App) swap(next *loadedConfig, in *inputs) error {
	p := a.parts
	zones, signers, err := a.signZones(next.config, in, p)
	if err != nil {
		return err
	}
	if p.edge != nil {
		if err := p.edge.SetSites(in.sites); err != nil {
			return fmt.Errorf("%w: edge.sites: %w", ErrConfig, err)
		}
	}
	old := a.loaded.Load()
	undo := func() {
		if p.edge != nil {
			_ = p.edge.SetSites(sitesOf(old.config)) // these were in force a moment ago
		}
	}
	if err := p.purge.SetTargets(in.purges); err != nil {
		undo()
		return fmt.Errorf("%w: providers: %w", ErrConfig, err)
	}
	a.exchange(next.config, in.keys)
	// Zones and table change together, so that no query sees a name in neither.
	if err := p.swapAnswers(zones, in); err != nil {
		undo()
		_ = p.purge.SetTargets(old.purges) // likewise
		a.exchange(old.config, a.keys)
		if errors.Is(err, dnssec.ErrUnpublished) {
			_ = p.steer(old.in) // likewise
		}
		return fmt.Errorf("%w: %w", ErrConfig, err)
	}
	p.takeCookies(next.config)
	p.limitAnswers(in)
	p.resolves(in)
	p.weigh(in)
	p.slow.SetConfig(in.slow)
	p.feeds.SetFeeds(in.feeds)
	p.tracker.SetBackends(in.backends, in.rules)
	if p.scheduler != nil {
		p.scheduler.SetTargets(in.targets)
	}
	a.keepSigners(signers)
	a.received, a.keys = in.received, in.keys
	a.loaded.Store(next)
	a.follow(next.config)
	a.tellSecondaries(next)
	return nil
}

// swapAnswers puts new zones and a new table in force at once, or neither.
func (p *parts) swapAnswers(zones []*dnsserver.Zone, in *inputs) error {
	apply := func() error { return p.steer(in) }
	if p.dns == nil {
		return apply()
	}
	return p.dns.Reload(zones, apply)
}

// limitAnswers puts new limits and certificates of the nameserver in force.
func (p *parts) limitAnswers(in *inputs) {
	if p.dns == nil {
		return
	}
	_ = p.dns.SetRateLimit(in.limits) // the config's bounds are its own
	if in.dnsTLS != nil {
		p.dns.SetTLS(in.dnsTLS)
	}
}

// tlsListen is where the nameserver listens for TLS.
func tlsListen(c *config.Config) []string {
	if c.DNS.TLS == nil {
		return nil
	}
	return c.DNS.TLS.Listen
}

// needRestart lists the changed keys that only a restart can bring in force.
func needRestart(a, b *config.Config) []pathMistake {
	var bad []pathMistake
	for _, k := range []struct {
		name string
		a, b any
	}{
		{"node", a.Node, b.Node}, {"vantage", a.Vantage, b.Vantage}, {"roles", a.Roles, b.Roles},
		{"user", a.User, b.User}, {"group", a.Group, b.Group},
		{"state_dir", a.StateDir, b.StateDir}, {"store", a.Store, b.Store}, {"log", a.Log, b.Log},
		{"dns.listen", a.DNS.Listen, b.DNS.Listen}, {"edge.listen", a.Edge.Listen, b.Edge.Listen},
		{"dns.udp_workers", a.DNS.UDPWorkers, b.DNS.UDPWorkers},
		{"dns.nsid", a.DNS.NSID, b.DNS.NSID}, {"dns.version", a.DNS.Version, b.DNS.Version},
		{"dns.report_agent", a.DNS.ReportAgent, b.DNS.ReportAgent},
		{"dns.amplification", a.DNS.Amplification, b.DNS.Amplification},
		{"dns.cookies.enabled", a.DNS.Cookies.Enabled, b.DNS.Cookies.Enabled},
		{"dns.cookies.lifetime", a.DNS.Cookies.Lifetime, b.DNS.Cookies.Lifetime},
		{"dns.cookies.secret_file (from none, or to none)", a.DNS.Cookies.Secret.IsZero(),
			b.DNS.Cookies.Secret.IsZero()},
		{"dns.coalesce", a.DNS.Coalesce, b.DNS.Coalesce}, {"dns.tcp", a.DNS.TCP, b.DNS.TCP},
		{"dns.rate_limit.buckets", a.DNS.RateLimit.Buckets, b.DNS.RateLimit.Buckets},
		{"dns.tls.listen", tlsListen(a), tlsListen(b)},
		{"dns.dnstap", a.DNS.Dnstap, b.DNS.Dnstap},
		{"dns.decision_log", a.DNS.DecisionLog, b.DNS.DecisionLog},
		{"edge.memory", a.Edge.Memory, b.Edge.Memory}, {"admin", a.Admin, b.Admin},
		{"purge", a.Purge, b.Purge}, {"probing.budget", a.Probing.Budget, b.Probing.Budget},
		{"probing.control", a.Probing.Control, b.Probing.Control},
		{"edge.sites (from none, or to none)", len(a.Edge.Sites) > 0, len(b.Edge.Sites) > 0},
		{"hosts (from none, or to none)", steersAny(a), steersAny(b)},
	} {
		if !reflect.DeepEqual(k.a, k.b) {
			path, when, _ := strings.Cut(k.name, " ")
			bad = append(bad, complaint(path, strings.TrimSpace("a change "+when)+" needs a restart"))
		}
	}
	return bad
}

// steersAny reports whether a config has a steered name. An ALIAS record is one.
func steersAny(c *config.Config) bool { return len(c.Hosts)+len(c.Aliases()) > 0 }

// refusal is a failed reload as the admin API tells it.
func refusal(err error) error {
	p := &api.Problem{Type: "about:blank", Title: "Config refused", Code: api.CodeRefused,
		Status: http.StatusConflict, Detail: "the old config serves on"}
	var e *config.Error
	if errors.As(err, &e) {
		for _, m := range e.Mistakes {
			p.Findings = append(p.Findings, m.String())
		}
		return p
	}
	p.Detail += ": " + err.Error()
	return p
}

func firstLine(err error) string {
	var e *config.Error
	if errors.As(err, &e) && len(e.Mistakes) > 0 {
		return e.Mistakes[0].String()
	}
	line, _, _ := strings.Cut(err.Error(), "\n")
	return line
}

// watchConfig reloads on SIGHUP and when the file changed and has been quiet for a moment.
func (a *App) watchConfig(ctx context.Context) error {
	var changes chan fsnotify.Event
	var faults chan error
	if w := a.watcher(); w != nil {
		defer w.Close()
		changes, faults = w.Events, w.Errors
	}
	quiet := time.NewTimer(0)
	if !quiet.Stop() {
		<-quiet.C
	}
	defer quiet.Stop()
	retry := time.NewTicker(reopenEvery)
	defer retry.Stop()
	last := a.stamps()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-a.opts.Hup:
			last = a.stamps()
			_, _ = a.Reload(ctx) // Reload has logged and counted its outcome
		case <-a.republished:
			if a.unpublished.Load() {
				last = a.stamps()
				_, _ = a.Reload(ctx)
			}
		case <-retry.C:
			a.reopen()
		case _, ok := <-changes:
			if !ok {
				changes, faults = nil, nil // the watcher gave up; SIGHUP remains
			}
			quiet.Reset(settle)
		case err := <-faults: // left unread, it would stop the watcher
			a.log.Warn("changes of the config file may have been missed", "err", err)
			quiet.Reset(settle)
		case <-quiet.C:
			if now := a.stamps(); !slices.Equal(now, last) {
				last = now
				_, _ = a.Reload(ctx)
			}
		}
	}
}

// watcher watches the config file's folder; nil when there is no file, or no watching. The
// folder is watched, not the file: editors and mounted secrets replace files by renaming.
func (a *App) watcher() *fsnotify.Watcher {
	if a.opts.Path == "" {
		return nil
	}
	w, err := fsnotify.NewWatcher()
	if err == nil {
		if err = w.Add(filepath.Dir(a.opts.Path)); err == nil {
			return w
		}
		w.Close()
	}
	a.log.Warn("config file not watched, use SIGHUP", "err", err)
	return nil
}

// stamp tells one content of a file from another without reading it.
type stamp struct {
	mod  time.Time
	size int64
}

// stamps tells the config file, the zone files and the nameserver's certificate in force; what zone
// files include is not watched.
func (a *App) stamps() []stamp {
	all := []stamp{stampOf(a.opts.Path)}
	for _, z := range a.loaded.Load().config.Zones {
		if z.File != "" {
			all = append(all, stampOf(z.File))
		}
	}
	if t := a.loaded.Load().config.DNS.TLS; t != nil {
		all = append(all, stampOf(t.CertFile), stampOf(t.KeyFile))
	}
	return all
}

func stampOf(path string) stamp {
	info, err := os.Stat(path)
	if err != nil {
		return stamp{} // being replaced, or none
	}
	return stamp{info.ModTime(), info.Size()}
}
