package publish

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"pointsman/internal/store"
	"pointsman/steering/dnssec"
)

// serveAll publishes what was signed, and finds out whether the keys may step on. The caller
// leads.
func (n *Node) serveAll(ctx context.Context) error {
	if n.dirty.Load() {
		if err := n.publish(ctx); err != nil {
			n.cfg.Metrics.Pending(n.cfg.Zone, true)
			return err
		}
	}
	n.cfg.Metrics.Pending(n.cfg.Zone, n.dirty.Load())
	return n.settle(ctx)
}

// publish writes what was signed: new chunks, then the manifest, if it is still the one that
// this node knows.
func (n *Node) publish(ctx context.Context) error {
	n.dirty.Store(false) // before the look: what is signed from now on is not in it
	err := n.write(ctx)
	if err != nil {
		n.dirty.Store(true)
		return fmt.Errorf("publishing: %w", err)
	}
	return nil
}

func (n *Node) write(ctx context.Context) error {
	p, ok, err := n.cfg.Signer.Publication()
	if err != nil || !ok {
		return err
	}
	m, chunks := n.next(p)
	if n.shared != nil && same(m, n.shared) && (n.cur == nil || n.shared.Epoch >= n.cur.Epoch) {
		n.cur, n.chunks = n.shared, chunks
		return nil
	}
	for _, id := range m.Chunks {
		if n.there[id] {
			continue
		}
		if _, err := n.put(ctx, n.cfg.Shared, chunkKey(n.cfg.Zone, id), bytesOf(chunks[id].sigs),
			store.PutOptions{}); err != nil {
			return err
		}
		n.there[id] = true
	}
	raw, err := m.encode()
	if err != nil {
		return err
	}
	revision, err := n.put(ctx, n.cfg.Shared, manifestKey(n.cfg.Zone), raw,
		store.PutOptions{Expect: store.Expect(n.revision)})
	if err != nil {
		return err // after a conflict the next pull tells whose it is
	}
	n.shared, n.revision, n.cur, n.chunks = m, revision, m, chunks
	n.cfg.Metrics.Published(n.cfg.Zone, m.At)
	n.log.Info("zone published", "epoch", m.Epoch, "serial", m.Serial,
		"signatures", len(p.Signatures))
	return n.sweep(ctx, m)
}

// next makes the manifest that follows, and its chunks.
func (n *Node) next(p dnssec.Publication) (*manifest, map[string]chunk) {
	var old []chunk
	last := manifest{}
	if n.cur != nil {
		last = *n.cur
	}
	for _, id := range last.Chunks {
		old = append(old, n.chunks[id])
	}
	now := n.cfg.Now().UTC()
	m := &manifest{Format: format, Head: p.Head, Signer: n.cfg.Node, At: now, KeysSince: now}
	m.Epoch = nextEpoch(last.Epoch, now)
	if n.shared != nil {
		m.Epoch = max(m.Epoch, n.shared.Epoch+1)
	}
	if n.cur != nil && last.KeySet() == m.KeySet() {
		m.KeysSince = last.KeysSince
	}
	stay, fresh := plan(old, p.Signatures)
	chunks := make(map[string]chunk)
	for _, c := range slices.Concat(stay, fresh) {
		m.Chunks = append(m.Chunks, c.id)
		chunks[c.id] = c
	}
	for _, r := range last.Retired {
		if _, back := chunks[r.ID]; !back && now.Sub(r.Since) < 2*retireAfter {
			m.Retired = append(m.Retired, r)
		}
	}
	for _, id := range last.Chunks {
		if _, stays := chunks[id]; !stays {
			m.Retired = append(m.Retired, retired{ID: id, Since: now})
		}
	}
	return m, chunks
}

// same reports whether two manifests tell servers the same.
func same(a, b *manifest) bool {
	return a.Serial == b.Serial && a.Contents == b.Contents && a.NSEC3 == b.NSEC3 &&
		slices.Equal(a.Own, b.Own) && slices.Equal(a.ZoneKeys, b.ZoneKeys) &&
		slices.Equal(a.KeyKeys, b.KeyKeys) && slices.Equal(a.Chunks, b.Chunks)
}

// sweep removes chunks that nobody reads any more.
func (n *Node) sweep(ctx context.Context, m *manifest) error {
	for _, r := range m.Retired {
		if n.cfg.Now().Sub(r.Since) < retireAfter {
			continue
		}
		if err := n.remove(ctx, n.cfg.Shared, chunkKey(n.cfg.Zone, r.ID)); err != nil {
			return fmt.Errorf("removing a chunk: %w", err)
		}
		delete(n.there, r.ID)
	}
	return nil
}

// settle finds out whether the keys may take their next step: only when every node that serves
// the zone has those that there are, for as long as caches need. The signer's own waiting times
// count from the change of a key; they hold when every node had it within Propagation.
func (n *Node) settle(ctx context.Context) error {
	if n.dirty.Load() || n.cur == nil {
		return nil // Advance waits for that by itself
	}
	limited, cancel := context.WithTimeout(ctx, callLimit)
	defer cancel()
	list, err := n.cfg.Shared.List(limited, zoneKey(n.cfg.Zone, "seen/"))
	if err != nil {
		n.mayStep.Store(false)
		return fmt.Errorf("reading which keys are served: %w", err)
	}
	keys, now := n.cur.KeySet(), n.cfg.Now()
	behind := false
	for _, e := range list {
		if string(e.Value) == keys || e.Key == seenKey(n.cfg.Zone, n.cfg.Node) {
			continue
		}
		behind = true
		if n.waits != keys && now.Sub(n.cur.KeysSince) > n.cfg.Signer.Settling().Propagation {
			n.waits = keys
			n.log.Warn("keys wait for a node that serves older ones", "node",
				strings.TrimPrefix(e.Key, seenKey(n.cfg.Zone, "")))
		}
	}
	if behind || n.keys != keys {
		n.settled, n.keys = time.Time{}, keys
	}
	if behind {
		n.mayStep.Store(false)
		return nil
	}
	if n.settled.IsZero() {
		n.settled = now
	}
	waits := n.cfg.Signer.Settling()
	late := n.settled.Sub(n.cur.KeysSince) > waits.Propagation
	n.mayStep.Store(!late || now.Sub(n.settled) >= waits.Caches)
	return nil
}
