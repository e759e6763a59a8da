package admin

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"

	"github.com/danielgtaylor/huma/v2"

	"pointsman/internal/admin/api"
	"pointsman/purge"
	"pointsman/steering/drill"
)

// failure is a problem as huma wants an error to be.
type failure struct{ *api.Problem }

// GetStatus implements huma.StatusError.
func (f failure) GetStatus() int { return f.Status }

// ContentType implements huma.ContentTypeFilter (RFC 9457 §3).
func (failure) ContentType(string) string { return "application/problem+json" }

func problem(status int, code, detail string) *api.Problem {
	return &api.Problem{Type: "about:blank", Title: http.StatusText(status), Status: status,
		Code: code, Detail: detail}
}

// writeProblem answers outside of huma.
func writeProblem(w http.ResponseWriter, p *api.Problem) {
	w.Header().Set("Content-Type", "application/problem+json")
	if p.Status == http.StatusUnauthorized {
		w.Header().Set("WWW-Authenticate", `Bearer realm="pointsman"`)
	}
	w.WriteHeader(p.Status)
	_ = json.NewEncoder(w).Encode(p) // the client went away: nobody is left to tell
}

// fail turns a part's error into the problem that a client can branch on.
func fail(err error) error {
	var p *api.Problem
	switch {
	case errors.As(err, &p):
		return failure{p}
	case errors.Is(err, purge.ErrInvalid):
		return failure{problem(http.StatusBadRequest, api.CodeBadRequest, err.Error())}
	case errors.Is(err, purge.ErrIdempotencyMismatch):
		return failure{problem(http.StatusConflict, api.CodeConflict, err.Error())}
	case errors.Is(err, purge.ErrNotFound), errors.Is(err, drill.ErrNotFound):
		return failure{problem(http.StatusNotFound, api.CodeNotFound, err.Error())}
	case errors.Is(err, drill.ErrRefused):
		return failure{problem(http.StatusConflict, api.CodeRefused, err.Error())}
	case errors.Is(err, purge.ErrOverloaded):
		return failure{problem(http.StatusTooManyRequests, api.CodeTooMany, err.Error())}
	case errors.Is(err, purge.ErrJournal), errors.Is(err, purge.ErrNotDurable),
		errors.Is(err, context.DeadlineExceeded), errors.Is(err, context.Canceled):
		return failure{problem(http.StatusServiceUnavailable, api.CodeUnavailable, err.Error())}
	}
	return failure{problem(http.StatusInternalServerError, api.CodeInternal, err.Error())}
}

// badRequest is the client's own mistake.
func badRequest(detail string) error {
	return failure{problem(http.StatusBadRequest, api.CodeBadRequest, detail)}
}

// absent says that this node does not run a part.
func absent(part string) error {
	return failure{problem(http.StatusNotFound, api.CodeNotFound, "this node runs no "+part)}
}

// finding says where a request is wrong and how. What stood there is left out: it may have been
// meant to be secret.
func finding(d *huma.ErrorDetail) string {
	if d.Location == "" {
		return d.Message
	}
	return d.Location + ": " + d.Message
}

// withCode gives huma's own complaints (validation, content types) a stable code.
func withCode(_ huma.Context, status string, v any) (any, error) {
	m, ok := v.(*huma.ErrorModel)
	if !ok {
		return v, nil
	}
	code := api.CodeBadRequest
	switch {
	case m.Status == http.StatusRequestEntityTooLarge:
		code = api.CodeTooLarge
	case m.Status >= 500:
		code = api.CodeInternal
	}
	p := problem(m.Status, code, m.Detail)
	for _, d := range m.Errors {
		p.Findings = append(p.Findings, finding(d))
	}
	return failure{p}, nil
}
