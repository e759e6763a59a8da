// Package tap writes down a part of what the nameserver answers: messages as dnstap, decisions
// as lines of JSON.
//
// Events flow in from the nameserver's goroutines, each through a ring of its own; bytes flow out
// to files and sockets. A query never waits for them: an event that finds its ring full is
// dropped and counted. Tap.Run owns the goroutines that empty the rings, one for each sink, so
// that a slow one holds up no other.
package tap
