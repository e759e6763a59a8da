package purge_test

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"pointsman/internal/store"
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

// memory is a store.Store in memory, for bubbles of fake time, in which no file may be waited
// for. It keeps the contract, and fails as fault tells it to: before or after taking effect.
type memory struct {
	mu       sync.Mutex // guards all below
	keys     map[string]memoryEntry
	leases   map[string]store.Lease
	revision uint64
	watches  []chan struct{}
	// fault is asked before each call and says whether it fails, and whether a write takes
	// effect all the same. nil: never.
	fault func(operation, key string) (fail, applied bool)
}

type memoryEntry struct {
	store.Entry
	expires time.Time
}

func newMemory() *memory {
	return &memory{keys: map[string]memoryEntry{}, leases: map[string]store.Lease{}}
}

func (m *memory) trouble(operation, key string) (err error, applied bool) {
	if m.fault == nil {
		return nil, false
	}
	if fail, applied := m.fault(operation, key); fail {
		return fmt.Errorf("%w: injected at %s %s", store.ErrUnavailable, operation, key), applied
	}
	return nil, false
}

// setFault replaces the fault; nil mends the store.
func (m *memory) setFault(f func(operation, key string) (fail, applied bool)) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.fault = f
}

// away makes every call fail without effect.
func away(string, string) (bool, bool) { return true, false }

func (m *memory) live(key string) (memoryEntry, bool) {
	e, ok := m.keys[key]
	if ok && !e.expires.IsZero() && !time.Now().Before(e.expires) {
		delete(m.keys, key)
		return memoryEntry{}, false
	}
	return e, ok
}

func (m *memory) Get(ctx context.Context, key string) (store.Entry, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if err, _ := m.trouble("get", key); err != nil {
		return store.Entry{}, err
	}
	e, ok := m.live(key)
	if !ok {
		return store.Entry{}, fmt.Errorf("%w: %s", store.ErrNotFound, key)
	}
	return e.Entry, nil
}

func (m *memory) Put(
	ctx context.Context, key string, value []byte, o store.PutOptions,
) (uint64, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	fault, applied := m.trouble("put", key)
	if fault != nil && !applied {
		return 0, fault
	}
	e, ok := m.live(key)
	if o.Expect != nil && (ok && e.Revision != *o.Expect || !ok && *o.Expect != 0) {
		return 0, fmt.Errorf("%w: %s", store.ErrConflict, key)
	}
	m.revision++
	e = memoryEntry{Entry: store.Entry{
		Key: key, Value: slices.Clone(value), Revision: m.revision}}
	if o.TTL > 0 {
		e.expires = time.Now().Add(o.TTL)
	}
	m.keys[key] = e
	m.signal()
	return m.revision, fault
}

func (m *memory) Delete(ctx context.Context, key string, expect *uint64) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	fault, applied := m.trouble("delete", key)
	if fault != nil && !applied {
		return fault
	}
	e, ok := m.live(key)
	switch {
	case !ok && expect != nil:
		return store.ErrNotFound
	case ok && expect != nil && *expect != e.Revision:
		return store.ErrConflict
	}
	delete(m.keys, key)
	m.signal()
	return fault
}

func (m *memory) List(ctx context.Context, prefix string) ([]store.Entry, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if err, _ := m.trouble("list", prefix); err != nil {
		return nil, err
	}
	var out []store.Entry
	for _, key := range slices.Sorted(maps.Keys(m.keys)) {
		if e, ok := m.live(key); ok && strings.HasPrefix(key, prefix) {
			out = append(out, e.Entry)
		}
	}
	return out, nil
}

func (m *memory) Acquire(
	ctx context.Context, name, holder string, ttl time.Duration,
) (store.Lease, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if err, _ := m.trouble("acquire", name); err != nil {
		return store.Lease{}, err
	}
	l, now := m.leases[name], time.Now()
	if l.Holder != holder || !now.Before(l.Expires) {
		if now.Before(l.Expires) {
			return store.Lease{}, store.ErrHeld
		}
		l = store.Lease{Name: name, Holder: holder, Token: l.Token + 1}
	}
	l.Expires = now.Add(ttl)
	m.leases[name] = l
	return l, nil
}

func (m *memory) Release(ctx context.Context, l store.Lease) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if err, _ := m.trouble("release", l.Name); err != nil {
		return err
	}
	if have := m.leases[l.Name]; have.Holder == l.Holder && have.Token == l.Token {
		have.Expires = time.Now()
		m.leases[l.Name] = have
	}
	return nil
}

func (m *memory) Watch(ctx context.Context, prefix string) <-chan struct{} {
	m.mu.Lock()
	defer m.mu.Unlock()
	in, out := make(chan struct{}, 1), make(chan struct{})
	m.watches = append(m.watches, in)
	go func() { // ends with ctx, as the contract says
		defer close(out)
		for {
			select {
			case <-ctx.Done():
				return
			case <-in:
			}
			select {
			case <-ctx.Done():
				return
			case out <- struct{}{}:
			}
		}
	}()
	return out
}

// signal tells every watch. The caller holds mu.
func (m *memory) signal() {
	for _, w := range m.watches {
		select {
		case w <- struct{}{}:
		default:
		}
	}
}

// wipe loses everything, as a restarted Redis without persistence does.
func (m *memory) wipe() {
	m.mu.Lock()
	defer m.mu.Unlock()
	clear(m.keys)
	clear(m.leases)
}

var errNoLogs = errors.New("this store keeps no logs: purge uses none")

func (m *memory) Append(context.Context, string, []byte) (uint64, error) { return 0, errNoLogs }

func (m *memory) Read(context.Context, string, uint64, int) ([]store.Record, error) {
	return nil, errNoLogs
}
func (m *memory) Trim(context.Context, string, uint64) error { return errNoLogs }
func (m *memory) Close() error                               { return nil }

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
