package control

import "time"

// How far a latency must move to be taken over: the larger of a part of the one before and a
// time. Both are well above what the mean of a steady path moves by.
const (
	steadyPart = 10 // a tenth
	steadySpan = 2 * time.Millisecond
)

// Steady returns the latencies to go by: those measured now, but for each that differs by no
// more than a tenth or 2 ms, whichever is more, from the one gone by before. That stays, so that
// what is made of them doesn't change with every sample. Those that aren't measured any more are
// gone; values of 0 and less count as that. Neither map is changed, and the result is prev
// itself when nothing moved.
func Steady(prev, now map[string]time.Duration) map[string]time.Duration {
	next, moved := make(map[string]time.Duration, len(now)), 0
	for name, d := range now {
		if d <= 0 {
			continue
		}
		was, known := prev[name]
		if known && (d-was).Abs() <= max(was/steadyPart, steadySpan) {
			d = was
		} else {
			moved++
		}
		next[name] = d
	}
	if moved == 0 && len(next) == len(prev) {
		return prev
	}
	return next
}
