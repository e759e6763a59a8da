package providertest

import (
	"bytes"
	"crypto/subtle"
	"encoding/json"
	"fmt"
	"mime"
	"net/http"
	"strconv"
	"strings"
	"time"

	"pointsman/providers"
)

// Plan is a Cloudflare plan, which sets rates and batch sizes.
type Plan string

// The plans.
const (
	Free       Plan = "free"
	Pro        Plan = "pro"
	Business   Plan = "business"
	Enterprise Plan = "enterprise"
)

// planLimits are the documented limits of a plan, for a whole account.
type planLimits struct {
	callsPerSecond, callBurst float64 // tag, host, prefix and everything calls
	urlsPerSecond             float64 // single files
	urlsPerCall               int
}

func limitsOf(p Plan) planLimits {
	switch p {
	case Free:
		return planLimits{5.0 / 60, 25, 800, 100}
	case Pro:
		return planLimits{5, 25, 1500, 100}
	case Business:
		return planLimits{10, 50, 1500, 100}
	}
	return planLimits{50, 500, 3000, 500}
}

// CloudflareConfig is the account that a fake Cloudflare knows.
type CloudflareConfig struct {
	Token  string
	ZoneID string
	// Apply is called when a purge takes effect; an error becomes a 500. Nil does nothing.
	Apply func(Applied) error
	Now   func() time.Time // nil means time.Now
	Plan  Plan             // empty means Enterprise
	// MaxURLs overrides the plan's URLs a call when it is not 0: some accounts are held to
	// 30, whatever the documents say.
	MaxURLs int
}

// Cloudflare is a fake of Cloudflare's purge API. The API's base URL is its root and
// CloudflareBase.
type Cloudflare struct {
	double
	c     CloudflareConfig
	most  int
	calls *bucket
	urls  *bucket
}

// CloudflareBase is the path under which a fake Cloudflare serves.
const CloudflareBase = "/client/v4"

// NewCloudflare returns a fake without purges.
func NewCloudflare(c CloudflareConfig) *Cloudflare {
	l := limitsOf(c.Plan)
	if c.MaxURLs == 0 {
		c.MaxURLs = l.urlsPerCall
	}
	return &Cloudflare{
		double: newDouble(c.Apply, c.Now), c: c, most: c.MaxURLs,
		calls: newBucket(l.callsPerSecond, l.callBurst),
		urls:  newBucket(l.urlsPerSecond, l.urlsPerSecond),
	}
}

// ServeHTTP implements http.Handler.
func (f *Cloudflare) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("CF-Ray", "8f0c1d2e3a4b5c6d-FRA")
	f.serve(w, r, f)
}

type cloudflareError struct {
	Code    int               `json:"code"`
	Message string            `json:"message"`
	Chain   []cloudflareError `json:"error_chain,omitempty"`
}

type cloudflareAnswer struct {
	Success  bool              `json:"success"`
	Errors   []cloudflareError `json:"errors"`
	Messages []string          `json:"messages"`
	Result   any               `json:"result"`
}

func cloudflareRefusal(status, code int, message string, chain ...cloudflareError) reply {
	return jsonReply(status, cloudflareAnswer{
		Errors:   []cloudflareError{{Code: code, Message: message, Chain: chain}},
		Messages: []string{},
	})
}

func (f *Cloudflare) refusal(status int) reply {
	switch status {
	case http.StatusUnauthorized:
		return cloudflareRefusal(status, 10000, "Authentication error")
	case http.StatusForbidden:
		return cloudflareRefusal(status, 9109, "Unauthorized to access requested resource")
	case http.StatusNotFound:
		return cloudflareRefusal(status, 7003, "No route to that zone: is its identifier right?",
			cloudflareError{Code: 7000, Message: "No route for that URI"})
	case http.StatusTooManyRequests:
		return f.throttled("default", retryAfterSeconds*time.Second)
	}
	return cloudflareRefusal(status, 1000, http.StatusText(status))
}

func (f *Cloudflare) throttled(policy string, wait time.Duration) reply {
	a := cloudflareRefusal(http.StatusTooManyRequests, 971, "Please wait before purging again")
	seconds := int(wait / time.Second)
	a.header.Set("Retry-After", strconv.Itoa(seconds))
	a.header.Set("Ratelimit", fmt.Sprintf("%q;r=0;t=%d", policy, seconds))
	return a
}

func (f *Cloudflare) handle(r *http.Request, body []byte) (*Applied, reply) {
	if refused := f.authorize(r.Header); refused != nil {
		return nil, *refused
	}
	if r.URL.EscapedPath() != CloudflareBase+"/zones/"+f.c.ZoneID+"/purge_cache" {
		return nil, f.refusal(http.StatusNotFound)
	}
	if r.Method != http.MethodPost {
		return nil, cloudflareRefusal(http.StatusMethodNotAllowed, 10405, "Method not allowed")
	}
	if t, _, err := mime.ParseMediaType(r.Header.Get("Content-Type")); err != nil ||
		t != "application/json" {
		return nil, cloudflareRefusal(http.StatusBadRequest, 6003, "Invalid request headers",
			cloudflareError{Code: 6105, Message: "Invalid Content-Type header"})
	}
	purge, refused := f.read(body)
	if refused != nil {
		return nil, *refused
	}
	return f.charge(purge)
}

func (f *Cloudflare) authorize(h http.Header) *reply {
	auth := h.Get("Authorization")
	token, bearer := strings.CutPrefix(auth, "Bearer ")
	var a reply
	switch {
	case auth == "":
		a = cloudflareRefusal(http.StatusBadRequest, 9106, "Missing authentication headers")
	case !bearer || token == "":
		a = cloudflareRefusal(http.StatusBadRequest, 6003, "Invalid request headers",
			cloudflareError{Code: 6111, Message: "Invalid format for Authorization header"})
	case subtle.ConstantTimeCompare([]byte(token), []byte(f.c.Token)) != 1:
		a = f.refusal(http.StatusUnauthorized)
	default:
		return nil
	}
	return &a
}

// read finds what a body asks for: exactly one kind, in its documented shape.
func (f *Cloudflare) read(body []byte) (*Applied, *reply) {
	bad := func(code int, format string, args ...any) (*Applied, *reply) {
		a := cloudflareRefusal(http.StatusBadRequest, code, fmt.Sprintf(format, args...))
		return nil, &a
	}
	var fields map[string]json.RawMessage
	if err := strictJSON(body, &fields); err != nil {
		return bad(6007, "Malformed JSON in request body")
	}
	if len(fields) != 1 {
		return bad(1012, "Request must contain exactly one of "+
			"\"purge_everything\", \"files\", \"tags\", \"hosts\" or \"prefixes\"")
	}
	for name, raw := range fields {
		kind, known := map[string]providers.Kind{
			"purge_everything": providers.Everything, "files": providers.URL,
			"tags": providers.Tag, "hosts": providers.Host, "prefixes": providers.Prefix,
		}[name]
		switch {
		case !known:
			return bad(1012, "Unknown field %q", name)
		case kind == providers.Everything && string(raw) != "true":
			return bad(1012, "\"purge_everything\" must be true")
		case kind == providers.Everything:
			return &Applied{Kind: kind}, nil
		}
		items, err := cloudflareItems(kind, raw)
		if err != nil {
			return bad(1014, "%q: %v", name, err)
		}
		if problem := f.checkItems(kind, items); problem != "" {
			return bad(1000, "%q: %s", name, problem)
		}
		return &Applied{Kind: kind, Items: items}, nil
	}
	return bad(1012, "Nothing to purge")
}

// cloudflareItems reads an array of strings; files may be objects with a URL and headers too.
func cloudflareItems(kind providers.Kind, raw json.RawMessage) ([]string, error) {
	var list []json.RawMessage
	if err := json.Unmarshal(raw, &list); err != nil || list == nil {
		return nil, fmt.Errorf("value is not an array")
	}
	var items []string
	for _, one := range list {
		var file struct {
			URL     string            `json:"url"`
			Headers map[string]string `json:"headers"`
		}
		object := kind == providers.URL && bytes.HasPrefix(one, []byte("{"))
		var err error
		if object {
			err = strictJSON(one, &file)
		} else {
			err = strictJSON(one, &file.URL)
		}
		if err != nil {
			return nil, err
		}
		items = append(items, file.URL)
	}
	return items, nil
}

func (f *Cloudflare) checkItems(kind providers.Kind, items []string) (problem string) {
	most := 100
	if kind == providers.URL {
		most = f.most
	}
	if len(items) == 0 || len(items) > most {
		return fmt.Sprintf("%d items: want 1 to %d", len(items), most)
	}
	for _, item := range items {
		n, err := providers.Normalize(kind, item)
		switch {
		case err != nil:
			return err.Error()
		case n != item:
			return fmt.Sprintf("%q would match nothing: %q would", item, n)
		case kind == providers.Prefix && strings.Count(item, "/") > 31:
			return "a prefix with more than 31 slashes"
		case kind == providers.Tag && strings.Contains(item, ","):
			return "a tag with a comma"
		}
	}
	return ""
}

// charge counts a purge against the account's budget and answers it.
func (f *Cloudflare) charge(purge *Applied) (*Applied, reply) {
	budget, policy, cost := f.calls, "default", 1
	if purge.Kind == providers.URL {
		budget, policy, cost = f.urls, "single-file", len(purge.Items)
	}
	l := budget.take(f.now(), cost)
	if !l.ok {
		return nil, f.throttled(policy, l.wait)
	}
	a := jsonReply(http.StatusOK, cloudflareAnswer{
		Success: true, Errors: []cloudflareError{}, Messages: []string{},
		Result: map[string]string{"id": f.c.ZoneID},
	})
	a.header.Set("Ratelimit", fmt.Sprintf("%q;r=%d;t=%d", policy, l.left, l.wait/time.Second))
	a.header.Set("Ratelimit-Policy", fmt.Sprintf("%q;q=%d;w=%d",
		policy, int(budget.size), int(budget.size/budget.perSecond)))
	return purge, a
}
