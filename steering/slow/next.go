package slow

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"pointsman/steering/control"
)

// Next makes one step. It is pure: equal arguments give equal results on every node, and neither
// is changed. The guidance has no epoch and no sequence yet: those are the leader's.
func (c Config) Next(s State, in Inputs) (State, control.Guidance) {
	n := c.newStep(s, in)
	n.demands()
	n.measure()
	n.goals()
	for _, p := range n.policies {
		n.scope(p)
	}
	n.warm()
	n.next.Last = n.out
	return n.next, n.out
}

// step is one step while it is made.
type step struct {
	config   Config
	before   State
	in       Inputs
	since    time.Duration // since the step before; 0 at first, or when the clock went back
	policies []Policy      // in order
	next     State
	out      control.Guidance

	demand  map[control.Scope]float64 // requests/s; all 0: not known
	total   float64                   // of all scopes
	targets map[control.Scope]control.Split
	goal    map[control.Scope]control.Split // of hosts balanced by cost
	why     map[control.Scope]string        // of the goal
	loads   map[string]Measured             // requests/s, as far as a figure is sane
	changed bool                            // who can answer in the scope at hand
}

func (c Config) newStep(s State, in Inputs) *step {
	n := &step{config: c, before: s, in: in, policies: slices.Clone(in.Policies),
		demand:  make(map[control.Scope]float64),
		targets: make(map[control.Scope]control.Split),
		goal:    make(map[control.Scope]control.Split),
		why:     make(map[control.Scope]string),
	}
	slices.SortFunc(n.policies, func(a, b Policy) int { return a.Scope.Compare(b.Scope) })
	if !s.At.IsZero() {
		n.since = max(0, in.Now.Sub(s.At))
	}
	n.next = State{At: in.Now, Scopes: make(map[control.Scope]scopeState),
		Seen: maps.Clone(s.Seen), Months: maps.Clone(s.Months), Totals: s.Totals,
		Warmth: maps.Clone(s.Warmth), Steps: make(map[control.Scope]control.Verdict)}
	n.out = control.Guidance{At: in.Now, Splits: make(map[control.Scope]control.Split),
		Traffic: make(map[control.Scope][]control.Assigned), Why: make(map[control.Scope]string)}
	return n
}

// managed reports whether the loop divides a scope's answers.
func (n *step) managed(p Policy) bool {
	b := n.config.Hosts[p.Scope.Host].Balance
	return b != "" && b != Queries
}

// scope moves the shares of one scope.
func (n *step) scope(p Policy) {
	target := p.Weights.Normal()
	n.targets[p.Scope] = target
	members := membersOf(p.Weights)
	state := n.before.Scopes[p.Scope]
	switch {
	case !n.managed(p):
		state = scopeState{Members: members}
	case p.Held != "":
		n.out.Why[p.Scope] = "left to the policy: " + p.Held
		state.Settle = n.settled(n.config.Hosts[p.Scope.Host])
	case len(members) < 2:
		n.out.Why[p.Scope] = "nothing to divide: only " + strings.Join(members, "") + " can answer"
		state.Members = members
	default:
		state = n.move(p, state, members)
		n.assign(p, &state)
	}
	n.next.Scopes[p.Scope] = state
}

// membersOf lists the backends with a weight, in order.
func membersOf(weights control.Split) []string {
	var out []string
	for _, b := range slices.Sorted(maps.Keys(weights)) {
		if weights[b] > 0 {
			out = append(out, b)
		}
	}
	return out
}

// move makes a step of control.Loop for a scope.
func (n *step) move(p Policy, s scopeState, members []string) scopeState {
	h := n.config.Hosts[p.Scope.Host]
	current, mass := remember(s.Shares, p.Weights, members)
	if s.Members != nil && !slices.Equal(s.Members, members) {
		s.Settle = n.settled(h)
	}
	s.Members = members
	in := control.LoopInput{Current: current, Weights: p.Weights, Since: n.since, Blind: s.Blind,
		Goal: n.goal[p.Scope]}
	if h.Balance == Traffic || h.Balance == Cost && in.Goal == nil {
		in.Goal = p.Weights.Normal()
	}
	var note string
	in.Signals, note = n.signals(p, h, current)
	var does control.LoopStep
	var says string
	if held := n.waits(p.Scope, s, members); held != "" {
		does = control.LoopStep{Next: zeros(current, p.Weights), Verdict: control.Waiting}
		says = "waiting: " + held
	} else {
		does = control.Loop(n.config.loop(h), in)
		says = does.String()
	}
	s.Blind = does.Blind
	s.Shares = keep(s.Shares, p.Weights, does.Next, mass)
	n.targets[p.Scope] = does.Next
	n.next.Steps[p.Scope] = does.Verdict
	n.out.Why[p.Scope] = n.explain(p.Scope, h, says, note, in, does.Next)
	n.changed = !slices.Equal(members, n.before.Scopes[p.Scope].Members)
	return s
}

// settled is when clients will have followed a change that happens now. Until then, errors are of
// who left or came and not of shares.
func (n *step) settled(h Host) time.Time {
	return n.in.Now.Add(h.Ramp + h.TTL + tail + n.config.Delay)
}

// tail is how long after a TTL the clients' tail begins: by then 90 % have followed.
const tail = 40 * time.Second

// waits says why a scope's shares must stay as they are; empty: they need not.
func (n *step) waits(scope control.Scope, s scopeState, members []string) string {
	if left := s.Settle.Sub(n.in.Now); left > 0 {
		if left > time.Hour+tail+2*n.config.Delay { // the clock jumped back
			return ""
		}
		return fmt.Sprintf("who can answer changed, and clients follow for %s more",
			left.Round(time.Second))
	}
	for _, b := range members {
		if f, limited := n.before.Last.Limits[b]; limited {
			return fmt.Sprintf("%s has %.1f %% of its weight while its cache warms", b, 100*f)
		}
	}
	return ""
}

// remember returns the shares of those who can answer now, from those that were kept, and what
// part of the kept they are. Who was never seen comes in with its weight.
func remember(kept, weights control.Split, members []string) (current control.Split, mass float64) {
	current = make(control.Split, len(members))
	known := 0.0
	for _, b := range members {
		if v, ok := kept[b]; ok {
			mass += v
			known += weights[b]
			current[b] = v
		}
	}
	if !(mass > 0) || known <= 0 {
		return control.Split(restrict(weights, members)).Normal(), 1
	}
	grown := mass
	for _, b := range members {
		if _, ok := kept[b]; !ok {
			current[b] = weights[b] / known * mass
			grown += current[b]
		}
	}
	return current.Normal(), grown
}

func restrict(s control.Split, names []string) control.Split {
	out := make(control.Split, len(names))
	for _, b := range names {
		out[b] = s[b]
	}
	return out
}

// keep puts new shares in the place of those kept; backends that can't answer keep theirs, and
// those that the policy has no more are forgotten.
func keep(kept, weights, next control.Split, mass float64) control.Split {
	out := make(control.Split, len(weights))
	for b, w := range weights {
		switch was, ok := kept[b]; {
		case w > 0:
			out[b] = next[b] * mass
		case ok:
			out[b] = was
		}
	}
	return out
}

// zeros adds the backends of the policy that can't answer.
func zeros(current, weights control.Split) control.Split {
	out := maps.Clone(current)
	for b, w := range weights {
		if !(w > 0) {
			out[b] = 0
		}
	}
	return out
}

// explain says in a line what a scope's step did, with its numbers.
func (n *step) explain(scope control.Scope, h Host, says, note string, in control.LoopInput,
	next control.Split) string {
	parts := []string{fmt.Sprintf("by %s: %s", h.Balance, says), "shares " + percents(next)}
	if in.Goal != nil {
		parts = append(parts, "goal "+percents(in.Goal))
	}
	if why := n.why[scope]; why != "" {
		parts = append(parts, why)
	}
	return strings.Join(append(parts, note), "; ")
}

// percents writes a split for people.
func percents(s control.Split) string {
	var parts []string
	for _, b := range slices.Sorted(maps.Keys(s)) {
		parts = append(parts, fmt.Sprintf("%s %.1f %%", b, 100*s[b]))
	}
	return strings.Join(parts, ", ")
}
