package drill

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"pointsman/internal/store"
)

// noticeKey holds the notice of the drill that runs, on whichever node: there is at most one,
// and a small entry of its own is cheap to look at each second.
const noticeKey = "drill/notice"

// notice tells all nodes whose probes must fail, and the node that runs the drill whether
// somebody wants it stopped. It vanishes from the store at the drill's end, whoever died.
type notice struct {
	ID        string    `json:"id"`
	Node      string    `json:"node"`
	Backend   string    `json:"backend"`
	Until     time.Time `json:"until"`
	StoppedBy string    `json:"stopped_by,omitempty"`
}

// announce writes the notice of a drill of this node.
func (r *Runner) announce(ctx context.Context, rep Report) error {
	return r.putNotice(ctx, notice{ID: rep.ID, Node: rep.Node, Backend: rep.Plan.Backend,
		Until: rep.Ends}, nil)
}

func (r *Runner) putNotice(ctx context.Context, n notice, expect *uint64) error {
	left := n.Until.Sub(r.cfg.Now())
	if left <= 0 {
		return nil
	}
	raw, err := json.Marshal(n)
	if err != nil {
		return fmt.Errorf("encoding the notice of drill %q: %w", n.ID, err)
	}
	_, err = r.cfg.Store.Put(ctx, noticeKey, raw, store.PutOptions{TTL: left, Expect: expect})
	if err != nil {
		return fmt.Errorf("announcing drill %q: %w", n.ID, err)
	}
	return nil
}

// notice reads what is announced; a store without a notice, or with one that doesn't read,
// gives the zero value.
func (r *Runner) notice(ctx context.Context) (n notice, revision uint64, err error) {
	e, err := r.cfg.Store.Get(ctx, noticeKey)
	if errors.Is(err, store.ErrNotFound) {
		return notice{}, 0, nil
	}
	if err != nil {
		return notice{}, 0, fmt.Errorf("reading the notice of a drill: %w", err)
	}
	if json.Unmarshal(e.Value, &n) != nil {
		return notice{}, e.Revision, nil
	}
	return n, e.Revision, nil
}

// retract removes the notice of a drill that no longer makes probes fail. Left there, it ends
// by itself at its time.
func (r *Runner) retract(ctx context.Context, id string) error {
	n, revision, err := r.notice(ctx)
	if err != nil || n.ID != id {
		return err
	}
	err = r.cfg.Store.Delete(ctx, noticeKey, &revision)
	if err != nil && !errors.Is(err, store.ErrNotFound) {
		return fmt.Errorf("removing the notice of drill %q: %w", id, err)
	}
	return nil
}

// follow takes over the fault of a drill that another node runs.
func (r *Runner) follow(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, ioLimit)
	defer cancel()
	n, _, err := r.notice(ctx)
	switch {
	case err != nil: // a fault in hand ends by itself at its time
	case n.ID == "" || n.Node == r.cfg.Node || n.StoppedBy != "":
		r.fault.Store(nil)
	default:
		r.fault.Store(&fault{backend: n.Backend, reason: "drill " + n.ID,
			until: earlier(n.Until, r.cfg.Now().Add(MaxFor))})
	}
}

func earlier(a, b time.Time) time.Time {
	if a.Before(b) {
		return a
	}
	return b
}

// stopElsewhere asks the node that runs a drill to stop it.
func (r *Runner) stopElsewhere(ctx context.Context, id, actor string) (Report, error) {
	rep, err := r.Get(ctx, id)
	if err != nil || rep.State != Running {
		return rep, err
	}
	n, revision, err := r.notice(ctx)
	if err != nil {
		return Report{}, fmt.Errorf("stopping drill %q: %w", id, err)
	}
	if n.ID != id {
		return rep, nil // it has ended a moment ago, or with its node
	}
	n.StoppedBy = actor
	if err := r.putNotice(ctx, n, &revision); err != nil {
		return Report{}, fmt.Errorf("stopping drill %q: %w", id, err)
	}
	rep.Message = "node " + rep.Node + " was asked to stop it"
	return rep, nil
}

// stopRequest returns who asked, through the store, to stop a drill of this node.
func (r *Runner) stopRequest(ctx context.Context, id string) (by string) {
	ctx, cancel := context.WithTimeout(ctx, ioLimit)
	defer cancel()
	n, _, err := r.notice(ctx)
	if err != nil || n.ID != id {
		return ""
	}
	return n.StoppedBy
}
