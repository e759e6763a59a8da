// Package suite holds every provider to the contract of package providers, against a fake API
// that can be made to fail in all the ways that vendors do. It is for tests alone.
package suite

import (
	"bytes"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"pointsman/internal/secret"
	"pointsman/providers"
	"pointsman/providers/providertest"
)

// Canary is the token of the suite: it may appear in no error, log or rendering.
const Canary = "canary-T0KEN-7f3a9c51d2"

// Double is a fake API, as package providertest has them.
type Double interface {
	http.Handler
	Inject(faults ...providertest.Fault)
	Calls() int
	Applied() []providertest.Applied
}

// Setup is one provider and its fake.
type Setup struct {
	Vendor string
	// NewDouble returns a fresh fake that knows the token Canary.
	NewDouble func() Double
	// NewProvider returns a provider of that name at the base URL of a server that runs the
	// fake (without a path).
	NewProvider func(Options) (providers.Provider, error)
}

// Options are what NewProvider passes on.
type Options struct {
	Name    string
	RootURL string // scheme, host and port
	Token   secret.String
	Client  *http.Client
	Logger  *slog.Logger
}

// rig is a provider that talks to a fake, fresh for each test.
type rig struct {
	providers.Provider
	double  Double
	server  *server
	setup   Setup
	options Options
	logs    *lockedBuffer
}

const name = "under-test"

func newRig(t *testing.T, s Setup) *rig {
	t.Helper()
	d := s.NewDouble()
	r := &rig{double: d, server: newServer(t, d), setup: s, logs: &lockedBuffer{}}
	transport := &http.Transport{}
	t.Cleanup(transport.CloseIdleConnections)
	r.options = Options{
		Name: name, RootURL: r.server.URL, Token: secret.New(Canary),
		Client: &http.Client{Transport: transport},
		Logger: slog.New(slog.NewTextHandler(r.logs, &slog.HandlerOptions{Level: slog.LevelDebug})),
	}
	r.Provider = r.build(t, r.options)
	return r
}

func (r *rig) build(t *testing.T, o Options) providers.Provider {
	t.Helper()
	p, err := r.setup.NewProvider(o)
	if err != nil {
		t.Fatalf("building the provider: %v", err)
	}
	return p
}

// Run holds the provider to the contract.
func Run(t *testing.T, s Setup) {
	for _, c := range []struct {
		name string
		test func(*testing.T, Setup)
	}{
		{"it declares every kind", declares},
		{"each native kind takes effect in one call", natives},
		{"what it cannot do it refuses without a call", refuses},
		{"a full batch passes and a longer one does not", limits},
		{"each fault has its class and a repeat works", faults},
		{"a wrong token is an auth error", wrongToken},
		{"a call that was cancelled first is not unknown", cancelled},
		{"a server that is not there is not unknown", unreachable},
		{"a deadline ends a call that hangs", deadlines},
		{"it works over TLS and HTTP/2", overHTTP2},
		{"many calls at once all take effect", concurrent},
		{"the token shows nowhere", canary},
	} {
		t.Run(c.name, func(t *testing.T) { c.test(t, s) })
	}
}

// Batch returns a batch of n normalised items of a kind, none for Everything.
func Batch(k providers.Kind, n int) providers.Batch {
	b := providers.Batch{PurgeID: "01TEST", RepeatKey: "key", Kind: k}
	form := map[providers.Kind]string{
		providers.URL:    "https://www.example.com/a%%20b/%d.css?v=1&w=%%22x",
		providers.Tag:    "tag-%d/x.y",
		providers.Prefix: "www.example.com/img/%d/",
		providers.Host:   "h%d.example.com",
	}[k]
	for i := range n {
		if k != providers.Everything {
			b.Items = append(b.Items, fmt.Sprintf(form, i))
		}
	}
	return b
}

// want is the effect that a batch must have.
func want(b providers.Batch) providertest.Applied {
	return providertest.Applied{Kind: b.Kind, Items: b.Items, Soft: b.Soft}
}

func diffApplied(got []providertest.Applied, want ...providertest.Applied) string {
	return cmp.Diff(want, got, cmpopts.IgnoreFields(providertest.Applied{}, "At"),
		cmpopts.EquateEmpty())
}

// problem checks what every error must be and returns it.
func problem(t *testing.T, err error) *providers.Error {
	t.Helper()
	var e *providers.Error
	if !errors.As(err, &e) {
		t.Fatalf("error %v (%T) is no *providers.Error", err, err)
	}
	if e.Provider != name || e.Operation == "" || e.Class == "" {
		t.Errorf("provider %q, operation %q, class %q: want all three", e.Provider, e.Operation,
			e.Class)
	}
	if len(e.Message) > providers.MaxMessage || e.Message == "" {
		t.Errorf("message of %d bytes: %q", len(e.Message), e.Message)
	}
	if strings.Contains(fmt.Sprintf("%v %+v %#v", err, e, e), Canary) {
		t.Errorf("the error shows the token: %v", err)
	}
	return e
}

func declares(t *testing.T, s Setup) {
	r := newRig(t, s)
	if r.Name() != name || r.Vendor() != s.Vendor {
		t.Errorf("name %q, vendor %q", r.Name(), r.Vendor())
	}
	caps := r.Capabilities()
	if caps.Source == "" {
		t.Error("no source of the capabilities")
	}
	for _, k := range providers.Kinds() {
		c, ok := caps.Kinds[k]
		switch {
		case !ok:
			t.Errorf("%s: not declared", k)
		case c.Native != (c.MaxBatch > 0):
			t.Errorf("%s: native %v with %d a call", k, c.Native, c.MaxBatch)
		case !c.Native && (c.Soft || c.Note == ""):
			t.Errorf("%s: not native, yet soft or without advice: %+v", k, c)
		}
	}
}

func natives(t *testing.T, s Setup) {
	for k, c := range newRig(t, s).Capabilities().Kinds {
		for _, soft := range []bool{false, true} {
			if !c.Native || (soft && !c.Soft) {
				continue
			}
			t.Run(fmt.Sprintf("%s soft=%v", k, soft), func(t *testing.T) {
				r := newRig(t, s)
				b := Batch(k, min(c.MaxBatch, 2))
				b.Soft = soft
				before := slices.Clone(b.Items)
				if _, err := r.Purge(t.Context(), b); err != nil {
					t.Fatal(err)
				}
				if d := diffApplied(r.double.Applied(), want(b)); d != "" {
					t.Errorf("effect (-want +got):\n%s", d)
				}
				if r.double.Calls() != 1 {
					t.Errorf("%d calls for one batch", r.double.Calls())
				}
				if d := cmp.Diff(before, b.Items); d != "" {
					t.Errorf("the batch was changed:\n%s", d)
				}
			})
		}
	}
}

func refuses(t *testing.T, s Setup) {
	r := newRig(t, s)
	try := func(what string, b providers.Batch, class providers.Class) {
		t.Helper()
		_, err := r.Purge(t.Context(), b)
		if e := problem(t, err); e.Class != class || e.Unknown || e.Temporary() {
			t.Errorf("%s: %v (unknown %v): want %s", what, e, e.Unknown, class)
		}
	}
	for _, k := range providers.Kinds() {
		c := r.Capabilities().Kinds[k]
		if !c.Native {
			try("kind "+string(k), Batch(k, 1), providers.Unsupported)
			continue
		}
		if !c.Soft {
			b := Batch(k, 1)
			b.Soft = true
			try("soft "+string(k), b, providers.Unsupported)
		}
		if k != providers.Everything {
			try("no items of "+string(k), providers.Batch{Kind: k}, providers.Invalid)
			try("an empty item of "+string(k),
				providers.Batch{Kind: k, Items: []string{""}}, providers.Invalid)
		}
	}
	try("everything with items",
		providers.Batch{Kind: providers.Everything, Items: []string{"x"}}, providers.Invalid)
	try("an unknown kind", providers.Batch{Kind: "all", Items: []string{"x"}}, providers.Invalid)
	try("no kind", providers.Batch{}, providers.Invalid)
	for _, raw := range []string{"https://www.example.com/*", "HTTP://www.example.com/",
		"https://www.example.com/../service/x/purge_all", "/a.css", "www.example.com/a"} {
		try(raw, providers.Batch{Kind: providers.URL, Items: []string{raw}}, providers.Invalid)
	}
	try("a tag with a space",
		providers.Batch{Kind: providers.Tag, Items: []string{"a b"}}, providers.Invalid)
	if r.double.Calls() != 0 {
		t.Errorf("%d calls were made for batches that were refused", r.double.Calls())
	}
}

func limits(t *testing.T, s Setup) {
	for k, c := range newRig(t, s).Capabilities().Kinds {
		if !c.Native || k == providers.Everything {
			continue
		}
		t.Run(string(k), func(t *testing.T) {
			r := newRig(t, s)
			full := Batch(k, c.MaxBatch)
			if _, err := r.Purge(t.Context(), full); err != nil {
				t.Fatal(err)
			}
			if d := diffApplied(r.double.Applied(), want(full)); d != "" {
				t.Errorf("effect (-want +got):\n%s", d)
			}
			_, err := r.Purge(t.Context(), Batch(k, c.MaxBatch+1))
			if e := problem(t, err); e.Class != providers.TooLarge {
				t.Errorf("one more: %v: want %s", e, providers.TooLarge)
			}
			if r.double.Calls() != 1 {
				t.Errorf("%d calls: want 1", r.double.Calls())
			}
		})
	}
}

func concurrent(t *testing.T, s Setup) {
	const calls = 20
	r := newRig(t, s)
	var all sync.WaitGroup
	for i := range calls {
		all.Go(func() {
			b := providers.Batch{Kind: providers.Tag, Items: []string{fmt.Sprintf("tag-%d", i)}}
			if _, err := r.Purge(t.Context(), b); err != nil {
				t.Error(err)
			}
		})
	}
	all.Wait()
	seen := map[string]bool{}
	for _, a := range r.double.Applied() {
		seen[a.Items[0]] = true
	}
	if len(seen) != calls || r.double.Calls() != calls {
		t.Errorf("%d different purges in %d calls: want %d of both", len(seen), r.double.Calls(),
			calls)
	}
}

func wrongToken(t *testing.T, s Setup) {
	r := newRig(t, s)
	o := r.options
	o.Token = secret.New("another-token-0001")
	_, err := r.build(t, o).Purge(t.Context(), Batch(providers.Tag, 1))
	e := problem(t, err)
	if e.Class != providers.Auth || e.Temporary() || e.Unknown {
		t.Errorf("%v: want %s", e, providers.Auth)
	}
	if strings.Contains(err.Error(), "another-token-0001") {
		t.Errorf("the error shows the token: %v", err)
	}
	if len(r.double.Applied()) != 0 {
		t.Error("a purge with a wrong token took effect")
	}
}

func canary(t *testing.T, s Setup) {
	r := newRig(t, s)
	for _, f := range []providertest.Fault{
		providertest.None, providertest.Unauthorized, providertest.ServerError,
		providertest.ResetAfter, providertest.Garbage,
	} {
		r.double.Inject(f)
		_, err := r.Purge(t.Context(), Batch(providers.Tag, 1))
		r.options.Logger.Info("purge answered", "err", err, "provider", r.Provider)
	}
	text := r.logs.String() + fmt.Sprintf("%v %+v %#v", r.Provider, r.Provider, r.Provider)
	if strings.Contains(text, Canary) {
		t.Errorf("the token shows in logs or renderings:\n%s", text)
	}
	if !strings.Contains(text, "batch taken") {
		t.Error("the log of a batch that was taken is missing, so this test proves little")
	}
}

// lockedBuffer is a bytes.Buffer for several goroutines.
type lockedBuffer struct {
	mu sync.Mutex // guards b
	b  bytes.Buffer
}

func (l *lockedBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *lockedBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}
