// Package publish carries a zone's signatures from the node that holds its keys to those that
// hold none, through the shared store.
//
// A Node is one zone on one node: with a dnssec.Signer it publishes as long as it holds the
// zone's lease, else it follows. A publication is a manifest, written last and by
// compare-and-swap, and the chunks that it names, which are known by their digest and never
// change. What a node serves it keeps in its own store too, so that it can start with the
// shared one gone. Board.Run owns the goroutine that does all this; queries wait for none of it.
package publish
