//go:build !race

package slow_test

// shorter divides how much the simulations do. The race detector makes them ten times slower
// and has nothing to find in pure functions.
const shorter = 1
