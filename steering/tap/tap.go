package tap

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"
	"slices"
	"strings"
	"sync"

	"github.com/prometheus/client_golang/prometheus"
)

// Defaults of rotation.
const (
	defaultMaxSize = 100 << 20
	defaultKeep    = 5
	defaultTables  = 200
)

// Names of the sinks, in metrics and logs.
const (
	sinkDnstap    = "dnstap"
	sinkDecisions = "decisions"
)

// Config is what a Tap needs. Without either sink it has nothing to do and is refused.
type Config struct {
	Dnstap    *DnstapConfig
	Decisions *DecisionConfig
	// Logger gets faults, each kind once a minute; nil: nothing is logged.
	Logger *slog.Logger
	// Registerer gets the metrics; nil: they are not registered.
	Registerer prometheus.Registerer
}

// DnstapConfig says where messages go.
type DnstapConfig struct {
	// To is unix:PATH or tcp:HOST:PORT of a reader that speaks Frame Streams, or file:PATH.
	To string
	// Sample writes one event of so many, at least 1, exactly, for each goroutine that answers.
	Sample   int
	Messages Messages // ""; Responses
	Identity string   // which server says so; empty: nothing
	Version  string   // of the software; empty: nothing
	// MaxSize is where a file is put aside, in bytes, 0: 100 MiB; Keep how many of those stay,
	// 0: 5.
	MaxSize int64
	Keep    int
}

// Tap samples what is answered and hands it to its sinks. Its methods are safe for concurrent
// use.
type Tap struct {
	cfg    Config
	dnstap *dnstap // nil: there is none
	feeds  []*feed
	tables *tables // nil without a decision log

	mu      sync.Mutex // guards sources, and the lanes of feeds until Run
	sources map[int]*Source
}

// New checks the config and registers the metrics. It opens nothing: Run does.
func New(cfg Config) (*Tap, error) {
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	t := &Tap{cfg: cfg, sources: make(map[int]*Source)}
	if cfg.Dnstap == nil && cfg.Decisions == nil {
		return nil, errors.New("a tap without a sink")
	}
	if c := cfg.Dnstap; c != nil {
		if err := t.addDnstap(*c); err != nil {
			return nil, err
		}
	}
	if c := cfg.Decisions; c != nil {
		if err := t.addDecisions(*c); err != nil {
			return nil, err
		}
	}
	if cfg.Registerer != nil {
		if err := cfg.Registerer.Register(newMetrics(t)); err != nil {
			return nil, fmt.Errorf("registering metrics: %w", err)
		}
	}
	return t, nil
}

func (t *Tap) addDnstap(c DnstapConfig) error {
	c.Messages = cmp.Or(c.Messages, Responses)
	if c.Sample < 1 || !slices.Contains([]Messages{Responses, Queries, Both}, c.Messages) {
		return fmt.Errorf("dnstap of one event of %d, messages %q", c.Sample, c.Messages)
	}
	out, err := t.outputFor(c)
	if err != nil {
		return err
	}
	f := newFeed(sinkDnstap, out, t.cfg.Logger)
	t.dnstap = &dnstap{identity: c.Identity, version: c.Version, messages: c.Messages}
	f.encode = t.dnstap.append
	t.feeds = append(t.feeds, f)
	return nil
}

// outputFor makes the output that a destination names.
func (t *Tap) outputFor(c DnstapConfig) (output, error) {
	kind, at, _ := strings.Cut(c.To, ":")
	switch {
	case at == "":
	case kind == "file":
		return &file{name: at, maxSize: cmp.Or(c.MaxSize, defaultMaxSize),
			keep: cmp.Or(c.Keep, defaultKeep), header: control(controlStart),
			trailer: control(controlStop)}, nil
	case kind == "unix", kind == "tcp":
		return &socket{network: kind, address: at, connected: func() {
			t.cfg.Logger.Info("dnstap connected", "address", c.To)
		}}, nil
	}
	return nil, fmt.Errorf("dnstap to %q: want unix:PATH, tcp:HOST:PORT or file:PATH", c.To)
}

func (t *Tap) addDecisions(c DecisionConfig) error {
	c.Client = cmp.Or(c.Client, FullClient)
	if c.Sample < 1 || !slices.Contains([]Client{FullClient, ClientPrefix, NoClient}, c.Client) {
		return fmt.Errorf("decision log of one event of %d, client %q", c.Sample, c.Client)
	}
	if c.File == "" || !filepath.IsAbs(c.File) {
		return fmt.Errorf("decision log in %q, which is no absolute path", c.File)
	}
	t.tables = newTables(c.File+".tables", cmp.Or(c.Tables, defaultTables), t.cfg.Logger)
	d := decisions{client: c.Client, tables: t.tables, sample: c.Sample}
	f := newFeed(sinkDecisions, &file{name: c.File, maxSize: cmp.Or(c.MaxSize, defaultMaxSize),
		keep: cmp.Or(c.Keep, defaultKeep)}, t.cfg.Logger)
	f.encode = d.append
	t.feeds = append(t.feeds, f)
	return nil
}

// Source returns the source of the worker of a number; 0 is shared, by connections for example,
// all others are for one goroutine. Each number has one source, with memory of some 2 MiB for
// each sink. Call it before Run.
func (t *Tap) Source(worker int) *Source {
	t.mu.Lock()
	defer t.mu.Unlock()
	if s := t.sources[worker]; s != nil {
		return s
	}
	s := &Source{worker: worker, shared: worker == 0}
	s.messages.open(0)
	s.decision.open(0)
	for _, f := range t.feeds {
		l, every := &s.messages, 0
		if f.name == sinkDecisions {
			l, every = &s.decision, t.cfg.Decisions.Sample
		} else {
			every = t.cfg.Dnstap.Sample
		}
		l.open(every)
		f.lanes = append(f.lanes, l)
	}
	t.sources[worker] = s
	return s
}

// Run writes events until ctx ends, then those that are left, and closes the sinks. Zone returns
// the apex of the zone above a name, both on the wire; nil: none. It is called by one goroutine.
// Run always returns nil: what can't be written is counted and logged. Call it once, after the
// last Source.
func (t *Tap) Run(ctx context.Context, zone func(name []byte) []byte) error {
	if t.dnstap != nil {
		t.dnstap.zone = zone
	}
	var wg sync.WaitGroup
	for _, f := range t.feeds {
		wg.Go(func() { f.run(ctx) })
	}
	wg.Wait()
	return nil
}
