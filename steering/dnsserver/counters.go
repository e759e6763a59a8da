package dnsserver

import (
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"pointsman/steering/cookie"
)

// cacheLine keeps what different cores write apart.
const cacheLine = 64

// durationBuckets are the upper bounds of the histogram of durations.
var durationBuckets = [...]time.Duration{
	5 * time.Microsecond, 10 * time.Microsecond, 25 * time.Microsecond, 50 * time.Microsecond,
	100 * time.Microsecond, 250 * time.Microsecond, time.Millisecond, 10 * time.Millisecond,
	100 * time.Millisecond,
}

// counters counts what one goroutine answers over UDP, or all connections over TCP. The packet
// path only adds to integers that no other core writes; Collect sums them up.
type counters struct {
	_         [cacheLine]byte
	queries   [len(protoLabels)][len(typeLabels)][len(rcodeLabels)]atomic.Uint64
	durations [len(durationBuckets) + 1]atomic.Uint64
	duration  atomic.Uint64 // the sum, in nanoseconds
	cookies   [len(cookieLabels)]atomic.Uint64
	_         [cacheLine]byte
}

func (c *counters) answered(qtype uint16, rcode, proto int) {
	c.queries[proto][typeIndex(qtype)][rcodeIndex(rcode)].Add(1)
}

// cookie counts a query by what its cookie was worth.
func (c *counters) cookie(v cookie.Verdict) {
	if v != cookie.None {
		c.cookies[v-1].Add(1)
	}
}

// took counts packets that were answered together, each within so much time.
func (c *counters) took(packets int, d time.Duration) {
	i := 0
	for i < len(durationBuckets) && d > durationBuckets[i] {
		i++
	}
	c.durations[i].Add(uint64(packets))
	c.duration.Add(uint64(packets) * uint64(max(d, 0)))
}

// histogram sums up the durations.
func histogram(desc *prometheus.Desc, all []*counters) prometheus.Metric {
	buckets := make(map[float64]uint64, len(durationBuckets))
	var count, sum uint64
	for i := range len(durationBuckets) + 1 {
		for _, c := range all {
			count += c.durations[i].Load()
		}
		if i < len(durationBuckets) {
			buckets[durationBuckets[i].Seconds()] = count
		}
	}
	for _, c := range all {
		sum += c.duration.Load()
	}
	return prometheus.MustNewConstHistogram(desc, count, time.Duration(sum).Seconds(), buckets)
}

// pickCount counts the answers that name one backend of one host, a shard for each goroutine.
type pickCount []struct {
	n atomic.Uint64
	_ [cacheLine - 8]byte
}

func (c pickCount) add(shard int) { c[shard].n.Add(1) }

func (c pickCount) sum() (n uint64) {
	for i := range c {
		n += c[i].n.Load()
	}
	return n
}
