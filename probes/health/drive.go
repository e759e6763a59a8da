package health

import "pointsman/probes"

// What follows does at once what Run does as samples, votes and seconds come, for callers whose
// clock is not the wall's: the simulator plays days through it in moments. Config.Now must be
// the clock of the samples.

// Observe takes one sample in.
func (t *Tracker) Observe(s probes.Sample) { t.observe(s) }

// Refresh decides every backend anew at the present time, as Run does each second.
func (t *Tracker) Refresh() { t.refresh() }

// Ballot returns this vantage's votes by backend, as Run publishes them. The map is the caller's.
func (t *Tracker) Ballot() map[string]Vote { return t.ownVotes() }

// Hear replaces the other vantages' votes and decides every backend anew. The map and what it
// holds must not change afterwards.
func (t *Tracker) Hear(others map[string][]Vote) { t.setOthers(others) }
