package providertest

import (
	"crypto/subtle"
	"net/http"
	"slices"
	"strconv"
	"sync/atomic"
	"time"

	"pointsman/providers"
)

// EdgeConfig is the edge node that a fake knows.
type EdgeConfig struct {
	Token string // empty means that none is asked for, as on loopback
	// Apply is called when a purge takes effect; an error becomes a 500. Nil does nothing.
	Apply func(Applied) error
	Now   func() time.Time // nil means time.Now
}

// Edge is a fake of the edge purge of Pointsman's admin API, POST /v1/edge/purge.
type Edge struct {
	double
	c          EdgeConfig
	generation atomic.Uint64
}

// NewEdge returns a fake without purges.
func NewEdge(c EdgeConfig) *Edge { return &Edge{double: newDouble(c.Apply, c.Now), c: c} }

// ServeHTTP implements http.Handler.
func (f *Edge) ServeHTTP(w http.ResponseWriter, r *http.Request) { f.serve(w, r, f) }

type edgeProblem struct {
	Type   string `json:"type"`
	Title  string `json:"title"`
	Status int    `json:"status"`
	Detail string `json:"detail,omitempty"`
	Code   string `json:"code"`
}

func edgeRefusal(status int, code, detail string) reply {
	a := jsonReply(status, edgeProblem{Type: "about:blank", Title: http.StatusText(status),
		Status: status, Detail: detail, Code: code})
	a.header.Set("Content-Type", "application/problem+json")
	return a
}

func (f *Edge) refusal(status int) reply {
	code := map[int]string{400: "bad-request", 401: "unauthorized", 403: "forbidden",
		404: "not-found", 413: "too-large", 429: "too-many-requests", 500: "internal",
		503: "unavailable"}[status]
	a := edgeRefusal(status, code, "")
	if status == http.StatusTooManyRequests {
		a.header.Set("Retry-After", strconv.Itoa(retryAfterSeconds))
	}
	return a
}

func (f *Edge) handle(r *http.Request, body []byte) (*Applied, reply) {
	want := "Bearer " + f.c.Token
	got := r.Header.Get("Authorization")
	if f.c.Token != "" && subtle.ConstantTimeCompare([]byte(got), []byte(want)) != 1 {
		return nil, f.refusal(http.StatusUnauthorized)
	}
	if r.URL.EscapedPath() != "/v1/edge/purge" {
		return nil, f.refusal(http.StatusNotFound)
	}
	if r.Method != http.MethodPost {
		return nil, edgeRefusal(http.StatusMethodNotAllowed, "bad-request", r.Method)
	}
	if r.Header.Get("Content-Type") != "application/json" {
		return nil, edgeRefusal(http.StatusBadRequest, "bad-request",
			"Content-Type: want application/json")
	}
	var in struct {
		Kind  providers.Kind `json:"kind"`
		Items []string       `json:"items"`
		Soft  bool           `json:"soft"`
	}
	if err := strictJSON(body, &in); err != nil {
		return nil, edgeRefusal(http.StatusBadRequest, "bad-request", err.Error())
	}
	if !slices.Contains(providers.Kinds(), in.Kind) ||
		(in.Kind == providers.Everything) != (len(in.Items) == 0) {
		return nil, edgeRefusal(http.StatusBadRequest, "bad-request", "kind and items do not fit")
	}
	for _, item := range in.Items {
		if n, err := providers.Normalize(in.Kind, item); err != nil || n != item {
			return nil, edgeRefusal(http.StatusBadRequest, "bad-request", "item not normalised")
		}
	}
	return &Applied{Kind: in.Kind, Items: in.Items, Soft: in.Soft},
		jsonReply(http.StatusOK, map[string]uint64{
			"purged": uint64(len(in.Items)), "generation": f.generation.Add(1),
		})
}
