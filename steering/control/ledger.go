package control

import (
	"errors"
	"fmt"
	"math"
	"slices"
)

const (
	// SlotSeconds is the length of a billing slot: 95/5 looks at 5-minute averages.
	SlotSeconds = 300
	// slotGB is what 1 Mbit/s carries in a slot, in GB of 10^9 bytes.
	slotGB = 1e6 / 8 * SlotSeconds / 1e9
	// freePart is the part of a month's slots that 95/5 billing leaves out.
	freePart = 0.05
	// priceUnit is how many units of a Segment's price are one of the currency. A Mbit/s for
	// a slot costs far less than a cent.
	priceUnit = 1e9
)

// Contract is what a backend's traffic costs in a month: by volume, or by 95/5 when Peak is
// set. Commits are paid whether used or not, so that up to them more traffic costs nothing.
type Contract struct {
	// Tiers are the prices of a GB by the month's volume, from 0 upwards.
	Tiers []Tier
	// CommitGB is paid for at the price of the tiers in any case.
	CommitGB float64
	// Peak is the monthly price of 1 Mbit/s at the 95th percentile; above 0: billed by 95/5.
	Peak float64
	// CommitMbps is paid for at Peak in any case.
	CommitMbps float64
}

// Tier is a price that holds up to a volume.
type Tier struct {
	UpTo  float64 // GB in the month; 0: without end, in the last tier only
	Price float64 // of a GB
}

// Validate returns what is wrong with a contract.
func (c Contract) Validate() error {
	for _, v := range []float64{c.CommitGB, c.Peak, c.CommitMbps} {
		if !(v >= 0) || math.IsInf(v, 0) {
			return errors.New("commits and the price of 95/5 must be numbers, 0 or more")
		}
	}
	if c.Peak > 0 {
		if len(c.Tiers) > 0 || c.CommitGB > 0 {
			return errors.New("a contract is by volume or by 95/5, not both")
		}
		return nil
	}
	if c.CommitMbps > 0 {
		return errors.New("a commit in Mbit/s needs a price of 95/5")
	}
	at := 0.0
	for i, t := range c.Tiers {
		last := i == len(c.Tiers)-1
		if !(t.Price >= 0) || last != (t.UpTo == 0) || !last && !(t.UpTo > at) {
			return fmt.Errorf("tier %d: volumes must rise and end with 0, prices be 0 or more", i+1)
		}
		at = t.UpTo
	}
	return nil
}

// volume is what a month's GB cost without a commit.
func (c Contract) volume(gb float64) float64 {
	cost, at := 0.0, 0.0
	for _, t := range c.Tiers {
		if t.UpTo == 0 || gb <= t.UpTo {
			return cost + (gb-at)*t.Price
		}
		cost += (t.UpTo - at) * t.Price
		at = t.UpTo
	}
	return cost
}

// Ledger keeps the month of one backend: what it carried, and so what more would cost. It is
// for one goroutine.
type Ledger struct {
	contract Contract
	slots    int     // of the month
	seen     int     // slots recorded
	gb       float64 // carried so far
	// top holds the highest slots, ascending: those that are free, and one more, which is the
	// 95th percentile as soon as the month has so many. That is exact and bounded.
	top   []float64
	level float64 // planned 95th percentile, Mbit/s
	calm  float64 // slots at most as high as this are not among the planned free ones
}

// NewLedger starts a month of so many 5-minute slots (288 a day).
func NewLedger(c Contract, slots int) (*Ledger, error) {
	if err := c.Validate(); err != nil {
		return nil, fmt.Errorf("opening a ledger: %w", err)
	}
	if slots < 1 || slots > 31*288 {
		return nil, fmt.Errorf("opening a ledger: a month has up to %d slots, not %d",
			31*288, slots)
	}
	return &Ledger{
		contract: c, slots: slots, level: c.CommitMbps, calm: math.Inf(1),
		top: make([]float64, 0, free(slots)+1),
	}, nil
}

// free is how many slots of a month 95/5 leaves out.
func free(slots int) int { return int(freePart * float64(slots)) }

// Record adds a slot with its average load in Mbit/s. A load below 0, or no number, is 0.
// Slots beyond the month's count only as volume.
func (l *Ledger) Record(mbps float64) {
	if !(mbps > 0) || math.IsInf(mbps, 0) {
		mbps = 0
	}
	l.seen++
	l.gb += mbps * slotGB
	i, _ := slices.BinarySearch(l.top, mbps)
	switch {
	case len(l.top) < cap(l.top):
		l.top = slices.Insert(l.top, i, mbps)
	case i > 0: // the lowest of the top falls out
		copy(l.top, l.top[1:i])
		l.top[i-1] = mbps
	}
}

// LedgerState is a ledger's month so far, to survive a restart.
type LedgerState struct {
	Slots int       `json:"slots"` // recorded
	GB    float64   `json:"gb"`
	Top   []float64 `json:"top,omitempty"` // Mbit/s of the highest, ascending
}

// State returns the month so far.
func (l *Ledger) State() LedgerState {
	return LedgerState{Slots: l.seen, GB: l.gb, Top: slices.Clone(l.top)}
}

// Restore takes up a month where it was left. Slots missed meanwhile are for the caller to
// Record, by the provider's figures or as 0. An error changes nothing.
func (l *Ledger) Restore(s LedgerState) error {
	for _, v := range append([]float64{s.GB}, s.Top...) {
		if !(v >= 0) || math.IsInf(v, 0) {
			return errors.New("restoring a ledger: a load below 0, or that is no number")
		}
	}
	want := min(s.Slots, cap(l.top))
	if s.Slots < 0 || len(s.Top) != want || !slices.IsSorted(s.Top) {
		return fmt.Errorf("restoring a ledger: %d slots need their %d highest, ascending",
			s.Slots, want)
	}
	l.seen, l.gb = s.Slots, s.GB
	l.top = append(l.top[:0], s.Top...)
	return nil
}

// GB returns the volume so far.
func (l *Ledger) GB() float64 { return l.gb }

// P95 returns the 95th percentile that the month has for certain: it may still rise and never
// falls. It is 0 until more slots had traffic than are free.
func (l *Ledger) P95() float64 {
	if len(l.top) < cap(l.top) {
		return 0
	}
	return l.top[0]
}

// FreeLeft returns how many slots may still burst above a level without raising the 95th
// percentile above it.
func (l *Ledger) FreeLeft(mbps float64) int {
	i, _ := slices.BinarySearchFunc(l.top, mbps, func(v, at float64) int {
		if v <= at {
			return -1
		}
		return 1
	})
	return max(0, free(l.slots)-(len(l.top)-i))
}

// Bill returns what the month costs if nothing more is carried, commits included.
func (l *Ledger) Bill() float64 {
	if l.contract.Peak > 0 {
		return l.contract.Peak * max(l.P95(), l.contract.CommitMbps)
	}
	return l.contract.volume(max(l.gb, l.contract.CommitGB))
}

// Plan sets the 95th percentile that is worth paying for, from a forecast: the load that the
// backend could take in each slot of a month (last month's will do), and what a GB costs
// elsewhere. One Mbit/s more costs Peak, and saves the price elsewhere in each slot that is
// higher and not free; so the level is where the two are equal. Without 95/5 it does nothing.
func (l *Ledger) Plan(forecast []float64, elsewhere float64) {
	if l.contract.Peak == 0 || len(forecast) == 0 {
		return
	}
	loads := slices.Clone(forecast)
	slices.Sort(loads)
	slices.Reverse(loads)
	part := float64(len(loads)) / float64(l.slots)
	bursts := int(freePart * float64(len(loads)))
	l.calm = loads[min(bursts, len(loads)-1)]
	worth := math.MaxFloat64
	if elsewhere > 0 {
		worth = l.contract.Peak / (elsewhere * slotGB) * part // slots that pay for a Mbit/s
	}
	l.level = l.contract.CommitMbps
	if at := float64(bursts) + worth; at < float64(len(loads)) {
		l.level = max(l.level, loads[int(at)])
	}
}

// Curve returns the marginal price of load in the next slot, for Supplier.Curve: loads are in
// Mbit/s, prices in 10^-9 of the currency for a Mbit/s through a slot. total is the load of
// all backends in that slot, by which the slots that may burst for free are chosen.
func (l *Ledger) Curve(total float64) []Segment {
	if l.contract.Peak > 0 {
		return l.peakCurve(total)
	}
	return []Segment{{Price: int64(math.Round(l.Marginal() * slotGB * priceUnit))}}
}

// peakCurve is free up to what will be paid anyway. Above that a slot costs the month's whole
// price, unless it is one of the highest of the month and free slots are left.
func (l *Ledger) peakCurve(total float64) []Segment {
	paid := max(l.level, l.P95())
	price := int64(math.Round(l.contract.Peak * priceUnit))
	if total > l.calm && l.FreeLeft(paid) > 0 {
		price = 0
	}
	if paid < 1 || price == 0 {
		return []Segment{{Price: price}}
	}
	return []Segment{{UpTo: int64(paid)}, {Price: price}}
}

// Marginal returns what one more GB now adds to the month's bill, in the currency, by the
// volume that the month will have if it goes on like this. While that stays a tenth below the
// commit a GB is free; from a tenth above it costs the full price, because it takes a GB of
// the commit from a later day that will then have to pay; between, in proportion, so that
// traffic does not swing as the forecast wobbles.
func (l *Ledger) Marginal() float64 {
	c := l.contract
	if c.Peak > 0 || len(c.Tiers) == 0 {
		return 0
	}
	price := c.tierPrice(max(l.gb, c.CommitGB))
	if c.CommitGB == 0 || l.gb >= c.CommitGB {
		return price
	}
	elapsed := float64(l.seen) / float64(l.slots)
	// Before a day has passed the forecast leans on the commit itself.
	const day = 288
	weight := min(1, float64(l.seen)/day)
	forecast := c.CommitGB
	if elapsed > 0 {
		forecast = (1-weight)*c.CommitGB + weight*l.gb/min(1, elapsed)
	}
	return price * min(1, max(0, (forecast/c.CommitGB-0.9)/0.2))
}

// tierPrice is the price of the next GB at a volume.
func (c Contract) tierPrice(gb float64) float64 {
	for _, t := range c.Tiers {
		if t.UpTo == 0 || gb < t.UpTo {
			return t.Price
		}
	}
	return 0
}
