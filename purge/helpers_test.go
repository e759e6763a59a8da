package purge_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"pointsman/internal/store"
	"pointsman/internal/store/storetest"
	"pointsman/providers"
	"pointsman/purge"
)

// TestMain runs the child of the kill test when this process is one.
func TestMain(m *testing.M) {
	if os.Getenv(killChildEnv) != "" {
		os.Exit(killChild())
	}
	goleak.VerifyTestMain(m)
}

// memory is a store in memory that fails as fault tells it to: before or after taking effect.
type memory struct {
	*storetest.Memory
	mu sync.Mutex // guards fault
	// fault is asked before each call and says whether it fails, and whether a write takes
	// effect all the same. nil: never.
	fault func(operation, key string) (fail, applied bool)
}

func newMemory() *memory { return &memory{Memory: storetest.NewMemory(nil)} }

// setFault replaces the fault; nil mends the store.
func (m *memory) setFault(f func(operation, key string) (fail, applied bool)) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.fault = f
}

// away makes every call fail without effect.
func away(string, string) (bool, bool) { return true, false }

// troubled makes a call under the fault of the moment.
func troubled[T any](m *memory, operation, key string, call func() (T, error)) (T, error) {
	var none T
	fail, applied := false, true
	m.mu.Lock()
	if m.fault != nil {
		fail, applied = m.fault(operation, key)
	}
	m.mu.Unlock()
	if !fail {
		return call()
	}
	if applied {
		if v, err := call(); err != nil {
			return v, err
		}
	}
	return none, fmt.Errorf("%w: injected at %s %s", store.ErrUnavailable, operation, key)
}

func (m *memory) Get(ctx context.Context, key string) (store.Entry, error) {
	return troubled(m, "get", key, func() (store.Entry, error) { return m.Memory.Get(ctx, key) })
}

func (m *memory) Put(
	ctx context.Context, key string, value []byte, o store.PutOptions,
) (uint64, error) {
	return troubled(m, "put", key, func() (uint64, error) {
		return m.Memory.Put(ctx, key, value, o)
	})
}

func (m *memory) Delete(ctx context.Context, key string, expect *uint64) error {
	_, err := troubled(m, "delete", key, func() (any, error) {
		return nil, m.Memory.Delete(ctx, key, expect)
	})
	return err
}

func (m *memory) List(ctx context.Context, prefix string) ([]store.Entry, error) {
	return troubled(m, "list", prefix, func() ([]store.Entry, error) {
		return m.Memory.List(ctx, prefix)
	})
}

func (m *memory) Acquire(
	ctx context.Context, name, holder string, ttl time.Duration,
) (store.Lease, error) {
	return troubled(m, "acquire", name, func() (store.Lease, error) {
		return m.Memory.Acquire(ctx, name, holder, ttl)
	})
}

func (m *memory) Release(ctx context.Context, l store.Lease) error {
	_, err := troubled(m, "release", l.Name, func() (any, error) {
		return nil, m.Memory.Release(ctx, l)
	})
	return err
}

// cdn is a provider that records what it applied and answers as its script says.
type cdn struct {
	name string
	caps providers.Capabilities
	// script decides about a call, from 1; nil takes everything. applied says whether the purge
	// runs; it is independent of the answer, as on a network. It is called concurrently.
	script func(call int, b providers.Batch) (applied bool, r providers.Receipt, err error)

	mu      sync.Mutex // guards all below
	calls   []providers.Batch
	applied []application
}

// application is one batch that the provider ran.
type application struct {
	providers.Batch
	at time.Time
}

// full is what a provider that can do everything has.
func full(batch int) providers.Capabilities {
	kinds := map[providers.Kind]providers.Capability{}
	for _, k := range providers.Kinds() {
		kinds[k] = providers.Capability{Native: true, Soft: true, MaxBatch: batch}
	}
	return providers.Capabilities{Kinds: kinds}
}

func newCDN(name string) *cdn { return &cdn{name: name, caps: full(30)} }

func (c *cdn) Name() string                         { return c.name }
func (c *cdn) Vendor() string                       { return "test" }
func (c *cdn) Capabilities() providers.Capabilities { return c.caps }

func (c *cdn) Purge(ctx context.Context, b providers.Batch) (providers.Receipt, error) {
	c.mu.Lock()
	c.calls = append(c.calls, b)
	n, script := len(c.calls), c.script
	c.mu.Unlock()
	applied, receipt, err := true, providers.Receipt{Ref: fmt.Sprintf("%s-%d", c.name, n)}, error(nil)
	if script != nil {
		applied, receipt, err = script(n, b)
	}
	if applied {
		c.mu.Lock()
		c.applied = append(c.applied, application{Batch: b, at: time.Now()})
		c.mu.Unlock()
	}
	return receipt, err
}

// mend makes the provider take everything from now on.
func (c *cdn) mend() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.script = nil
}

func (c *cdn) callCount() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return len(c.calls)
}

// appliedOf returns what was applied of one purge.
func (c *cdn) appliedOf(id string) []application {
	c.mu.Lock()
	defer c.mu.Unlock()
	var out []application
	for _, a := range c.applied {
		if a.PurgeID == id {
			out = append(out, a)
		}
	}
	return out
}

// failing is an error of a class, with a hint.
func failing(class providers.Class, after time.Duration) *providers.Error {
	return &providers.Error{Provider: "cdn", Operation: "POST /purge", Class: class,
		RetryAfter: after, Message: "scripted"}
}

// node is a service with its parts, running until the test ends or stop is called.
type node struct {
	*purge.Service
	local *memory
	stop  func()
}

// start runs a service. Nil parts of c get what a test wants: a memory and a seeded Rand.
func start(t *testing.T, c purge.Config, cdns ...*cdn) *node {
	t.Helper()
	if c.Node == "" {
		c.Node = "a"
	}
	local, ok := c.Local.(*memory)
	if !ok {
		local = newMemory()
		c.Local = local
	}
	if c.Rand == nil {
		c.Rand = rand.New(rand.NewPCG(1, 2))
	}
	for _, p := range cdns {
		c.Targets = append(c.Targets, purge.Target{Provider: p})
	}
	s, err := purge.New(c)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- s.Run(ctx) }()
	stopped := false
	n := &node{Service: s, local: local, stop: func() {
		if stopped {
			return
		}
		stopped = true
		cancel()
		if err := <-ended; err != nil {
			t.Errorf("Run ended with %v", err)
		}
	}}
	t.Cleanup(n.stop)
	return n
}

func submit(t *testing.T, s *purge.Service, r purge.Request) purge.Status {
	t.Helper()
	st, err := s.Submit(t.Context(), r)
	if err != nil {
		t.Fatalf("submitting %+v: %v", r, err)
	}
	return st
}

// wait returns the final status.
func wait(t *testing.T, s *purge.Service, id string) purge.Status {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Hour)
	defer cancel()
	st, err := s.Wait(ctx, id)
	if err != nil {
		t.Fatalf("waiting for %s: %v (%+v)", id, err, st)
	}
	return st
}

func tags(names ...string) purge.Request {
	return purge.Request{Kind: providers.Tag, Items: names}
}

func urls(names ...string) purge.Request {
	r := purge.Request{Kind: providers.URL}
	for _, n := range names {
		r.Items = append(r.Items, "https://www.example.com/"+n)
	}
	return r
}
