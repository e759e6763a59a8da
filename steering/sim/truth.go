package sim

import (
	"slices"
	"time"

	"pointsman/probes"
)

// controlName is the control target among the targets of probes.
const controlName = "control"

// usual is how long a probe of a backend that is well takes.
const usual = 50 * time.Millisecond

// check is how a system probes a target.
type check struct {
	interval time.Duration
	// connect and reply are how long it waits for a connection, and then for an answer.
	connect, reply time.Duration
	// certificates and content say whether it can see one that has ended, and a wrong body.
	certificates, content bool
	// retries are how often it probes again at once what has timed out.
	retries int
}

// eye is where probes come from.
type eye struct {
	id     uint64 // tells its luck from that of others
	region int
	faults []Fault
}

// has reports whether a failure of the eye holds at a time, for a backend.
func (e *eye) has(kind Failure, t time.Duration, backend string) bool {
	for i := range e.faults {
		f := &e.faults[i]
		if f.Kind == kind && f.at(t) &&
			(backend == "" || len(f.Backends) == 0 || slices.Contains(f.Backends, backend)) {
			return true
		}
	}
	return false
}

// seen is what came of a probe.
type seen struct {
	outcome probes.Outcome
	took    time.Duration
}

func (s seen) ok() bool { return s.outcome == probes.OK }

// look makes one probe of a target from an eye, at a time.
func (w *World) look(c *check, e *eye, target int, t time.Duration) seen {
	name, faults := controlName, []Fault(nil)
	if target < len(w.Backends) {
		name, faults = w.Backends[target].Name, w.Backends[target].Faults
	} else if w.Control != nil {
		faults = w.Control.Faults
	}
	switch {
	case e.has(Blind, t, ""), name != controlName && e.has(SaysDown, t, name):
		return seen{probes.FailedConnect, time.Duration(1+c.retries) * c.connect}
	case name != controlName && e.has(SaysUp, t, name):
		return seen{probes.OK, usual}
	}
	took := usual
	for i := range faults {
		f := &faults[i]
		if !f.at(t) || !w.hits(f, e.region) ||
			f.Ratio > 0 && w.luck(e.id, uint64(target), uint64(i), uint64(t)) >= f.Ratio {
			continue
		}
		switch latency := time.Duration(f.Latency); {
		case f.Kind == Down:
			return seen{probes.FailedConnect, time.Duration(1+c.retries) * c.connect}
		case f.Kind == Refused:
			return seen{probes.FailedConnect, usual}
		case f.Kind == Errors:
			return seen{probes.FailedStatus, usual}
		case f.Kind == Slow && latency >= c.reply:
			return seen{probes.FailedTimeout, time.Duration(1+c.retries) * c.reply}
		case f.Kind == Slow:
			took = max(took, latency)
		case f.Kind == Certificate && c.certificates:
			return seen{probes.FailedCert, usual}
		case f.Kind == Content && c.content && w.ContentChecked:
			return seen{probes.FailedBody, usual}
		}
	}
	return seen{probes.OK, took}
}

// hits reports whether a fault is there for a region.
func (w *World) hits(f *Fault, region int) bool {
	return len(f.Regions) == 0 || slices.Contains(f.Regions, w.Regions[region].Name)
}

// bad is the part of a backend's requests from a region that is lost at a time.
func (w *World) bad(backend, region int, t time.Duration) float64 {
	good := 1.0
	for i := range w.Backends[backend].Faults {
		f := &w.Backends[backend].Faults[i]
		if !f.at(t) || !w.hits(f, region) || f.Kind == Slow && f.Latency < w.Patience {
			continue
		}
		if f.Ratio == 0 {
			return 1
		}
		good *= 1 - f.Ratio
	}
	return 1 - good
}

// luck is a number from 0 to below 1 that depends on the world's seed and on what it is for.
func (w *World) luck(of ...uint64) float64 {
	h := mix(w.Seed)
	for _, v := range of {
		h = mix(h ^ v)
	}
	return float64(h>>11) / (1 << 53)
}

// mix is the finaliser of SplitMix64 (Steele, Lea, Flood, "Fast splittable pseudorandom number
// generators", 2014).
func mix(x uint64) uint64 {
	x += 0x9e3779b97f4a7c15
	x = (x ^ x>>30) * 0xbf58476d1ce4e5b9
	x = (x ^ x>>27) * 0x94d049bb133111eb
	return x ^ x>>31
}

// watch is an eye's probing of one target. Slots are whole intervals apart; those that pass
// while a probe runs are left out, as package probes does.
type watch struct {
	slot, start time.Duration
	busy        bool
	result      seen
}

// begin starts watches at random moments of their first interval.
func (w *World) begin(c *check, e *eye, targets int) []watch {
	list := make([]watch, targets)
	for i := range list {
		list[i].slot = time.Duration(w.luck(e.id, uint64(i), 7) * float64(c.interval))
	}
	return list
}

// until lets a watch go on until a time, and hands out each result.
func (p *watch) until(
	t time.Duration, w *World, c *check, e *eye, target int, take func(time.Duration, seen),
) {
	for {
		if p.busy {
			if p.start+p.result.took > t {
				return
			}
			p.busy = false
			if !e.has(Dead, p.start, "") {
				take(p.start, p.result)
			}
			p.slot = next(p.slot, p.start+p.result.took, c.interval)
		}
		if p.slot > t {
			return
		}
		p.start, p.busy = p.slot, true
		p.result = w.look(c, e, target, p.start)
	}
}

// next is the slot after one whose probe was done at a time: the last that passed meanwhile, or
// the first to come.
func next(slot, done, interval time.Duration) time.Duration {
	slot += interval
	if behind := done - slot; behind > 0 {
		slot += behind / interval * interval
	}
	return slot
}
