package edge

import "sync/atomic"

// budget bounds the bytes that all flights together keep of bodies on their way.
type budget struct {
	limit   int64
	used    atomic.Int64
	refused atomic.Uint64 // flights that got too little
}

// take books n bytes, all or none.
func (b *budget) take(n int64) bool {
	for {
		used := b.used.Load()
		if n > b.limit-used {
			return false
		}
		if b.used.CompareAndSwap(used, used+n) {
			return true
		}
	}
}

// give returns n bytes that were taken.
func (b *budget) give(n int64) { b.used.Add(-n) }

// minBuffer is what is booked for a body of unknown length before any of it has come.
const minBuffer = 16 << 10

// reserve books memory for a body: the whole if its size is known, so that what is announced as
// stored is not given up half-way. Without it, nothing may be kept of the body.
func (f *flight) reserve(size int64) bool {
	if size < 0 {
		size = minBuffer
	}
	if !f.budget.take(size) {
		f.budget.refused.Add(1)
		return false
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.booked = size
	return true
}

// grow makes the buffer hold need bytes, at most limit, if the budget allows. The old array
// lives on only as long as readers write from it. Called with mu held.
func (f *flight) grow(need, limit int64) bool {
	to := min(max(need, 2*int64(cap(f.data)), minBuffer), limit)
	if f.size >= need {
		to = min(max(to, window), f.size)
	}
	switch {
	case f.budget.take(max(0, to-f.booked)):
	case f.budget.take(max(0, need-f.booked)):
		to = need
	default:
		f.budget.refused.Add(1)
		f.denied = true
		return false
	}
	f.booked = max(f.booked, to)
	f.data = append(make([]byte, 0, to), f.data...)
	return true
}

// trim moves the buffer on to what the slowest reader still needs, once that is little, and
// gives back what a window does not need. Called with mu held.
func (f *flight) trim() bool {
	size := min(2*window, f.booked)
	if f.denied { // what others take from here on may make at least some of them whole
		size = min(size, minBuffer)
	}
	slowest := f.slowest()
	rest := f.data[slowest-f.base:]
	if int64(len(rest)) > size/2 {
		return false
	}
	f.data = append(make([]byte, 0, size), rest...)
	f.base = slowest
	f.settle(size)
	return true
}

// settle gives back all that is booked but keep bytes. Called with mu held.
func (f *flight) settle(keep int64) {
	f.budget.give(f.booked - keep)
	f.booked = keep
}

// settleEnd gives everything back when the fetch has ended and the last reader has left. Called
// with mu held.
func (f *flight) settleEnd() {
	if f.landed && f.waiting == 0 {
		f.settle(0)
	}
}
