package steering

import (
	"cmp"
	"fmt"
	"slices"
	"time"
)

// Up is what the config says of a backend's state.
type Up string

// The constants for Up.
const (
	UpByProbe Up = "probe" // as the probes say; so does an empty one
	UpAlways  Up = "true"  // usable, whatever the probes say
	UpNever   Up = "false" // out, as if it were unhealthy
)

// Field is a part of a backend's metadata that an API may feed.
type Field string

// The fields that a table is compiled from.
const (
	FieldUp       Field = "up"       // 0 takes the backend out; 1 leaves it to its probes
	FieldDrain    Field = "drain"    // 1 drains it; 0: it isn't drained
	FieldWeight   Field = "weight"   // percent of its configured weights, at most 1000
	FieldCapacity Field = "capacity" // requests a second, at least 1
	FieldCost     Field = "cost"     // in millionths
)

// Bounds of fed values.
const (
	FullWeight = 100  // percent: the configured weights
	MostWeight = 1000 // percent
	MostRate   = maxRate
)

// FedValue is one field of a backend as a feed gave it. Until it ends it takes the place of what
// the config says; then the config counts again.
type FedValue struct {
	Backend string `json:"backend"`
	Field   Field  `json:"field"`
	Value   uint64 `json:"value"` // see the fields
	// Feed names where it came from.
	Feed string `json:"feed"`
	// Since is when the value came into force, At when it was last said.
	Since time.Time `json:"since"`
	At    time.Time `json:"at"`
	// Until is when the value no longer holds because the feed was silent for too long.
	Until time.Time `json:"until"`
}

// Active reports whether the value holds at a time.
func (v FedValue) Active(now time.Time) bool { return now.Before(v.Until) }

// Text is the value for people.
func (v FedValue) Text() string {
	switch v.Field {
	case FieldUp, FieldDrain:
		return fmt.Sprint(v.Value != 0)
	case FieldWeight:
		return fmt.Sprintf("%d%%", v.Value)
	case FieldCost:
		return millionths(v.Value)
	}
	return fmt.Sprint(v.Value)
}

// fedKey is what a value is of.
type fedKey struct {
	backend string
	field   Field
}

// fed holds the values of one moment: those that hold, and those that have ended.
type fed struct{ active, ended map[fedKey]*FedValue }

// newFed indexes values. When two are of the same field, which no config allows, the one of the
// feed that sorts first counts, so that their order doesn't.
func newFed(list []FedValue, now time.Time) fed {
	f := fed{}
	if len(list) == 0 {
		return f
	}
	f.active, f.ended = make(map[fedKey]*FedValue), make(map[fedKey]*FedValue)
	list = slices.SortedFunc(slices.Values(list), func(a, b FedValue) int {
		return cmp.Or(cmp.Compare(a.Feed, b.Feed), b.At.Compare(a.At), cmp.Compare(a.Value, b.Value))
	})
	for i := range list {
		v := &list[i]
		into := f.ended
		if v.Active(now) {
			into = f.active
		}
		if key := (fedKey{v.Backend, v.Field}); into[key] == nil {
			into[key] = v
		}
	}
	return f
}

// of returns the value that holds, or nil.
func (f fed) of(backend string, field Field) *FedValue { return f.active[fedKey{backend, field}] }

// sameFed reports whether the same values hold: ages and ends count only as far as they decide.
func sameFed(a []FedValue, then time.Time, b []FedValue, now time.Time) bool {
	was, is := newFed(a, then).active, newFed(b, now).active
	if len(was) != len(is) {
		return false
	}
	for key, v := range is {
		o := was[key]
		if o == nil || o.Value != v.Value || o.Feed != v.Feed {
			return false
		}
	}
	return true
}

// usable reports whether a backend may answer: what its probes say, unless the config knows
// better; and a feed may only take it out. What a feed says counts in place of UpNever.
func (c *compiler) usable(backend string, measured bool) bool {
	said := c.specs[backend].Up
	v := c.fed.of(backend, FieldUp)
	switch {
	case v != nil && v.Value == 0:
		return false
	case said == UpAlways:
		return true
	case said == UpNever && v == nil:
		return false
	}
	return measured
}

// drained reports whether the config or a feed drains a backend. An operator's weight says that it
// is to be used, so a feed's drain yields to it.
func (c *compiler) drained(backend string, weighted bool) bool {
	if v := c.fed.of(backend, FieldDrain); v != nil {
		return v.Value != 0 && !weighted
	}
	return c.specs[backend].Drain
}

// fedWeight applies what a feed says of a backend's weights, in weightUnits. One above 0 becomes
// 0 by a fed 0 alone.
func (c *compiler) fedWeight(backend string, weight uint64) uint64 {
	v := c.fed.of(backend, FieldWeight)
	switch {
	case v == nil:
		return weight
	case weight == 0 || v.Value == 0:
		return 0
	}
	return max(1, proportion(weight, min(v.Value, MostWeight), FullWeight))
}

// capacity is how many requests a second a backend can take; 0: any number.
func (c *compiler) capacity(b *Backend) uint64 {
	if v := c.fed.of(b.Name, FieldCapacity); v != nil {
		return v.Value
	}
	return b.Capacity
}

// cost is what a gigabyte costs at a backend.
func (c *compiler) cost(backend string) (uint64, bool) {
	if v := c.fed.of(backend, FieldCost); v != nil {
		return v.Value, true
	}
	return c.specs[backend].Cost, true
}

// fedCauses says which values moved between two inputs.
func fedCauses(before, after Inputs) []string {
	was, is := newFed(before.Fed, before.Now).active, newFed(after.Fed, after.Now).active
	var parts []string
	for key, v := range is {
		if o := was[key]; o == nil || o.Value != v.Value || o.Feed != v.Feed {
			parts = append(parts, fmt.Sprintf("feed %s: %s of %s %s", v.Feed, v.Field, v.Backend,
				v.Text()))
		}
	}
	for key, v := range was {
		if is[key] == nil {
			parts = append(parts, fmt.Sprintf("feed %s: %s of %s is the config's again", v.Feed,
				v.Field, v.Backend))
		}
	}
	slices.Sort(parts)
	return parts
}

// millionths writes an amount with six decimals.
func millionths(n uint64) string {
	return fmt.Sprintf("%d.%06d", n/weightUnit, n%weightUnit)
}

// letBack notes which backends feeds no longer keep out, so that they return by their ramps. The
// caller holds e.mu.
func (e *Engine) letBack(in Inputs) {
	was, is := newFed(e.compiled.Fed, e.compiled.Now), newFed(in.Fed, in.Now)
	out := func(v *FedValue) bool { return v != nil && v.Value == 0 }
	for key, v := range was.active {
		if key.field == FieldUp && out(v) && !out(is.active[key]) {
			if e.returned == nil {
				e.returned = make(map[string]time.Time)
			}
			e.returned[key.backend] = in.Now
		}
	}
}

// cameBack is when a backend last came back: by its probes or by a feed. The caller holds e.mu.
func (e *Engine) cameBack(backend string, measured time.Time) time.Time {
	if at := e.returned[backend]; at.After(measured) {
		return at
	}
	return measured
}
