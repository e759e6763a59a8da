package control

import (
	"bytes"
	"cmp"
	"errors"
	"maps"
	"math"
	"slices"
	"strings"
)

// Scope says whose answers a split divides: those of a host, or of its clients at one place.
type Scope struct {
	Host  string // canonical, as in the spec
	Place string // empty: clients who are at none of the host's places
}

// Compare orders scopes by host, then by place.
func (s Scope) Compare(o Scope) int {
	return cmp.Or(strings.Compare(s.Host, o.Host), strings.Compare(s.Place, o.Place))
}

func (s Scope) String() string {
	if s.Place == "" {
		return s.Host
	}
	return s.Host + " at " + s.Place
}

// MarshalText writes a scope as a key of JSON: the host, a space, the place.
func (s Scope) MarshalText() ([]byte, error) { return []byte(s.Host + " " + s.Place), nil }

// UnmarshalText reads what MarshalText wrote.
func (s *Scope) UnmarshalText(text []byte) error {
	host, place, ok := bytes.Cut(text, []byte(" "))
	if !ok || len(host) == 0 {
		return errors.New("a scope is a host, a space and a place")
	}
	s.Host, s.Place = string(host), string(place)
	return nil
}

// Split divides answers among backends: a share from 0 to 1 for each, which add up to 1. A
// backend that is missing has 0. Splits are immutable once handed on.
type Split map[string]float64

// Normal returns a split with shares in proportion to s that add up to 1. What is below 0, or
// no number, counts as 0. The result is nil when nothing is left.
func (s Split) Normal() Split {
	out := make(Split, len(s))
	sum := 0.0
	for _, b := range s.backends() {
		v := s[b]
		if !(v > 0) || math.IsInf(v, 0) {
			v = 0
		}
		out[b] = v
		sum += v
	}
	if sum <= 0 || math.IsInf(sum, 0) {
		return nil
	}
	for b := range out {
		out[b] /= sum
	}
	return out
}

// WeightTotal is what the weights of a split add up to.
const WeightTotal = 1_000_000

// Weights returns the split in whole parts that add up to WeightTotal exactly, by largest
// remainder. A share above 0 has at least one part, a share of 0 none: it stays drained.
func (s Split) Weights() map[string]uint32 {
	s = s.Normal()
	out := make(map[string]uint32, len(s))
	order := s.backends()
	left := WeightTotal
	for _, b := range order {
		if s[b] > 0 {
			out[b] = max(1, uint32(s[b]*WeightTotal))
			left -= int(out[b])
		} else {
			out[b] = 0
		}
	}
	slices.SortStableFunc(order, func(a, b string) int {
		return cmp.Compare(s[b]*WeightTotal-float64(out[b]), s[a]*WeightTotal-float64(out[a]))
	})
	for i := 0; left > 0 && len(order) > 0; i = (i + 1) % len(order) {
		if s[order[i]] > 0 {
			out[order[i]]++
			left--
		}
	}
	for i := len(order) - 1; left < 0; i = (i + len(order) - 1) % len(order) {
		if out[order[i]] > 1 {
			out[order[i]]--
			left++
		}
	}
	return out
}

// backends returns the names in order, so that sums are the same on every node.
func (s Split) backends() []string { return slices.Sorted(maps.Keys(s)) }

// distance is the part of the answers that go elsewhere in o than in s, from 0 to 1.
func (s Split) distance(o Split) float64 {
	d := 0.0
	for _, b := range s.backends() {
		d += max(0, s[b]-o[b])
	}
	return d
}
