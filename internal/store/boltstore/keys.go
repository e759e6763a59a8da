package boltstore

import (
	"context"
	"fmt"
	"strings"
	"time"

	bolt "go.etcd.io/bbolt"

	"pointsman/internal/store"
)

// Get implements store.Store.
func (s *Store) Get(ctx context.Context, key string) (store.Entry, error) {
	var found *stamped
	err := store.CheckKey(key)
	if err == nil {
		err = s.read(ctx, func(tx *bolt.Tx) (err error) {
			found, err = s.live(tx, kindKey, key)
			return err
		})
	}
	if err == nil && found == nil {
		err = store.ErrNotFound
	}
	if err != nil {
		return store.Entry{}, fmt.Errorf("reading key %q: %w", key, err)
	}
	return store.Entry{Key: key, Value: found.data, Revision: found.number}, nil
}

// Put implements store.Store.
func (s *Store) Put(
	ctx context.Context, key string, value []byte, o store.PutOptions,
) (uint64, error) {
	revision, err := s.put(ctx, key, value, o)
	if err != nil {
		return 0, fmt.Errorf("writing key %q: %w", key, err)
	}
	return revision, nil
}

func (s *Store) put(
	ctx context.Context, key string, value []byte, o store.PutOptions,
) (uint64, error) {
	if err := store.CheckKey(key); err != nil {
		return 0, err
	}
	if err := store.CheckValue(value); err != nil {
		return 0, err
	}
	if err := s.expected(ctx, key, o.Expect, store.ErrConflict); err != nil {
		return 0, err
	}
	value = append([]byte(nil), value...) // the commit may outlive this call
	var verdict error
	var revision uint64
	err := s.write(ctx, key, func(tx *bolt.Tx) error {
		now := s.now()
		if err := sweep(tx, now); err != nil {
			return err
		}
		old, err := getStamped(tx, kindKey, []byte(key))
		if err != nil {
			return err
		}
		if verdict = compare(old, o.Expect, now, store.ErrConflict); verdict != nil {
			return nil
		}
		if revision, err = nextNumber(tx, now); err != nil {
			return err
		}
		next := stamped{number: revision, expiry: expiry(now, o.TTL), data: value}
		return putStamped(tx, kindKey, []byte(key), old, next)
	})
	if err != nil {
		return 0, err
	}
	return revision, verdict
}

// Delete implements store.Store.
func (s *Store) Delete(ctx context.Context, key string, expect *uint64) error {
	if err := s.delete(ctx, key, expect); err != nil {
		return fmt.Errorf("deleting key %q: %w", key, err)
	}
	return nil
}

func (s *Store) delete(ctx context.Context, key string, expect *uint64) error {
	if err := store.CheckKey(key); err != nil {
		return err
	}
	if err := s.expected(ctx, key, expect, store.ErrNotFound); err != nil {
		return err
	}
	var verdict error
	err := s.write(ctx, key, func(tx *bolt.Tx) error {
		now := s.now()
		old, err := getStamped(tx, kindKey, []byte(key))
		if err != nil {
			return err
		}
		verdict = compare(old, expect, now, store.ErrNotFound)
		if verdict != nil || old == nil {
			return nil
		}
		return deleteStamped(tx, kindKey, []byte(key), old)
	})
	if err != nil {
		return err
	}
	return verdict
}

// List implements store.Store. The entries are one snapshot.
func (s *Store) List(ctx context.Context, prefix string) ([]store.Entry, error) {
	var list []store.Entry
	err := store.CheckPrefix(prefix)
	if err == nil {
		err = s.read(ctx, func(tx *bolt.Tx) (err error) {
			list, err = s.list(tx, prefix)
			return err
		})
	}
	if err != nil {
		return nil, fmt.Errorf("listing keys under %q: %w", prefix, err)
	}
	return list, nil
}

func (s *Store) list(tx *bolt.Tx, prefix string) ([]store.Entry, error) {
	now := s.now()
	var list []store.Entry
	c := tx.Bucket(keysBucket).Cursor()
	for k, v := c.Seek([]byte(prefix)); k != nil; k, v = c.Next() {
		key := string(k)
		if !strings.HasPrefix(key, prefix) {
			break
		}
		e, err := decodeStamped(v)
		if err != nil {
			return nil, fmt.Errorf("decoding %q: %w", key, err)
		}
		if !e.expired(now) {
			list = append(list, store.Entry{Key: key, Value: e.data, Revision: e.number})
		}
	}
	return list, nil
}

// expected refuses a hopeless write before it costs a commit: what a reader sees is the
// latest committed state, so the refusal is as right as one given by the writer.
func (s *Store) expected(ctx context.Context, key string, expect *uint64, absent error) error {
	if expect == nil {
		return nil
	}
	var verdict error
	err := s.read(ctx, func(tx *bolt.Tx) error {
		old, err := getStamped(tx, kindKey, []byte(key))
		verdict = compare(old, expect, s.now(), absent)
		return err
	})
	if err != nil {
		return err
	}
	return verdict
}

// compare returns nil when the entry is as expected, absent when it should be there and is
// not, and ErrConflict otherwise.
func compare(old *stamped, expect *uint64, now time.Time, absent error) error {
	there := old != nil && !old.expired(now)
	switch {
	case expect == nil:
		return nil
	case !there && *expect == 0 && absent == store.ErrConflict:
		return nil // Put of a key that must not exist
	case !there:
		return absent
	case old.number != *expect:
		return fmt.Errorf("%w: expected %d, found %d", store.ErrConflict, *expect, old.number)
	}
	return nil
}

// live returns an entry that has not expired, or nil.
func (s *Store) live(tx *bolt.Tx, kind byte, name string) (*stamped, error) {
	e, err := getStamped(tx, kind, []byte(name))
	if err != nil || e == nil || e.expired(s.now()) {
		return nil, err
	}
	return e, nil
}

func expiry(now time.Time, ttl time.Duration) int64 {
	if ttl <= 0 {
		return 0
	}
	return now.Add(ttl).UnixNano()
}
