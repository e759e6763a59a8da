package edgecache

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"

	"pointsman/internal/admin/api"
	"pointsman/providers"
)

const operation = "POST /v1/edge/purge"

// maxAnswer is the most bytes of a node's answer that are read.
const maxAnswer = 1 << 20

// failure explains why one node did not take the batch.
func (p *Provider) failure(n node, err error, written bool) *providers.Error {
	e := &providers.Error{Provider: p.name, Operation: operation + " on " + n.url}
	if said, ok := errors.AsType[*api.Problem](err); ok {
		e.Class, e.Status, e.RetryAfter = providers.ClassOf(said.Status), said.Status, said.RetryAfter
		e.Unknown = said.Status >= 500
		e.Message = providers.Clean(said.Error(), *p.token)
		return e
	}
	e.Class, e.Unknown, e.Message = providers.Transient, written, "no connection"
	if written {
		e.Message = "sent, and no readable answer came"
	}
	e.Err = providers.Scrub(err, *p.token)
	return e
}

// nodeErrors are the failures of several nodes, on one line.
type nodeErrors []*providers.Error

func (es nodeErrors) Error() string {
	var out []string
	for _, e := range es {
		text := fmt.Sprintf("%s: %s: %s", e.Operation, e.Class, e.Message)
		if e.Err != nil {
			text += ": " + e.Err.Error()
		}
		out = append(out, text)
	}
	return strings.Join(out, "; ")
}

// Unwrap gives each node's *providers.Error.
func (es nodeErrors) Unwrap() []error {
	var out []error
	for _, e := range es {
		out = append(out, e)
	}
	return out
}

// join makes one error of the nodes' failures (nil entries are successes), or nil. Its class
// is one that another attempt may cure, if any node's is: that attempt costs the others
// nothing, and what remains after it is final.
func (p *Provider) join(failures []*providers.Error) error {
	var failed nodeErrors
	var names []string
	for i, e := range failures {
		if e != nil {
			failed, names = append(failed, e), append(names, p.nodes[i].url)
		}
	}
	if len(failed) == 0 {
		return nil
	}
	first := failed[0]
	if i := slices.IndexFunc(failed, (*providers.Error).Temporary); i >= 0 {
		first = failed[i]
	}
	out := &providers.Error{
		Provider: p.name, Operation: operation, Class: first.Class, Status: first.Status,
		Unknown: len(failed) < len(failures), Err: failed,
		Message: providers.Clean(fmt.Sprintf("%d of %d nodes failed (%s)",
			len(failed), len(failures), strings.Join(names, ", "))),
	}
	for _, e := range failed {
		out.Unknown = out.Unknown || e.Unknown
		out.RetryAfter = max(out.RetryAfter, e.RetryAfter)
	}
	return out
}

// strict is a transport that bounds answers and turns a success whose body does not say what
// was done into an error, so that nothing unreadable counts as a purge.
type strict struct{ next http.RoundTripper }

// RoundTrip implements http.RoundTripper.
func (s *strict) RoundTrip(r *http.Request) (*http.Response, error) {
	res, err := s.next.RoundTrip(r)
	if err != nil {
		return nil, err
	}
	defer res.Body.Close()
	body, err := io.ReadAll(io.LimitReader(res.Body, maxAnswer+1))
	if err == nil && len(body) > maxAnswer {
		err = fmt.Errorf("more than %d bytes", maxAnswer)
	}
	ok := res.StatusCode >= 200 && res.StatusCode < 300
	if ok && err == nil {
		err = complete(body)
	}
	if ok && err != nil {
		return nil, fmt.Errorf("reading the answer: %w", err)
	}
	if err != nil {
		body = nil // the status alone says enough
	}
	res.Body = io.NopCloser(bytes.NewReader(body))
	return res, nil
}

// complete checks that the body of a success holds the fields of an api.EdgePurged.
func complete(body []byte) error {
	var out struct {
		Purged     *int    `json:"purged"`
		Generation *uint64 `json:"generation"`
	}
	if err := json.Unmarshal(body, &out); err != nil {
		return err
	}
	if out.Purged == nil || out.Generation == nil {
		return errors.New("it does not say what was purged")
	}
	return nil
}
