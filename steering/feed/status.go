package feed

import (
	"cmp"
	"fmt"
	"slices"
	"time"

	"pointsman/steering"
)

// The states of a value.
const (
	stateHeld    = "held"    // in force
	stateWaiting = "waiting" // another one is in force for now
	stateSilent  = "silent"  // ended: the feed says nothing any more
)

// Status is how a feed stands.
type Status struct {
	Name string
	// From is where it is pulled from; empty: it is pushed.
	From   string
	Fields []steering.Field
	// Heard is when it last said something; zero: never, as far as this node knows.
	Heard time.Time
	// Error is that of the last pull; empty: it went well, or there was none.
	Error  string
	Values []Value
}

// Value is one field of one backend.
type Value struct {
	Backend string
	Field   steering.Field
	Host    string // for loads of one steered name
	State   string
	// InForce is the value that counts, and Latest the one that was said last, for people; "config"
	// when the feed says nothing.
	InForce, Latest  string
	Since, At, Until time.Time

	value uint64
	none  bool
}

// number is a value in the config's units.
func (v Value) number() float64 {
	n := float64(v.value)
	switch v.Field {
	case steering.FieldCost:
		return n / 1_000_000
	case steering.FieldWeight:
		return n / steering.FullWeight
	case FieldLoad:
		return n / thousandths
	}
	return n
}

// fieldName tells loads of single steered names apart.
func (v Value) fieldName() string {
	if v.Host != "" {
		return string(v.Field) + " " + v.Host
	}
	return string(v.Field)
}

// Status tells how all feeds stand, by name.
func (k *Keeper) Status() []Status {
	k.mu.Lock()
	defer k.mu.Unlock()
	now := k.now()
	out := make([]Status, 0, len(k.feeds))
	for name, f := range k.feeds {
		s := Status{Name: name, Fields: f.Fields, Heard: k.states[name].heard, Error: k.states[name].err}
		if f.pulled() {
			s.From = place(f.URL)
		}
		for at, h := range k.books[name] {
			s.Heard = later(s.Heard, h.Heard)
			if f.allows(at.Backend, at.Field) {
				s.Values = append(s.Values, valueOf(f, at, h, now))
			}
		}
		slices.SortFunc(s.Values, func(a, b Value) int {
			return compareKeys(key{a.Backend, a.Field, a.Host}, key{b.Backend, b.Field, b.Host})
		})
		out = append(out, s)
	}
	slices.SortFunc(out, func(a, b Status) int { return cmp.Compare(a.Name, b.Name) })
	return out
}

func valueOf(f *Feed, at key, h Held, now time.Time) Value {
	h = h.settle(f, at.Field, now)
	v := Value{Backend: at.Backend, Field: at.Field, Host: at.Host, State: stateHeld,
		InForce: text(at.Field, h.Value, h.None), Latest: text(at.Field, h.Latest, h.Withdrawn),
		Since: h.Since, At: h.At, Until: h.until(f.Keep), value: h.Value, none: h.None}
	switch {
	case !now.Before(v.Until):
		v.State, v.InForce = stateSilent, text(at.Field, 0, true)
	case h.None && h.Withdrawn:
		v.State = stateSilent
	case h.pending(f, at.Field):
		v.State = stateWaiting
	}
	return v
}

// text is a value for people.
func text(field steering.Field, value uint64, none bool) string {
	switch {
	case none:
		return "config"
	case field == FieldLoad:
		return fmt.Sprintf("%d.%03d", value/thousandths, value%thousandths)
	}
	return steering.FedValue{Field: field, Value: value}.Text()
}
