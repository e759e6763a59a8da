package feed

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"pointsman/internal/store"
)

const (
	localTimeout  = 2 * time.Second
	sharedTimeout = 500 * time.Millisecond
	poll          = time.Second
)

// Load reads what this node's own store holds, so that the first table can go by it. An error
// leaves the keeper as it was.
func (k *Keeper) Load(ctx context.Context) error {
	k.saving.Lock()
	defer k.saving.Unlock()
	ctx, cancel := context.WithTimeout(ctx, localTimeout)
	defer cancel()
	list, err := k.cfg.Local.List(ctx, keyPrefix)
	if err != nil {
		return fmt.Errorf("loading what feeds said: %w", err)
	}
	k.mu.Lock()
	for _, e := range list {
		k.merge(e)
		k.saved[e.Key] = string(e.Value)
	}
	k.mu.Unlock()
	k.tell()
	return nil
}

// merge takes a record into memory, as far as it is newer. The caller holds k.mu.
func (k *Keeper) merge(e store.Entry) {
	feed, _, b, err := parseRecord(e)
	if err != nil {
		k.metrics.unread.Inc()
		k.cfg.Logger.Debug("feed record not read", "err", err)
		return
	}
	if k.books[feed] == nil {
		k.books[feed] = book{}
	}
	mine, now := k.books[feed], k.now()
	for at, h := range b {
		if o, known := mine[at]; (!known && !k.forgotten(feed, h, now)) || known && h.newer(o, now) {
			mine[at] = h
		}
	}
}

// forgotten reports whether a value can't matter any more. The caller holds k.mu.
func (k *Keeper) forgotten(feed string, h Held, now time.Time) bool {
	keep := time.Duration(0)
	if f := k.feeds[feed]; f != nil {
		keep = f.Keep
	}
	return now.Sub(h.until(keep)) > shown
}

// forget drops what can't matter any more. The stores drop it by its time to live.
func (k *Keeper) forget() {
	k.mu.Lock()
	defer k.mu.Unlock()
	now := k.now()
	for feed, b := range k.books {
		for at, h := range b {
			if k.forgotten(feed, h, now) {
				delete(b, at)
			}
		}
	}
}

// records encodes what memory holds, by key: of all feeds, or of those that are shared.
func (k *Keeper) records(shared bool) map[string]string {
	k.mu.Lock()
	defer k.mu.Unlock()
	out := map[string]string{}
	for feed, b := range k.books {
		if f := k.feeds[feed]; shared && (f == nil || f.pulled()) {
			continue
		}
		for at := range b {
			name := recordKey(feed, at.Backend)
			if _, done := out[name]; !done {
				out[name] = string(encode(b, at.Backend))
			}
		}
	}
	return out
}

// save writes to Local what it lacks, and reports whether it has all.
func (k *Keeper) save(ctx context.Context) bool {
	k.saving.Lock()
	defer k.saving.Unlock()
	ctx, cancel := context.WithTimeout(ctx, localTimeout)
	defer cancel()
	for name, value := range k.records(false) {
		k.mu.Lock()
		same := k.saved[name] == value
		k.mu.Unlock()
		if same {
			continue
		}
		_, err := k.cfg.Local.Put(ctx, name, []byte(value), store.PutOptions{TTL: life})
		if !k.tried("local store", err) {
			return false
		}
		k.mu.Lock()
		k.saved[name] = value
		k.mu.Unlock()
	}
	return true
}

// sync makes memory and the shared store agree on feeds that are pushed, and reports whether they
// do.
func (k *Keeper) sync(ctx context.Context) bool {
	if k.cfg.Shared == nil {
		return true
	}
	k.syncing.Lock()
	defer k.syncing.Unlock()
	ctx, cancel := context.WithTimeout(ctx, sharedTimeout)
	defer cancel()
	var done bool
	err := errors.New("others write without end")
	for range 3 { // when another node wrote between the reading and the writing
		if done, err = k.exchange(ctx); done || err != nil {
			break
		}
	}
	return k.tried("shared store", err) && done
}

// exchange reads the shared store, merges, and writes what it lacks; false when another node wrote
// meanwhile.
func (k *Keeper) exchange(ctx context.Context) (done bool, err error) {
	list, err := k.cfg.Shared.List(ctx, keyPrefix)
	if err != nil {
		return false, err
	}
	there := make(map[string]store.Entry, len(list))
	k.mu.Lock()
	for _, e := range list {
		there[e.Key] = e
		name, _, _ := strings.Cut(strings.TrimPrefix(e.Key, keyPrefix), "/")
		if f := k.feeds[name]; f != nil && !f.pulled() {
			k.merge(e)
		}
	}
	k.mu.Unlock()
	k.tell()
	done = true
	for name, value := range k.records(true) {
		e := there[name]
		if string(e.Value) == value {
			continue
		}
		_, err := k.cfg.Shared.Put(ctx, name, []byte(value),
			store.PutOptions{Expect: store.Expect(e.Revision), TTL: life})
		switch {
		case errors.Is(err, store.ErrConflict):
			done = false
		case err != nil:
			return false, err
		}
	}
	return done, nil
}

// tried logs when a store went away or came back, counts, and reports whether it is there.
func (k *Keeper) tried(home string, err error) bool {
	if errors.Is(err, context.Canceled) {
		return false
	}
	k.mu.Lock()
	was := k.failing[home]
	k.failing[home] = err != nil
	k.mu.Unlock()
	switch {
	case err != nil && !was:
		k.cfg.Logger.Warn("feeds lost a store", "state", home, "err", err)
	case err == nil && was:
		k.cfg.Logger.Info("feeds found a store again", "state", home)
	}
	if err != nil {
		k.metrics.unsaved.Inc()
	}
	return err == nil
}
