package dnsserver

import (
	"cmp"
	"context"
	"fmt"
	"math"
	"net/netip"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/miekg/dns"
	"github.com/prometheus/client_golang/prometheus"

	"pointsman/steering"
	"pointsman/steering/control"
)

const (
	// weighSize is how many pairs of host and client prefix are weighed, in about 4 MB.
	weighSize = 8_192
	// weighEvery is how often the census takes what the rings hold.
	weighEvery = 25 * time.Millisecond
)

// weigher estimates what resolvers are worth. Those who answer put lookups into rings, a ring for
// each UDP goroutine and one for TCP; one goroutine takes them out and puts them in order. They
// can't be weighed where they come in: resolvers choose their ports at random (RFC 5452 §9.2), the
// system divides packets by port, and so each goroutine sees some of a resolver's queries only,
// whose gaps say nothing.
type weigher struct {
	began  time.Time
	rings  []*weighRing
	weighs func(host string) bool
	table  func() *steering.Table

	mu     sync.Mutex // guards what follows, which the query path never touches
	census *control.Census
	taken  []control.Lookup

	doubt atomic.Uint64 // bits of the float: see register
}

// newWeigher returns what weighs the lookups of so many goroutines; nil when no host asks for it.
func newWeigher(c *Config, responders int, now time.Time) *weigher {
	if c.Weighs == nil || c.Table == nil {
		return nil
	}
	w := &weigher{began: now, weighs: c.Weighs, table: c.Table,
		census: control.NewCensus(weighSize)}
	for range responders {
		w.rings = append(w.rings, newWeighRing())
	}
	return w
}

// of reports whether a host's lookups are weighed. It accepts a nil weigher.
func (w *weigher) of(host string) bool { return w != nil && w.weighs(host) }

// ring returns that of the n-th responder; nil without a weigher.
func (w *weigher) ring(n int) *weighRing {
	if w == nil {
		return nil
	}
	return w.rings[n]
}

// heard notes that the answer in hand is a decision's about a host that is weighed. One question
// counts of those that clients ask together: A, which all of them ask, or AAAA where there is
// nothing else. A subnet that is not valid is none.
func (w *responder) heard(host string, d *steering.Decision, qtype uint16, subnet netip.Prefix,
	from netip.Addr,
) {
	if qtype != dns.TypeA &&
		(qtype != dns.TypeAAAA || d.CNAME != "" || len(d.V4) > 0) {
		return
	}
	w.lookup.Host, w.lookup.TTL = host, time.Duration(d.TTL)*time.Second
	if subnet.IsValid() {
		w.lookup.Client = control.ClientPrefix(subnet)
	} else {
		w.lookup.Client = control.ResolverPrefix(from)
	}
}

// weigh hands over the lookup that was heard, unless its answer didn't go out whole: then the
// client asks again.
func (w *responder) weigh(out []byte, now time.Time) {
	if len(out) >= headerSize && out[2]&2 == 0 && out[3]&0xF == 0 {
		w.lookup.At = now.Sub(w.s.weigher.began)
		w.weighs.put(&w.lookup)
	}
	w.lookup.Host = ""
}

// run takes lookups until the context ends.
func (w *weigher) run(ctx context.Context) error {
	tick := time.NewTicker(weighEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
		w.mu.Lock()
		w.take()
		w.mu.Unlock()
	}
}

// take empties the rings into the census, in the order of time. It needs w.mu.
func (w *weigher) take() {
	for _, r := range w.rings {
		w.taken = r.take(w.taken)
	}
	slices.SortStableFunc(w.taken, func(a, b control.Lookup) int { return cmp.Compare(a.At, b.At) })
	for i := range w.taken {
		w.census.Add(w.taken[i])
	}
	clear(w.taken) // no name is kept that is gone
	w.taken = w.taken[:0]
}

// Loads returns what resolvers are worth by the queries of this server, for the hosts of the
// current table that Config.Weighs names: a row for each scope that has any, in order. It is nil
// when nothing is weighed. It takes a millisecond or two; the query path waits for none of it.
func (s *Server) Loads() []control.Load {
	w := s.weigher
	if w == nil {
		return nil
	}
	table := w.table()
	if table == nil {
		return nil
	}
	keep := func(host string) bool { return table.Has(host) && w.weighs(host) }
	place := func(host string, client netip.Prefix) string {
		name, _ := table.Place(host, client)
		return name
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.take()
	loads := w.census.Loads(s.now(time.Now()).Sub(w.began), keep, place)
	sum, off := 0.0, 0.0
	for _, l := range loads {
		for _, r := range l.Resolvers {
			sum += r.Load
			off += r.Load * min(1, r.Error)
		}
	}
	w.doubt.Store(math.Float64bits(off / cmp.Or(sum, 1)))
	return loads
}

// lost is how many lookups found no room.
func (w *weigher) lost() (n uint64) {
	for _, r := range w.rings {
		n += r.full.Load()
	}
	return n
}

// register registers the metrics, which are 0 of a nil weigher; a nil Registerer registers none.
func (w *weigher) register(reg prometheus.Registerer) error {
	if reg == nil {
		return nil
	}
	read := func(f func() float64) func() float64 {
		return func() float64 {
			if w == nil {
				return 0
			}
			w.mu.Lock()
			defer w.mu.Unlock()
			return f()
		}
	}
	gauge := func(name, help string, f func() float64) prometheus.Collector {
		return prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: metricPrefix + name, Help: help},
			read(f))
	}
	counter := func(name, help string, f func() float64) prometheus.Collector {
		return prometheus.NewCounterFunc(prometheus.CounterOpts{Name: metricPrefix + name,
			Help: help}, read(f))
	}
	for _, c := range []prometheus.Collector{
		gauge("weighed_prefixes", "Pairs of host and client prefix whose load is estimated.",
			func() float64 { return float64(w.census.Used()) }),
		gauge("weighed_error_ratio", "Part of the estimated load that may be wrong, by the errors "+
			"of its parts, each at most 1, when it was asked for last.",
			func() float64 { return math.Float64frombits(w.doubt.Load()) }),
		counter("weighed_evicted_total", "Prefixes that made room for others.",
			func() float64 { return float64(w.census.Evicted()) }),
		counter("weighed_lost_total", "Lookups that were not weighed, since they came too fast.",
			func() float64 { return float64(w.lost()) }),
	} {
		if err := reg.Register(c); err != nil {
			return fmt.Errorf("registering metrics: %w", err)
		}
	}
	return nil
}
