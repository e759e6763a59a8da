package api

import (
	"context"
	"encoding/json"
	"net/http"
	"net/url"
	"time"
)

// Feed is how an API stands that says what backends' metadata are.
type Feed struct {
	Name   string     `json:"name"`
	From   string     `json:"from,omitempty"` // where it is pulled from; empty: it is pushed
	Fields []string   `json:"fields"`
	Heard  *time.Time `json:"heard,omitempty"` // when it last said something
	Error  string     `json:"error,omitempty"` // of the last pull
	Values []FedValue `json:"values"`
}

// FedValue is one field of one backend, as a feed gives it.
type FedValue struct {
	Backend string `json:"backend"`
	Field   string `json:"field"`
	Host    string `json:"host,omitempty"` // for loads of one steered name
	State   string `json:"state"`          // held, waiting or silent
	// InForce is the value that counts, Latest the one that was said last; "config": none.
	InForce string    `json:"in_force"`
	Latest  string    `json:"latest"`
	Since   time.Time `json:"since"` // when it came into force
	At      time.Time `json:"at"`    // when the last one was measured
	Until   time.Time `json:"until"` // when it ends, unless it is said again
}

// FeedOutcome is what became of a document that was pushed, or of a clearing.
type FeedOutcome struct {
	Taken   int           `json:"taken"` // values
	Refused []FeedRefusal `json:"refused,omitempty"`
	// Local says that the shared store was away: other nodes get it later.
	Local bool `json:"local,omitempty"`
	// Unsaved says that no store has taken it: a restart of the node would forget it.
	Unsaved bool `json:"unsaved,omitempty"`
}

// FeedRefusal is a part of a document that was not taken; the last good value stays.
type FeedRefusal struct {
	Path   string `json:"path"`
	Reason string `json:"reason"`
	Detail string `json:"detail"`
}

// Feeds reads how all feeds stand.
func (c *Client) Feeds(ctx context.Context) ([]Feed, error) {
	return call[[]Feed](ctx, c, http.MethodGet, "/v1/feeds", nil, nil)
}

// PushFeed hands a document to a feed that is pushed. The same again changes nothing but ages.
func (c *Client) PushFeed(
	ctx context.Context, feed string, document json.RawMessage,
) (FeedOutcome, error) {
	return call[FeedOutcome](ctx, c, http.MethodPut, "/v1/feeds/"+url.PathEscape(feed), document, nil)
}

// ClearFeed forgets what a feed said of a backend; an empty one: of all.
func (c *Client) ClearFeed(ctx context.Context, feed, backend string) (FeedOutcome, error) {
	path := "/v1/feeds/" + url.PathEscape(feed)
	if backend != "" {
		path += "?" + url.Values{"backend": {backend}}.Encode()
	}
	return call[FeedOutcome](ctx, c, http.MethodDelete, path, nil, nil)
}
