package slow

import (
	"context"
	"maps"
	"net/netip"
	"slices"
	"strings"
	"time"

	"pointsman/internal/store"
	"pointsman/steering/control"
)

// report is what one node measures by itself: requests that its edge serves, and who asks it.
type report struct {
	At        time.Time                       `json:"at"`
	Loads     map[string]float64              `json:"loads,omitempty"` // requests/s by backend
	Resolvers map[control.Scope]ResolverLoads `json:"resolvers,omitempty"`
}

// own makes this node's report.
func (r *Runner) own(now time.Time) report {
	out := report{At: now}
	if r.cfg.Own != nil {
		out.Loads = r.cfg.Own()
	}
	if r.cfg.Resolvers != nil {
		out.Resolvers = make(map[control.Scope]ResolverLoads)
		scopes := r.cfg.Resolvers()
		most := max(1, mostAssigned/max(1, len(scopes)))
		for scope, l := range scopes {
			out.Resolvers[scope] = ResolverLoads{Total: l.Total,
				Resolvers: control.Heaviest(l.Resolvers, most)}
		}
	}
	return out
}

// tell leaves this node's report for the leader.
func (r *Runner) tell(ctx context.Context, own report, keep time.Duration) error {
	if r.cfg.Shared == nil || len(own.Loads)+len(own.Resolvers) == 0 {
		return nil
	}
	raw, err := pack(own)
	if err != nil {
		return err
	}
	_, err = r.cfg.Shared.Put(ctx, seenKey+r.cfg.Node, raw, store.PutOptions{TTL: keep})
	return err
}

// gather brings the nodes' reports up to date. One that is not there any more stays with its age
// for as long as shares would be held without it: the node may be cut off from the store and still
// serve, and traffic that nobody counts must not look like none.
func (r *Runner) gather(ctx context.Context, own report, hold time.Duration) error {
	r.reports[r.cfg.Node] = own
	defer maps.DeleteFunc(r.reports, func(_ string, seen report) bool {
		return own.At.Sub(seen.At).Abs() > hold
	})
	if r.cfg.Shared == nil {
		return nil
	}
	list, err := r.cfg.Shared.List(ctx, seenKey)
	if err != nil {
		return err
	}
	for _, e := range list {
		node := strings.TrimPrefix(e.Key, seenKey)
		var seen report
		if node != r.cfg.Node && unpack(e.Value, &seen) == nil {
			r.reports[node] = seen
		}
	}
	return nil
}

// merge adds up reports: loads with the age of the oldest, and resolvers by their prefixes.
func merge(reports map[string]report, now time.Time) (map[string]Measured,
	map[control.Scope]ResolverLoads) {
	loads := make(map[string]Measured)
	scopes := make(map[control.Scope]ResolverLoads)
	byPrefix := make(map[control.Scope]map[netip.Prefix]control.Resolver)
	for _, node := range slices.Sorted(maps.Keys(reports)) {
		seen := reports[node]
		age := max(0, now.Sub(seen.At))
		for b, v := range seen.Loads {
			m := loads[b]
			loads[b] = Measured{Value: m.Value + v, Age: max(m.Age, age)}
		}
		for scope, l := range seen.Resolvers {
			if byPrefix[scope] == nil {
				byPrefix[scope] = make(map[netip.Prefix]control.Resolver)
			}
			all := scopes[scope]
			all.Total += l.Total
			scopes[scope] = all
			for _, one := range l.Resolvers {
				byPrefix[scope][one.Prefix] = plus(byPrefix[scope][one.Prefix], one)
			}
		}
	}
	for scope, list := range byPrefix {
		all := scopes[scope]
		all.Resolvers = control.Heaviest(slices.Collect(maps.Values(list)), len(list))
		scopes[scope] = all
	}
	return loads, scopes
}

// plus adds up what two nodes know of a resolver.
func plus(a, b control.Resolver) control.Resolver {
	sum := a.Load + b.Load
	if sum > 0 {
		b.Error = (a.Load*a.Error + b.Load*b.Error) / sum
	}
	b.Load = sum
	return b
}
