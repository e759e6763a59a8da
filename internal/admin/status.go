package admin

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net/http"
	"net/netip"
	"slices"
	"strings"
	"time"

	"pointsman/internal/admin/api"
	"pointsman/probes/health"
	"pointsman/steering"
)

func (s *Server) healthz(w http.ResponseWriter, _ *http.Request) { fmt.Fprintln(w, "ok") }

func (s *Server) readyz(w http.ResponseWriter, _ *http.Request) {
	if !s.cfg.Info().Ready {
		w.WriteHeader(http.StatusServiceUnavailable)
		fmt.Fprintln(w, "not ready")
		return
	}
	fmt.Fprintln(w, "ready")
}

func (s *Server) console(w http.ResponseWriter, r *http.Request) {
	if s.cfg.Console == nil {
		http.NotFound(w, r)
		return
	}
	s.cfg.Console.ServeHTTP(w, r)
}

// noRoute keeps the console from answering what was meant for the API.
func (s *Server) noRoute(w http.ResponseWriter, r *http.Request) {
	writeProblem(w, problem(http.StatusNotFound, api.CodeNotFound,
		r.URL.Path+" is no route of this API"))
}

// status composes what an operator wants to see first.
func (s *Server) status(context.Context, *none) (*body[api.Status], error) {
	return answer(s.snapshot())
}

func (s *Server) snapshot() api.Status {
	now, info := s.cfg.Now(), s.cfg.Info()
	st := api.Status{
		Node: s.cfg.Node, Version: s.cfg.Version, Started: s.started, Now: now,
		Ready: info.Ready, Roles: info.Roles, ConfigHash: info.ConfigHash,
		ConfigLoaded: info.ConfigLoaded, Store: info.Store, Warnings: info.Warnings,
		Overrides: []api.Override{},
	}
	t := s.cfg.Engine.Table()
	if t != nil {
		st.TableVersion, st.TableHash, st.TableCompiled = t.Version, t.Hash, t.CompiledAt
		for _, h := range t.Hosts() {
			st.Hosts = append(st.Hosts, s.hostStatus(t, h))
		}
	}
	st.Backends = backendsOf(s.cfg.View(), info)
	for i := range st.Backends {
		if t != nil {
			st.Backends[i].Metadata = t.Metadata(st.Backends[i].Name)
		}
	}
	if s.cfg.Overrides != nil {
		st.Overrides = overridesOf(s.cfg.Overrides.Active(now))
	}
	if s.cfg.Drills != nil {
		if rep, ok := s.cfg.Drills.Current(); ok {
			d := briefDrill(rep)
			st.Drill = &d
		}
	}
	st.Edge = s.edgeStatus()
	return st
}

func (s *Server) hostStatus(t *steering.Table, host string) api.HostStatus {
	h := api.HostStatus{Host: strings.TrimSuffix(host, ".")}
	if reason, ok := t.Reason(host); ok {
		h.Reason = string(reason)
	}
	if d, ok := t.Pick(steering.Query{Host: host}); ok {
		h.TTL = float64(d.TTL)
	}
	for _, share := range t.Shares(host) {
		mine, all := s.actual.of(host, share.Backend)
		b := api.BackendShare{Backend: share.Backend, Pool: share.Pool, Target: share.Share,
			Answers: mine}
		if all > 0 {
			b.Actual = float64(mine) / float64(all)
		}
		h.Backends = append(h.Backends, b)
	}
	return h
}

func backendsOf(v *health.View, info Info) []api.Backend {
	out := []api.Backend{}
	for name := range info.Answers {
		h := v.Of(name)
		b := api.Backend{Name: name, State: string(h.State), Since: h.Since, Reason: h.Reason,
			LatencyMS: float64(h.Latency.Microseconds()) / 1000, Answer: info.Answers[name],
			Provider: info.Providers[name], LastSample: moment(h.LastSample),
			CertExpires: moment(h.CertExpires)}
		out = append(out, b)
	}
	slices.SortFunc(out, func(a, b api.Backend) int { return cmp.Compare(a.Name, b.Name) })
	return out
}

func moment(t time.Time) *time.Time {
	if t.IsZero() {
		return nil
	}
	return &t
}

func (s *Server) edgeStatus() *api.EdgeStatus {
	if s.cfg.Edge == nil {
		return nil
	}
	e := s.cfg.Edge.Stats()
	st := &api.EdgeStatus{Objects: e.Objects, Bytes: e.Bytes, Limit: e.Limit}
	for _, site := range e.Sites {
		st.Requests += site.Requests
		st.Hits += site.Hits + site.Stale + site.Revalidated
		st.Misses += site.Misses
	}
	return st
}

type explainInput struct {
	Name   string `query:"name" required:"true" maxLength:"255"`
	Client string `query:"client" maxLength:"64"`
}

// explain shows one decision for a client, with all that led to it.
func (s *Server) explain(_ context.Context, in *explainInput) (*body[api.Explanation], error) {
	client, err := prefixOf(in.Client)
	if err != nil {
		return nil, badRequest(err.Error())
	}
	host := strings.ToLower(strings.TrimSuffix(in.Name, ".")) + "."
	e, ok := s.cfg.Engine.Explain(host, client, rand.Uint64())
	if !ok {
		return nil, failure{problem(http.StatusNotFound, api.CodeNotFound,
			fmt.Sprintf("%q is not steered; steered are %s", in.Name, s.steered()))}
	}
	return answer(explanationOf(in.Name, e))
}

func (s *Server) steered() string {
	if s.cfg.Engine.Table() == nil {
		return "no names yet"
	}
	return strings.Join(s.hosts(), ", ")
}

// hosts are the steered names as people write them.
func (s *Server) hosts() []string {
	var names []string
	if t := s.cfg.Engine.Table(); t != nil {
		for _, h := range t.Hosts() {
			names = append(names, strings.TrimSuffix(h, "."))
		}
	}
	return names
}

// prefixOf reads an address or a prefix; empty is loopback.
func prefixOf(client string) (netip.Prefix, error) {
	if client == "" {
		client = "127.0.0.1"
	}
	if p, err := netip.ParsePrefix(client); err == nil {
		return p.Masked(), nil
	}
	a, err := netip.ParseAddr(client)
	if err != nil {
		return netip.Prefix{}, fmt.Errorf("client %q: want an address or a prefix", client)
	}
	a = a.Unmap().WithZone("")
	return netip.PrefixFrom(a, a.BitLen()), nil
}

func explanationOf(name string, e steering.Explanation) api.Explanation {
	d := e.Decision
	out := api.Explanation{Name: name, Client: e.Client, Now: e.At, TableVersion: e.TableVersion,
		TableHash: e.TableHash, TableCompiled: e.CompiledAt, Backend: d.Backend, Pool: d.Pool,
		Reason: string(d.Reason), TTL: d.TTLSeconds, Scope: d.Scope, Sticky: d.Scope > 0}
	if d.CNAME != "" {
		out.Answer = []string{"CNAME " + d.CNAME}
	}
	for _, a := range d.Addresses {
		out.Answer = append(out.Answer, a.String())
	}
	for _, sh := range e.Shares {
		out.Shares = append(out.Shares, api.ExplainPart(sh))
	}
	for _, st := range e.Steps {
		out.Steps = append(out.Steps, stepOf(st))
	}
	return out
}

func stepOf(st steering.Step) api.ExplainStep {
	step := api.ExplainStep{What: st.What, Detail: st.Detail}
	for _, in := range st.Inputs {
		value := in.Value
		if in.Reason != "" {
			value += ": " + in.Reason
		}
		if !in.Expires.IsZero() {
			value += ", until " + in.Expires.UTC().Format(time.RFC3339)
		}
		for _, v := range in.Votes {
			value += fmt.Sprintf("; vantage %s votes %s", v.Vantage, v.State)
		}
		at := in.Seen
		if at.IsZero() {
			at = in.Since
		}
		step.Inputs = append(step.Inputs, api.ExplainInput{
			Name: strings.TrimSpace(in.Kind + " " + in.Backend), Value: value, Source: in.Source, At: at})
	}
	return step
}

// streamLimit is how long a client of the stream may take nothing before it is cut off.
const streamLimit = 15 * time.Second

type eventsInput struct {
	After uint64 `query:"after"`
}

func (s *Server) events(_ context.Context, in *eventsInput) (*body[[]api.Event], error) {
	events, _ := s.cfg.Events.After(in.After)
	if events == nil {
		events = []api.Event{}
	}
	return answer(events)
}

// stream sends the status once a second and every event at once, as server-sent events.
func (s *Server) stream(w http.ResponseWriter, r *http.Request) {
	rc := http.NewResponseController(w)
	w.Header().Set("Content-Type", "text/event-stream")
	w.Header().Set("X-Accel-Buffering", "no")
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	var seq uint64
	for {
		// A client that stopped reading must not hold this goroutine for ever.
		_ = rc.SetWriteDeadline(time.Now().Add(streamLimit))
		events, more := s.cfg.Events.After(seq)
		for _, e := range events {
			seq = e.Sequence
			sendEvent(w, "event", e)
		}
		sendEvent(w, "status", s.snapshot())
		if rc.Flush() != nil {
			return // the client went away
		}
		select {
		case <-r.Context().Done():
			return
		case <-s.quit:
			return
		case <-tick.C:
		case <-more:
		}
	}
}

func sendEvent(w http.ResponseWriter, name string, v any) {
	raw, err := json.Marshal(v)
	if err != nil {
		return // every type here marshals
	}
	fmt.Fprintf(w, "event: %s\ndata: %s\n\n", name, raw)
}
