package redisstore

import (
	"context"
	"fmt"
	"strconv"
	"time"

	"pointsman/internal/store"
)

// Acquire implements store.Store. Expires is counted from before the request left, so the
// server keeps the lease at least that long.
func (s *Store) Acquire(
	ctx context.Context, name, holder string, ttl time.Duration,
) (store.Lease, error) {
	asked := time.Now()
	err := store.CheckLease(name, holder, ttl)
	var token uint64
	if err == nil {
		var answer []any
		keys := []string{s.names.leases + name, s.names.clock}
		answer, err = s.run(ctx, s.scripts.acquire, keys, holder, milliseconds(ttl))
		if err == nil {
			token, err = outcome(answer)
		}
	}
	if err != nil {
		return store.Lease{}, fmt.Errorf("acquiring lease %q for %q: %w", name, holder, err)
	}
	expires := asked.Add(ttl).UTC()
	return store.Lease{Name: name, Holder: holder, Token: token, Expires: expires}, nil
}

// Release implements store.Store.
func (s *Store) Release(ctx context.Context, l store.Lease) error {
	err := store.CheckKey(l.Name)
	if err == nil {
		content := "pm1 " + strconv.FormatUint(l.Token, 10) + " " + l.Holder
		_, err = s.run(ctx, s.scripts.release, []string{s.names.leases + l.Name}, content)
	}
	if err != nil {
		return fmt.Errorf("releasing lease %q: %w", l.Name, err)
	}
	return nil
}
