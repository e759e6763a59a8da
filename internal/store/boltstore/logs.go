package boltstore

import (
	"context"
	"encoding/binary"
	"fmt"

	bolt "go.etcd.io/bbolt"

	"pointsman/internal/store"
)

// trimChunk bounds the records that one commit removes, so that a long Trim does not hold up
// other writers.
const trimChunk = 4096

// Append implements store.Store. Sequences are 1, 2, 3 and so on, also after a Trim.
func (s *Store) Append(ctx context.Context, log string, value []byte) (uint64, error) {
	var sequence uint64
	err := store.CheckKey(log)
	if err == nil {
		err = store.CheckValue(value)
	}
	if err == nil {
		sealed := seal(append(make([]byte, 0, len(value)+4), value...))
		err = s.write(ctx, log, func(tx *bolt.Tx) error {
			b, err := tx.Bucket(logsBucket).CreateBucketIfNotExists([]byte(log))
			if err != nil {
				return err
			}
			b.FillPercent = 0.95 // only ever written at its end
			if sequence, err = b.NextSequence(); err != nil {
				return err
			}
			return b.Put(sequenceKey(sequence), sealed)
		})
	}
	if err != nil {
		return 0, fmt.Errorf("appending to log %q: %w", log, err)
	}
	return sequence, nil
}

// Read implements store.Store. A limit of 0 or less reads nothing.
func (s *Store) Read(
	ctx context.Context, log string, after uint64, limit int,
) ([]store.Record, error) {
	var records []store.Record
	err := store.CheckKey(log)
	if err == nil {
		err = s.read(ctx, func(tx *bolt.Tx) (err error) {
			records, err = readLog(tx.Bucket(logsBucket).Bucket([]byte(log)), after, limit)
			return err
		})
	}
	if err != nil {
		return nil, fmt.Errorf("reading log %q: %w", log, err)
	}
	return records, nil
}

func readLog(b *bolt.Bucket, after uint64, limit int) ([]store.Record, error) {
	if b == nil || after == ^uint64(0) {
		return nil, nil
	}
	var records []store.Record
	c := b.Cursor()
	k, v := c.Seek(sequenceKey(after + 1))
	for ; k != nil && len(records) < limit; k, v = c.Next() {
		if len(k) != 8 {
			return nil, fmt.Errorf("%w: record number of %d bytes", errCorrupt, len(k))
		}
		sequence := binary.BigEndian.Uint64(k)
		value, err := unseal(v)
		if err != nil {
			return nil, fmt.Errorf("decoding record %d: %w", sequence, err)
		}
		value = append([]byte{}, value...)
		records = append(records, store.Record{Sequence: sequence, Value: value})
	}
	return records, nil
}

// Trim implements store.Store.
func (s *Store) Trim(ctx context.Context, log string, through uint64) error {
	if err := s.trim(ctx, log, through); err != nil {
		return fmt.Errorf("trimming log %q: %w", log, err)
	}
	return nil
}

func (s *Store) trim(ctx context.Context, log string, through uint64) error {
	if err := store.CheckKey(log); err != nil {
		return err
	}
	for more := true; more; {
		err := s.write(ctx, "", func(tx *bolt.Tx) (err error) {
			more, err = trimSome(tx.Bucket(logsBucket).Bucket([]byte(log)), through)
			return err
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// trimSome removes up to trimChunk records and reports whether there may be more.
func trimSome(b *bolt.Bucket, through uint64) (more bool, err error) {
	if b == nil {
		return false, nil
	}
	// Collect first: a bbolt cursor may skip a key after a deletion.
	var doomed [][]byte
	c := b.Cursor()
	for k, _ := c.First(); k != nil && len(doomed) < trimChunk; k, _ = c.Next() {
		if len(k) == 8 && binary.BigEndian.Uint64(k) > through {
			break
		}
		doomed = append(doomed, append([]byte(nil), k...))
	}
	for _, k := range doomed {
		if err := b.Delete(k); err != nil {
			return false, err
		}
	}
	return len(doomed) == trimChunk, nil
}
