package app

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"

	"pointsman/internal/admin/api"
	"pointsman/internal/config"
	"pointsman/steering"
	"pointsman/steering/feed"
)

// feedsOf converts the APIs that say what backends' metadata are.
func feedsOf(c *config.Config) ([]feed.Feed, error) {
	hosts := make([]string, 0, len(c.Hosts))
	for _, name := range steeredNames(c) {
		hosts = append(hosts, strings.TrimSuffix(name.Host, "."))
	}
	out := make([]feed.Feed, 0, len(c.Feeds))
	for i := range c.Feeds {
		f := &c.Feeds[i]
		roots, err := certPool(f.CAFile)
		if err != nil {
			return nil, fmt.Errorf("feeds[%d].ca_file: %w", i, err)
		}
		n := feed.Feed{Name: f.Name, URL: f.URL, Token: f.Token, RootCAs: roots,
			Interval: f.Interval, Timeout: f.Timeout, Keep: f.Keep, Hold: f.Hold,
			DeadBand: uint32(f.DeadBand), Backends: f.Speaks(c), Hosts: hosts}
		for _, field := range f.Gives() {
			n.Fields = append(n.Fields, steering.Field(field))
		}
		out = append(out, n)
	}
	return out, nil
}

// feeds are the feeds as the admin API knows them.
type feeds struct{ *feed.Keeper }

// List implements admin.Feeds.
func (f feeds) List() []api.Feed {
	out := []api.Feed{}
	for _, s := range f.Status() {
		a := api.Feed{Name: s.Name, From: s.From, Error: s.Error, Values: []api.FedValue{}}
		if !s.Heard.IsZero() {
			a.Heard = &s.Heard
		}
		for _, field := range s.Fields {
			a.Fields = append(a.Fields, string(field))
		}
		for _, v := range s.Values {
			a.Values = append(a.Values, api.FedValue{Backend: v.Backend, Field: string(v.Field),
				Host: v.Host, State: v.State, InForce: v.InForce, Latest: v.Latest, Since: v.Since,
				At: v.At, Until: v.Until})
		}
		out = append(out, a)
	}
	return out
}

// Changes implements admin.Feeds.
func (f feeds) Changes(name string, document []byte) (bool, error) {
	changes, err := f.Keeper.Changes(name, document)
	return changes, feedProblem(err, nil)
}

// Push implements admin.Feeds.
func (f feeds) Push(
	ctx context.Context, name string, document []byte, actor string,
) (api.FeedOutcome, error) {
	o, err := f.Keeper.Push(ctx, name, document, actor)
	return outcomeOf(o), feedProblem(err, o.Refused)
}

// Clear implements admin.Feeds.
func (f feeds) Clear(ctx context.Context, name, backend, actor string) (api.FeedOutcome, error) {
	o, err := f.Keeper.Clear(ctx, name, backend, actor)
	return outcomeOf(o), feedProblem(err, nil)
}

func outcomeOf(o feed.Outcome) api.FeedOutcome {
	out := api.FeedOutcome{Taken: o.Taken, Local: o.Local, Unsaved: o.Unsaved}
	for _, r := range o.Refused {
		out.Refused = append(out.Refused, api.FeedRefusal(r))
	}
	return out
}

// feedProblem says whose fault it is; nil for nil.
func feedProblem(err error, refused []feed.Refusal) error {
	status, code := http.StatusInternalServerError, api.CodeInternal
	switch {
	case err == nil:
		return nil
	case errors.Is(err, feed.ErrUnknown):
		status, code = http.StatusNotFound, api.CodeNotFound
	case errors.Is(err, feed.ErrPulled):
		status, code = http.StatusConflict, api.CodeConflict
	case errors.Is(err, feed.ErrInvalid):
		status, code = http.StatusBadRequest, api.CodeBadRequest
	}
	p := &api.Problem{Type: "about:blank", Title: http.StatusText(status), Status: status,
		Code: code, Detail: err.Error()}
	for _, r := range refused {
		p.Findings = append(p.Findings, r.Error())
	}
	if len(refused) > 0 {
		p.Detail = "nothing of the document was taken; what was said before stays"
	}
	return p
}
