package health

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"strings"
	"sync"
	"time"

	"pointsman/internal/store"
)

// Exchange carries votes between vantages. Its methods may block until ctx ends; the tracker
// calls them from a goroutine of their own, one at a time.
type Exchange interface {
	// Publish replaces all of this node's votes, given by backend.
	Publish(ctx context.Context, votes map[string]Vote) error
	// Others returns the votes of all other nodes by backend. Votes that could be read are
	// returned also with an error.
	Others(ctx context.Context) (map[string][]Vote, error)
}

const (
	votesPrefix = "votes/"
	// DefaultVoteTTL is how long a node's votes outlive it.
	DefaultVoteTTL = 10 * time.Second
	// Bounds of what is believed of another node: the store may hold anything.
	maxVotes  = 10_000
	maxReason = 300
)

// StoreExchange keeps each node's votes in one entry of a store, under its vantage and node,
// so that two nodes of one vantage do not overwrite each other. Clocks are not compared: a
// vote travels with its age, and ages further from when its entry was first seen here.
type StoreExchange struct {
	store   store.Store
	key     string
	vantage string
	node    string
	ttl     time.Duration

	mu   sync.Mutex // guards seen
	seen map[string]sighting
}

// sighting is when an entry's revision was first read.
type sighting struct {
	revision uint64
	at       time.Time
}

var _ Exchange = (*StoreExchange)(nil)

// NewStoreExchange exchanges votes through a store. The ttl is how long this node's votes
// stay when it stops publishing; 0: DefaultVoteTTL.
func NewStoreExchange(s store.Store, node, vantage string, ttl time.Duration) *StoreExchange {
	if ttl <= 0 {
		ttl = DefaultVoteTTL
	}
	key := votesPrefix + url.PathEscape(vantage) + "/" + url.PathEscape(node)
	return &StoreExchange{
		store: s, key: key, vantage: vantage, node: node, ttl: ttl, seen: map[string]sighting{},
	}
}

// ballot is a node's votes as they stand in the store.
type ballot struct {
	Vantage string                `json:"vantage"`
	Node    string                `json:"node"`
	Votes   map[string]ballotVote `json:"votes"`
}

type ballotVote struct {
	State     State  `json:"state"`
	AgeMillis int64  `json:"age_ms"` // of the newest sample, when it was published
	Reason    string `json:"reason,omitempty"`
}

// Publish writes this node's entry.
func (x *StoreExchange) Publish(ctx context.Context, votes map[string]Vote) error {
	now := time.Now()
	b := ballot{Vantage: x.vantage, Node: x.node, Votes: make(map[string]ballotVote, len(votes))}
	for backend, v := range votes {
		if v.State == Unknown || v.State == "" {
			continue
		}
		age := max(now.Sub(v.At), 0).Milliseconds()
		b.Votes[backend] = ballotVote{v.State, age, cut(v.Reason)}
	}
	value, err := json.Marshal(b)
	if err != nil {
		return fmt.Errorf("encoding votes: %w", err)
	}
	if _, err := x.store.Put(ctx, x.key, value, store.PutOptions{TTL: x.ttl}); err != nil {
		return fmt.Errorf("publishing votes: %w", err)
	}
	return nil
}

// Others reads every other node's entry.
func (x *StoreExchange) Others(ctx context.Context) (map[string][]Vote, error) {
	entries, err := x.store.List(ctx, votesPrefix)
	if err != nil {
		return nil, fmt.Errorf("reading votes: %w", err)
	}
	now := time.Now()
	votes, present := map[string][]Vote{}, map[string]bool{}
	var bad []error
	for _, e := range entries {
		if e.Key == x.key {
			continue
		}
		b, err := decodeBallot(e.Value)
		if err != nil {
			bad = append(bad, fmt.Errorf("reading votes of %s: %w", e.Key, err))
			continue
		}
		present[e.Key] = true
		since := x.sight(e, now)
		for backend, v := range b.Votes {
			votes[backend] = append(votes[backend], Vote{
				Vantage: b.name(), State: v.State, Reason: v.Reason,
				At: since.Add(-time.Duration(v.AgeMillis) * time.Millisecond),
			})
		}
	}
	x.forget(present)
	return votes, errors.Join(bad...)
}

// sight returns when this revision of an entry was first read.
func (x *StoreExchange) sight(e store.Entry, now time.Time) time.Time {
	x.mu.Lock()
	defer x.mu.Unlock()
	if s, ok := x.seen[e.Key]; ok && s.revision == e.Revision {
		return s.at
	}
	x.seen[e.Key] = sighting{e.Revision, now}
	return now
}

// forget drops the sightings of entries that are gone.
func (x *StoreExchange) forget(present map[string]bool) {
	x.mu.Lock()
	defer x.mu.Unlock()
	for key := range x.seen {
		if !present[key] {
			delete(x.seen, key)
		}
	}
}

// decodeBallot refuses what no node of ours wrote.
func decodeBallot(value []byte) (ballot, error) {
	var b ballot
	if err := json.Unmarshal(value, &b); err != nil {
		return ballot{}, fmt.Errorf("decoding: %w", err)
	}
	if b.Vantage == "" {
		return ballot{}, errors.New("no vantage in it")
	}
	if len(b.Votes) > maxVotes {
		return ballot{}, fmt.Errorf("%d votes, want at most %d", len(b.Votes), maxVotes)
	}
	for backend, v := range b.Votes {
		switch v.State {
		case Healthy, Degraded, Unhealthy:
		default:
			return ballot{}, fmt.Errorf("state %q of backend %q is unknown", v.State, backend)
		}
		if v.AgeMillis < 0 || v.AgeMillis > int64(100*365*24*time.Hour/time.Millisecond) {
			return ballot{}, fmt.Errorf("age of backend %q is %d ms", backend, v.AgeMillis)
		}
		v.Reason = cut(v.Reason)
		b.Votes[backend] = v
	}
	return b, nil
}

// name is how the node is called in a vote: its vantage, and its own name if it has another.
func (b ballot) name() string {
	if b.Node == "" || b.Node == b.Vantage {
		return b.Vantage
	}
	return b.Vantage + "/" + b.Node
}

func cut(reason string) string {
	if len(reason) > maxReason {
		return strings.ToValidUTF8(reason[:maxReason], "")
	}
	return reason
}
