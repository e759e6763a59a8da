//go:build race

package slow_test

const shorter = 10
