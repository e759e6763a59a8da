// Package sim replays incidents through the real stages (health trackers, quorum, the engine with
// its slow starts, the table) in virtual time, and through emulated default policies of other
// systems. A World flows in, a Result flows out: user-minutes lost, and whose they were. All of it
// is pure and seeded; the package reads no clock and owns no goroutine.
package sim

import (
	"fmt"
	"time"
)

// Duration is a time.Duration that is written as text, such as "90s", in a world's file.
type Duration time.Duration

// MarshalText writes a duration as Go does.
func (d Duration) MarshalText() ([]byte, error) { return []byte(time.Duration(d).String()), nil }

// UnmarshalText reads what time.ParseDuration reads.
func (d *Duration) UnmarshalText(text []byte) error {
	v, err := time.ParseDuration(string(text))
	if err != nil {
		return fmt.Errorf("%q is no duration such as 90s, 20m or 2h", text)
	}
	*d = Duration(v)
	return nil
}

// Kind is what an incident tests.
type Kind string

// The kinds of incident.
const (
	Hard  Kind = "hard"  // a backend fails for everybody, and probes of any sort can see that
	Grey  Kind = "grey"  // it fails for some, in part, now and then, or out of simple checks' sight
	False Kind = "false" // nothing fails for users: whoever moves them is wrong
	Plan  Kind = "plan"  // the steering's own plan is what fails
)

// World is an incident, and all that is around it. It is immutable once it was read.
type World struct {
	Name  string `json:"name"`
	About string `json:"about"`
	Kind  Kind   `json:"kind"`
	// Assumes says what is assumed of others' systems beyond their documents; empty: nothing.
	Assumes string   `json:"assumes,omitempty"`
	Seed    uint64   `json:"seed,omitempty"`
	Lasts   Duration `json:"lasts"` // 1 min to 48 h
	// TTL of the answers, 1 s to 1 h; 0: 20 s.
	TTL Duration `json:"ttl,omitempty"`
	// Users are on the site all the time; 0: 1,000,000.
	Users float64 `json:"users,omitempty"`
	// Regions divide the users; none: all are in one.
	Regions  []Region  `json:"regions,omitempty"`
	Backends []Backend `json:"backends"`
	// Vantages are the nodes of a system that one runs oneself. Each probes, and each that is
	// alive gives an equal part of the answers in all regions. None: three.
	Vantages []Vantage `json:"vantages,omitempty"`
	// Control is a target by which Pointsman's nodes doubt themselves; nil: there is none.
	Control *Control `json:"control,omitempty"`
	// ContentChecked says that checks of the body are set up, in every system that has them.
	ContentChecked bool `json:"content_checked,omitempty"`
	// Frozen are policies that can't change their answers for a time.
	Frozen []Freeze `json:"frozen,omitempty"`
	// Plans are sent to the steering while the incident lasts; the one in force has version 10.
	Plans []Order `json:"plans,omitempty"`
	// MoveCost is what a user loses who is moved off a backend that works: a lookup, a handshake
	// and a cold cache. 0: 3 s.
	MoveCost Duration `json:"move_cost,omitempty"`
	// Patience is the latency from which a user is lost; 0: 3 s.
	Patience Duration `json:"patience,omitempty"`
}

// Region is a part of the users.
type Region struct {
	Name  string  `json:"name"`
	Users float64 `json:"users"` // relative to the other regions
}

// Backend is one CDN with the truth about it.
type Backend struct {
	Name   string `json:"name"`
	Weight uint32 `json:"weight"` // 0: drained
	// Tier orders pools: those of tier 0 answer first.
	Tier int `json:"tier,omitempty"`
	// Capacity is the part of all users that it can serve, and what is above is lost; 0: all.
	Capacity float64 `json:"capacity,omitempty"`
	Faults   []Fault `json:"faults,omitempty"`
}

// Failure is the way in which a backend or a vantage fails.
type Failure string

// The failures of backends. Users meet each, probes only those that they can see.
const (
	Down        Failure = "down"        // nothing answers: connecting times out
	Refused     Failure = "refused"     // connecting is refused at once
	Errors      Failure = "errors"      // answers with an error, for a Ratio of requests
	Slow        Failure = "slow"        // takes Latency
	Certificate Failure = "certificate" // its certificate has ended
	Content     Failure = "content"     // answers with something else
)

// The failures of vantages. Users meet none of them.
const (
	Blind       Failure = "blind"       // all its probes fail, of the control too
	SaysDown    Failure = "says-down"   // its probes of Backends fail
	SaysUp      Failure = "says-up"     // its probes of Backends succeed, whatever is
	Partitioned Failure = "partitioned" // exchanges no votes
	Dead        Failure = "dead"        // neither probes nor answers
)

// Fault is a failure for a time.
type Fault struct {
	Kind Failure  `json:"kind"`
	From Duration `json:"from"`
	To   Duration `json:"to"`
	// Ratio of requests that it hits, 0 to 1; 0: all.
	Ratio   float64  `json:"ratio,omitempty"`
	Latency Duration `json:"latency,omitempty"` // of Slow
	// Every and For make it flap: it is there for For of each Every.
	Every Duration `json:"every,omitempty"`
	For   Duration `json:"for,omitempty"`
	// Regions limit a backend's fault; none: everywhere.
	Regions []string `json:"regions,omitempty"`
	// Backends limit what a vantage lies about; none: all.
	Backends []string `json:"backends,omitempty"`
}

// at reports whether the fault is there at a time.
func (f *Fault) at(t time.Duration) bool {
	if t < time.Duration(f.From) || t >= time.Duration(f.To) {
		return false
	}
	return f.Every == 0 || (t-time.Duration(f.From))%time.Duration(f.Every) < time.Duration(f.For)
}

// Vantage is one node of a system that one runs oneself.
type Vantage struct {
	Name   string  `json:"name"`
	Region string  `json:"region,omitempty"` // empty: the first
	Faults []Fault `json:"faults,omitempty"`
}

// Control is a target that is probed and never answers users.
type Control struct {
	Faults []Fault `json:"faults,omitempty"`
}

// Freeze keeps a policy's answers as they are.
type Freeze struct {
	Policy string   `json:"policy"`
	From   Duration `json:"from"`
	To     Duration `json:"to"`
}

// Order is a plan that somebody sends: weights under a version. One with a version that is not
// the highest yet is late, and one without weights leaves the name empty.
type Order struct {
	At      Duration          `json:"at"`
	Version uint64            `json:"version"`
	Weights map[string]uint32 `json:"weights"`
}

// firstVersion is that of the plan in force when a world begins.
const firstVersion = 10
