package purge

import (
	"context"
	crand "crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"pointsman/internal/store"
	"pointsman/providers"
)

// What to do when a soft purge is asked of a provider that has only hard ones.
const (
	SoftHard   = "hard"   // purge hard, and say so
	SoftRefuse = "refuse" // send nothing: unsupported
)

// Target is a provider and how to use it. Its fields are not changed after it was handed over.
type Target struct {
	Provider providers.Provider
	// AllowWiden lets a purge by prefix or host that the provider lacks become a purge of
	// everything there.
	AllowWiden bool
	// SoftFallback is SoftHard (also when empty) or SoftRefuse.
	SoftFallback string
	// Backends are what verification fetches through; empty: this provider is not verified.
	Backends []FetchVia
	// Origin is where the truth is fetched from, for comparison. With an empty Address
	// verification judges by the age of what a backend serves alone.
	Origin FetchVia
	// Rate is the most calls a second on this node, with Burst at once; 0 means no limit.
	Rate  float64
	Burst int // default 1 when Rate is set
	// Concurrency is the most calls at the same time on this node; default 4.
	Concurrency int
}

// FetchVia says how to fetch a URL through one backend instead of through DNS.
type FetchVia struct {
	Backend string // its name, for people
	// Address is "host:port" or "host" to dial in place of the URL's own host, whose name
	// stays in Host and SNI.
	Address string
	// Host replaces the URL's host in the Host header and SNI when not empty.
	Host string
	// Scheme replaces the URL's scheme when not empty: a backend may speak only http.
	Scheme string
}

// Fetched is one answer, as a client would get it.
type Fetched struct {
	Status     int
	ETag       string        // as received; empty: none
	Age        time.Duration // RFC 9111 §5.1, whole seconds
	AgeKnown   bool          // false when the answer had no readable Age
	BodySHA256 string        // hex; empty when the body was not read whole
	At         time.Time     // when the answer's header arrived
}

// Fetcher fetches a URL through a backend. It is called concurrently and returns before its
// context's deadline. An answer with any status is no error.
type Fetcher interface {
	Fetch(ctx context.Context, via FetchVia, url string) (Fetched, error)
}

// Config makes a Service. The zero value of each optional field means its default.
type Config struct {
	// Node is this node's name, unique among those that share a store.
	Node string
	// Local is this node's own journal, synced to disk by the time a write returns. Required.
	Local store.Store
	// Shared is what the nodes have in common; nil for a node that is alone. It may be away at
	// any time.
	Shared  store.Store
	Targets []Target // see SetTargets
	Fetcher Fetcher  // nil: nothing is verified
	// Verify asks to look at what the backends serve before a delivery is final.
	Verify bool
	// RequireReplicated refuses a purge that the shared store did not take.
	RequireReplicated bool

	Deadline  time.Duration // after which an unsettled delivery fails; default 24 h
	Retention time.Duration // how long finished purges can be looked up; default 7 days
	MaxOpen   int           // most unfinished purges on this node; default 100,000
	// CallTimeout bounds one provider call; default 30 s.
	CallTimeout time.Duration
	// LeaseTTL is after what silence another node takes a delivery over; default 90 s, at
	// least twice CallTimeout.
	LeaseTTL time.Duration
	// Tick is how often deadlines, gauges and the shared store are looked at; default 1 s.
	Tick time.Duration
	// SyncEvery is how often all unfinished purges are compared with the shared store when
	// nothing hints at a change; default 1 min.
	SyncEvery time.Duration
	// SharedTimeout bounds one call to the shared store; default 1 s.
	SharedTimeout time.Duration
	// StopGrace is how long a provider call in hand may go on when Run is told to end; default
	// 5 s.
	StopGrace time.Duration

	Now        func() time.Time      // default time.Now
	Rand       *rand.Rand            // ids and jitter; default seeded by the system. New owns it.
	Logger     *slog.Logger          // nil: discard
	Registerer prometheus.Registerer // nil: no metrics
}

// withDefaults returns the config with every default filled in, or every mistake in it.
func (c Config) withDefaults() (Config, error) {
	var errs []error
	if c.Node == "" {
		errs = append(errs, errors.New("no Node is given"))
	}
	if c.Local == nil {
		errs = append(errs, errors.New("no Local store is given"))
	}
	if c.Shared == c.Local {
		c.Shared = nil // one store cannot replicate itself
	}
	for _, d := range []struct {
		field *time.Duration
		value time.Duration
	}{
		{&c.Deadline, 24 * time.Hour}, {&c.Retention, 7 * 24 * time.Hour},
		{&c.CallTimeout, 30 * time.Second}, {&c.LeaseTTL, 90 * time.Second},
		{&c.Tick, time.Second}, {&c.SyncEvery, time.Minute},
		{&c.SharedTimeout, time.Second}, {&c.StopGrace, 5 * time.Second},
	} {
		if *d.field <= 0 {
			*d.field = d.value
		}
	}
	if c.LeaseTTL < 2*c.CallTimeout {
		errs = append(errs, fmt.Errorf("LeaseTTL %v is below twice CallTimeout %v",
			c.LeaseTTL, c.CallTimeout))
	}
	if c.RequireReplicated && c.Shared == nil {
		errs = append(errs, errors.New("RequireReplicated needs a Shared store"))
	}
	if c.MaxOpen <= 0 {
		c.MaxOpen = 100_000
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	if c.Rand == nil {
		c.Rand = newRand(crand.Read)
	}
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	return c, errors.Join(errs...)
}

// checkTargets refuses a list that cannot be used.
func checkTargets(targets []Target) error {
	var errs []error
	seen := map[string]bool{}
	for i, t := range targets {
		if t.Provider == nil {
			errs = append(errs, fmt.Errorf("targets[%d]: Provider is nil", i))
			continue
		}
		name := t.Provider.Name()
		if seen[name] {
			errs = append(errs, fmt.Errorf("targets[%d]: provider %q appears twice", i, name))
		}
		seen[name] = true
		switch t.SoftFallback {
		case "", SoftHard, SoftRefuse:
		default:
			errs = append(errs, fmt.Errorf("provider %q: SoftFallback %q is none of hard, refuse",
				name, t.SoftFallback))
		}
		if t.Rate < 0 || t.Burst < 0 || t.Concurrency < 0 {
			errs = append(errs, fmt.Errorf("provider %q: a negative limit", name))
		}
	}
	return errors.Join(errs...)
}
