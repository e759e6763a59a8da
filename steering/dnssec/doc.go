// Package dnssec signs each possible answer set of a zone once, away from the query path.
//
// A zone's sets and the variants of its steered names flow in; signatures and proofs of
// denial flow out as an immutable Signed, from which answers copy. A Signer keeps one zone's
// keys and the signatures made so far: what did not change is not signed again. Keys change by
// a pure step function, Next, whose state a file keeps. The package owns no goroutine that
// outlives a call; whoever calls Sign and Advance does so off the query path.
package dnssec
