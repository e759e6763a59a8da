// Package app builds, runs and reloads the whole process: it is the only package that knows
// every part. Options flow in; a running node comes out. New builds every part in the order of
// dependency and binds all sockets, App.Run starts the parts' Runs and ends them in order.
package app

import (
	"context"
	"errors"
	"io"
	"io/fs"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"pointsman/internal/config"
	"pointsman/purge"
	"pointsman/steering/dnssec"
	"pointsman/steering/dnsserver"
	"pointsman/steering/tsig"
)

// ErrConfig says that the configuration was refused. The error lists every mistake.
var ErrConfig = errors.New("config refused")

// Options say which configuration to run and where its log goes.
type Options struct {
	// Path is the config file; Data is its content instead, under Name.
	Path string
	Data []byte
	Name string
	// Env is the environment in the form of os.Environ; Overrides are flags by key path.
	Env       []string
	Overrides map[string]any
	// Root says that root runs this; see BecomeUser.
	Root bool
	// LogWriter gets the log; nil: standard error.
	LogWriter io.Writer
	Version   string
	// Hup asks for a reload with each value; nil: reloads come by API and file change alone.
	Hup <-chan os.Signal
	// openFile opens the node's own store, for tests of disks; nil: os.OpenFile.
	openFile func(name string, flag int, perm fs.FileMode) (*os.File, error)
}

// load reads and checks the configuration.
func (o Options) load() (*config.Config, *config.Report, error) {
	c, report, err := config.Load(config.Options{Path: o.Path, Data: o.Data, Name: o.Name,
		Env: o.Env, Overrides: o.Overrides, Reserved: reserved()})
	if err != nil {
		return nil, report, errors.Join(ErrConfig, err)
	}
	return c, report, nil
}

// reserved are the variables with our prefix that configure the command line instead.
func reserved() []string {
	return []string{"POINTSMAN_ADMIN_URL", "POINTSMAN_TOKEN_FILE", "POINTSMAN_DEMO_TOKEN"}
}

// App is one node. Its methods are safe for concurrent use.
type App struct {
	opts    Options
	log     *slog.Logger
	started time.Time
	parts   *parts
	closers closers
	metrics *metrics
	loaded  atomic.Pointer[loadedConfig]
	ready   atomic.Bool
	store   storeWatch

	signing *dnssec.Metrics
	signers signers // guarded by reloading once New has returned, like the next three
	// unpublished is true when the last reload was refused since another node has not published
	// the signatures that it needs; republished tells that something was published.
	unpublished atomic.Bool
	republished chan struct{}
	keyFaults   atomic.Pointer[[]string] // of signers, as the status tells them

	received received
	keys     tsig.Ring
	told     map[string]uint32 // the serial numbers that secondaries were told of, by zone

	reloading sync.Mutex // held for the whole of a reload: one at a time
}

// loadedConfig is the configuration in force.
type loadedConfig struct {
	config   *config.Config
	hash     string
	at       time.Time
	warned   []string       // of the config itself
	warnings []string       // those, and of zones from primaries
	purges   []purge.Target // its providers
	zones    []*dnsserver.Zone
	in       *inputs
}

// New loads, checks and converts the configuration, opens the store, builds every part and
// binds all sockets. An error frees what was taken; a refused configuration is an ErrConfig.
// The first table is in force when New returns, compiled from the last known good state.
func New(ctx context.Context, o Options) (*App, error) {
	c, report, err := o.load()
	if err != nil {
		return nil, err
	}
	in, err := convert(c, report)
	if err != nil {
		return nil, err
	}
	if o.LogWriter == nil {
		o.LogWriter = os.Stderr
	}
	a := &App{opts: o, log: logger(c.Log, o.LogWriter), started: time.Now(),
		republished: make(chan struct{}, 1)}
	if err := in.startGeo(c, a.log); err != nil {
		return nil, err
	}
	a.parts, err = a.wire(ctx, c, in)
	if err != nil {
		return nil, errors.Join(err, a.closers.close())
	}
	a.loaded.Store(&loadedConfig{config: c, hash: hashOf(c, in.zones), at: time.Now(),
		warned: warningsOf(report), warnings: in.received.warnings(warningsOf(report)),
		purges: in.purges, zones: in.zones, in: in})
	a.received, a.keys = in.received, in.keys
	a.follow(c)
	a.tellSecondaries(a.loaded.Load())
	a.metrics.config(a.loaded.Load())
	if o.Root {
		a.log.Warn("running as root", "reason", "user: "+rootWarning)
	}
	for _, w := range a.loaded.Load().warnings {
		a.log.Warn("config warned", "reason", w)
	}
	return a, nil
}

// Addrs are the addresses that a node is bound to; those of roles it does not have are empty.
type Addrs struct {
	DNS   []netip.AddrPort // UDP and TCP
	Edge  []net.Addr
	Admin net.Addr // nil without the role
}

// Addrs returns the bound addresses, with the real ports where the config says 0.
func (a *App) Addrs() Addrs {
	var out Addrs
	if a.parts.dns != nil {
		out.DNS = a.parts.dns.Addrs()
	}
	if a.parts.edge != nil {
		out.Edge = a.parts.edge.Addrs()
	}
	if a.parts.admin != nil {
		out.Admin = a.parts.admin.Addr()
	}
	return out
}

// logger builds the node's logger.
func logger(c config.Log, w io.Writer) *slog.Logger {
	var level slog.Level
	_ = level.UnmarshalText([]byte(c.Level)) // the config was checked
	o := &slog.HandlerOptions{Level: level}
	if c.Format == "json" {
		return slog.New(slog.NewJSONHandler(w, o))
	}
	return slog.New(slog.NewTextHandler(w, o))
}

// StandardLog takes lines of the standard library's logger into the node's log, as warnings:
// what package net/http has to say of an odd peer is no fault of ours.
func (a *App) StandardLog() io.Writer {
	return slog.NewLogLogger(a.log.Handler(), slog.LevelWarn).Writer()
}

// closers free what parts hold, newest first.
type closers []func() error

func (c *closers) push(f func() error) { *c = append(*c, f) }

func (c *closers) close() error {
	var errs []error
	for i := len(*c) - 1; i >= 0; i-- {
		errs = append(errs, (*c)[i]())
	}
	*c = nil
	return errors.Join(errs...)
}
