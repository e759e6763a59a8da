package feed

import (
	"cmp"
	"math"
	"time"

	"pointsman/steering"
)

// Held is one field of one backend: what is in force, and what was said last. All of it is in the
// record, so that every node that has the record puts the same value in force at the same time.
type Held struct {
	// Value came into force at Since; None: nothing is, and the config counts. See
	// steering.FedValue for units; load is in thousandths of a request a second.
	Value uint64    `json:"value"`
	None  bool      `json:"none,omitempty"`
	Since time.Time `json:"since"`
	// Latest was said last, or that there is nothing to say: measured At, as its document tells,
	// and heard at Heard.
	Latest    uint64    `json:"latest"`
	Withdrawn bool      `json:"withdrawn,omitempty"`
	At        time.Time `json:"at"`
	Heard     time.Time `json:"heard"`
}

// until is when the value ends, unless it is said again.
func (h Held) until(keep time.Duration) time.Time { return h.At.Add(keep) }

// settle returns h as it is at a time: what was said last comes into force once what was before it
// was for Hold, if it is far enough from it.
func (h Held) settle(f *Feed, field steering.Field, now time.Time) Held {
	due := later(h.Since.Add(f.hold(field)), h.Heard)
	if h.pending(f, field) && !now.Before(due) {
		h.Value, h.None, h.Since = h.Latest, h.Withdrawn, due
	}
	return h
}

// pending reports whether what was said last is to come into force.
func (h Held) pending(f *Feed, field steering.Field) bool {
	if h.None || h.Withdrawn || h.Value == h.Latest {
		return h.None != h.Withdrawn
	}
	switch field {
	case steering.FieldWeight, steering.FieldCapacity, steering.FieldCost:
		low, high := min(h.Value, h.Latest), max(h.Value, h.Latest)
		// Away from 0, and to it, is always far enough.
		return low == 0 || float64(high-low)*100 > float64(h.Value)*float64(f.DeadBand)
	}
	return true
}

// hold is how long a value of a field is in force at least. Loads are measurements, to be seen as
// they are: who uses them has bounds of his own.
func (f *Feed) hold(field steering.Field) time.Duration {
	if field == FieldLoad {
		return 0
	}
	return f.Hold
}

// hear returns h after something more was said. What came into force meanwhile, or ended, is in it.
// A zero h has heard nothing yet.
func (h Held) hear(f *Feed, field steering.Field, e said, now time.Time) Held {
	if h.Heard.IsZero() {
		h.None = true
	}
	h = h.settle(f, field, now)
	if end := h.until(f.Keep); !h.None && !now.Before(end) {
		h.None, h.Since = true, end
	}
	if h.Since.After(now) {
		h.Since = now // the clock jumped back: nothing has to wait for it
	}
	if h.Withdrawn = e.withdrawn; !e.withdrawn {
		h.Latest = e.value
	}
	h.At, h.Heard = e.at, now
	return h.settle(f, field, now)
}

// older reports whether something was measured before what was said last. A record from the future,
// by a clock that has jumped since, keeps nothing out.
func (e said) older(h Held, now time.Time) bool {
	return e.at.Before(h.At) && !h.future(now)
}

func (h Held) future(now time.Time) bool { return h.At.Sub(now) > skew }

// newer says which of two nodes' records of the same field counts: the one said last. All nodes
// choose alike.
func (h Held) newer(o Held, now time.Time) bool {
	flag := func(b bool) int { return map[bool]int{true: 1}[b] }
	return cmp.Or(flag(o.future(now))-flag(h.future(now)), h.At.Compare(o.At),
		h.Heard.Compare(o.Heard), flag(h.Withdrawn)-flag(o.Withdrawn), cmp.Compare(h.Latest, o.Latest),
		h.Since.Compare(o.Since), cmp.Compare(h.Value, o.Value), flag(h.None)-flag(o.None)) > 0
}

func later(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}

// key is what a Held is of; Host is for loads of one steered name.
type key struct {
	Backend string
	Field   steering.Field
	Host    string
}

// book holds one feed's values.
type book map[key]Held

// Load is measured requests a second at a backend.
type Load struct {
	PerSecond float64
	At        time.Time // when it was measured
	Feed      string
	// Hosts are those of single steered names (without a final dot), as far as the feed gives them.
	Hosts map[string]HostLoad
}

// HostLoad is one steered name's part of a Load.
type HostLoad struct {
	PerSecond float64
	At        time.Time
}

// values lists what a feed's book says of what the feed may speak of: what holds, and for
// explanations what has ended within the last day. It is pure.
func values(f *Feed, b book, now time.Time) []steering.FedValue {
	var list []steering.FedValue
	for k, h := range b {
		h = h.settle(f, k.Field, now)
		if k.Field == FieldLoad || h.None || !f.allows(k.Backend, k.Field) ||
			now.Sub(h.until(f.Keep)) > shown {
			continue
		}
		list = append(list, steering.FedValue{Backend: k.Backend, Field: k.Field, Value: h.Value,
			Feed: f.Name, Since: h.Since, At: h.At, Until: h.until(f.Keep)})
	}
	return list
}

// loads adds the loads that a feed's book holds at a time. It is pure.
func loads(f *Feed, b book, now time.Time, into map[string]Load) {
	for k, h := range b {
		if k.Field != FieldLoad || h.Withdrawn || !now.Before(h.until(f.Keep)) ||
			!f.allows(k.Backend, k.Field) {
			continue
		}
		l := into[k.Backend]
		rate := float64(h.Latest) / thousandths
		if k.Host == "" {
			l.PerSecond, l.At, l.Feed = rate, h.At, f.Name
		} else {
			if l.Hosts == nil {
				l.Hosts = map[string]HostLoad{}
			}
			l.Feed = f.Name
			l.Hosts[k.Host] = HostLoad{PerSecond: rate, At: h.At}
		}
		into[k.Backend] = l
	}
}

const (
	thousandths = 1000
	// shown is how long an ended value is kept for explanations.
	shown = 24 * time.Hour
)

// scaled turns a number of a document into a whole number of its parts.
func scaled(n, parts float64) uint64 { return uint64(math.Round(n * parts)) }
