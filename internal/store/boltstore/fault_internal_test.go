package boltstore

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"testing"
	"time"

	bolt "go.etcd.io/bbolt"
	"golang.org/x/sys/unix"

	"pointsman/internal/store"
)

func openNew(t *testing.T) *Store {
	t.Helper()
	s, err := Open(Config{Path: filepath.Join(t.TempDir(), "pointsman.db")})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	return s
}

// replaceFile puts another file under the descriptor that the store writes to, and returns
// what undoes that. The mapping and the lock stay with the true file.
func replaceFile(t *testing.T, s *Store, name string, flag int) (restore func()) {
	t.Helper()
	fd := descriptorOf(t, s.path)
	saved, err := unix.Dup(fd)
	if err != nil {
		t.Fatal(err)
	}
	other, err := os.OpenFile(name, flag, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = other.Close() }()
	if err := unix.Dup3(int(other.Fd()), fd, unix.O_CLOEXEC); err != nil {
		t.Fatal(err)
	}
	return func() {
		if err := errors.Join(unix.Dup3(saved, fd, unix.O_CLOEXEC), unix.Close(saved)); err != nil {
			t.Fatal(err)
		}
	}
}

func descriptorOf(t *testing.T, path string) int {
	t.Helper()
	entries, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		if target, err := os.Readlink("/proc/self/fd/" + e.Name()); err == nil && target == path {
			fd, err := strconv.Atoi(e.Name())
			if err != nil {
				t.Fatal(err)
			}
			return fd
		}
	}
	t.Fatalf("no descriptor of %s", path)
	return -1
}

func TestAFullDiskRefusesWritesUntilThereIsRoom(t *testing.T) {
	s := openNew(t)
	ctx := context.Background()
	if _, err := s.Append(ctx, "log", []byte("before")); err != nil {
		t.Fatal(err)
	}
	// Free pages within the file, so that the next write needs no remapping: that would look
	// at the size of the other file first.
	for range 2 {
		if _, err := s.Put(ctx, "big", make([]byte, 200<<10), store.PutOptions{}); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.Delete(ctx, "big", nil); err != nil {
		t.Fatal(err)
	}
	restore := replaceFile(t, s, "/dev/full", os.O_RDWR)
	for range 3 {
		if _, err := s.Append(ctx, "log", []byte("refused")); !errors.Is(err, unix.ENOSPC) ||
			!errors.Is(err, store.ErrUnavailable) {
			t.Errorf("Append to a full disk = %v", err)
		}
	}
	restore()
	if _, err := s.Append(ctx, "log", []byte("after")); err != nil || s.Fault() != nil {
		t.Errorf("Append with room again = %v, fault %v", err, s.Fault())
	}
	records, err := s.Read(ctx, "log", 0, 10)
	if err != nil || len(records) != 2 || string(records[1].Value) != "after" {
		t.Errorf("Read = %v, %v", records, err)
	}
}

func TestAfterAFailedWriteNothingMoreIsAcknowledged(t *testing.T) {
	s := openNew(t)
	ctx := context.Background()
	if _, err := s.Put(ctx, "a", []byte("v"), store.PutOptions{}); err != nil {
		t.Fatal(err)
	}
	restore := replaceFile(t, s, s.path, os.O_RDONLY) // pwrite fails as EBADF, not as full
	if _, err := s.Put(ctx, "b", nil, store.PutOptions{}); !errors.Is(err, store.ErrUnavailable) {
		t.Errorf("Put on a broken disk = %v", err)
	}
	restore()
	if _, err := s.Put(ctx, "c", nil, store.PutOptions{}); !errors.Is(err, store.ErrUnavailable) {
		t.Errorf("Put after a failed write = %v, want refusal until reopened", err)
	}
	if _, err := s.Get(ctx, "a"); err != nil {
		t.Errorf("reads go on: %v", err)
	}
	if !errors.Is(s.Fault(), unix.EBADF) {
		t.Errorf("Fault() = %v", s.Fault())
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	again, err := Open(Config{Path: s.path})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = again.Close() }()
	if _, err := again.Put(ctx, "c", nil, store.PutOptions{}); err != nil {
		t.Errorf("Put after reopening = %v", err)
	}
}

func TestAStuckWriteReturnsAtItsDeadline(t *testing.T) {
	s := openNew(t)
	tx, err := s.db.Begin(true) // what a hanging disk does to everybody else
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Millisecond)
	defer cancel()
	value := []byte("first")
	_, err = s.Put(ctx, "a", value, store.PutOptions{})
	if !errors.Is(err, store.ErrUnavailable) || !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("Put = %v", err)
	}
	value[0] = 'X' // the caller may use its bytes again
	if err := tx.Rollback(); err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	again, err := Open(Config{Path: s.path})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = again.Close() }()
	e, err := again.Get(t.Context(), "a")
	if err != nil || string(e.Value) != "first" {
		t.Errorf("Close did not wait for the write: %q, %v", e.Value, err)
	}
}

func TestWhatExpiredLeavesNothingBehind(t *testing.T) {
	now := time.Now()
	s := openNew(t)
	s.now = func() time.Time { return now }
	for i := range 50 {
		key := fmt.Sprint("key/", i)
		for _, ttl := range []time.Duration{time.Hour, time.Minute} { // the second replaces
			if _, err := s.Put(t.Context(), key, nil, store.PutOptions{TTL: ttl}); err != nil {
				t.Fatal(err)
			}
		}
		if _, err := s.Acquire(t.Context(), key, "h", time.Minute); err != nil {
			t.Fatal(err)
		}
	}
	now = now.Add(time.Minute)
	for range 100/sweepLimit + 1 {
		if _, err := s.Put(t.Context(), "lasting", nil, store.PutOptions{}); err != nil {
			t.Fatal(err)
		}
	}
	want := map[string]int{"keys": 1, "leases": 0, "expiry": 0}
	for name, n := range want {
		err := s.db.View(func(tx *bolt.Tx) error {
			if got := tx.Bucket([]byte(name)).Stats().KeyN; got != n {
				t.Errorf("bucket %s holds %d, want %d", name, got, n)
			}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
	}
}

func TestALongLogIsTrimmedWhole(t *testing.T) {
	s := openNew(t)
	err := s.db.Update(func(tx *bolt.Tx) error {
		b, err := tx.Bucket(logsBucket).CreateBucket([]byte("log"))
		if err != nil {
			return err
		}
		for i := range 2*trimChunk + 10 {
			if err := b.Put(sequenceKey(uint64(i+1)), seal(nil)); err != nil {
				return err
			}
		}
		return b.SetSequence(2*trimChunk + 10)
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Trim(t.Context(), "log", 2*trimChunk+9); err != nil {
		t.Fatal(err)
	}
	records, err := s.Read(t.Context(), "log", 0, 10)
	if err != nil || len(records) != 1 || records[0].Sequence != 2*trimChunk+10 {
		t.Errorf("Read = %v, %v", records, err)
	}
}

func FuzzDecodeStamped(f *testing.F) {
	f.Add(stamped{7, 8, []byte("value")}.encode())
	f.Add([]byte{})
	f.Add(seal([]byte("short")))
	f.Fuzz(func(t *testing.T, b []byte) {
		s, err := decodeStamped(b)
		if err != nil {
			if !errors.Is(err, errCorrupt) {
				t.Errorf("decoding %q: %v", b, err)
			}
			return
		}
		if again := s.encode(); string(again) != string(b) {
			t.Errorf("%q became %q", b, again)
		}
	})
}

// TestASweepSparesWhatWasTakenAnew expires more than one write sweeps, so that the remains of
// a first term are swept while the second one runs.
func TestASweepSparesWhatWasTakenAnew(t *testing.T) {
	const n = 3 * sweepLimit
	now := time.Now()
	s := openNew(t)
	s.now = func() time.Time { return now }
	name := func(i int) string { return fmt.Sprintf("%03d", i) }
	for i := range n {
		if _, err := s.Acquire(t.Context(), name(i), "first", time.Minute); err != nil {
			t.Fatal(err)
		}
		o := store.PutOptions{TTL: time.Minute}
		if _, err := s.Put(t.Context(), name(i), nil, o); err != nil {
			t.Fatal(err)
		}
	}
	now = now.Add(time.Minute)
	for i := n - 1; i >= 0; i-- { // the last ones are swept last
		if _, err := s.Acquire(t.Context(), name(i), "second", time.Hour); err != nil {
			t.Fatal(err)
		}
		if _, err := s.Put(t.Context(), name(i), nil, store.PutOptions{}); err != nil {
			t.Fatal(err)
		}
	}
	for i := range n {
		_, err := s.Acquire(t.Context(), name(i), "third", time.Hour)
		if !errors.Is(err, store.ErrHeld) {
			t.Errorf("lease %d was swept: %v", i, err)
		}
		if _, err := s.Get(t.Context(), name(i)); err != nil {
			t.Errorf("key %d was swept: %v", i, err)
		}
	}
}
