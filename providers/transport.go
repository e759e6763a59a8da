package providers

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/http/httptrace"
	"net/netip"
	"net/url"
	"strings"
	"sync/atomic"
	"time"

	"github.com/go-resty/resty/v2"

	"pointsman/internal/secret"
)

const (
	// DefaultTimeout bounds a call whose context has no earlier deadline.
	DefaultTimeout = 30 * time.Second
	// maxAnswer is the most bytes of an answer's body that are read, unpacked.
	maxAnswer = 1 << 20
)

// TransportConfig says how one account's API is reached.
type TransportConfig struct {
	Provider string // name for errors
	// BaseURL is scheme, host and optional path of the API. Plain http is accepted for
	// loopback only, because the token goes with every call.
	BaseURL string
	// Token is the account's credential; white space around it is dropped. It must not be
	// empty.
	Token secret.String
	// Sign puts the token on a request's header. It sees every attempt last of all.
	Sign func(h http.Header, token secret.String)
	// HTTPClient carries proxy, CA and connection settings; nil means DefaultHTTPClient. It
	// is copied: the copy has no cookie jar and follows no redirect.
	HTTPClient *http.Client
	// Timeout bounds each call; 0 means DefaultTimeout.
	Timeout time.Duration
}

// Transport makes single, signed calls to one account's API. It never retries, keeps no
// cookies, follows no redirect and reads at most 1 MiB of an answer. It is safe for concurrent
// use.
type Transport struct {
	provider string
	base     string
	// token is a pointer because fmt prints the insides of unexported fields by reflection,
	// past the methods that redact.
	token   *secret.String
	timeout time.Duration
	client  *resty.Client
}

// Call is one request.
type Call struct {
	Operation string // for errors; without ids, items or credentials
	Method    string
	Path      string // after the base URL, escaped, with a query if there is one
	Header    http.Header
	Body      any // sent as JSON; nil for no body
}

// Answer is what came back.
type Answer struct {
	Status int
	Header http.Header
	Body   []byte
	// BodyErr is why the body could not be read to its end; Body is then of no use.
	BodyErr error
}

// DefaultHTTPClient returns a new client with bounded dialling, handshake and idle times.
func DefaultHTTPClient() *http.Client {
	return &http.Client{Transport: &http.Transport{
		Proxy:                  http.ProxyFromEnvironment,
		DialContext:            (&net.Dialer{Timeout: 5 * time.Second}).DialContext,
		TLSHandshakeTimeout:    5 * time.Second,
		ForceAttemptHTTP2:      true,
		MaxIdleConnsPerHost:    4,
		MaxConnsPerHost:        16,
		IdleConnTimeout:        60 * time.Second,
		MaxResponseHeaderBytes: 64 << 10,
	}}
}

// Careful returns a copy of c (nil: DefaultHTTPClient) that keeps no cookies and follows no
// redirect, as calls that carry credentials need it.
func Careful(c *http.Client) *http.Client {
	if c == nil {
		c = DefaultHTTPClient()
	}
	out := *c
	out.Jar = nil
	out.CheckRedirect = func(*http.Request, []*http.Request) error {
		return http.ErrUseLastResponse
	}
	if out.Transport == nil {
		out.Transport = DefaultHTTPClient().Transport
	}
	return &out
}

// NewTransport checks the settings and returns a Transport. It opens no connection.
func NewTransport(c TransportConfig) (*Transport, error) {
	base, err := CheckBaseURL(c.BaseURL)
	if err != nil {
		return nil, err
	}
	token, err := CheckToken(c.Token)
	if err != nil {
		return nil, err
	}
	t := &Transport{provider: c.Provider, base: base, token: &token, timeout: c.Timeout}
	if t.timeout <= 0 {
		t.timeout = DefaultTimeout
	}
	t.client = resty.NewWithClient(Careful(c.HTTPClient)).
		SetLogger(silent{}).
		SetRetryCount(0).
		SetResponseBodyLimit(maxAnswer).
		// Without it resty sends a POST that has no body in chunks, which some servers refuse
		// with 411.
		SetContentLength(true).
		SetPreRequestHook(func(_ *resty.Client, r *http.Request) error {
			c.Sign(r.Header, token)
			return nil
		})
	return t, nil
}

// CheckBaseURL returns the base URL of a vendor's API without a trailing slash, or says what is
// wrong with it. Plain http is for loopback only.
func CheckBaseURL(raw string) (string, error) {
	base, err := CheckNodeURL(raw)
	if err != nil {
		return "", err
	}
	if u, err := url.Parse(base); err == nil && u.Scheme == "http" && !loopback(u.Hostname()) {
		return "", fmt.Errorf("checking base URL %s: the token would travel in the clear; "+
			"plain http is for loopback only", show(raw))
	}
	return base, nil
}

// CheckNodeURL is CheckBaseURL for servers of one's own, which may speak plain http in a
// private network.
func CheckNodeURL(raw string) (string, error) {
	u, err := url.Parse(raw)
	if err != nil || u.Host == "" || (u.Scheme != "http" && u.Scheme != "https") {
		return "", fmt.Errorf("checking base URL %s: want https://HOST[/PATH]", show(raw))
	}
	if u.User != nil || u.RawQuery != "" || u.ForceQuery || u.Fragment != "" {
		return "", fmt.Errorf("checking base URL %s: credentials, query or fragment in it", show(raw))
	}
	return strings.TrimRight(raw, "/"), nil
}

func loopback(host string) bool {
	a, err := netip.ParseAddr(host)
	return host == "localhost" || (err == nil && a.Unmap().IsLoopback())
}

// CheckToken returns the token without white space around it, or says what is wrong without
// showing any of it.
func CheckToken(s secret.String) (secret.String, error) {
	v := strings.TrimSpace(s.Reveal())
	if v == "" {
		return secret.String{}, errors.New("checking the token: empty")
	}
	for _, r := range v {
		if r <= ' ' || r >= 0x7f {
			return secret.String{}, errors.New(
				"checking the token: holds white space or characters that no header may carry")
		}
	}
	return secret.New(v), nil
}

// TraceWrite returns a context that notes whether a request made with it began to be written
// to the network, and the function that tells. Before that point nothing can have happened at
// the other end.
func TraceWrite(ctx context.Context) (context.Context, func() bool) {
	var written atomic.Bool
	return httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{
		WroteHeaders: func() { written.Store(true) },
	}), written.Load
}

// Do makes one attempt. The error is an *Error and means that no status came back; an answer
// of any status is returned without error.
func (t *Transport) Do(ctx context.Context, c Call) (Answer, error) {
	ctx, cancel := context.WithTimeout(ctx, t.timeout)
	defer cancel()
	ctx, written := TraceWrite(ctx)
	req := t.client.R().SetContext(ctx)
	for k, v := range c.Header {
		req.Header[k] = v
	}
	req.SetHeader("Accept", "application/json").SetHeader("User-Agent", "pointsman")
	if c.Body != nil {
		body, err := json.Marshal(c.Body)
		if err != nil {
			return Answer{}, &Error{Provider: t.provider, Operation: c.Operation, Class: Invalid,
				Message: "encoding the request", Err: err}
		}
		req.SetHeader("Content-Type", "application/json").SetBody(body)
	}
	res, err := req.Execute(c.Method, t.base+c.Path)
	if res == nil || res.RawResponse == nil {
		return Answer{}, t.lost(c, err, written())
	}
	return Answer{Status: res.StatusCode(), Header: res.Header(), Body: res.Body(),
		BodyErr: Scrub(err, *t.token)}, nil
}

// lost explains a call that brought no status.
func (t *Transport) lost(c Call, err error, written bool) *Error {
	e := &Error{
		Provider: t.provider, Operation: c.Operation, Class: Transient, Unknown: written,
		Message: "no connection",
	}
	var u *url.Error
	if errors.As(err, &u) {
		err = u.Err // its text repeats the URL, which may hold a customer's query
	}
	if written {
		e.Message = "sent, and no answer came"
	}
	e.Err = Scrub(err, *t.token)
	return e
}

// Refused makes the Error of an answer that is not a success: its class by the status, the
// wait by Retry-After, words as the vendor's message. Vendors refine it.
func (t *Transport) Refused(c Call, a Answer, words string) *Error {
	e := &Error{
		Provider: t.provider, Operation: c.Operation, Class: ClassOf(a.Status), Status: a.Status,
		RetryAfter: RetryAfter(a.Header, Now(a.Header)),
		// A gateway's 5xx says nothing about what the server behind it has done.
		Unknown: a.Status >= 500,
		Message: Clean(words, *t.token),
	}
	switch {
	case e.Message != "":
	case a.Status >= 300 && a.Status < 400:
		e.Message = "a redirect, which is not followed: is the base URL right?"
	case a.IsHTML():
		e.Message = "HTML came where JSON was due"
	case len(a.Body) > 0:
		e.Message = Clean(string(a.Body), *t.token)
	default:
		e.Message = http.StatusText(a.Status)
	}
	return e
}

// Unreadable makes the Error of a success whose body does not say so: the purge may have run.
func (t *Transport) Unreadable(c Call, a Answer, why string) *Error {
	e := &Error{Provider: t.provider, Operation: c.Operation, Class: Transient, Status: a.Status,
		Unknown: true, Message: Clean(why, *t.token), Err: a.BodyErr}
	if a.IsHTML() {
		e.Message = "HTML came where JSON was due"
	}
	return e
}

// OK reports a status that means success.
func (a Answer) OK() bool { return a.Status >= 200 && a.Status < 300 }

// IsHTML reports whether the body is a page for people, as gateways send it.
func (a Answer) IsHTML() bool {
	return strings.HasPrefix(a.Header.Get("Content-Type"), "text/html") ||
		bytes.HasPrefix(bytes.TrimSpace(a.Body), []byte("<"))
}

// Decode reads the whole body as one JSON value into out.
func (a Answer) Decode(out any) error {
	if a.BodyErr != nil {
		return fmt.Errorf("reading the answer: %w", a.BodyErr)
	}
	if err := json.Unmarshal(a.Body, out); err != nil {
		return fmt.Errorf("decoding the answer: %w", err)
	}
	return nil
}

// silent keeps resty from writing to standard error.
type silent struct{}

func (silent) Errorf(string, ...any) {}
func (silent) Warnf(string, ...any)  {}
func (silent) Debugf(string, ...any) {}
