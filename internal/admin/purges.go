package admin

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"pointsman/internal/admin/api"
	"pointsman/providers"
	"pointsman/purge"
)

// maxWait bounds how long one request may wait for a purge to become final.
const maxWait = 20 * time.Second

type purgeInput struct {
	Key  string `header:"Idempotency-Key" maxLength:"200"`
	Body struct {
		Kind       string   `json:"kind" enum:"url,prefix,host,tag,everything"`
		Items      []string `json:"items,omitempty"`
		Soft       bool     `json:"soft,omitempty"`
		Providers  []string `json:"providers,omitempty"`
		VerifyURLs []string `json:"verify_urls,omitempty"`
		Reason     string   `json:"reason,omitempty" maxLength:"500"`
		Confirm    string   `json:"confirm,omitempty" doc:"the word everything, for that kind"`
	}
}

func (s *Server) addPurge(ctx context.Context, in *purgeInput) (*body[api.PurgeStatus], error) {
	if s.cfg.Purge == nil {
		return nil, absent("purging")
	}
	b := in.Body
	if b.Kind == string(providers.Everything) && b.Confirm != b.Kind {
		return nil, badRequest(`a purge of everything needs "confirm": "everything"`)
	}
	actor := callerOf(ctx).actor
	if err := s.record(ctx, "purge "+b.Kind, brief(b.Items), b.Reason, false); err != nil {
		return nil, err
	}
	st, err := s.cfg.Purge.Submit(ctx, purge.Request{Kind: providers.Kind(b.Kind),
		Items: b.Items, Soft: b.Soft, Providers: b.Providers, VerifyURLs: b.VerifyURLs,
		Actor: actor, Reason: b.Reason, IdempotencyKey: in.Key})
	if err != nil {
		return nil, fail(err)
	}
	s.cfg.Events.Add("purge", fmt.Sprintf("purge %s of %s %s accepted from %s", st.ID, b.Kind,
		brief(b.Items), actor), nil)
	return answer(purgeOf(st))
}

// brief shows the first items of a long list, and the beginning of long items: what people
// and the audit log need to recognise a purge.
func brief(items []string) string {
	const shown, runes = 3, 300
	var parts []string
	for _, item := range items[:min(shown, len(items))] {
		if short := []rune(item); len(short) > runes {
			item = string(short[:runes]) + "…"
		}
		parts = append(parts, item)
	}
	if more := len(items) - shown; more > 0 {
		parts = append(parts, fmt.Sprintf("and %d more", more))
	}
	return strings.Join(parts, " ")
}

type purgeGet struct {
	ID   string `path:"id" maxLength:"128"`
	Wait string `query:"wait" maxLength:"32" doc:"wait up to this long for the end, at most 20s"`
}

func (s *Server) purge(ctx context.Context, in *purgeGet) (*body[api.PurgeStatus], error) {
	if s.cfg.Purge == nil {
		return nil, absent("purging")
	}
	st, err := s.cfg.Purge.Get(ctx, in.ID)
	if err != nil {
		return nil, fail(err)
	}
	wait, _ := time.ParseDuration(in.Wait) // an unreadable wait is no wait
	if !st.Final() && wait > 0 {
		ctx, cancel := context.WithTimeout(ctx, min(wait, maxWait))
		defer cancel()
		later, err := s.cfg.Purge.Wait(ctx, in.ID)
		switch {
		case err == nil:
			st = later
		case !errors.Is(err, context.DeadlineExceeded):
			return nil, fail(err)
		default:
			if now, err := s.cfg.Purge.Get(context.WithoutCancel(ctx), in.ID); err == nil {
				st = now
			}
		}
	}
	return answer(purgeOf(st))
}

type listInput struct {
	Limit int `query:"limit" minimum:"1" maximum:"1000" default:"50"`
}

func (s *Server) purges(ctx context.Context, in *listInput) (*body[[]api.PurgeStatus], error) {
	if s.cfg.Purge == nil {
		return nil, absent("purging")
	}
	list, err := s.cfg.Purge.List(ctx, in.Limit)
	if err != nil {
		return nil, fail(err)
	}
	out := []api.PurgeStatus{}
	for _, st := range list {
		out = append(out, purgeOf(st))
	}
	return answer(out)
}

func (s *Server) retryPurge(ctx context.Context, in *byID) (*body[api.PurgeStatus], error) {
	if s.cfg.Purge == nil {
		return nil, absent("purging")
	}
	if err := s.record(ctx, "retry purge", in.ID, "", false); err != nil {
		return nil, err
	}
	st, err := s.cfg.Purge.Retry(ctx, in.ID)
	if err != nil {
		return nil, fail(err)
	}
	return answer(purgeOf(st))
}

func purgeOf(st purge.Status) api.PurgeStatus {
	r := st.Request
	out := api.PurgeStatus{ID: st.ID, Actor: r.Actor, Accepted: st.AcceptedAt,
		AcceptedBy: st.AcceptedBy, Durability: st.Durability, Final: st.Final(),
		Warnings: st.Warnings,
		Outcome:  string(st.Outcome()), Purge: api.Purge{Kind: string(r.Kind), Items: r.Items,
			Soft: r.Soft, Providers: r.Providers, VerifyURLs: r.VerifyURLs, Reason: r.Reason}}
	for _, d := range st.Results {
		if d.Deadline.After(out.Deadline) {
			out.Deadline = d.Deadline
		}
		out.Deliveries = append(out.Deliveries, api.Delivery{Provider: d.Provider,
			Form: string(d.Form), State: string(d.State), Attempts: d.Attempts,
			Detail: detailOf(d), Ref: strings.Join(d.Refs, " "), Updated: d.DoneAt,
			Next: moment(d.NextAt)})
	}
	return out
}

// detailOf says what an operator must know of a delivery, in the order of its weight.
func detailOf(d purge.Result) string {
	var parts []string
	if d.State != purge.Verified && d.LastError != "" {
		parts = append(parts, d.LastError)
	}
	for _, p := range []string{d.Advice, d.Reason, d.CheckReason} {
		if p != "" {
			parts = append(parts, p)
		}
	}
	return strings.Join(parts, "; ")
}

func (s *Server) providers(context.Context, *none) (*body[[]api.Provider], error) {
	out := []api.Provider{}
	if s.cfg.Providers == nil {
		return answer(out)
	}
	for _, p := range s.cfg.Providers() {
		caps, err := json.Marshal(p.Capabilities())
		if err != nil {
			return nil, fail(fmt.Errorf("encoding the capabilities of %q: %w", p.Name(), err))
		}
		out = append(out, api.Provider{Name: p.Name(), Vendor: p.Vendor(), Capabilities: caps})
	}
	return answer(out)
}

type edgePurgeInput struct {
	Body struct {
		Kind  string   `json:"kind" enum:"url,prefix,host,tag,everything"`
		Items []string `json:"items,omitempty"`
		Soft  bool     `json:"soft,omitempty"`
	}
}

// edgePurge serves the provider of kind edge, which has journaled and audited the purge.
func (s *Server) edgePurge(_ context.Context, in *edgePurgeInput) (*body[api.EdgePurged], error) {
	if s.cfg.Edge == nil {
		return nil, absent("edge cache")
	}
	if in.Body.Kind != string(providers.Everything) && len(in.Body.Items) == 0 {
		return nil, badRequest("no items: an empty list is never everything")
	}
	got, err := s.cfg.Edge.Purge(in.Body.Kind, in.Body.Items, in.Body.Soft)
	if err != nil {
		return nil, badRequest(err.Error())
	}
	return answer(api.EdgePurged{Purged: got.Objects, Generation: got.Generation})
}

func (s *Server) reload(ctx context.Context, _ *none) (*body[api.Reloaded], error) {
	if s.cfg.Reload == nil {
		return nil, absent("config file")
	}
	// A config that mends something must not wait for the disk either.
	if err := s.record(ctx, "reload", "config", "", true); err != nil {
		return nil, err
	}
	got, err := s.cfg.Reload(ctx)
	if err != nil {
		return nil, fail(err)
	}
	return answer(got)
}

func (s *Server) auditLog(ctx context.Context, in *listInput) (*body[[]api.AuditEntry], error) {
	if s.cfg.Audit == nil {
		return nil, absent("audit log")
	}
	list, err := s.cfg.Audit.Recent(ctx, in.Limit)
	if err != nil {
		return nil, fail(err)
	}
	out := []api.AuditEntry{}
	for _, e := range list {
		out = append(out, api.AuditEntry{At: e.Time, Node: e.Node, Actor: e.Actor, From: e.From,
			Action: e.Action, Target: e.Target, Reason: e.Reason, Detail: e.Detail})
	}
	return answer(out)
}
