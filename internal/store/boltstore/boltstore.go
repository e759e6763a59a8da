// Package boltstore keeps the store contract in one file of one node, on go.etcd.io/bbolt.
//
// In flow keys, records and leases; out flow the same, each checked by a CRC when it is read.
// Concurrent writes share one synced commit. A write whose context ends early goes on in a
// goroutine that Close waits for; the goroutine of a Watch ends with its context or at Close.
package boltstore

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"runtime/debug"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	bolt "go.etcd.io/bbolt"
	berrors "go.etcd.io/bbolt/errors"

	"pointsman/internal/store"
)

const (
	// batchDelay is how long a write waits for others to share its commit. A commit costs
	// about as much again (two fdatasync).
	batchDelay = time.Millisecond
	// lockTimeout is how long Open waits for another process to let go of the file.
	lockTimeout = time.Second
)

// Config says where the file is and how Open treats it.
type Config struct {
	// Path of the file. Its directory is created (0700) when missing and must not be
	// writable by everybody.
	Path string
	// Now is the clock for expiry. Nil means time.Now.
	Now func() time.Time
	// Logger receives what an operator must know. Nil discards it.
	Logger *slog.Logger
	// SetAside lets Open rename a corrupt file to Path.corrupt-<time> and begin an empty one.
	// False (the default) makes Open refuse instead: an empty store would silently forget
	// what it had acknowledged.
	SetAside bool
	// MaxBytes bounds the file's size; writes that need more get ErrUnavailable. 0: no bound.
	MaxBytes int
	// ReadOnly lets Open go on where the disk takes no writes (read-only, full, broken, or not
	// ours): what can be read of the file is, all else seems empty, and every write gets
	// ErrUnavailable until the file is opened anew. Fault says why. False: Open refuses.
	ReadOnly bool
	// OpenFile opens the file and makes new ones. Nil means os.OpenFile.
	OpenFile func(name string, flag int, perm fs.FileMode) (*os.File, error)
}

// Store satisfies store.Store. All methods are safe for concurrent use.
type Store struct {
	db       *bolt.DB // nil: there is nothing to read, and no writing
	path     string
	now      func() time.Time
	log      *slog.Logger
	setAside string
	watchers watchers

	closing sync.Mutex // guards closed and the growth of busy
	closed  bool
	busy    sync.WaitGroup
	done    chan struct{}
	broken  atomic.Pointer[fault]
}

// fault is why the store takes no more writes.
type fault struct{ err error }

var (
	errClosed  = fmt.Errorf("%w: store closed", store.ErrUnavailable)
	errCorrupt = errors.New("corrupt")
)

var _ store.Store = (*Store)(nil)

// WasSetAside returns the name that Open gave to a corrupt file it found in its place, or "".
func (s *Store) WasSetAside() string { return s.setAside }

// Path returns the file's path as configured.
func (s *Store) Path() string { return s.path }

// Close waits for writes under way, ends all watches and frees the file. Calls after it return
// ErrUnavailable; closing twice is harmless.
func (s *Store) Close() error {
	s.closing.Lock()
	first := !s.closed
	s.closed = true
	s.closing.Unlock()
	if !first {
		return nil
	}
	close(s.done)
	s.busy.Wait()
	if s.db == nil {
		return nil
	}
	if err := s.db.Close(); err != nil {
		return fmt.Errorf("closing %s: %w", s.path, err)
	}
	return nil
}

// enter registers a call that uses the file; leave with busy.Done.
func (s *Store) enter(ctx context.Context) error {
	if err := ctx.Err(); err != nil {
		return fmt.Errorf("%w: %w", store.ErrUnavailable, err)
	}
	s.closing.Lock()
	defer s.closing.Unlock()
	if s.closed {
		return errClosed
	}
	s.busy.Add(1)
	return nil
}

// read runs f on a snapshot of all committed writes, or not at all when there is no file.
func (s *Store) read(ctx context.Context, f func(*bolt.Tx) error) error {
	if err := s.enter(ctx); err != nil {
		return err
	}
	defer s.busy.Done()
	if s.db == nil {
		return nil // as in an empty file
	}
	err := guarded(func() error { return s.db.View(f) })
	if err == nil {
		return nil
	}
	return fmt.Errorf("%w: %w", store.ErrUnavailable, err)
}

// write runs f in a commit shared with other writers and returns once that is synced. f may
// run more than once and must return an error only for faults, since that undoes the commit
// for its neighbours too. When ctx ends first, f goes on in the background: then the caller
// must not touch what f writes. Watchers of touched (unless it is "") are told of the commit.
func (s *Store) write(ctx context.Context, touched string, f func(*bolt.Tx) error) error {
	if err := s.enter(ctx); err != nil {
		return err
	}
	if b := s.broken.Load(); b != nil {
		s.busy.Done()
		return fmt.Errorf("%w: writes stopped until restart after: %w", store.ErrUnavailable, b.err)
	}
	if ctx.Done() == nil {
		defer s.busy.Done()
		return s.commit(touched, f)
	}
	result := make(chan error, 1)
	s.busy.Go(func() {
		defer s.busy.Done() // the call registered by enter
		result <- s.commit(touched, f)
	})
	select {
	case err := <-result:
		return err
	case <-ctx.Done():
		return fmt.Errorf("%w: %w", store.ErrUnavailable, ctx.Err())
	}
}

func (s *Store) commit(touched string, f func(*bolt.Tx) error) error {
	err := guarded(func() error { return s.db.Batch(f) })
	if err == nil {
		s.watchers.notify(touched)
		return nil
	}
	if !errors.Is(err, errCorrupt) && !harmless(err) {
		s.poison(err)
	}
	return fmt.Errorf("%w: %w", store.ErrUnavailable, err)
}

// poison stops all later writes. After a failed sync the kernel may have dropped the pages
// and report the next sync as done, so nothing written to this open file can be trusted.
func (s *Store) poison(err error) {
	if s.broken.CompareAndSwap(nil, &fault{err}) {
		s.log.Error("store stopped taking writes", "path", s.path, "err", err)
	}
}

// Fault returns why the store takes no more writes until the process is started anew, or nil.
// Reads go on. A full disk is no such fault: writes work again when there is room.
func (s *Store) Fault() error {
	if b := s.broken.Load(); b != nil {
		return b.err
	}
	return nil
}

// harmless reports whether a commit ended before anything was synced, so that trying again
// is safe: the disk or the configured size was full.
func harmless(err error) bool {
	// bbolt flattens the error of growing the file into a string.
	if errors.Is(err, berrors.ErrMaxSizeReached) ||
		strings.HasPrefix(err.Error(), "file resize error") {
		return true
	}
	var pathErr *fs.PathError
	if !errors.As(err, &pathErr) || pathErr.Op != "write" && pathErr.Op != "truncate" {
		return false
	}
	return errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT) ||
		errors.Is(err, syscall.EFBIG)
}

// guarded turns a panic of bbolt on a damaged page, or the fault of reading a mapped page
// that the disk can't deliver, into an error.
func guarded(f func() error) (err error) {
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("%w: %v", errCorrupt, p)
		}
	}()
	return f()
}
