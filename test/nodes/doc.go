// Package nodes holds tests of several nodes that share one Redis, and of what a node lets out
// of its secrets: the real binary and a real redis-server as child processes on loopback, on
// addresses and ports of each test's own. There is no code here but tests.
package nodes
