package app

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"pointsman/internal/config"
	"pointsman/internal/store"
	"pointsman/steering/cookie"
)

const (
	// cookiesKey is where nodes that share a store keep the secrets of their DNS cookies.
	cookiesKey = "dns/cookies"
	// cookiesPoll is how often a node looks there.
	cookiesPoll = time.Minute
	// cookiesLead is how long before its first cookie a secret is there for all nodes to read.
	cookiesLead = 10 * time.Minute
	// cookiesTries is how often one round writes when other nodes write too.
	cookiesTries = 3
)

// cookieKeeper keeps the secrets behind the nameserver's cookies, and replaces them in time. Nodes
// that share a store share the secrets: whoever comes first makes them. With the store gone the
// last known ones stay.
type cookieKeeper struct {
	shared store.Store // nil: the secrets are this node's alone
	plan   cookie.Plan
	use    func(*cookie.Jar)
	log    *slog.Logger

	rota cookie.Rota
	away bool // the last round failed
}

// newCookieKeeper puts a secret of the node's own in use. Run takes those of the others.
func newCookieKeeper(shared store.Store, lifetime time.Duration, use func(*cookie.Jar),
	log *slog.Logger,
) *cookieKeeper {
	k := &cookieKeeper{shared: shared, use: use, log: log,
		plan: cookie.Plan{Lifetime: lifetime, Lead: cookiesLead}}
	now := time.Now()
	k.rota, _ = k.rota.Step(now, k.plan, cookie.NewKey())
	use(k.rota.Jar(now))
	return k
}

// Run keeps the secrets until ctx ends, and then returns nil. A store that is away, or holds
// something else, is logged once and tried again.
func (k *cookieKeeper) Run(ctx context.Context) error {
	ticker := time.NewTicker(cookiesPoll)
	defer ticker.Stop()
	for {
		k.round(ctx, time.Now())
		select {
		case <-ctx.Done():
			return nil
		case <-ticker.C:
		}
	}
}

// round brings the secrets up to a time.
func (k *cookieKeeper) round(ctx context.Context, now time.Time) {
	ctx, cancel := context.WithTimeout(ctx, cookiesPoll/2)
	defer cancel()
	err := k.step(ctx, now)
	switch {
	case errors.Is(err, context.Canceled):
	case err != nil && !k.away:
		k.away = true
		k.log.Warn("shared cookie secrets lost, the last known ones stay", "err", err)
	case err == nil && k.away:
		k.away = false
		k.log.Info("shared cookie secrets found again")
	}
	k.use(k.rota.Jar(now)) // also without news: a secret's turn may have come
}

// step reads the shared secrets, and writes what is due. With an error k.rota is as it was.
func (k *cookieKeeper) step(ctx context.Context, now time.Time) error {
	if k.shared == nil {
		k.rota, _ = k.rota.Step(now, k.plan, cookie.NewKey())
		return nil
	}
	var err error
	for range cookiesTries {
		var rota cookie.Rota
		var revision uint64
		if rota, revision, err = k.read(ctx); err != nil {
			return err
		}
		next, changed := rota.Step(now, k.plan, cookie.NewKey())
		if !changed {
			k.rota = rota
			return nil
		}
		_, err = k.shared.Put(ctx, cookiesKey, next.Encode(),
			store.PutOptions{Expect: store.Expect(revision)})
		if err == nil {
			k.rota = next
			return nil
		}
		if !errors.Is(err, store.ErrConflict) {
			break
		}
	}
	return fmt.Errorf("writing cookie secrets: %w", err)
}

// read returns the shared secrets with their revision; none, with 0, before anybody made them.
func (k *cookieKeeper) read(ctx context.Context) (cookie.Rota, uint64, error) {
	e, err := k.shared.Get(ctx, cookiesKey)
	if errors.Is(err, store.ErrNotFound) {
		return cookie.Rota{}, 0, nil
	}
	if err != nil {
		return cookie.Rota{}, 0, fmt.Errorf("reading cookie secrets: %w", err)
	}
	rota, err := cookie.Decode(e.Value)
	if err != nil {
		return cookie.Rota{}, 0, fmt.Errorf("reading %s in the shared store: %w", cookiesKey, err)
	}
	return rota, e.Revision, nil
}

// keepCookies turns the nameserver's cookies on, if they are to be.
func (p *parts) keepCookies(c *config.Config, log *slog.Logger) {
	switch {
	case !c.DNS.Cookies.Enabled:
	case c.DNS.Cookies.Secret.IsZero():
		p.cookies = newCookieKeeper(p.sharedStore(), c.DNS.Cookies.Lifetime, p.dns.SetCookies, log)
	default:
		p.takeCookies(c)
	}
}

// takeCookies puts given secrets in use.
func (p *parts) takeCookies(c *config.Config) {
	given := c.DNS.Cookies
	if p.dns == nil || !given.Enabled || given.Secret.IsZero() {
		return
	}
	current, err := cookie.ParseKey(given.Secret)
	if err != nil {
		return // the config was checked
	}
	var others []cookie.Key
	if previous, err := cookie.ParseKey(given.Previous); err == nil {
		others = append(others, previous)
	}
	p.dns.SetCookies(cookie.NewJar(current, others...))
}
