package app

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"

	"pointsman/internal/admin"
	"pointsman/internal/admin/api"
	"pointsman/internal/config"
	"pointsman/probes/health"
	"pointsman/providers"
	"pointsman/steering"
	"pointsman/steering/drill"
	"pointsman/steering/override"
)

// This file turns what happens in one part into what another one, or an operator, hears.

// tellChange makes an event of a steered name's new shares.
func (p *parts) tellChange(c steering.Change) {
	var shares []string
	for _, s := range c.After {
		if s.Share > 0 {
			shares = append(shares, fmt.Sprintf("%s %.0f%%", s.Backend, s.Share*100))
		}
	}
	where := strings.TrimSuffix(c.Host, ".")
	if c.Place != "" {
		where += " at " + c.Place
	}
	answers := "now " + strings.Join(shares, ", ")
	if c.After == nil {
		answers = "no longer steered"
	}
	p.events.Add("table", fmt.Sprintf("%s %s (%s)", where, answers, c.Cause), c)
}

// showView hands the newest view to the engine. Between changes it is called each second, so
// that explanations show votes and ages as they are.
func (p *parts) showView() {
	p.viewing.Lock()
	defer p.viewing.Unlock()
	p.engine.SetView(p.tracker.View())
}

// takeView hands each view to the engine and makes events of changed states.
func (p *parts) takeView() func(*health.View) {
	var mu sync.Mutex // guards last
	last := map[string]health.State{}
	return func(v *health.View) {
		p.showView()
		mu.Lock()
		defer mu.Unlock()
		for name, h := range v.Backends {
			if was, ok := last[name]; ok && was != h.State {
				p.events.Add("health", fmt.Sprintf("%s: %s, was %s: %s", name, h.State, was,
					h.Reason), nil)
			}
			last[name] = h.State
		}
	}
}

func (p *parts) tellDrill(r drill.Report) {
	p.events.Add("drill", fmt.Sprintf("drill of %s: %s: %s", r.Plan.Backend, r.State, r.Message), nil)
}

// adminServed adapts the nameserver's counts; nil when this node answers no DNS.
func (p *parts) adminServed() func() []admin.Served {
	if p.dns == nil {
		return nil
	}
	return func() []admin.Served {
		var out []admin.Served
		for _, s := range p.dns.Served() {
			out = append(out, admin.Served(s))
		}
		return out
	}
}

func (p *parts) drillServed() []drill.Served {
	if p.dns == nil {
		return nil
	}
	var out []drill.Served
	for _, s := range p.dns.Served() {
		out = append(out, drill.Served(s))
	}
	return out
}

// info is what the admin API says of the process.
func (a *App) info() admin.Info {
	in := admin.Info{Ready: a.ready.Load(), Store: a.store.get(),
		Providers: map[string]string{}, Answers: map[string]string{}}
	l := a.loaded.Load()
	if l == nil {
		return in // the admin API is built before the config counts as loaded
	}
	in.ConfigHash, in.ConfigLoaded, in.Warnings = l.hash, l.at, l.warnings
	in.Warnings = append(slices.Clip(in.Warnings), a.parts.ailing()...)
	in.Warnings = append(in.Warnings, a.unsigned()...)
	for _, r := range l.config.Roles {
		in.Roles = append(in.Roles, string(r))
	}
	for _, b := range l.config.Backends {
		in.Providers[b.Name] = b.Provider
		in.Answers[b.Name] = b.CNAME
		if b.CNAME == "" {
			in.Answers[b.Name] = strings.Join(b.Addresses, " ")
		}
	}
	return in
}

// ailing says what is wrong with this node's own store.
func (p *parts) ailing() []string {
	var out []string
	if aside := p.local.WasSetAside(); aside != "" {
		out = append(out, "the store in state_dir was corrupt and was begun anew: purges that only "+
			"this node knew are forgotten; what it held is in "+aside)
	}
	switch broken, unrecorded := p.local.Fault(), p.audit.Fault(); {
	case broken != nil:
		out = append(out, "the store in state_dir takes no writes until a restart, and this node "+
			"no purges; overrides are in force but a restart forgets them: "+broken.Error())
	case unrecorded != nil:
		out = append(out, "the audit log could not be written, so purges and drills are refused: "+
			unrecorded.Error())
	}
	return append(out, p.unresolved()...)
}

// providers lists those in force.
func (a *App) providers() []providers.Provider {
	var out []providers.Provider
	l := a.loaded.Load()
	if l == nil {
		return nil
	}
	for _, t := range l.purges {
		out = append(out, t.Provider)
	}
	return out
}

// book tells the admin API whose fault it is when the book of overrides refuses.
type book struct{ *override.Book }

// Add implements admin.Overrides.
func (b book) Add(ctx context.Context, o steering.Override) (steering.Override, error) {
	got, err := b.Book.Add(ctx, o)
	return got, told(err)
}

// Remove implements admin.Overrides.
func (b book) Remove(ctx context.Context, id, actor string) error {
	return told(b.Book.Remove(ctx, id, actor))
}

func told(err error) error {
	status, code := http.StatusServiceUnavailable, api.CodeUnavailable
	switch {
	case err == nil:
		return nil
	case errors.Is(err, override.ErrInvalid):
		status, code = http.StatusBadRequest, api.CodeBadRequest
	case errors.Is(err, override.ErrNotFound):
		status, code = http.StatusNotFound, api.CodeNotFound
	}
	return &api.Problem{Type: "about:blank", Title: http.StatusText(status), Status: status,
		Code: code, Detail: err.Error()}
}

// tokensOf converts the callers of the admin API.
func tokensOf(c *config.Config) []admin.Token {
	var out []admin.Token
	for _, t := range c.Admin.Tokens {
		nt := admin.Token{Name: t.Name, Token: t.Token}
		for _, s := range t.Scopes {
			nt.Scopes = append(nt.Scopes, admin.Scope(s))
		}
		out = append(out, nt)
	}
	return out
}
