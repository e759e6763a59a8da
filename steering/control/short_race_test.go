//go:build race

package control_test

const shorter = 10
