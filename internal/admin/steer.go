package admin

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"
	"time"

	"pointsman/internal/admin/api"
	"pointsman/internal/audit"
	"pointsman/internal/nearest"
	"pointsman/steering"
	"pointsman/steering/drill"
)

// record writes an act into the audit log before it is done. The emergency switches pass
// even when the log can't be written: at 3 a.m. a full disk must not keep a drain away.
func (s *Server) record(
	ctx context.Context, action, target, reason string, emergency bool,
) error {
	c := callerOf(ctx)
	if s.cfg.Audit == nil {
		return nil
	}
	err := s.cfg.Audit.Record(ctx, audit.Entry{Actor: c.actor, Action: action, Target: target,
		Reason: reason, From: c.from})
	if err == nil {
		return nil
	}
	s.log.Error("audit log refused the write", "actor", c.actor, "reason", action, "err", err)
	if emergency {
		s.metrics.unrecorded.WithLabelValues("done").Inc()
		return nil
	}
	s.metrics.unrecorded.WithLabelValues("refused").Inc()
	return failure{problem(http.StatusServiceUnavailable, api.CodeUnavailable,
		"not done, because the audit log could not record it: "+err.Error())}
}

func (s *Server) overrides(context.Context, *none) (*body[[]api.Override], error) {
	if s.cfg.Overrides == nil {
		return nil, absent("steering")
	}
	return answer(overridesOf(s.cfg.Overrides.Active(s.cfg.Now())))
}

type overrideInput struct {
	Body struct {
		Kind    string    `json:"kind" enum:"drain,pin,weight"`
		Backend string    `json:"backend" minLength:"1" maxLength:"128"`
		Host    string    `json:"host,omitempty" maxLength:"255"`
		Weight  uint32    `json:"weight,omitempty" maximum:"1000000"`
		Reason  string    `json:"reason" minLength:"1" maxLength:"500"`
		For     string    `json:"for,omitempty" maxLength:"32" doc:"a duration, such as 30m"`
		Expires time.Time `json:"expires,omitempty"`
		// What the client's struct sends although the server sets it: taken and ignored.
		ID      string    `json:"id,omitempty"`
		Created time.Time `json:"created,omitempty"`
		Local   bool      `json:"local,omitempty"`
	}
}

func (s *Server) addOverride(ctx context.Context, in *overrideInput) (*body[api.Override], error) {
	b := in.Body
	if s.cfg.Overrides == nil {
		return nil, absent("steering")
	}
	o := steering.Override{Kind: steering.OverrideKind(b.Kind), Backend: b.Backend,
		Weight: b.Weight, Reason: b.Reason, Actor: callerOf(ctx).actor, Expires: b.Expires}
	if b.For != "" {
		d, err := time.ParseDuration(b.For)
		if err != nil || d <= 0 {
			return nil, badRequest(fmt.Sprintf("for %q: want a duration such as 30m", b.For))
		}
		o.Expires = s.cfg.Now().Add(d)
	}
	if b.Host != "" {
		o.Host = strings.ToLower(strings.TrimSuffix(b.Host, ".")) + "."
	}
	if err := s.known(o); err != nil {
		return nil, err
	}
	target := strings.TrimSpace(fmt.Sprintf("%s %s", o.Backend, o.Host))
	if err := s.record(ctx, string(o.Kind), target, o.Reason, true); err != nil {
		return nil, err
	}
	got, err := s.cfg.Overrides.Add(ctx, o)
	if err != nil {
		return nil, fail(err)
	}
	return answer(overrideOf(got))
}

// known refuses an override of something that does not exist: a typo must not look like a
// drain that worked.
func (s *Server) known(o steering.Override) error {
	t := s.cfg.Engine.Table()
	if t == nil {
		return nil
	}
	if o.Host != "" && !t.Has(o.Host) {
		host := strings.TrimSuffix(o.Host, ".")
		return mistyped(fmt.Sprintf("host %q is not steered", host), host, s.hosts())
	}
	if err := s.knownBackend(o.Backend); err != nil {
		return err
	}
	of := func(sh steering.Share) bool { return sh.Backend == o.Backend }
	if o.Host != "" && !slices.ContainsFunc(t.Shares(o.Host), of) {
		return badRequest(fmt.Sprintf("no pool of host %q has backend %q", o.Host, o.Backend))
	}
	return nil
}

// knownBackend refuses a name that is no backend's.
func (s *Server) knownBackend(name string) error {
	names := s.cfg.Info().Answers
	if _, ok := names[name]; ok {
		return nil
	}
	return mistyped(fmt.Sprintf("no backend is named %q", name), name,
		slices.Sorted(maps.Keys(names)))
}

// mistyped adds to what is wrong with a name which one was probably meant, or all there are.
func mistyped(wrong, name string, names []string) error {
	if near := nearest.Name(name, names); near != "" {
		return badRequest(wrong + ", did you mean " + near + "?")
	}
	return badRequest(wrong + "; there are " + strings.Join(names, ", "))
}

func (s *Server) removeOverride(ctx context.Context, in *byID) (*body[api.Override], error) {
	if s.cfg.Overrides == nil {
		return nil, absent("steering")
	}
	var found *steering.Override
	for _, o := range s.cfg.Overrides.Active(s.cfg.Now()) {
		if o.ID == in.ID {
			found = &o
		}
	}
	if found == nil {
		return nil, failure{problem(http.StatusNotFound, api.CodeNotFound,
			fmt.Sprintf("no override %q is in force", in.ID))}
	}
	if err := s.record(ctx, "undo "+string(found.Kind), found.Backend, "", true); err != nil {
		return nil, err
	}
	if err := s.cfg.Overrides.Remove(ctx, in.ID, callerOf(ctx).actor); err != nil {
		return nil, fail(err)
	}
	return answer(overrideOf(*found))
}

func overridesOf(list []steering.Override) []api.Override {
	out := []api.Override{}
	for _, o := range list {
		out = append(out, overrideOf(o))
	}
	return out
}

func overrideOf(o steering.Override) api.Override {
	return api.Override{ID: o.ID, Kind: string(o.Kind), Backend: o.Backend,
		Host: strings.TrimSuffix(o.Host, "."), Weight: o.Weight, Reason: o.Reason, Actor: o.Actor,
		Created: o.Created, Expires: o.Expires, Local: o.Local,
		Unsaved: o.Unsaved}
}

func (s *Server) drills(ctx context.Context, _ *none) (*body[[]api.Drill], error) {
	if s.cfg.Drills == nil {
		return nil, absent("probes, so no drills")
	}
	list, err := s.cfg.Drills.List(ctx)
	if err != nil {
		return nil, fail(err)
	}
	out := []api.Drill{}
	for _, rep := range list {
		out = append(out, briefDrill(rep))
	}
	return answer(out)
}

type drillInput struct {
	Body struct {
		Backend    string  `json:"backend" minLength:"1" maxLength:"128"`
		For        string  `json:"for" maxLength:"32" doc:"a duration, such as 2m"`
		Reason     string  `json:"reason,omitempty" maxLength:"500"`
		MinHealthy float64 `json:"min_healthy,omitempty" minimum:"0" maximum:"1"`
		Confirm    string  `json:"confirm" doc:"must equal backend"`
	}
}

func (s *Server) startDrill(ctx context.Context, in *drillInput) (*body[api.Drill], error) {
	if s.cfg.Drills == nil {
		return nil, absent("probes, so no drills")
	}
	b := in.Body
	d, err := time.ParseDuration(b.For)
	switch {
	case err != nil:
		return nil, badRequest(fmt.Sprintf("for %q: want a duration such as 2m", b.For))
	case b.Confirm != b.Backend:
		return nil, badRequest("confirm must repeat the backend's name: a drill moves users")
	}
	if err := s.knownBackend(b.Backend); err != nil {
		return nil, err
	}
	p := drill.Plan{Backend: b.Backend, For: d, MinHealthy: b.MinHealthy,
		Actor: callerOf(ctx).actor, Reason: b.Reason}
	if err := s.record(ctx, "drill", p.Backend, p.Reason, false); err != nil {
		return nil, err
	}
	rep, err := s.cfg.Drills.Start(ctx, p)
	if err != nil {
		return nil, fail(err)
	}
	return answer(drillOf(rep))
}

func (s *Server) drill(ctx context.Context, in *byID) (*body[api.Drill], error) {
	if s.cfg.Drills == nil {
		return nil, absent("probes, so no drills")
	}
	rep, err := s.cfg.Drills.Get(ctx, in.ID)
	if err != nil {
		return nil, fail(err)
	}
	return answer(drillOf(rep))
}

func (s *Server) stopDrill(ctx context.Context, in *byID) (*body[api.Drill], error) {
	if s.cfg.Drills == nil {
		return nil, absent("probes, so no drills")
	}
	if err := s.record(ctx, "stop drill", in.ID, "", true); err != nil {
		return nil, err
	}
	rep, err := s.cfg.Drills.Stop(ctx, in.ID, callerOf(ctx).actor)
	if err != nil {
		return nil, fail(err)
	}
	return answer(drillOf(rep))
}

func drillOf(rep drill.Report) api.Drill {
	d := briefDrill(rep)
	d.Markdown = rep.Markdown()
	d.Report, _ = json.Marshal(rep) // plain values always marshal
	return d
}

// briefDrill is a drill without its report, which can be long.
func briefDrill(rep drill.Report) api.Drill {
	return api.Drill{ID: rep.ID, Backend: rep.Plan.Backend, State: string(rep.State),
		Started: rep.Started, Ends: rep.Ends, Actor: rep.Plan.Actor, Node: rep.Node,
		Message: rep.Message}
}
