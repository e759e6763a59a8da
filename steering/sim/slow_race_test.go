//go:build race

package sim_test

// The race detector makes all of it ten times as slow, and there is one goroutine.
const (
	slowed = true
	worlds = 60
	seeds  = 1
)
