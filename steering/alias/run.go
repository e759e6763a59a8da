package alias

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"sync"
	"time"

	"pointsman/internal/store"
)

const (
	// mostLookUps is how many names are asked for at once.
	mostLookUps = 16
	// idle is how long Run sleeps at most.
	idle = time.Hour

	storeKey   = "node/addresses"
	storeLimit = 2 * time.Second
	// saveAtOnce is the least time between two writes, saveAnyway the longest for which answers
	// that were merely confirmed go unwritten.
	saveAtOnce = time.Second
	saveAnyway = time.Minute
)

// Load reads what the store kept of a run before. None, or what can't be read, means that
// targets are unknown until they are resolved; the latter is logged. Call it before SetTargets.
func (r *Resolver) Load(ctx context.Context) {
	if r.config.Store == nil {
		return
	}
	saved := map[string]record{}
	e, err := r.config.Store.Get(ctx, storeKey)
	if err == nil {
		err = json.Unmarshal(e.Value, &saved)
	}
	if err != nil {
		if !errors.Is(err, store.ErrNotFound) {
			r.log.Warn("last known addresses not read", "err", err)
		}
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.saved = saved
}

// Run resolves what is due until ctx ends; then it returns nil. Call it once.
func (r *Resolver) Run(ctx context.Context) error {
	var wg sync.WaitGroup
	defer wg.Wait()
	k := &keeper{r: r}
	defer func() { k.save(context.WithoutCancel(ctx), true) }()
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		due, wait := r.due()
		for _, name := range due {
			wg.Go(func() {
				r.take(name, r.lookUp(ctx, name))
				r.stir()
			})
		}
		wait = min(wait, k.save(ctx, false))
		timer.Reset(wait)
		select {
		case <-ctx.Done():
			return nil
		case <-r.wake:
		case <-timer.C:
		}
	}
}

// due marks the targets whose look-up is due as busy, as many as may be asked for at once, and
// says how long nothing else will be.
func (r *Resolver) due() (names []string, wait time.Duration) {
	r.mu.Lock()
	defer r.mu.Unlock()
	now, free := r.config.Now(), mostLookUps
	for _, e := range r.records {
		if e.busy {
			free--
		}
	}
	wait = idle
	for name, e := range r.records {
		left := e.Due.Sub(now)
		switch {
		case e.busy:
		case left > 0:
			wait = min(wait, left)
		case free > 0: // the others wait for one that ends, which stirs Run
			e.busy = true
			free--
			names = append(names, name)
		}
	}
	return names, wait
}

// keeper writes the records to the store. It belongs to Run.
type keeper struct {
	r       *Resolver
	at      time.Time // of the last write that was tried
	written Snapshot
	failed  bool
}

// save writes what has changed if it is time, or when forced, and returns when to come again. A
// failed write costs freshness after the next start, no more.
func (k *keeper) save(ctx context.Context, force bool) time.Duration {
	snapshot, now := k.r.Snapshot(), k.r.config.Now()
	pause := saveAnyway
	for name, a := range snapshot {
		if !a.same(k.written[name]) {
			pause = saveAtOnce
		}
	}
	switch left := k.at.Add(pause).Sub(now); {
	case k.r.config.Store == nil, maps.EqualFunc(snapshot, k.written, Answer.equal):
		return idle
	case left > 0 && !force:
		return left
	}
	k.at = now
	err := k.put(ctx)
	if err == nil {
		k.written = snapshot
	} else if k.r.metrics.unsaved.Inc(); !k.failed { // once for all that a broken disk will see
		k.r.log.Warn("last known addresses not written", "err", err)
	}
	k.failed = err != nil
	return saveAnyway
}

func (k *keeper) put(ctx context.Context) error {
	known := map[string]record{}
	k.r.mu.Lock()
	for name, e := range k.r.records {
		if e.known() {
			known[name] = e.record
		}
	}
	k.r.mu.Unlock()
	raw, err := json.Marshal(known)
	if err != nil {
		return fmt.Errorf("encoding the addresses: %w", err)
	}
	ctx, cancel := context.WithTimeout(ctx, storeLimit)
	defer cancel()
	_, err = k.r.config.Store.Put(ctx, storeKey, raw, store.PutOptions{})
	return err
}
