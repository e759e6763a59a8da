// Package cloudflare speaks the purge API of Cloudflare behind the contract of package
// providers. A Batch flows in, one HTTP call goes out, a Receipt or a *providers.Error comes
// back. The package owns no goroutine and never retries.
package cloudflare

import (
	"context"
	"encoding/hex"
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
const Vendor = "cloudflare"

// DefaultBaseURL is Cloudflare's public API.
const DefaultBaseURL = "https://api.cloudflare.com/client/v4"

const (
	// defaultURLs is what accounts below Enterprise were reported to be held to, although
	// the documents say 100.
	defaultURLs = 30
	maxURLs     = 500 // Enterprise
	maxItems    = 100 // tags, hosts, prefixes
	maxSlashes  = 31  // in a prefix
)

// Config is one Cloudflare zone.
type Config struct {
	Name    string // the provider's name in the config; must not be empty
	BaseURL string // empty means DefaultBaseURL
	// ZoneID is the zone's id, 32 hex digits; the zone's name is not accepted.
	ZoneID string
	// Token is an API token with the right Zone / Cache Purge / Purge.
	Token secret.String
	// HTTPClient carries proxy and CA settings; nil means a sane one. It is copied.
	HTTPClient *http.Client
	Logger     *slog.Logger // nil discards
	// MaxURLs is how many URLs go into one call, 1 to 500; 0 means 30. Documented are 100,
	// and 500 for Enterprise.
	MaxURLs int
}

var _ providers.Provider = (*Provider)(nil)

// Provider purges one Cloudflare zone. It is safe for concurrent use.
type Provider struct {
	name string
	zone string
	caps providers.Capabilities
	http *providers.Transport
	log  *slog.Logger
}

// Capabilities is what Cloudflare's API can do, for an account that says no more.
func Capabilities() providers.Capabilities { return capabilities(defaultURLs) }

func capabilities(urls int) providers.Capabilities {
	return providers.Capabilities{
		Kinds: map[providers.Kind]providers.Capability{
			providers.URL: {Native: true, MaxBatch: urls,
				Note: "objects under a custom cache key are not found by their URL; " +
					"purge them by tag or prefix"},
			providers.Prefix: {Native: true, MaxBatch: maxItems,
				Note: "at most 31 slashes; end it with / to spare its neighbours"},
			providers.Host: {Native: true, MaxBatch: maxItems},
			providers.Tag: {Native: true, MaxBatch: maxItems,
				Note: "upper and lower case are the same tag"},
			providers.Everything: {Native: true, MaxBatch: 1},
		},
		Propagation: time.Second,
		Source:      "Cloudflare cache docs: Purge cache; API reference: Purge Cached Content",
	}
}

// New checks the settings and returns a provider. It opens no connection.
func New(c Config) (*Provider, error) {
	if c.BaseURL == "" {
		c.BaseURL = DefaultBaseURL
	}
	if c.MaxURLs == 0 {
		c.MaxURLs = defaultURLs
	}
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	err := check(c)
	var t *providers.Transport
	if err == nil {
		t, err = providers.NewTransport(providers.TransportConfig{
			Provider: c.Name, BaseURL: c.BaseURL, Token: c.Token, HTTPClient: c.HTTPClient,
			Sign: func(h http.Header, token secret.String) {
				h.Set("Authorization", "Bearer "+token.Reveal())
			},
		})
	}
	if err != nil {
		return nil, fmt.Errorf("building Cloudflare provider %q: %w", c.Name, err)
	}
	return &Provider{name: c.Name, zone: c.ZoneID, caps: capabilities(c.MaxURLs),
		http: t, log: c.Logger}, nil
}

func check(c Config) error {
	if c.Name == "" {
		return errors.New("no name")
	}
	if c.MaxURLs < 1 || c.MaxURLs > maxURLs {
		return fmt.Errorf("%d URLs a call: want 1 to %d", c.MaxURLs, maxURLs)
	}
	if _, err := hex.DecodeString(c.ZoneID); err != nil || len(c.ZoneID) != 32 {
		return fmt.Errorf("zone id %q: want the 32 hex digits of its overview page, not its name",
			c.ZoneID)
	}
	return nil
}

// Name is the provider's name in the config.
func (p *Provider) Name() string { return p.name }

// Vendor is "cloudflare".
func (p *Provider) Vendor() string { return Vendor }

// Capabilities is what this zone can be asked.
func (p *Provider) Capabilities() providers.Capabilities { return p.caps }

// Purge makes one call for the batch. Every error is a *providers.Error.
func (p *Provider) Purge(ctx context.Context, b providers.Batch) (providers.Receipt, error) {
	if err := p.check(b); err != nil {
		return providers.Receipt{}, providers.Named(p.name, err)
	}
	call := providers.Call{
		Operation: "POST /zones/{id}/purge_cache", Method: http.MethodPost,
		Path: "/zones/" + p.zone + "/purge_cache", Body: body(b),
	}
	start := time.Now()
	a, err := p.http.Do(ctx, call)
	if err != nil {
		return providers.Receipt{}, err
	}
	if !a.OK() {
		return providers.Receipt{}, p.refused(call, a)
	}
	if err := p.taken(call, a); err != nil {
		return providers.Receipt{}, err
	}
	p.log.DebugContext(ctx, "batch taken", "provider", p.name, "purge_id", b.PurgeID,
		"took", time.Since(start))
	// result.id is the zone's, so the ray is the only handle that support can use.
	return providers.Receipt{Ref: a.Header.Get("CF-Ray"), Estimate: p.caps.Propagation}, nil
}

// check refuses what Cloudflare would refuse, or accept and then purge nothing.
func (p *Provider) check(b providers.Batch) error {
	if err := providers.CheckBatch(p.caps, b); err != nil {
		return err
	}
	for _, item := range b.Items {
		switch {
		case b.Kind == providers.Prefix && strings.Count(item, "/") > maxSlashes:
			return providers.Refuse(p.name, providers.Invalid,
				"prefix %q: more than %d slashes", item, maxSlashes)
		case b.Kind == providers.Tag && strings.Contains(item, ","):
			return providers.Refuse(p.name, providers.Invalid,
				"tag %q: Cloudflare separates tags by commas, so none can hold one", item)
		}
	}
	return nil
}

// request is the body of a purge: exactly one field is set.
type request struct {
	Everything bool     `json:"purge_everything,omitempty"`
	Files      []string `json:"files,omitempty"`
	Tags       []string `json:"tags,omitempty"`
	Hosts      []string `json:"hosts,omitempty"`
	Prefixes   []string `json:"prefixes,omitempty"`
}

func body(b providers.Batch) request {
	switch b.Kind {
	case providers.URL:
		return request{Files: b.Items}
	case providers.Tag:
		return request{Tags: b.Items}
	case providers.Host:
		return request{Hosts: b.Items}
	case providers.Prefix:
		return request{Prefixes: b.Items}
	case providers.Everything:
		return request{Everything: true}
	}
	return request{} // refused by the API; CheckBatch lets no other kind through
}
