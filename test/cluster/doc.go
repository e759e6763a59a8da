// Package cluster holds tests of the real binary in processes of its own: nodes under load,
// with foreign caches as backends, killed, stopped and started again. Everything runs on
// loopback, on addresses and ports of each test's own. There is no code here but tests.
package cluster
