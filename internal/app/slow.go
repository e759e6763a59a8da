package app

import (
	"fmt"
	"strings"
	"time"

	"pointsman/edge"
	"pointsman/internal/config"
	"pointsman/steering"
	"pointsman/steering/control"
	"pointsman/steering/slow"
)

// slowOf converts what the slow loop goes by.
func slowOf(c *config.Config) slow.Config {
	l := c.Steering.Loop
	out := slow.Config{
		Loop: control.LoopConfig{Gain: l.Gain.Float(), DeadBand: l.DeadBand.Float(),
			Rate: l.Rate.Float(), Interval: l.Interval, Fresh: l.Fresh, Hold: l.Hold, Decay: l.Decay,
			Floor: l.Floor.Float()},
		Slope: l.Slope.Float(), Delay: l.Delay, Origin: c.Steering.OriginFactor.Float(),
		Bound: control.Bound{Percent: float64(c.Steering.Within.Percent),
			Within: c.Steering.Within.Span},
		Response: float64(c.Steering.Response), Hosts: make(map[string]slow.Host, len(c.Hosts)),
		Backends: make(map[string]slow.Backend, len(c.Backends)),
	}
	for _, h := range c.Hosts {
		out.Hosts[fqdn(h.Name)] = slow.Host{Balance: slow.Balance(h.Balance), TTL: h.TTL,
			LeastTTL: h.LeastTTL, Ramp: h.Ramp, Load: float64(h.Load)}
	}
	for _, b := range c.Backends {
		out.Backends[b.Name] = slow.Backend{Capacity: float64(b.Capacity), Contract: contractOf(b),
			Cache: cacheOf(b.Cache)}
	}
	return out
}

// contractOf converts a backend's contract; without one its cost is the price of each GB.
func contractOf(b config.Backend) (out control.Contract) {
	switch k := b.Contract; {
	case k == nil && b.Cost > 0:
		out.Tiers = []control.Tier{{Price: b.Cost.Float()}}
	case k == nil:
	case k.Peak > 0:
		out = control.Contract{Peak: k.Peak.Float(), CommitMbps: float64(k.Commit)}
	default:
		out.CommitGB = float64(k.Commit)
		for _, t := range k.Tiers {
			out.Tiers = append(out.Tiers, control.Tier{UpTo: float64(t.UpTo), Price: t.Price.Float()})
		}
	}
	return out
}

func cacheOf(k *config.Cache) *control.Cache {
	if k == nil {
		return nil
	}
	return &control.Cache{Cold: k.Cold.Float(), Warm: k.Warm.Float(),
		WorkingSet: float64(k.WorkingSet), Life: k.Life}
}

// slowMistakes are those that package slow finds, with their places in the file: above all a gain
// with which shares could swing.
func slowMistakes(c *config.Config, s slow.Config) (bad []pathMistake) {
	for _, m := range s.Check() {
		path, about := "steering.loop", ""
		if m.Key == "gain" {
			path = "steering.loop.gain"
			about = strings.TrimSuffix(m.Host, ".") + ": "
		}
		if m.Backend != "" {
			path = backendPath(c, m.Backend) + "." + m.Key
		}
		bad = append(bad, complaint(path, about+m.Message))
	}
	return bad
}

// newSlow builds the slow loop over the parts that measure and the engine that applies.
func (a *App) newSlow(c *config.Config, p *parts, in *inputs) *slow.Runner {
	cfg := slow.RunnerConfig{Node: c.Node, Shared: p.sharedStore(), Local: p.local, Logger: a.log,
		Registerer: p.registry, Latencies: p.latencies, Loads: p.fedLoads,
		HostLoads: p.fedHostLoads, Resolvers: p.resolverLoads, Apply: p.engine.SetGuidance,
		Policies: func() []slow.Policy { return policiesOf(p.engine.Table(), time.Now()) }}
	var meter edgeMeter
	cfg.Own = func() map[string]float64 {
		backend := a.edgeBackend()
		if p.edge == nil || backend == "" {
			return nil
		}
		rate, ok := meter.rate(time.Now(), requestsOf(p.edge.Stats()))
		if !ok {
			return nil
		}
		return map[string]float64{backend: rate}
	}
	return slow.NewRunner(cfg, in.slow)
}

// weigh says of which hosts the nameserver estimates the users behind each resolver: those whose
// shares the slow loop moves.
func (p *parts) weigh(in *inputs) {
	hosts := make(map[string]bool)
	for name, h := range in.slow.Hosts {
		if h.Balance != slow.Queries {
			hosts[name] = true
		}
	}
	p.weighed.Store(&hosts)
}

// weighs reports whether a host is one of them.
func (p *parts) weighs(host string) bool { return (*p.weighed.Load())[host] }

// resolverLoads are those that the nameserver has estimated.
func (p *parts) resolverLoads() map[control.Scope]slow.ResolverLoads {
	if p.dns == nil {
		return nil
	}
	out := make(map[control.Scope]slow.ResolverLoads)
	for _, l := range p.dns.Loads() {
		out[l.Scope] = slow.ResolverLoads{Resolvers: l.Resolvers, Total: l.Total}
	}
	return out
}

// fedLoads are the loads of backends that feeds give.
func (p *parts) fedLoads() map[string]slow.Measured {
	out, now := make(map[string]slow.Measured), time.Now()
	for name, l := range p.feeds.Loads() {
		if l.At.IsZero() {
			continue // it gives loads by host alone
		}
		out[name] = slow.Measured{Value: l.PerSecond, Age: max(0, now.Sub(l.At))}
	}
	return out
}

// fedHostLoads are those of single hosts.
func (p *parts) fedHostLoads() map[string]map[string]slow.Measured {
	out, now := make(map[string]map[string]slow.Measured), time.Now()
	for name, l := range p.feeds.Loads() {
		for host, of := range l.Hosts {
			host = fqdn(host)
			if out[host] == nil {
				out[host] = make(map[string]slow.Measured)
			}
			out[host][name] = slow.Measured{Value: of.PerSecond, Age: max(0, now.Sub(of.At))}
		}
	}
	return out
}

// latencies are those that probes see, in seconds.
func (p *parts) latencies() map[string]slow.Measured {
	out := make(map[string]slow.Measured)
	v, now := p.tracker.View(), time.Now()
	if v == nil {
		return out
	}
	for name, h := range v.Backends {
		if h.Latency > 0 && !h.LastSample.IsZero() {
			out[name] = slow.Measured{Value: h.Latency.Seconds(), Age: max(0, now.Sub(h.LastSample))}
		}
	}
	return out
}

// policiesOf compiles what stands behind a table once more, without anything of control's: what
// the operator's policy, health and overrides give each host and place.
func policiesOf(t *steering.Table, now time.Time) (out []slow.Policy) {
	if t == nil {
		return nil
	}
	in := t.Inputs()
	in.Now, in.Prior = now, t
	in.Shares, in.Guidance = control.Shares{}, control.Guidance{}
	plain, err := steering.Compile(in)
	if err != nil {
		return nil // it compiled a moment ago
	}
	for _, host := range plain.Hosts() {
		for _, place := range append([]string{""}, plain.Places(host)...) {
			out = append(out, slowPolicy(plain, host, place))
		}
	}
	return out
}

func slowPolicy(t *steering.Table, host, place string) slow.Policy {
	p := slow.Policy{Scope: control.Scope{Host: host, Place: place}, Weights: make(control.Split)}
	for _, s := range t.SharesAt(host, place) {
		p.Weights[s.Backend] += s.Share
	}
	reason, _ := t.ReasonAt(host, place)
	switch reason {
	case steering.ReasonPinned, steering.ReasonAllDown, steering.ReasonDrained,
		steering.ReasonUnresolved:
		p.Held = fmt.Sprintf("its reason is %s", reason)
	}
	return p
}

// edgeBackend is the backend that the edges of our nodes are: the one whose provider is of kind
// edge. With several nobody can say which of them a node's edge is.
func (a *App) edgeBackend() string {
	loaded := a.loaded.Load()
	if loaded == nil {
		return ""
	}
	return edgeBackendOf(loaded.config)
}

func edgeBackendOf(c *config.Config) (name string) {
	kinds := make(map[string]string, len(c.Providers))
	for _, p := range c.Providers {
		kinds[p.Name] = p.Kind
	}
	for _, b := range c.Backends {
		if kinds[b.Provider] != config.ProviderEdge {
			continue
		}
		if name != "" {
			return ""
		}
		name = b.Name
	}
	return name
}

func requestsOf(s edge.Stats) (n uint64) {
	for _, site := range s.Sites {
		n += site.Requests
	}
	return n
}

// edgeMeter makes a rate of a counter: the mean of about a minute.
type edgeMeter struct{ marks []mark }

type mark struct {
	at    time.Time
	count uint64
}

// rate takes a count in, and returns requests/s over the last minute; false at first.
func (m *edgeMeter) rate(now time.Time, count uint64) (float64, bool) {
	if n := len(m.marks); n > 0 && (count < m.marks[n-1].count || now.Before(m.marks[n-1].at)) {
		m.marks = nil // sites were taken away, or the clock went back
	}
	m.marks = append(m.marks, mark{now, count})
	for len(m.marks) > 2 && now.Sub(m.marks[1].at) >= time.Minute {
		m.marks = m.marks[1:]
	}
	first := m.marks[0]
	if over := now.Sub(first.at).Seconds(); over > 0 {
		return float64(count-first.count) / over, true
	}
	return 0, false
}
