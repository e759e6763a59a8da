package boltstore

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"time"

	bolt "go.etcd.io/bbolt"
)

// The file's buckets. Everything with an expiry is also in the expiry bucket, under
// time‖kind‖name, so that each write can sweep a few expired ones without searching.
var (
	metaBucket   = []byte("meta")   // "format" → formatName
	keysBucket   = []byte("keys")   // key → sealed(revision‖expiry‖value)
	logsBucket   = []byte("logs")   // log → bucket of sequence → sealed(value)
	leasesBucket = []byte("leases") // name → sealed(token‖expiry‖holder)
	expiryBucket = []byte("expiry") // expiry‖kind‖name → nothing

	formatKey  = []byte("format")
	formatName = []byte("pointsman store 1")
)

// Kinds in the expiry bucket.
const (
	kindKey   byte = 'k'
	kindLease byte = 'l'
)

// sweepLimit bounds what one write removes of what has expired.
const sweepLimit = 16

// stamped is the stored form of keys and leases: a rising number (revision or token), an
// expiry in Unix nanoseconds (0: never), and the value or holder.
type stamped struct {
	number uint64
	expiry int64
	data   []byte
}

func (s stamped) expired(now time.Time) bool { return s.expiry != 0 && s.expiry <= now.UnixNano() }

func (s stamped) encode() []byte {
	b := make([]byte, 0, 20+len(s.data))
	b = binary.BigEndian.AppendUint64(b, s.number)
	b = binary.BigEndian.AppendUint64(b, uint64(s.expiry))
	return seal(append(b, s.data...))
}

// decodeStamped copies its data: bbolt's memory is gone when the transaction ends.
func decodeStamped(b []byte) (stamped, error) {
	b, err := unseal(b)
	if err != nil {
		return stamped{}, err
	}
	if len(b) < 16 {
		return stamped{}, fmt.Errorf("%w: entry of %d bytes", errCorrupt, len(b))
	}
	return stamped{
		number: binary.BigEndian.Uint64(b),
		expiry: int64(binary.BigEndian.Uint64(b[8:])),
		data:   bytes.Clone(b[16:]),
	}, nil
}

// seal appends a CRC-32C: bbolt itself checks its two meta pages only.
func seal(b []byte) []byte {
	return binary.BigEndian.AppendUint32(b, crc32.Checksum(b, crc32.MakeTable(crc32.Castagnoli)))
}

func unseal(b []byte) ([]byte, error) {
	n := len(b) - 4
	if n < 0 {
		return nil, fmt.Errorf("%w: sealed value of %d bytes", errCorrupt, len(b))
	}
	want := crc32.Checksum(b[:n], crc32.MakeTable(crc32.Castagnoli))
	if binary.BigEndian.Uint32(b[n:]) != want {
		return nil, fmt.Errorf("%w: checksum mismatch", errCorrupt)
	}
	return b[:n], nil
}

func sequenceKey(n uint64) []byte { return binary.BigEndian.AppendUint64(nil, n) }

func expiryKey(at int64, kind byte, name []byte) []byte {
	b := binary.BigEndian.AppendUint64(make([]byte, 0, 9+len(name)), uint64(at))
	return append(append(b, kind), name...)
}

// layOut makes the buckets of a new file.
func layOut(tx *bolt.Tx) error {
	for _, name := range [][]byte{metaBucket, keysBucket, logsBucket, leasesBucket, expiryBucket} {
		if _, err := tx.CreateBucket(name); err != nil {
			return err
		}
	}
	return tx.Bucket(metaBucket).Put(formatKey, formatName)
}

// verify reads everything once.
func verify(tx *bolt.Tx) error {
	meta := tx.Bucket(metaBucket)
	if meta == nil {
		return fmt.Errorf("not a store of pointsman: no bucket %q", metaBucket)
	}
	if format := meta.Get(formatKey); !bytes.Equal(format, formatName) {
		return fmt.Errorf("format %q is not %q: made by another version", format, formatName)
	}
	if tx.Bucket(expiryBucket) == nil {
		return fmt.Errorf("%w: no bucket %q", errCorrupt, expiryBucket)
	}
	for _, name := range [][]byte{keysBucket, leasesBucket} {
		if err := verifyBucket(tx.Bucket(name), name, 16); err != nil {
			return err
		}
	}
	logs := tx.Bucket(logsBucket)
	if logs == nil {
		return fmt.Errorf("%w: no bucket %q", errCorrupt, logsBucket)
	}
	return logs.ForEachBucket(func(log []byte) error {
		return verifyBucket(logs.Bucket(log), log, 0)
	})
}

func verifyBucket(b *bolt.Bucket, name []byte, atLeast int) error {
	if b == nil {
		return fmt.Errorf("%w: no bucket %q", errCorrupt, name)
	}
	return b.ForEach(func(k, v []byte) error {
		value, err := unseal(v)
		if err == nil && len(value) < atLeast {
			err = fmt.Errorf("%w: entry of %d bytes", errCorrupt, len(value))
		}
		if err != nil {
			return fmt.Errorf("checking %q in %q: %w", k, name, err)
		}
		return nil
	})
}

// putStamped writes one entry with its expiry, undoing those of the entry it replaces.
func putStamped(tx *bolt.Tx, kind byte, name []byte, old *stamped, s stamped) error {
	if err := dropExpiry(tx, kind, name, old); err != nil {
		return err
	}
	if s.expiry != 0 {
		err := tx.Bucket(expiryBucket).Put(expiryKey(s.expiry, kind, name), nil)
		if err != nil {
			return err
		}
	}
	return bucketOf(tx, kind).Put(name, s.encode())
}

func deleteStamped(tx *bolt.Tx, kind byte, name []byte, old *stamped) error {
	if err := dropExpiry(tx, kind, name, old); err != nil {
		return err
	}
	return bucketOf(tx, kind).Delete(name)
}

func dropExpiry(tx *bolt.Tx, kind byte, name []byte, old *stamped) error {
	if old == nil || old.expiry == 0 {
		return nil
	}
	return tx.Bucket(expiryBucket).Delete(expiryKey(old.expiry, kind, name))
}

func bucketOf(tx *bolt.Tx, kind byte) *bolt.Bucket {
	if kind == kindLease {
		return tx.Bucket(leasesBucket)
	}
	return tx.Bucket(keysBucket)
}

// getStamped returns the stored entry, expired or not, or nil.
func getStamped(tx *bolt.Tx, kind byte, name []byte) (*stamped, error) {
	b := bucketOf(tx, kind).Get(name)
	if b == nil {
		return nil, nil
	}
	s, err := decodeStamped(b)
	if err != nil {
		return nil, err
	}
	return &s, nil
}

// sweep removes up to sweepLimit entries that have expired.
func sweep(tx *bolt.Tx, now time.Time) error {
	due := expiryKey(now.UnixNano()+1, 0, nil)
	var expired [][]byte
	c := tx.Bucket(expiryBucket).Cursor()
	for k, _ := c.First(); k != nil && len(expired) < sweepLimit; k, _ = c.Next() {
		if bytes.Compare(k, due) >= 0 {
			break
		}
		expired = append(expired, bytes.Clone(k))
	}
	for _, k := range expired {
		if len(k) < 9 {
			return fmt.Errorf("%w: expiry of %d bytes", errCorrupt, len(k))
		}
		if err := tx.Bucket(expiryBucket).Delete(k); err != nil {
			return err
		}
		if err := bucketOf(tx, k[8]).Delete(k[9:]); err != nil {
			return err
		}
	}
	return nil
}

// nextNumber returns a number above all it returned before for this file, and, since it
// follows the clock in microseconds, above those of a file that was lost. So a lease token
// stays usable as a fence even when the store had to be begun anew.
func nextNumber(tx *bolt.Tx, now time.Time) (uint64, error) {
	b := tx.Bucket(metaBucket)
	n := max(b.Sequence()+1, uint64(max(now.UnixMicro(), 1)))
	return n, b.SetSequence(n)
}
