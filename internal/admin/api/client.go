package api

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"pointsman/internal/secret"
)

// ActorHeader carries who the client says it is; a token's name counts more.
const ActorHeader = "X-Pointsman-Actor"

// maxActor bounds an actor, in bytes.
const maxActor = 200

// maxAnswer bounds what the client reads of one answer, in bytes.
const maxAnswer = 16 << 20

// Config says which admin API to talk to.
type Config struct {
	// BaseURL is the scheme, host and port, such as http://127.0.0.1:8053.
	BaseURL string
	// Token is sent as a bearer token when it is not empty.
	Token secret.String
	// Actor says who acts, for the audit log, when no token does; empty: anonymous.
	Actor string
	// HTTPClient is used as it is; nil means a client that follows no redirects.
	HTTPClient *http.Client
}

// Client calls the admin API. It is safe for concurrent use. Every error that the server
// stated is a *Problem.
type Client struct {
	base  string
	token secret.String
	actor string
	http  *http.Client
}

// CleanActor makes what somebody calls itself fit for a header, a log and a terminal: printable,
// and of at most 200 bytes. Nothing may be left of it.
func CleanActor(s string) string {
	s = strings.Map(func(r rune) rune {
		if r == utf8.RuneError || !unicode.IsPrint(r) {
			return -1
		}
		return r
	}, s)
	if len(s) > maxActor {
		s = strings.ToValidUTF8(s[:maxActor], "") // a rune may be cut in two
	}
	return strings.TrimSpace(s)
}

// New checks the base URL and returns a client. It opens no connection.
func New(c Config) (*Client, error) {
	u, err := url.Parse(c.BaseURL)
	if err != nil || (u.Scheme != "http" && u.Scheme != "https") || u.Host == "" {
		return nil, fmt.Errorf("admin API address %q: want http://HOST:PORT or https://HOST:PORT",
			c.BaseURL)
	}
	h := c.HTTPClient
	if h == nil {
		h = &http.Client{CheckRedirect: func(*http.Request, []*http.Request) error {
			return http.ErrUseLastResponse
		}}
	}
	return &Client{base: strings.TrimRight(c.BaseURL, "/"), token: c.Token,
		actor: CleanActor(c.Actor), http: h}, nil
}

// Status reads what the node knows and does.
func (c *Client) Status(ctx context.Context) (Status, error) {
	return call[Status](ctx, c, http.MethodGet, "/v1/status", nil, nil)
}

// Explain reads why a client gets the answer it gets. client may be an address or a prefix.
func (c *Client) Explain(ctx context.Context, name, client string) (Explanation, error) {
	q := url.Values{"name": {name}, "client": {client}}
	return call[Explanation](ctx, c, http.MethodGet, "/v1/explain?"+q.Encode(), nil, nil)
}

// Events reads the events after a sequence, oldest first.
func (c *Client) Events(ctx context.Context, after uint64) ([]Event, error) {
	path := "/v1/events?after=" + strconv.FormatUint(after, 10)
	return call[[]Event](ctx, c, http.MethodGet, path, nil, nil)
}

// Overrides reads the overrides in force.
func (c *Client) Overrides(ctx context.Context) ([]Override, error) {
	return call[[]Override](ctx, c, http.MethodGet, "/v1/overrides", nil, nil)
}

// AddOverride puts an override in force and returns it as accepted.
func (c *Client) AddOverride(ctx context.Context, o Override) (Override, error) {
	return call[Override](ctx, c, http.MethodPost, "/v1/overrides", o, nil)
}

// RemoveOverride ends an override before it expires.
func (c *Client) RemoveOverride(ctx context.Context, id string) error {
	_, err := call[json.RawMessage](ctx, c, http.MethodDelete,
		"/v1/overrides/"+url.PathEscape(id), nil, nil)
	return err
}

// Purge asks for a purge. A non-empty key makes a repeat of the same request harmless.
func (c *Client) Purge(ctx context.Context, p Purge, key string) (PurgeStatus, error) {
	return call[PurgeStatus](ctx, c, http.MethodPost, "/v1/purges", p, idempotency(key))
}

// PurgeStatus reads a purge, waiting up to wait for it to become final (0: at once).
func (c *Client) PurgeStatus(
	ctx context.Context, id string, wait time.Duration,
) (PurgeStatus, error) {
	path := "/v1/purges/" + url.PathEscape(id) + "?wait=" + wait.String()
	return call[PurgeStatus](ctx, c, http.MethodGet, path, nil, nil)
}

// Purges reads the newest purges, at most limit.
func (c *Client) Purges(ctx context.Context, limit int) ([]PurgeStatus, error) {
	path := "/v1/purges?limit=" + strconv.Itoa(limit)
	return call[[]PurgeStatus](ctx, c, http.MethodGet, path, nil, nil)
}

// RetryPurge puts the failed deliveries of a purge back into the queue.
func (c *Client) RetryPurge(ctx context.Context, id string) (PurgeStatus, error) {
	path := "/v1/purges/" + url.PathEscape(id) + "/retry"
	return call[PurgeStatus](ctx, c, http.MethodPost, path, nil, nil)
}

// Providers reads the configured providers.
func (c *Client) Providers(ctx context.Context) ([]Provider, error) {
	return call[[]Provider](ctx, c, http.MethodGet, "/v1/providers", nil, nil)
}

// StartDrill starts a failover drill.
func (c *Client) StartDrill(ctx context.Context, r DrillRequest) (Drill, error) {
	return call[Drill](ctx, c, http.MethodPost, "/v1/drills", r, nil)
}

// Drill reads a drill.
func (c *Client) Drill(ctx context.Context, id string) (Drill, error) {
	return call[Drill](ctx, c, http.MethodGet, "/v1/drills/"+url.PathEscape(id), nil, nil)
}

// Drills reads the newest drills.
func (c *Client) Drills(ctx context.Context) ([]Drill, error) {
	return call[[]Drill](ctx, c, http.MethodGet, "/v1/drills", nil, nil)
}

// StopDrill ends a drill early and restores what it changed.
func (c *Client) StopDrill(ctx context.Context, id string) (Drill, error) {
	return call[Drill](ctx, c, http.MethodDelete, "/v1/drills/"+url.PathEscape(id), nil, nil)
}

// Reload makes the node read its config again.
func (c *Client) Reload(ctx context.Context) (Reloaded, error) {
	return call[Reloaded](ctx, c, http.MethodPost, "/v1/reload", nil, nil)
}

// Audit reads the newest recorded acts.
func (c *Client) Audit(ctx context.Context, limit int) ([]AuditEntry, error) {
	path := "/v1/audit?limit=" + strconv.Itoa(limit)
	return call[[]AuditEntry](ctx, c, http.MethodGet, path, nil, nil)
}

// EdgePurge purges the edge cache of that node alone. Purges of users go through Purge.
func (c *Client) EdgePurge(ctx context.Context, p EdgePurge) (EdgePurged, error) {
	return call[EdgePurged](ctx, c, http.MethodPost, "/v1/edge/purge", p, nil)
}

func idempotency(key string) http.Header {
	if key == "" {
		return nil
	}
	return http.Header{"Idempotency-Key": {key}}
}

// call sends one request and decodes the answer into T.
func call[T any](
	ctx context.Context, c *Client, method, path string, in any, extra http.Header,
) (T, error) {
	var out T
	var body io.Reader
	if in != nil {
		b, err := json.Marshal(in)
		if err != nil {
			return out, fmt.Errorf("encoding the request: %w", err)
		}
		body = bytes.NewReader(b)
	}
	req, err := http.NewRequestWithContext(ctx, method, c.base+path, body)
	if err != nil {
		return out, fmt.Errorf("building %s %s: %w", method, path, err)
	}
	for k, v := range extra {
		req.Header[k] = v
	}
	req.Header.Set("Accept", "application/json")
	if in != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	if c.actor != "" {
		req.Header.Set(ActorHeader, c.actor)
	}
	if !c.token.IsZero() {
		req.Header.Set("Authorization", "Bearer "+c.token.Reveal())
	}
	res, err := c.http.Do(req)
	if err != nil {
		return out, fmt.Errorf("asking the admin API at %s: %w", c.base, cause(err))
	}
	defer res.Body.Close()
	b, err := io.ReadAll(io.LimitReader(res.Body, maxAnswer))
	if err != nil {
		return out, fmt.Errorf("reading the answer of %s %s: %w", method, path, err)
	}
	if res.StatusCode >= 300 {
		return out, problem(res, b)
	}
	if len(b) == 0 {
		return out, nil
	}
	if err := json.Unmarshal(b, &out); err != nil {
		return out, fmt.Errorf("decoding the answer of %s %s: %w", method, path, err)
	}
	return out, nil
}

// cause strips the URL from a transport error: the caller names the address itself.
func cause(err error) error {
	var u *url.Error
	if errors.As(err, &u) {
		return u.Err
	}
	return err
}

// problem turns an answer above 299 into a *Problem, whatever its body holds.
func problem(res *http.Response, body []byte) *Problem {
	p := &Problem{}
	if json.Unmarshal(body, p) != nil || p.Title == "" {
		p = &Problem{Type: "about:blank", Title: http.StatusText(res.StatusCode),
			Detail: strings.TrimSpace(strings.ToValidUTF8(string(body[:min(len(body), 300)]), "?"))}
	}
	p.Status = res.StatusCode
	if s, err := strconv.Atoi(res.Header.Get("Retry-After")); err == nil && s > 0 {
		p.RetryAfter = time.Duration(s) * time.Second
	}
	return p
}
