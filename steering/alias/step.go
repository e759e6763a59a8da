package alias

import (
	"net/netip"
	"slices"
	"time"
)

// Bounds of the schedule.
const (
	// minRefresh and maxRefresh bound how long after an answer the next look-up comes: a TTL of
	// 0 must not make us hammer a resolver, and one of a week must not keep a dead address.
	minRefresh = 5 * time.Second
	maxRefresh = time.Hour
	// firstRetry is how long after a first failure the next look-up comes; it doubles with each
	// further one up to maxRetry.
	firstRetry = time.Second
	maxRetry   = time.Minute
	// spread is the part of an interval by which it may be shorter, so that names that were
	// resolved together don't stay together.
	spread = 0.1
	// remembered is how many TTLs the served one is the longest of. A resolver counts down what
	// it has cached, so that most answers say less than the name's owner did.
	remembered = 8
)

// The results of a look-up.
const (
	resultAnswered = "answered" // addresses of one family at least
	resultNoName   = "nxdomain" // the name doesn't exist, they say
	resultEmpty    = "empty"    // it exists and has no address
	resultFailed   = "failed"   // no resolver gave an answer that can be used
)

// outcome is what one question came to.
type outcome struct {
	result string
	addrs  []netip.Addr  // for resultAnswered: in order, at least one
	ttl    time.Duration // for resultAnswered
	err    error         // for resultFailed
}

// record is what is known of a target. Its zero value knows nothing and is due at once.
type record struct {
	V4 family `json:"v4,omitzero"`
	V6 family `json:"v6,omitzero"`
	// Failures are the look-ups in a row that brought no address.
	Failures int       `json:"-"`
	Due      time.Time `json:"-"` // of the next look-up
}

// family is what is known of a target's addresses of one family.
type family struct {
	Addrs []netip.Addr `json:"addresses"`
	At    time.Time    `json:"at"` // when they were last confirmed
	// TTLs are the last ones heard, newest first, in seconds.
	TTLs []int64 `json:"ttls"`
}

// step takes the outcomes of both families of one look-up in. It is pure: chance, from 0 to 1,
// and now are all that it goes by. What was good stays unless something better came: a family
// is given up only where the other one was answered in the same look-up.
func step(r record, v4, v6 outcome, now time.Time, chance float64) (record, string) {
	result := overall(v4, v6)
	if result != resultAnswered {
		r.Failures++
		r.Due = now.Add(shorten(retry(r.Failures), chance))
		return r, result
	}
	r.Failures = 0
	r.V4, r.V6 = r.V4.after(v4, now), r.V6.after(v6, now)
	wait := maxRefresh
	for _, o := range []outcome{v4, v6} {
		switch o.result {
		case resultAnswered:
			wait = min(wait, max(o.ttl, minRefresh))
		case resultFailed:
			wait = min(wait, maxRetry) // half an answer is asked for again soon
		}
	}
	r.Due = now.Add(shorten(wait, chance))
	return r, result
}

// overall is the result of a look-up as a whole. Two resolvers may have answered: that a name
// doesn't exist counts more than that it has no address, and a failure less than either.
func overall(v4, v6 outcome) string {
	for _, result := range []string{resultAnswered, resultNoName, resultFailed} {
		if v4.result == result || v6.result == result {
			return result
		}
	}
	return resultEmpty
}

// after is the family after an outcome of a look-up that brought addresses of some family. A
// name that doesn't exist for one type and does for the other is a resolver's mistake.
func (f family) after(o outcome, now time.Time) family {
	switch o.result {
	case resultAnswered:
		ttls := append([]int64{int64(o.ttl / time.Second)}, f.TTLs...)
		return family{Addrs: o.addrs, At: now, TTLs: ttls[:min(len(ttls), remembered)]}
	case resultEmpty:
		return family{}
	}
	return f
}

// ttl is the one to serve, at least a second.
func (f family) ttl() time.Duration {
	return time.Duration(max(1, slices.Max(append([]int64{0}, f.TTLs...)))) * time.Second
}

func retry(failures int) time.Duration {
	return min(firstRetry<<min(failures-1, 10), maxRetry)
}

func shorten(d time.Duration, chance float64) time.Duration {
	return d - time.Duration(chance*spread*float64(d))
}

// known reports whether there is an address.
func (r record) known() bool { return len(r.V4.Addrs)+len(r.V6.Addrs) > 0 }

// answer is what a record that is known says.
func (r record) answer() Answer {
	a := Answer{V4: r.V4.Addrs, V6: r.V6.Addrs}
	for _, f := range []family{r.V4, r.V6} {
		if len(f.Addrs) == 0 {
			continue
		}
		if a.TTL == 0 || f.ttl() < a.TTL {
			a.TTL = f.ttl()
		}
		if a.At.IsZero() || f.At.Before(a.At) {
			a.At = f.At
		}
	}
	return a
}

// texts are the addresses of a record for people.
func (r record) texts() []string {
	out := []string{}
	for _, a := range slices.Concat(r.V4.Addrs, r.V6.Addrs) {
		out = append(out, a.String())
	}
	return out
}
