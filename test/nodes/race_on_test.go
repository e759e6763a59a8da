//go:build race

package nodes_test

// raceEnabled says that the binary under test is built with the race detector, too.
const raceEnabled = true
