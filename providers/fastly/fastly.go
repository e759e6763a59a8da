// Package fastly speaks the purge API of Fastly behind the contract of package providers.
// A Batch flows in, one HTTP call goes out, a Receipt or a *providers.Error comes back. The
// package owns no goroutine and never retries.
package fastly

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"strings"
	"time"

	"pointsman/internal/secret"
	"pointsman/providers"
)

// Vendor is the kind of API this package speaks.
const Vendor = "fastly"

// DefaultBaseURL is Fastly's public API.
const DefaultBaseURL = "https://api.fastly.com"

// maxKeys is how many surrogate keys one call takes at most, and maxKeyBytes how long each may
// be ("must be less than 1024 bytes").
const (
	maxKeys     = 256
	maxKeyBytes = 1023
)

// Config is one Fastly service.
type Config struct {
	Name    string // the provider's name in the config; must not be empty
	BaseURL string // empty means DefaultBaseURL
	// ServiceID is the service whose tags and content are purged: letters and digits.
	ServiceID string
	// Token needs the scope purge_select for URLs and tags, purge_all for everything.
	Token secret.String
	// HTTPClient carries proxy and CA settings; nil means a sane one. It is copied.
	HTTPClient *http.Client
	Logger     *slog.Logger // nil discards
	// MaxKeys is how many tags go into one call, 1 to 256; 0 means 256.
	MaxKeys int
}

var _ providers.Provider = (*Provider)(nil)

// Provider purges one Fastly service. It is safe for concurrent use.
type Provider struct {
	name    string
	service string
	caps    providers.Capabilities
	http    *providers.Transport
	log     *slog.Logger
}

// Capabilities is what Fastly's API can do.
func Capabilities() providers.Capabilities { return capabilities(maxKeys) }

func capabilities(keys int) providers.Capabilities {
	const noWildcard = "Fastly has no wildcard purge; " +
		"give each object a tag for its %s at the origin and purge by that tag"
	return providers.Capabilities{
		Kinds: map[providers.Kind]providers.Capability{
			providers.URL: {Native: true, Soft: true, MaxBatch: 1,
				Note: "one URL a call, on every service of the account that has its host; " +
					"prefer tags for more than a few"},
			providers.Tag:    {Native: true, Soft: true, MaxBatch: keys},
			providers.Prefix: {Note: fmt.Sprintf(noWildcard, "prefix")},
			providers.Host:   {Note: fmt.Sprintf(noWildcard, "host")},
			providers.Everything: {Native: true, MaxBatch: 1,
				Note: "always hard; for a soft one give every object one constant tag"},
		},
		Propagation: 150 * time.Millisecond,
		Source:      "Fastly API reference: Purging; Fastly: Resource limits",
	}
}

// New checks the settings and returns a provider. It opens no connection.
func New(c Config) (*Provider, error) {
	if c.BaseURL == "" {
		c.BaseURL = DefaultBaseURL
	}
	if c.MaxKeys == 0 {
		c.MaxKeys = maxKeys
	}
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	err := check(c)
	var t *providers.Transport
	if err == nil {
		t, err = providers.NewTransport(providers.TransportConfig{
			Provider: c.Name, BaseURL: c.BaseURL, Token: c.Token, HTTPClient: c.HTTPClient,
			Sign: func(h http.Header, token secret.String) { h.Set("Fastly-Key", token.Reveal()) },
		})
	}
	if err != nil {
		return nil, fmt.Errorf("building Fastly provider %q: %w", c.Name, err)
	}
	return &Provider{name: c.Name, service: c.ServiceID, caps: capabilities(c.MaxKeys),
		http: t, log: c.Logger}, nil
}

func check(c Config) error {
	if c.Name == "" {
		return errors.New("no name")
	}
	if c.MaxKeys < 1 || c.MaxKeys > maxKeys {
		return fmt.Errorf("%d tags a call: want 1 to %d", c.MaxKeys, maxKeys)
	}
	// The id goes into the path of every call, so it must not be able to change its meaning.
	odd := strings.Trim(c.ServiceID,
		"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789")
	if c.ServiceID == "" || odd != "" || len(c.ServiceID) > 64 {
		return fmt.Errorf("service id %q: want the letters and digits that Fastly shows for it",
			c.ServiceID)
	}
	return nil
}

// Name is the provider's name in the config.
func (p *Provider) Name() string { return p.name }

// Vendor is "fastly".
func (p *Provider) Vendor() string { return Vendor }

// Capabilities is what this service can be asked.
func (p *Provider) Capabilities() providers.Capabilities { return p.caps }

// Purge makes one call for the batch. Every error is a *providers.Error.
func (p *Provider) Purge(ctx context.Context, b providers.Batch) (providers.Receipt, error) {
	if err := providers.CheckBatch(p.caps, b); err != nil {
		return providers.Receipt{}, providers.Named(p.name, err)
	}
	call, read := p.call(b)
	for _, key := range b.Items {
		if b.Kind == providers.Tag && len(key) > maxKeyBytes {
			return providers.Receipt{}, providers.Refuse(p.name, providers.Invalid,
				"a tag of %d bytes: Fastly takes up to %d", len(key), maxKeyBytes)
		}
	}
	start := time.Now()
	a, err := p.http.Do(ctx, call)
	if err != nil {
		return providers.Receipt{}, err
	}
	if !a.OK() {
		return providers.Receipt{}, p.refused(call, a)
	}
	ref, err := read(a, b.Items)
	if err != nil {
		return providers.Receipt{}, p.http.Unreadable(call, a, err.Error())
	}
	p.log.DebugContext(ctx, "batch taken", "provider", p.name, "purge_id", b.PurgeID,
		"took", time.Since(start))
	return providers.Receipt{Ref: ref, Estimate: p.caps.Propagation}, nil
}

// reader reads the answer to a purge of items and returns Fastly's id for it.
type reader func(a providers.Answer, items []string) (string, error)

// call builds the request of a checked batch and names the reader of its answer.
func (p *Provider) call(b providers.Batch) (providers.Call, reader) {
	c := providers.Call{Method: http.MethodPost, Header: http.Header{}}
	if b.Soft {
		c.Header.Set("Fastly-Soft-Purge", "1")
	}
	switch b.Kind {
	case providers.URL:
		// Host and path, as documented; the scheme is no part of Fastly's cache key. The
		// item is normalised: it has no dot segments that could climb out of /purge/.
		_, hostPath, _ := strings.Cut(b.Items[0], "://")
		c.Operation, c.Path = "POST /purge/{url}", "/purge/"+hostPath
		return c, readOne
	case providers.Tag:
		// Always the batch form: a key such as ".." in a path could be taken for a path.
		c.Operation, c.Path = "POST /service/{id}/purge", "/service/"+p.service+"/purge"
		c.Body = keys{SurrogateKeys: b.Items}
		return c, readKeys
	}
	c.Operation, c.Path = "POST /service/{id}/purge_all", "/service/"+p.service+"/purge_all"
	return c, readOne
}

// refused adds what Fastly says beyond the status: when the hour's budget is back.
func (p *Provider) refused(c providers.Call, a providers.Answer) *providers.Error {
	e := p.http.Refused(c, a, words(a))
	if e.Class == providers.Throttled && e.RetryAfter == 0 {
		e.RetryAfter = providers.Until(a.Header.Get("Fastly-RateLimit-Reset"),
			providers.Now(a.Header))
	}
	return e
}
