package slow

import (
	"time"

	"pointsman/steering/control"
)

// slot is the length of a billing slot.
const slot = control.SlotSeconds * time.Second

// month is what a ledger has seen of a backend, and the slot that is not over yet.
type month struct {
	Start  time.Time           `json:"start"` // in UTC
	Ledger control.LedgerState `json:"ledger"`
	Slot   int                 `json:"slot"` // of the month, the one that is being filled
	mean
	Last float64 `json:"last"` // Mbit/s of the slot before
}

// mean adds up a load over time.
type mean struct {
	Sum     float64 `json:"sum"`
	Seconds float64 `json:"seconds"`
}

func (m *mean) add(load float64, over time.Duration) {
	m.Sum += load * over.Seconds()
	m.Seconds += over.Seconds()
}

// take returns the mean and starts anew; without any time it is otherwise.
func (m *mean) take(otherwise float64) float64 {
	v := otherwise
	if m.Seconds > 0 {
		v = m.Sum / m.Seconds
	}
	*m = mean{}
	return v
}

// startOf is when a time's month began, and how many slots it has.
func startOf(now time.Time) (time.Time, int) {
	start := time.Date(now.UTC().Year(), now.UTC().Month(), 1, 0, 0, 0, 0, time.UTC)
	return start, int(start.AddDate(0, 1, 0).Sub(start) / slot)
}

// advance brings a month up to a time, with the load since the step before, and opens its ledger.
// Slots that nobody saw count as the last one seen: traffic does not stop when the loop does.
func (m month) advance(now time.Time, mbps float64, since time.Duration,
	c control.Contract) (month, *control.Ledger, error) {
	start, slots := startOf(now)
	at := int(now.Sub(start) / slot)
	if start.Before(m.Start) { // the clock went back: the month that was begun waits for it
		start, slots = startOf(m.Start)
		at, since = m.Slot, 0
	}
	if !m.Start.Equal(start) {
		m = month{Start: start, Slot: at, Last: mbps}
	}
	l, err := control.NewLedger(c, slots)
	if err == nil {
		err = l.Restore(m.Ledger)
	}
	if err != nil {
		return m, nil, err
	}
	m.add(mbps, min(since, slot))
	for ; m.Slot < at; m.Slot++ {
		m.Last = m.take(m.Last)
		l.Record(m.Last)
	}
	m.Ledger = l.State()
	return m, l, nil
}

// totals is the traffic of all backends, by the hour: what last month had is the forecast by
// which the 95th percentiles worth paying for are planned.
type totals struct {
	Start  time.Time `json:"start,omitzero"`
	Hours  []float64 `json:"hours,omitempty"` // Mbit/s of each hour seen this month
	Before []float64 `json:"before,omitempty"`
	Hour   int       `json:"hour,omitempty"`
	mean
}

// advance returns the totals brought up to a time.
func (t totals) advance(now time.Time, mbps float64, since time.Duration) totals {
	start, _ := startOf(now)
	hour := int(now.Sub(start) / time.Hour)
	if start.Before(t.Start) {
		return t
	}
	if !t.Start.Equal(start) {
		next := totals{Start: start, Hour: hour}
		if t.Start.AddDate(0, 1, 0).Equal(start) {
			next.Before = t.Hours
		}
		t = next
	}
	t.add(mbps, min(since, time.Hour))
	if t.Hour < hour {
		if t.Seconds > 0 {
			t.Hours = append(t.Hours[:len(t.Hours):len(t.Hours)], t.take(0))
		}
		t.Hour = hour
	}
	return t
}

// ledgers brings the months of all backends with a contract up to now.
func (n *step) ledgers() map[string]*control.Ledger {
	out := make(map[string]*control.Ledger)
	if n.next.Months == nil {
		n.next.Months = make(map[string]month)
	}
	all := 0.0
	for b, load := range n.expected() {
		if m, ok := n.loads[b]; ok {
			load = m.Value
		}
		mbps := n.mbps(load)
		all += mbps
		c := n.config.Backends[b].Contract
		if c.Peak == 0 && len(c.Tiers) == 0 {
			continue
		}
		m, l, err := n.next.Months[b].advance(n.in.Now, mbps, n.since, c)
		if err != nil { // a state that was tampered with: the month begins anew
			m, l, err = month{}.advance(n.in.Now, mbps, n.since, c)
		}
		if err == nil {
			n.next.Months[b], out[b] = m, l
		}
	}
	n.next.Totals = n.next.Totals.advance(n.in.Now, all, n.since)
	n.plan(out)
	return out
}

// plan sets the 95th percentiles that are worth paying for, if there is a month to learn from.
func (n *step) plan(ledgers map[string]*control.Ledger) {
	for b, l := range ledgers {
		at := n.config.Backends[b]
		if at.Contract.Peak == 0 || len(n.next.Totals.Before) == 0 {
			continue
		}
		elsewhere := 0.0
		for o := range ledgers {
			if tiers := n.config.Backends[o].Contract.Tiers; o != b && len(tiers) > 0 &&
				(elsewhere == 0 || tiers[0].Price < elsewhere) {
				elsewhere = tiers[0].Price
			}
		}
		forecast := make([]float64, len(n.next.Totals.Before))
		for i, v := range n.next.Totals.Before {
			if forecast[i] = v; at.Capacity > 0 {
				forecast[i] = min(v, n.mbps(at.Capacity/headroom))
			}
		}
		l.Plan(forecast, elsewhere)
	}
}

// expected is what each backend should get by the shares up to now, in requests/s.
func (n *step) expected() map[string]float64 {
	out := make(map[string]float64)
	for _, p := range n.policies {
		for b, share := range n.sharesOf(p) {
			out[b] += share * n.demand[p.Scope]
		}
	}
	return out
}

// mbps turns requests/s into Mbit/s.
func (n *step) mbps(requests float64) float64 { return requests * n.config.Response * 8 / 1e6 }
