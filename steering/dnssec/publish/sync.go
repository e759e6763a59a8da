package publish

import (
	"context"
	"errors"
	"fmt"
	"time"

	"pointsman/internal/store"
)

// Times of following and leading.
const (
	leaseTTL = 30 * time.Second
	// away is how long a node may have been without the shared store and still have seen every
	// key before its successor was in use: a new key is shown longer before.
	away = 2 * time.Hour
	// seenEvery is how often a node says which keys it serves.
	seenEvery = time.Hour
)

// sync follows the shared store, and publishes what is to be published. It reports whether the
// zone should be signed again.
func (n *Node) sync(ctx context.Context) (changed bool, err error) {
	led, might := n.leads.Load(), n.mayStep.Load()
	fresh, err := n.pull(ctx)
	if err != nil {
		n.mayStep.Store(false)
		n.cfg.Metrics.Pending(n.cfg.Zone, n.leads.Load() && n.dirty.Load())
		return false, err
	}
	if err := n.lead(ctx); err != nil {
		return fresh, err
	}
	if leads := n.leads.Load(); led != leads {
		if leads {
			n.takeOver()
		}
		n.log.Info("lease of signing changed", "leads", leads)
		fresh = true
	}
	if n.leads.Load() {
		err = n.serveAll(ctx)
		fresh = fresh || !might && n.mayStep.Load() // a step may have waited for that
	} else {
		err = n.tell(ctx)
	}
	return fresh, errors.Join(err, n.keep(ctx))
}

// pull takes the newest publication from the shared store, and reports whether it is another.
func (n *Node) pull(ctx context.Context) (bool, error) {
	e, err := n.get(ctx, n.cfg.Shared, manifestKey(n.cfg.Zone))
	now := n.cfg.Now()
	long := now.Sub(n.contact) > away
	switch {
	case errors.Is(err, store.ErrNotFound):
		n.contact, n.shared, n.revision = now, nil, 0
		clear(n.there)
		if n.leads.Load() && n.cur != nil {
			n.dirty.Store(true) // the store forgot it
		}
		return false, nil
	case err != nil:
		return false, err
	}
	n.contact = now
	if e.Revision == n.revision {
		return false, nil
	}
	m, err := decode(n.cfg.Zone, e.Value)
	if err != nil {
		n.complain(err)
		if n.leads.Load() { // it is this node's to mend
			n.shared, n.revision = nil, e.Revision
			n.dirty.Store(true)
		}
		return false, nil
	}
	return n.accept(ctx, m, e.Revision, long)
}

// accept takes a manifest of the shared store in. After a long time away any keys are good.
func (n *Node) accept(ctx context.Context, m *manifest, revision uint64, long bool) (bool, error) {
	mine := m.Signer == n.cfg.Node && n.leads.Load()
	if n.cur != nil && (m.Epoch < n.cur.Epoch || mine) {
		if !mine && !n.leads.Load() {
			n.complain(fmt.Errorf("epoch %d came after %d", m.Epoch, n.cur.Epoch))
			return false, nil
		}
		// A write of this node whose answer was lost, or another's that is older: publish again.
		if m.Epoch < n.cur.Epoch {
			clear(n.there) // the store went back in time
		}
		n.shared, n.revision = m, revision
		n.dirty.Store(true)
		return false, nil
	}
	if n.cur != nil && m.Epoch == n.cur.Epoch {
		n.shared, n.revision = m, revision
		return false, nil
	}
	chunks, err := n.gather(ctx, m)
	if errors.Is(err, errDamaged) {
		n.complain(err)
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("reading the publication of epoch %d: %w", m.Epoch, err)
	}
	if n.leads.Load() && m.Signer != n.cfg.Node {
		n.leads.Store(false) // another has published since
	}
	if long {
		n.cfg.Follower.Forgo()
	}
	if err := n.take(ctx, m, chunks, false); err != nil {
		n.complain(err)
		return false, nil
	}
	n.shared, n.revision, n.said = m, revision, ""
	for id := range chunks {
		n.there[id] = true
	}
	return true, nil
}

// lead takes or renews the lease of signing, if this node has the keys for it.
func (n *Node) lead(ctx context.Context) error {
	if n.cfg.Signer == nil {
		return nil
	}
	if n.shared != nil && !n.leads.Load() {
		same, err := n.cfg.Signer.Continues(n.shared.Head)
		if err == nil && !same {
			err = errForeign
		}
		if err != nil {
			n.complain(err)
			return nil
		}
	}
	ctx, cancel := context.WithTimeout(ctx, callLimit)
	defer cancel()
	l, err := n.cfg.Shared.Acquire(ctx, leaseName(n.cfg.Zone), n.cfg.Node, leaseTTL)
	switch {
	case errors.Is(err, store.ErrHeld):
		n.leads.Store(false)
		n.mayStep.Store(false)
		return nil
	case err != nil:
		n.mayStep.Store(false)
		return err
	}
	n.lease = l
	n.leads.Store(true)
	return nil
}

// release gives the lease up, so that another signer needn't wait for its end.
func (n *Node) release(ctx context.Context) error {
	if n.lease.Name == "" || !n.leads.Load() {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, callLimit)
	defer cancel()
	return n.cfg.Shared.Release(ctx, n.lease)
}

// tell tells the signer which keys this node serves, for as long as its signatures hold.
func (n *Node) tell(ctx context.Context) error {
	head, ends, ok := n.cfg.Follower.Serving()
	now := n.cfg.Now()
	if !ok || head.KeySet() == n.seen && now.Sub(n.seenAt) < seenEvery {
		return nil
	}
	keys := head.KeySet()
	_, err := n.put(ctx, n.cfg.Shared, seenKey(n.cfg.Zone, n.cfg.Node), []byte(keys),
		store.PutOptions{TTL: max(ends.Sub(now), 2*seenEvery)})
	if err != nil {
		return fmt.Errorf("telling the signer which keys are served: %w", err)
	}
	n.seen, n.seenAt = keys, now
	return nil
}

// keep copies what serves into the local store, the manifest last.
func (n *Node) keep(ctx context.Context) error {
	if n.cfg.Local == nil || n.cur == nil || n.kept == n.cur.Epoch {
		return nil
	}
	if head, _, ok := n.cfg.Follower.Serving(); !n.leads.Load() && (!ok || head.Epoch != n.cur.Epoch) {
		return nil // it is not known to be good yet
	}
	for id, c := range n.chunks {
		if n.copies[id] {
			continue
		}
		if _, err := n.put(ctx, n.cfg.Local, chunkKey(n.cfg.Zone, id), bytesOf(c.sigs),
			store.PutOptions{}); err != nil {
			return fmt.Errorf("keeping the publication: %w", err)
		}
		n.copies[id] = true
	}
	raw, err := n.cur.encode()
	if err == nil {
		_, err = n.put(ctx, n.cfg.Local, manifestKey(n.cfg.Zone), raw, store.PutOptions{})
	}
	if err != nil {
		return fmt.Errorf("keeping the publication: %w", err)
	}
	n.kept = n.cur.Epoch
	for id := range n.copies {
		if _, used := n.chunks[id]; used {
			continue
		}
		if err := n.remove(ctx, n.cfg.Local, chunkKey(n.cfg.Zone, id)); err != nil {
			return fmt.Errorf("removing what is kept no more: %w", err)
		}
		delete(n.copies, id)
	}
	return nil
}
