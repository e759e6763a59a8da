package purge

import (
	"cmp"
	"encoding/json"
	"slices"
	"strings"
	"time"
)

// Merge joins two copies of one purge into what both know together. It is commutative,
// associative and idempotent, so nodes may exchange copies in any order and as often as they
// like, and a worker that was frozen past its lease can do no harm: its stale "pending" loses
// against any later step, and its "taken" is true whenever it arrives.
//
// The further state of each batch wins (see rank), below Accepted the higher step; a higher
// Round of a delivery replaces a lower one whole.
func Merge(a, b Record) Record {
	out := a
	if compareHeads(b, a) < 0 {
		out = b
	}
	out.Replicated = a.Replicated || b.Replicated
	out.Deliveries = union(a.Deliveries, b.Deliveries,
		func(d Delivery) string { return d.Provider }, mergeDelivery)
	slices.SortFunc(out.Deliveries, func(x, y Delivery) int {
		return strings.Compare(x.Provider, y.Provider)
	})
	return out
}

// compareHeads orders the parts of a record that never change. They differ only when a purge
// was accepted twice under one idempotency key, by nodes that could not see each other: the
// earlier stays. What was asked is the same then.
func compareHeads(a, b Record) int {
	return cmp.Or(a.AcceptedAt.Compare(b.AcceptedAt), strings.Compare(a.AcceptedBy, b.AcceptedBy),
		strings.Compare(a.Request.Actor, b.Request.Actor),
		strings.Compare(a.Request.Reason, b.Request.Reason))
}

func mergeDelivery(a, b Delivery) Delivery {
	if a.Round != b.Round {
		if a.Round > b.Round {
			return a
		}
		return b
	}
	out := a
	if comparePlans(b, a) < 0 {
		out = b
	}
	out.Deadline = later(a.Deadline, b.Deadline)
	out.Last = further(a.Last, b.Last, compareProblems)
	out.Check = further(a.Check, b.Check, compareChecks)
	out.Batches = union(a.Batches, b.Batches, func(p Part) Cut { return p.Cut },
		func(x, y Part) Part { return further(x, y, compareParts) })
	sortParts(out.Batches)
	return out
}

// comparePlans orders what planning decided about a delivery.
func comparePlans(a, b Delivery) int {
	return cmp.Or(cmp.Compare(a.Form, b.Form), cmp.Compare(a.Kind, b.Kind),
		strings.Compare(a.Reason, b.Reason), compareText(a.Soft, b.Soft))
}

func compareParts(a, b Part) int {
	return cmp.Or(cmp.Compare(rank(a.State), rank(b.State)), cmp.Compare(a.Step, b.Step),
		compareText(a, b))
}

func compareChecks(a, b Check) int {
	order := []CheckState{CheckNone, CheckPending, CheckUnverified, CheckVerified}
	return cmp.Or(
		cmp.Compare(slices.Index(order, a.State), slices.Index(order, b.State)),
		cmp.Compare(a.Attempts, b.Attempts), compareText(a, b))
}

// compareProblems puts what failed a batch for good above what a repeat may mend.
func compareProblems(a, b Problem) int {
	return cmp.Or(cmp.Compare(min(len(a.Advice), 1), min(len(b.Advice), 1)),
		a.At.Compare(b.At), compareText(a, b))
}

// compareText breaks ties: any order will do that every node computes alike. Nearly always
// both sides are equal.
func compareText[T comparable](a, b T) int {
	if a == b {
		return 0
	}
	x, _ := json.Marshal(a) // strings, numbers and times of records always marshal
	y, _ := json.Marshal(b)
	return strings.Compare(string(x), string(y))
}

func further[T any](a, b T, compare func(T, T) int) T {
	if compare(a, b) < 0 {
		return b
	}
	return a
}

func later(a, b time.Time) time.Time {
	if a.Before(b) {
		return b
	}
	return a
}

// union joins two lists by key; elements with equal keys are joined by join.
func union[T any, K comparable](a, b []T, key func(T) K, join func(T, T) T) []T {
	out := slices.Clone(a)
	at := make(map[K]int, len(a))
	for i, x := range out {
		at[key(x)] = i
	}
	for _, y := range b {
		if i, ok := at[key(y)]; ok {
			out[i] = join(out[i], y)
			continue
		}
		at[key(y)] = len(out)
		out = append(out, y)
	}
	return out
}

func sortParts(parts []Part) {
	slices.SortFunc(parts, func(x, y Part) int {
		return cmp.Or(cmp.Compare(x.From, y.From), cmp.Compare(y.To, x.To))
	})
}
