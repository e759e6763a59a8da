package boltstore

import (
	"context"
	"fmt"
	"time"

	bolt "go.etcd.io/bbolt"

	"pointsman/internal/store"
)

// Acquire implements store.Store.
func (s *Store) Acquire(
	ctx context.Context, name, holder string, ttl time.Duration,
) (store.Lease, error) {
	lease, err := s.acquire(ctx, name, holder, ttl)
	if err != nil {
		return store.Lease{}, fmt.Errorf("acquiring lease %q for %q: %w", name, holder, err)
	}
	return lease, nil
}

func (s *Store) acquire(
	ctx context.Context, name, holder string, ttl time.Duration,
) (store.Lease, error) {
	if err := store.CheckLease(name, holder, ttl); err != nil {
		return store.Lease{}, err
	}
	var verdict error
	// A lease held by another is refused without the cost of a commit.
	err := s.read(ctx, func(tx *bolt.Tx) error {
		old, err := s.live(tx, kindLease, name)
		verdict = heldBy(old, holder)
		return err
	})
	if err != nil || verdict != nil {
		return store.Lease{}, firstError(err, verdict)
	}
	var next stamped
	err = s.write(ctx, "", func(tx *bolt.Tx) error {
		now := s.now()
		if err := sweep(tx, now); err != nil {
			return err
		}
		old, err := getStamped(tx, kindLease, []byte(name))
		if err != nil {
			return err
		}
		held := old != nil && !old.expired(now)
		if verdict = heldBy(old, holder); held && verdict != nil {
			return nil
		}
		verdict = nil
		next = stamped{expiry: expiry(now, ttl), data: []byte(holder)}
		if held {
			next.number = old.number
		} else if next.number, err = nextNumber(tx, now); err != nil {
			return err
		}
		return putStamped(tx, kindLease, []byte(name), old, next)
	})
	if err != nil {
		return store.Lease{}, err // the commit may outlive this call: verdict is still its own
	}
	if verdict != nil {
		return store.Lease{}, verdict
	}
	expires := time.Unix(0, next.expiry).UTC()
	return store.Lease{Name: name, Holder: holder, Token: next.number, Expires: expires}, nil
}

// Release implements store.Store.
func (s *Store) Release(ctx context.Context, l store.Lease) error {
	err := store.CheckKey(l.Name)
	if err == nil {
		err = s.write(ctx, "", func(tx *bolt.Tx) error {
			old, err := getStamped(tx, kindLease, []byte(l.Name))
			if err != nil || old == nil {
				return err
			}
			if old.number != l.Token || string(old.data) != l.Holder {
				return nil
			}
			return deleteStamped(tx, kindLease, []byte(l.Name), old)
		})
	}
	if err != nil {
		return fmt.Errorf("releasing lease %q: %w", l.Name, err)
	}
	return nil
}

func heldBy(old *stamped, holder string) error {
	if old == nil || string(old.data) == holder {
		return nil
	}
	return fmt.Errorf("%w: %q", store.ErrHeld, old.data)
}

func firstError(errs ...error) error {
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}
