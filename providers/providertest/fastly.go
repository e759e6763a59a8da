package providertest

import (
	"bytes"
	"crypto/subtle"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"pointsman/providers"
)

// FastlyConfig is the account that a fake Fastly knows.
type FastlyConfig struct {
	Token     string
	ServiceID string
	// Apply is called when a purge takes effect; an error becomes a 500. Nil does nothing.
	Apply func(Applied) error
	Now   func() time.Time // nil means time.Now
	// PurgesPerHour is the account's budget; 0 means the documented 100,000.
	PurgesPerHour int
	// Scheme is put before the items of URL purges that name none, since Fastly's cache key
	// has none either; empty means https.
	Scheme string
}

// Fastly is a fake of Fastly's purge API. Its root is the API's base URL.
type Fastly struct {
	double
	c      FastlyConfig
	budget *bucket
	serial atomic.Int64
}

// NewFastly returns a fake without purges.
func NewFastly(c FastlyConfig) *Fastly {
	if c.PurgesPerHour == 0 {
		c.PurgesPerHour = 100_000
	}
	if c.Scheme == "" {
		c.Scheme = "https"
	}
	hour := float64(c.PurgesPerHour)
	return &Fastly{double: newDouble(c.Apply, c.Now), c: c, budget: newBucket(hour/3600, hour)}
}

// ServeHTTP implements http.Handler.
func (f *Fastly) ServeHTTP(w http.ResponseWriter, r *http.Request) { f.serve(w, r, f) }

type fastlyError struct {
	Msg    string `json:"msg"`
	Detail string `json:"detail,omitempty"`
}

func fastlyRefusal(status int, msg, detail string) reply {
	return jsonReply(status, fastlyError{Msg: msg, Detail: detail})
}

func (f *Fastly) refusal(status int) reply {
	switch status {
	case http.StatusUnauthorized:
		return fastlyRefusal(status, "Provided credentials are missing or invalid", "")
	case http.StatusForbidden:
		return fastlyRefusal(status, "The token lacks the scope for this", "purge_select")
	case http.StatusNotFound:
		return fastlyRefusal(status, "Record not found", "Cannot load service")
	case http.StatusTooManyRequests:
		return f.throttled(retryAfterSeconds * time.Second)
	}
	return fastlyRefusal(status, http.StatusText(status), "")
}

func (f *Fastly) throttled(wait time.Duration) reply {
	a := fastlyRefusal(http.StatusTooManyRequests, "The hour's budget of purges is used up", "")
	f.limits(a.header, level{wait: wait})
	return a
}

func (f *Fastly) limits(h http.Header, l level) {
	h["Fastly-RateLimit-Remaining"] = []string{strconv.Itoa(l.left)}
	h["Fastly-RateLimit-Reset"] = []string{strconv.FormatInt(f.now().Add(l.wait).Unix(), 10)}
}

func (f *Fastly) handle(r *http.Request, body []byte) (*Applied, reply) {
	key := r.Header.Get("Fastly-Key")
	if subtle.ConstantTimeCompare([]byte(key), []byte(f.c.Token)) != 1 {
		return nil, f.refusal(http.StatusUnauthorized)
	}
	path := r.URL.EscapedPath()
	service := "/service/" + f.c.ServiceID
	purges := strings.HasPrefix(path, "/purge/") || path == service+"/purge" ||
		path == service+"/purge_all" || strings.HasPrefix(path, service+"/purge/")
	if !purges {
		return nil, f.refusal(http.StatusNotFound)
	}
	if r.Method != http.MethodPost {
		return nil, fastlyRefusal(http.StatusMethodNotAllowed, "Method not allowed", r.Method)
	}
	purge, problem := f.read(r, path, service, body)
	if problem != "" {
		return nil, fastlyRefusal(http.StatusBadRequest, "Bad request", problem)
	}
	return f.charge(purge, path == service+"/purge")
}

// read finds what a request asks for, or says what is wrong with it.
func (f *Fastly) read(r *http.Request, path, service string, body []byte) (*Applied, string) {
	soft, problem := fastlySoft(r.Header)
	if problem != "" {
		return nil, problem
	}
	if path != service+"/purge" && len(body) > 0 {
		return nil, "a body where none belongs"
	}
	switch {
	case path == service+"/purge":
		keys, problem := fastlyKeys(r.Header, body)
		return &Applied{Kind: providers.Tag, Items: keys, Soft: soft}, problem
	case path == service+"/purge_all":
		// The soft header is ignored here, as by the real one: the purge is hard.
		return &Applied{Kind: providers.Everything}, ""
	case strings.HasPrefix(path, service+"/purge/"):
		key := strings.TrimPrefix(r.URL.Path, service+"/purge/")
		return &Applied{Kind: providers.Tag, Items: []string{key}, Soft: soft},
			fastlyKey(key)
	}
	item, problem := f.url(r, strings.TrimPrefix(path, "/purge/"))
	return &Applied{Kind: providers.URL, Items: []string{item}, Soft: soft}, problem
}

// url makes the purged URL whole.
func (f *Fastly) url(r *http.Request, item string) (whole, problem string) {
	if !strings.HasPrefix(item, "http://") && !strings.HasPrefix(item, "https://") {
		item = f.c.Scheme + "://" + item
	}
	if r.URL.RawQuery != "" || r.URL.ForceQuery {
		item += "?" + r.URL.RawQuery
	}
	if n, err := providers.NormalizeURL(item); err != nil || n != item {
		return "", "not a URL that a viewer can have asked for: " + item
	}
	return item, ""
}

// charge counts a purge against the budget and answers it.
func (f *Fastly) charge(purge *Applied, batch bool) (*Applied, reply) {
	now := f.now()
	l := f.budget.take(now, max(len(purge.Items), 1))
	if !l.ok {
		return nil, f.throttled(l.wait)
	}
	var a reply
	switch {
	case batch:
		ids := map[string]string{}
		for _, k := range purge.Items {
			ids[k] = f.id(now)
		}
		a = jsonReply(http.StatusOK, ids)
		a.header["Content-Type"] = nil // the real one names none here
	case purge.Kind == providers.Everything:
		a = jsonReply(http.StatusOK, map[string]string{"status": "ok"})
	default:
		a = jsonReply(http.StatusOK, map[string]string{"status": "ok", "id": f.id(now)})
	}
	f.limits(a.header, l)
	return purge, a
}

func (f *Fastly) id(now time.Time) string {
	return fmt.Sprintf("4151-%d-%d", now.Unix(), f.serial.Add(1))
}

func fastlySoft(h http.Header) (soft bool, problem string) {
	switch v := h.Values("Fastly-Soft-Purge"); {
	case len(v) == 0:
		return false, ""
	case len(v) == 1 && v[0] == "1":
		return true, ""
	default:
		return false, "Fastly-Soft-Purge: want 1"
	}
}

// fastlyKeys reads the keys from the header or from the body, never from both.
func fastlyKeys(h http.Header, body []byte) (keys []string, problem string) {
	keys = strings.Fields(h.Get("Surrogate-Key"))
	switch {
	case len(keys) > 0 && len(body) > 0:
		return nil, "surrogate keys in the header and in the body"
	case len(body) > 0:
		if h.Get("Content-Type") != "application/json" {
			return nil, "Content-Type: want application/json"
		}
		var in struct {
			SurrogateKeys []string `json:"surrogate_keys"`
		}
		if err := strictJSON(body, &in); err != nil {
			return nil, err.Error()
		}
		keys = in.SurrogateKeys
	}
	if len(keys) == 0 || len(keys) > 256 {
		return nil, fmt.Sprintf("%d surrogate keys: want 1 to 256", len(keys))
	}
	for _, k := range keys {
		if problem := fastlyKey(k); problem != "" {
			return nil, problem
		}
	}
	return keys, ""
}

func fastlyKey(k string) (problem string) {
	if len(k) >= 1024 {
		return "surrogate key too long, must be less than 1024 bytes"
	}
	if k == "" || strings.IndexFunc(k, func(r rune) bool { return r < 33 || r > 126 }) >= 0 {
		return "surrogate key: want printable ASCII without spaces"
	}
	return ""
}

// strictJSON reads exactly one JSON value and no field that out does not have.
func strictJSON(body []byte, out any) error {
	d := json.NewDecoder(bytes.NewReader(body))
	d.DisallowUnknownFields()
	if err := d.Decode(out); err != nil {
		return err
	}
	if _, err := d.Token(); err != io.EOF {
		return fmt.Errorf("more than one JSON value")
	}
	return nil
}
