// Package slow runs the slow loop: measured loads, latencies and the operator's policy flow in,
// and guidance for all nodes' tables flows out, made by one leader at a time. Next, which decides,
// is a pure function; Runner.Run owns the only goroutine, and lends it to a lease in the store.
package slow

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"time"

	"pointsman/steering/control"
)

// Balance says what a host's shares are to make true.
type Balance string

// The balances. All but Queries are the loop's business.
const (
	Queries Balance = "queries" // weights divide answers; the loop lets the host be
	Traffic Balance = "traffic" // weights divide requests
	Latency Balance = "latency" // latencies are equal
	Load    Balance = "load"    // loads by capacity are equal
	Cost    Balance = "cost"    // the cheapest shares within capacities and latency bounds
)

// tracks reports whether there is a goal that traffic should meet.
func (b Balance) tracks() bool { return b == Traffic || b == Cost }

// trafficSlope is how many times the mean the traffic behind a backend's answers may be. With a
// goal the error answers to a share by that at most.
const trafficSlope = 2

// Config is what the operator asked for. It is immutable once handed on.
type Config struct {
	// Loop is how shares move. A gain of 0 stands for the largest that is safe, host by host.
	Loop control.LoopConfig
	// Slope is control.Plant.Slope for hosts that equalise latencies or loads.
	Slope float64
	// Delay is how old what is measured is on average when a step sees it.
	Delay time.Duration
	// Bound is how much slower than the fastest a backend may be that Cost chooses.
	Bound control.Bound
	// Origin is how many times its usual load the origin may get while caches warm; 0: any.
	Origin float64
	// Response is how many bytes a response has on average, by which requests become traffic.
	Response float64
	// Hosts are by their canonical names, Backends by theirs.
	Hosts    map[string]Host
	Backends map[string]Backend
}

// Host is a steered name.
type Host struct {
	Balance Balance
	// TTL is that of its answers, LeastTTL the shortest that a heavy resolver may get.
	TTL, LeastTTL time.Duration
	Ramp          time.Duration // how long a backend's return takes
	Load          float64       // requests/s as the operator knows; 0: not known
}

// Backend is one answer.
type Backend struct {
	Capacity float64 // requests/s; 0: any number
	Contract control.Contract
	Cache    *control.Cache // nil: how it warms is not known, and no return of it is held back
}

// Plant is what the stability of a host's shares depends on.
func (c Config) Plant(h Host) control.Plant {
	p := control.Plant{TTL: h.TTL, Delay: c.Delay, Interval: c.Loop.Interval, Slope: c.Slope}
	if h.Balance.tracks() {
		p.Slope = trafficSlope
	}
	return p
}

// loop is how the shares of a host move.
func (c Config) loop(h Host) control.LoopConfig {
	l := c.Loop
	if l.Gain == 0 {
		l.Gain = c.Plant(h).LargestGain()
	}
	return l
}

// Mistake is what is wrong with a part of a config. Key is that of its section: gain, or empty
// for the loop as a whole; Host and Backend are empty unless it is about one.
type Mistake struct{ Key, Host, Backend, Message string }

// Check returns every mistake of a config, those about hosts in the order of their names. A gain
// with which a host's shares could swing is one.
func (c Config) Check() []Mistake {
	var bad []Mistake
	whole := c.Loop
	whole.Gain = cmp.Or(whole.Gain, 1)
	if err := whole.Validate(); err != nil {
		bad = append(bad, Mistake{Message: err.Error()})
	}
	for _, name := range slices.Sorted(maps.Keys(c.Hosts)) {
		h := c.Hosts[name]
		if h.Balance == Queries || len(bad) > 0 {
			continue
		}
		if err := control.Certify(c.loop(h).Gain, c.Plant(h)); err != nil {
			bad = append(bad, Mistake{Key: "gain", Host: name, Message: err.Error()})
		}
	}
	for _, name := range slices.Sorted(maps.Keys(c.Backends)) {
		b := c.Backends[name]
		if err := b.Contract.Validate(); err != nil {
			bad = append(bad, Mistake{Key: "contract", Backend: name, Message: err.Error()})
		}
		if b.Cache == nil {
			continue
		}
		if err := b.Cache.Validate(); err != nil {
			bad = append(bad, Mistake{Key: "cache", Backend: name, Message: err.Error()})
		}
	}
	return bad
}

// Active reports whether there is anything to do: a host that is not balanced by queries, or a
// backend whose cache warms.
func (c Config) Active() bool {
	for _, h := range c.Hosts {
		if h.Balance != Queries {
			return true
		}
	}
	for _, b := range c.Backends {
		if b.Cache != nil {
			return true
		}
	}
	return false
}

// Policy is what the operator's policy gives a scope now, health and overrides included, with
// nothing of the loop's in it.
type Policy struct {
	Scope control.Scope
	// Weights hold every backend of the scope; one that can't answer now has 0.
	Weights control.Split
	// Held says why the loop must let the scope be, such as a pin; empty: it need not.
	Held string
}

// Measured is a value with its age.
type Measured struct {
	Value float64
	Age   time.Duration
}

// ResolverLoads is what is known of those who ask about one scope.
type ResolverLoads struct {
	Resolvers []control.Resolver `json:"resolvers,omitempty"`
	Total     float64            `json:"total"` // load of all, those not listed included
}

// Inputs are what one step sees. They are only read.
type Inputs struct {
	Now      time.Time
	Policies []Policy // in any order, each scope once
	// Latencies are in seconds, Loads in requests/s, both by backend. Those that are missing
	// are not measured.
	Latencies, Loads map[string]Measured
	// HostLoads are those parts of Loads that are known to be a host's, by host and backend.
	HostLoads map[string]map[string]Measured
	Resolvers map[control.Scope]ResolverLoads
}

// State is what a step leaves for the next one. It is immutable, and JSON keeps it.
type State struct {
	At     time.Time                         `json:"at"`
	Scopes map[control.Scope]scopeState      `json:"scopes,omitempty"`
	Seen   map[string]time.Time              `json:"seen,omitempty"` // when a load was last measured
	Months map[string]month                  `json:"months,omitempty"`
	Totals totals                            `json:"totals,omitzero"`
	Warmth map[string]float64                `json:"warmth,omitempty"` // of caches
	Last   control.Guidance                  `json:"-"`                // kept apart: all nodes read it
	Steps  map[control.Scope]control.Verdict `json:"steps,omitempty"`
}

// scopeState is what is remembered of a scope.
type scopeState struct {
	// Shares are of the traffic. A backend that can't answer keeps its share for its return.
	Shares control.Split `json:"shares"`
	// Members are those who could answer, in order.
	Members []string `json:"members"`
	// Settle is until when what is measured tells of who left or came rather than of shares.
	Settle time.Time     `json:"settle,omitzero"`
	Blind  time.Duration `json:"blind,omitempty"`
	// Target is what resolvers were last assigned by, at AssignedAt.
	Target     control.Split `json:"target,omitempty"`
	AssignedAt time.Time     `json:"assigned_at,omitzero"`
}

func (s Measured) String() string {
	return fmt.Sprintf("%.4g, %s old", s.Value, s.Age.Round(time.Second))
}
