// Package edgecache purges Pointsman's own edge caches behind the contract of package
// providers: one Batch goes to the admin API of every node at once, and the provider has taken
// it only when all of them have. The goroutines of a call end before it returns.
package edgecache

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"sync"
	"time"

	"pointsman/internal/admin/api"
	"pointsman/internal/secret"
	"pointsman/providers"
)

// Vendor is the kind of API this package speaks.
const Vendor = "edge"

// maxItems is how many items go into one call.
const maxItems = 1000

// Config is a fleet of Pointsman edges.
type Config struct {
	Name string // the provider's name in the config; must not be empty
	// Nodes are the base URLs of the admin API of every node that has an edge, such as
	// http://127.0.0.1:8053. At least one, each once.
	Nodes []string
	// Token is sent to every node; empty where they listen on loopback without tokens.
	Token secret.String
	// HTTPClient carries proxy and CA settings; nil means a sane one. It is copied.
	HTTPClient *http.Client
	Logger     *slog.Logger // nil discards
}

var _ providers.Provider = (*Provider)(nil)

// Provider purges every node of the fleet. It is safe for concurrent use.
type Provider struct {
	name  string
	nodes []node
	// token is a pointer because fmt prints the insides of unexported fields by reflection,
	// past the methods that redact.
	token *secret.String
	log   *slog.Logger
}

type node struct {
	url    string
	client *api.Client
}

// Capabilities is what Pointsman's edge can do.
func Capabilities() providers.Capabilities {
	one := providers.Capability{Native: true, Soft: true, MaxBatch: maxItems}
	all := providers.Capability{Native: true, Soft: true, MaxBatch: 1}
	return providers.Capabilities{
		Kinds: map[providers.Kind]providers.Capability{
			providers.URL: one, providers.Prefix: one, providers.Host: one, providers.Tag: one,
			providers.Everything: all,
		},
		Confirms: true, // a node answers when its cache has done it
		Source:   "docs/purge.md",
	}
}

// New checks the settings and returns a provider. It opens no connection.
func New(c Config) (*Provider, error) {
	p := &Provider{name: c.Name, log: c.Logger}
	if p.log == nil {
		p.log = slog.New(slog.DiscardHandler)
	}
	err := p.build(c)
	if err != nil {
		return nil, fmt.Errorf("building edge provider %q: %w", c.Name, err)
	}
	return p, nil
}

func (p *Provider) build(c Config) (err error) {
	if c.Name == "" {
		return errors.New("no name")
	}
	if len(c.Nodes) == 0 {
		return errors.New("no nodes: a purge that reaches nobody would count as done")
	}
	p.token = &c.Token
	if !c.Token.IsZero() {
		if c.Token, err = providers.CheckToken(c.Token); err != nil {
			return err
		}
	}
	hc := providers.Careful(c.HTTPClient)
	hc.Transport = &strict{next: hc.Transport}
	seen := map[string]bool{}
	for _, raw := range c.Nodes {
		base, err := providers.CheckNodeURL(raw)
		if err != nil {
			return err
		}
		if seen[base] {
			return fmt.Errorf("node %s is there twice", base)
		}
		seen[base] = true
		client, err := api.New(api.Config{BaseURL: base, Token: c.Token, HTTPClient: hc})
		if err != nil {
			return fmt.Errorf("building the client of node %s: %w", base, err)
		}
		p.nodes = append(p.nodes, node{url: base, client: client})
	}
	return nil
}

// Name is the provider's name in the config.
func (p *Provider) Name() string { return p.name }

// Vendor is "edge".
func (p *Provider) Vendor() string { return Vendor }

// Capabilities is what the fleet can be asked.
func (p *Provider) Capabilities() providers.Capabilities { return Capabilities() }

// Purge calls every node once, all at the same time, and waits for all of them. When some
// fail, the error names them and is Unknown, because the others have purged; the same batch
// can be sent again. Every error is a *providers.Error.
func (p *Provider) Purge(ctx context.Context, b providers.Batch) (providers.Receipt, error) {
	if err := providers.CheckBatch(Capabilities(), b); err != nil {
		return providers.Receipt{}, providers.Named(p.name, err)
	}
	ctx, cancel := context.WithTimeout(ctx, providers.DefaultTimeout)
	defer cancel()
	start := time.Now()
	failures := make([]*providers.Error, len(p.nodes))
	purged := make([]int, len(p.nodes))
	var all sync.WaitGroup
	for i, n := range p.nodes {
		all.Go(func() { purged[i], failures[i] = p.ask(ctx, n, b) })
	}
	all.Wait()
	if err := p.join(failures); err != nil {
		return providers.Receipt{}, err
	}
	total := 0
	for _, n := range purged {
		total += n
	}
	p.log.DebugContext(ctx, "batch taken", "provider", p.name, "purge_id", b.PurgeID,
		"took", time.Since(start))
	ref := fmt.Sprintf("%d objects on %d nodes", total, len(p.nodes))
	return providers.Receipt{Ref: ref, Confirmed: true}, nil
}

// ask sends the batch to one node.
func (p *Provider) ask(
	ctx context.Context, n node, b providers.Batch,
) (int, *providers.Error) {
	ctx, written := providers.TraceWrite(ctx)
	done, err := n.client.EdgePurge(ctx, api.EdgePurge{
		Kind: string(b.Kind), Items: b.Items, Soft: b.Soft,
	})
	if err != nil {
		return 0, p.failure(n, err, written())
	}
	return done.Purged, nil
}
