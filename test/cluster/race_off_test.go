//go:build !race

package cluster_test

// raceEnabled says that the binary under test is built with the race detector, too.
const raceEnabled = false
