package publish

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync/atomic"
	"time"

	"pointsman/internal/store"
	"pointsman/steering/dnssec"
)

// callLimit bounds one call of a store.
const callLimit = 5 * time.Second

// Config is what a Node needs.
type Config struct {
	// Zone is the zone's canonical name, Node this node's name.
	Zone, Node string
	// Signer has the zone's keys, and Publishes; nil: this node has none.
	Signer   *dnssec.Signer
	Follower *dnssec.Follower
	// Shared is the store of all nodes. Local is this node's own; nil when that is Shared.
	Shared, Local store.Store
	Now           func() time.Time // nil: time.Now
	Logger        *slog.Logger     // nil: nothing is logged
	Metrics       *dnssec.Metrics  // may be nil
}

// Node signs or follows one zone. Sign and Advance are safe for concurrent use with all else and
// wait for no store; Load and what a Board does must not run at once.
type Node struct {
	cfg  Config
	log  *slog.Logger
	poke func() // asks for a Sync soon

	leads   atomic.Bool // signs and publishes
	follows atomic.Bool // there is a publication to serve
	dirty   atomic.Bool // something signed is not published
	mayStep atomic.Bool // the keys may take their next step

	// All below belongs to Load, and then to the Board.
	lease    store.Lease
	cur      *manifest        // the newest one, taken over or published here
	chunks   map[string]chunk // those of cur
	shared   *manifest        // as the shared store has it; nil: none, or not seen yet
	revision uint64           // of the shared manifest
	there    map[string]bool  // chunks that the shared store has
	kept     uint64           // the epoch that the local store has
	copies   map[string]bool  // chunks that the local store has
	said     string           // the last complaint
	contact  time.Time        // when the shared store was last read
	settled  time.Time        // since when all nodes have the keys; zero: they don't
	keys     string           // that settled is about
	waits    string           // the keys about which was said that they wait
	seen     string           // the keys that the others were told this node has
	seenAt   time.Time
}

// New makes a Node that has loaded nothing yet.
func New(cfg Config) *Node {
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	return &Node{cfg: cfg, log: cfg.Logger.With("zone", cfg.Zone), poke: func() {},
		chunks: make(map[string]chunk), there: make(map[string]bool), copies: make(map[string]bool)}
}

// signs reports whether this node's own keys make what it serves: when it leads, and when it
// has keys while nothing was published ever.
func (n *Node) signs() bool {
	return n.cfg.Signer != nil && (n.leads.Load() || !n.follows.Load())
}

// Sign signs all that a zone can answer, or finds the signatures that were published. The error
// is a dnssec.ErrUnpublished when there are none for what this node would answer.
func (n *Node) Sign(ctx context.Context, z *dnssec.Zone) (*dnssec.Signed, error) {
	if !n.signs() {
		signed, err := n.cfg.Follower.Sign(ctx, z)
		n.poke() // to keep what now serves
		return signed, err
	}
	signed, err := n.cfg.Signer.Sign(ctx, z)
	if err == nil {
		n.dirty.Store(true)
		n.poke()
	}
	return signed, err
}

// Advance takes the keys' next step if it is time, every node has the last one, and this node
// holds the zone's lease. It reports whether the zone must be signed again.
func (n *Node) Advance(ctx context.Context) (bool, error) {
	switch {
	case !n.signs():
		return n.cfg.Follower.Advance(ctx)
	case !n.mayStep.Load() || n.dirty.Load():
		n.cfg.Signer.Look()
		return false, nil
	}
	changed, err := n.cfg.Signer.Advance(ctx)
	if changed {
		n.mayStep.Store(false)
	}
	return changed, err
}

// Load reads what was published: this node's own copy, then the shared store. It is called once,
// before the zone is first signed. Without either a node that has keys signs by itself.
func (n *Node) Load(ctx context.Context) {
	if n.cfg.Local != nil {
		if err := n.restore(ctx); err != nil {
			n.log.Warn("own copy of the publication not read", "err", err)
		}
	}
	defer n.mayStep.Store(false) // the Board finds out, and tells
	if _, err := n.sync(ctx); err == nil {
		return
	} else if !errors.Is(err, context.Canceled) {
		n.log.Warn("publication not read from the shared store", "err", err)
	}
	if n.cfg.Signer != nil && n.cur != nil && n.cur.Signer == n.cfg.Node && !n.leads.Load() {
		n.leads.Store(true) // this node signed last, and nobody says otherwise
		n.takeOver()
	}
}

// restore takes this node's own copy in.
func (n *Node) restore(ctx context.Context) error {
	e, err := n.get(ctx, n.cfg.Local, manifestKey(n.cfg.Zone))
	if errors.Is(err, store.ErrNotFound) {
		return nil
	}
	if err != nil {
		return err
	}
	m, err := decode(n.cfg.Zone, e.Value)
	if err != nil {
		return err
	}
	chunks, err := n.gather(ctx, m)
	if err != nil {
		return err
	}
	if err := n.take(ctx, m, chunks, true); err != nil {
		return err
	}
	n.kept = m.Epoch
	return nil
}

// get is store.Get within a time.
func (n *Node) get(ctx context.Context, s store.Store, key string) (store.Entry, error) {
	ctx, cancel := context.WithTimeout(ctx, callLimit)
	defer cancel()
	return s.Get(ctx, key)
}

// put is store.Put within a time.
func (n *Node) put(ctx context.Context, s store.Store, key string, value []byte,
	o store.PutOptions,
) (uint64, error) {
	ctx, cancel := context.WithTimeout(ctx, callLimit)
	defer cancel()
	return s.Put(ctx, key, value, o)
}

// remove is store.Delete of what may be missing, within a time.
func (n *Node) remove(ctx context.Context, s store.Store, key string) error {
	ctx, cancel := context.WithTimeout(ctx, callLimit)
	defer cancel()
	return s.Delete(ctx, key, nil)
}

// gather finds the chunks of a manifest: in memory, in the local store, then in the shared one.
func (n *Node) gather(ctx context.Context, m *manifest) (map[string]chunk, error) {
	out := make(map[string]chunk, len(m.Chunks))
	for _, id := range m.Chunks {
		c, ok := n.chunks[id]
		if !ok {
			var err error
			if c, err = n.fetch(ctx, id); err != nil {
				return nil, err
			}
		}
		out[id] = c
	}
	return out, nil
}

func (n *Node) fetch(ctx context.Context, id string) (chunk, error) {
	key := chunkKey(n.cfg.Zone, id)
	if n.cfg.Local != nil {
		if e, err := n.get(ctx, n.cfg.Local, key); err == nil {
			if c, err := open(id, e.Value); err == nil {
				n.copies[id] = true
				return c, nil
			}
		}
	}
	e, err := n.get(ctx, n.cfg.Shared, key)
	if err != nil {
		return chunk{}, err
	}
	c, err := open(id, e.Value)
	if err == nil {
		n.there[id] = true
	}
	return c, err
}

// publication puts a manifest and its chunks together.
func publication(m *manifest, chunks map[string]chunk) dnssec.Publication {
	p := dnssec.Publication{Head: m.Head}
	for _, id := range m.Chunks {
		p.Signatures = append(p.Signatures, chunks[id].sigs...)
	}
	return p
}

// take makes a publication the newest one that is known here.
func (n *Node) take(ctx context.Context, m *manifest, chunks map[string]chunk, own bool) error {
	if !n.leads.Load() {
		if err := n.cfg.Follower.Take(ctx, publication(m, chunks), own); err != nil {
			return err
		}
		n.follows.Store(true)
	}
	n.cur, n.chunks = m, chunks
	n.cfg.Metrics.Published(n.cfg.Zone, m.At)
	return nil
}

// takeOver lets the signer go on from the newest publication, with the signatures in it.
func (n *Node) takeOver() {
	if n.cur != nil {
		n.cfg.Signer.Use(publication(n.cur, n.chunks))
	}
}

// complain logs and counts something that is wrong with what was published, once until it
// changes.
func (n *Node) complain(err error) {
	if n.said == err.Error() {
		return
	}
	n.said = err.Error()
	n.cfg.Metrics.Refused(n.cfg.Zone)
	n.log.Error("publication refused, the one before serves on", "err", err)
}

// Forget removes the zone's series.
func (n *Node) Forget() { n.cfg.Follower.Forget() }

var errForeign = fmt.Errorf("the keys here are not those of the zone's publication: copy the " +
	"folder of keys from the node that signed last")
