package control

import "time"

// Guidance is what the slow loop asks of tables. It is made by one node and followed by all, so
// it has an order of its own. It is immutable once handed on. The zero value asks for nothing:
// everything goes by the configured weights.
type Guidance struct {
	// Epoch counts the leaders, Seq what one of them has decided. Guidance never replaces one
	// that is newer.
	Epoch uint64 `json:"epoch"`
	Seq   uint64 `json:"seq"`
	// At is when it was decided, by the clock of the node that did.
	At time.Time `json:"at"`
	// Splits replace the weights of a host's clients at a place.
	Splits map[Scope]Split `json:"splits,omitempty"`
	// Traffic says what heavy resolvers are answered with; everybody else goes by the split.
	Traffic map[Scope][]Assigned `json:"traffic,omitempty"`
	// Limits are how much of its weight a backend may have while its cache is cold, above 0
	// and below 1; a backend that is missing has none.
	Limits map[string]float64 `json:"limits,omitempty"`
	// Why is a sentence for each scope: what moved, what held it.
	Why map[Scope]string `json:"why,omitempty"`
}

// Newer reports whether g was decided after o.
func (g Guidance) Newer(o Guidance) bool {
	return g.Epoch > o.Epoch || g.Epoch == o.Epoch && g.Seq > o.Seq
}
