//go:build !race

package sim_test

// How much the tests play. worlds are random ones, seeds those of the hard incidents.
const (
	slowed = false
	worlds = 1000
	seeds  = 4
)
