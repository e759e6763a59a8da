package steering

import (
	"cmp"
	"slices"
	"time"
)

// orders are the overrides that hold at one moment, indexed by what they concern. Within a
// list the one that wins stands first: an order for one host before one for all, then the
// newest, so that the operator's last word counts.
type orders struct {
	active    []Override
	byBackend map[string][]Override
	pins      []Override
	named     map[string]bool // hosts that an order is for alone
}

func newOrders(list []Override, now time.Time) orders {
	o := orders{byBackend: make(map[string][]Override), named: make(map[string]bool)}
	for _, v := range list {
		if v.Active(now) {
			o.active = append(o.active, v)
		}
	}
	slices.SortFunc(o.active, precedence)
	for _, v := range o.active {
		if v.Host != "" {
			o.named[v.Host] = true
		}
		o.byBackend[v.Backend] = append(o.byBackend[v.Backend], v)
		if v.Kind == Pin {
			o.pins = append(o.pins, v)
		}
	}
	return o
}

// precedence is a total order, so that the list's order on arrival never matters.
func precedence(a, b Override) int {
	if (a.Host != "") != (b.Host != "") {
		if a.Host != "" {
			return -1
		}
		return 1
	}
	return cmp.Or(
		b.Created.Compare(a.Created),
		cmp.Compare(a.ID, b.ID),
		cmp.Compare(a.Kind, b.Kind),
		cmp.Compare(a.Backend, b.Backend),
		cmp.Compare(a.Host, b.Host),
		cmp.Compare(a.Weight, b.Weight),
	)
}

// drain returns the drain or fence that keeps a backend out of a host, or nil. A drain comes
// before a fence, because it says more of what the operator wants.
func (o orders) drain(host, backend string) *Override {
	var fence *Override
	for i := range o.byBackend[backend] {
		v := &o.byBackend[backend][i]
		switch {
		case !v.Covers(host):
		case v.Kind == Drain:
			return v
		case v.Kind == Fence && fence == nil:
			fence = v
		}
	}
	return fence
}

// weight returns the override of a backend's weight for a host, or nil.
func (o orders) weight(host, backend string) *Override {
	for i := range o.byBackend[backend] {
		if v := &o.byBackend[backend][i]; v.Kind == Weight && v.Covers(host) {
			return v
		}
	}
	return nil
}

// drainAfter returns a drain of the backend that is newer than a pin to it, or nil: of two
// contrary orders by people the last one counts. A fence is no person's order and never does.
func (o orders) drainAfter(pin *Override, host string) *Override {
	for i := range o.byBackend[pin.Backend] {
		v := &o.byBackend[pin.Backend][i]
		if v.Kind == Drain && v.Covers(host) && v.Created.After(pin.Created) {
			return v
		}
	}
	return nil
}
