package providertest

import (
	"math"
	"sync"
	"time"
)

// bucket is a token bucket on a clock that is given. It starts full.
type bucket struct {
	perSecond float64
	size      float64

	mu     sync.Mutex // guards what follows
	tokens float64
	last   time.Time
}

func newBucket(perSecond, size float64) *bucket {
	return &bucket{perSecond: perSecond, size: size, tokens: size}
}

// level is the state of a bucket after an attempt to take from it.
type level struct {
	ok   bool
	left int           // whole tokens that remain
	wait time.Duration // until what was asked for would be there; until full when ok
}

// take takes n tokens, or none at all.
func (b *bucket) take(now time.Time, n int) level {
	b.mu.Lock()
	defer b.mu.Unlock()
	if !b.last.IsZero() && now.After(b.last) {
		b.tokens = min(b.size, b.tokens+now.Sub(b.last).Seconds()*b.perSecond)
	}
	b.last = now
	missing := float64(n) - b.tokens
	ok := missing <= 0
	if ok {
		b.tokens -= float64(n)
		missing = b.size - b.tokens
	}
	seconds := math.Ceil(missing / b.perSecond)
	return level{ok: ok, left: int(b.tokens), wait: time.Duration(seconds) * time.Second}
}
