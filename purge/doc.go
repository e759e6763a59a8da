// Package purge accepts a purge, journals it, delivers it to every provider and proves that it
// took effect.
//
// A Request flows in; a Status flows out. Accepted means journaled: Submit answers without an
// error only after the node's own store has synced the purge to disk. That journal is the
// truth; the shared store, when there is one, carries copies so that another node can finish
// what this one began. Records travel in both directions and are joined by Merge, so neither
// the order of messages nor their repetition matters, and an emptied shared store is refilled
// from the nodes' journals.
//
// Delivery is at least once: "sent" is journaled before the provider is called and the outcome
// after it. A purge may be repeated without harm, so that is once in effect; where a repeat
// costs money the provider recognises Batch.RepeatKey, which is the same on every attempt.
//
// New starts nothing. Service.Run owns every goroutine: for each provider a few that send and
// a few that verify, so that no provider waits for another, and one that keeps the journal in
// step with the shared store.
package purge
