// Package store states the contract under everything that Pointsman keeps: keys with
// revisions, logs, leases and watches. Two homes satisfy it: boltstore (one node, one file)
// and redisstore (many nodes). The suite in storetest is the contract's executable form.
//
// In flow values that other packages encoded; out flow the same bytes. The package owns no
// goroutine.
package store

import (
	"context"
	"errors"
	"time"
)

// Sentinels on which callers branch. Implementations wrap them, so compare with errors.Is.
var (
	// ErrNotFound says that the key, log or lease does not exist or has expired.
	ErrNotFound = errors.New("not found")
	// ErrConflict says that the entry's revision is not the one the caller expected.
	ErrConflict = errors.New("revision conflict")
	// ErrHeld says that another holder has the lease.
	ErrHeld = errors.New("lease held by another")
	// ErrUnavailable says that the home could not be reached or refused to write (network
	// down, disk full, read-only). The write may or may not have taken effect.
	ErrUnavailable = errors.New("store unavailable")
)

// Entry is one key as it stood when it was read.
type Entry struct {
	Key   string
	Value []byte
	// Revision is above 0 and rises with each write of the key. It may restart when the key
	// was deleted or the home lost its data, so compare it for equality alone.
	Revision uint64
}

// Record is one element of a log.
type Record struct {
	Sequence uint64 // rises within its log; gaps are allowed
	Value    []byte
}

// Lease is the right to do a thing alone until Expires. It is a hint, not a lock: pair it
// with Token, and let whoever receives the work refuse a lower token.
type Lease struct {
	Name    string
	Holder  string
	Token   uint64 // rises with each new holder of Name
	Expires time.Time
}

// PutOptions narrows a write. The zero value writes whatever stands there, for ever.
type PutOptions struct {
	// Expect, when not nil, is the revision the entry must have; 0 means it must not exist.
	Expect *uint64
	// TTL, when above 0, removes the entry after that time.
	TTL time.Duration
}

// Expect returns a pointer to a revision, for PutOptions.
func Expect(revision uint64) *uint64 { return &revision }

// Store keeps keys, logs and leases. All methods are safe for concurrent use and return
// before their context's deadline. A method that returns nil for a write means: durable in
// that home (bolt: synced to disk; Redis: acknowledged by the primary). Keys and names are
// printable ASCII with "/" between levels, at most 512 bytes; values at most 1 MiB.
type Store interface {
	// Get returns ErrNotFound when the key does not exist or has expired.
	Get(ctx context.Context, key string) (Entry, error)
	// Put writes value and returns the new revision, or ErrConflict when Expect does not hold.
	Put(ctx context.Context, key string, value []byte, o PutOptions) (uint64, error)
	// Delete removes the key if it has the expected revision (nil: whatever it has).
	// Deleting what does not exist is ErrNotFound with an expectation and nil without.
	Delete(ctx context.Context, key string, expect *uint64) error
	// List returns every entry whose key starts with prefix, in key order.
	List(ctx context.Context, prefix string) ([]Entry, error)

	// Append adds a record to the end of a log.
	Append(ctx context.Context, log string, value []byte) (uint64, error)
	// Read returns up to limit records of a log after a sequence (0: from its start), oldest
	// first. A log never written is empty, not an error.
	Read(ctx context.Context, log string, after uint64, limit int) ([]Record, error)
	// Trim removes records up to and including a sequence.
	Trim(ctx context.Context, log string, through uint64) error

	// Acquire takes a lease for ttl, or returns ErrHeld. The holder itself may acquire again:
	// that renews it and keeps its token.
	Acquire(ctx context.Context, name, holder string, ttl time.Duration) (Lease, error)
	// Release gives a lease up early. Releasing one that was lost is not an error.
	Release(ctx context.Context, l Lease) error

	// Watch sends on the channel after keys under prefix may have changed, until ctx ends;
	// then it closes the channel. It is a hint: signals are merged and may be lost, so
	// readers poll too.
	Watch(ctx context.Context, prefix string) <-chan struct{}

	// Close frees the home. Calls after it return ErrUnavailable.
	Close() error
}
