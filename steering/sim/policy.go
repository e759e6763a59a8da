package sim

import (
	"slices"
	"time"
)

// Policy is a system with its default settings.
type Policy struct {
	Name  string `json:"name"`
	About string `json:"about"`

	start func(w *World) (player, error)
}

// alone is Pointsman without its quorum. Worlds of one's own show it; it plays in no league.
const alone = "pointsman-alone"

// player plays one policy in one world.
type player interface {
	// step lets time pass to t and returns what each node answers: by backend, the parts that
	// it gets, and last the part of queries that get no answer. A node that is dead has nil.
	// All is overwritten by the next step.
	step(t time.Duration) [][]float64
	// order hands in a plan.
	order(p Order)
	// empty is how often nodes that are alive had no answer to a question.
	empty() int
}

// Policies are all that can be played, Pointsman first.
func Policies() []Policy {
	list := []Policy{
		{"pointsman", "probes each second, rise 3, fall 3, hold-down, slow start, quorum of the nodes",
			func(w *World) (player, error) { return newFleet(w, true) }},
		{alone, "the same, but each node decides alone",
			func(w *World) (player, error) { return newFleet(w, false) }},
	}
	for _, m := range models() {
		list = append(list, Policy{m.name, m.about, func(w *World) (player, error) {
			return newEmulation(w, m), nil
		}})
	}
	return list
}

// find returns the policy of a name, or nil.
func find(name string) *Policy {
	list := Policies()
	i := slices.IndexFunc(list, func(p Policy) bool { return p.Name == name })
	if i < 0 {
		return nil
	}
	return &list[i]
}
