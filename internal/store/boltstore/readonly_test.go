package boltstore_test

import (
	"bytes"
	"errors"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"pointsman/internal/store"
	"pointsman/internal/store/boltstore"
)

// opener opens files as a disk does that takes no writes, for that reason.
func opener(why error) func(string, int, fs.FileMode) (*os.File, error) {
	return func(name string, flag int, perm fs.FileMode) (*os.File, error) {
		if flag&(os.O_WRONLY|os.O_RDWR|os.O_CREATE) != 0 {
			return nil, &fs.PathError{Op: "open", Path: name, Err: why}
		}
		return os.OpenFile(name, flag, perm)
	}
}

// refusesWrites fails the test when the store takes any write, or hides why it does not.
func refusesWrites(t *testing.T, s *boltstore.Store, why error) {
	t.Helper()
	ctx := t.Context()
	_, put := s.Put(ctx, "key/9", nil, store.PutOptions{})
	_, appended := s.Append(ctx, "log", nil)
	_, lease := s.Acquire(ctx, "lease", "me", 1)
	for name, err := range map[string]error{"Put": put, "Append": appended, "Acquire": lease,
		"Delete": s.Delete(ctx, "key/1", nil), "Trim": s.Trim(ctx, "log", 1)} {
		if !errors.Is(err, store.ErrUnavailable) || !errors.Is(err, why) {
			t.Errorf("%s = %v, want it unavailable for %v", name, err, why)
		}
	}
	if !errors.Is(s.Fault(), why) {
		t.Errorf("the fault is %v, want %v", s.Fault(), why)
	}
}

func TestADiskThatTakesNoWritesIsReadWhenAsked(t *testing.T) {
	for _, why := range []error{syscall.EROFS, syscall.EACCES, syscall.EPERM, syscall.EIO} {
		t.Run(why.Error(), func(t *testing.T) {
			path := filled(t)
			before, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			var log bytes.Buffer
			c := boltstore.Config{Path: path, SetAside: true, OpenFile: opener(why),
				Logger: slog.New(slog.NewTextHandler(&log, nil))}
			if _, err := boltstore.Open(c); !errors.Is(err, why) {
				t.Errorf("unasked it gives %v", err)
			}
			c.ReadOnly = true
			s := open(t, c)
			list, err := s.List(t.Context(), "key/")
			if err != nil || len(list) != 4 {
				t.Errorf("List = %d entries, %v", len(list), err)
			}
			if _, err := s.Get(t.Context(), "key/3"); err != nil {
				t.Error(err)
			}
			if err := s.Check(t.Context()); err != nil {
				t.Error(err)
			}
			refusesWrites(t, s, why)
			if got := strings.Count(log.String(), "level=ERROR"); got != 1 {
				t.Errorf("%d errors were logged, want 1:\n%s", got, log.String())
			}
			if err := s.Close(); err != nil {
				t.Error(err)
			}
			after, err := os.ReadFile(path)
			if err != nil || !bytes.Equal(before, after) {
				t.Errorf("the file changed, %v", err)
			}
		})
	}
}

func TestWithoutWritesAndWithoutAFileTheStoreSeemsEmpty(t *testing.T) {
	missing := filepath.Join(t.TempDir(), "pointsman.db")
	corrupt := filled(t)
	spoil(t, corrupt, corruptions["all but the metas zeroed"])
	for name, path := range map[string]string{"no file": missing, "a corrupt file": corrupt} {
		t.Run(name, func(t *testing.T) {
			s := open(t, boltstore.Config{Path: path, ReadOnly: true,
				OpenFile: opener(syscall.ENOSPC)})
			if _, err := s.Get(t.Context(), "key/1"); !errors.Is(err, store.ErrNotFound) {
				t.Errorf("Get = %v", err)
			}
			if list, err := s.List(t.Context(), ""); err != nil || len(list) != 0 {
				t.Errorf("List = %v, %v", list, err)
			}
			if list, err := s.Read(t.Context(), "log", 0, 9); err != nil || len(list) != 0 {
				t.Errorf("Read = %v, %v", list, err)
			}
			refusesWrites(t, s, syscall.ENOSPC)
			if err := errors.Join(s.Close(), s.Close()); err != nil {
				t.Error(err)
			}
		})
	}
	if left, err := os.ReadDir(filepath.Dir(missing)); err != nil || len(left) != 0 {
		t.Errorf("left behind: %v, %v", left, err)
	}
}

// TestAFileInUseIsNoDiskThatTakesNoWrites: two nodes on one folder are a mistake, which must
// not look like a start that worked.
func TestAFileInUseIsNoDiskThatTakesNoWrites(t *testing.T) {
	path := filled(t)
	open(t, boltstore.Config{Path: path})
	for name, c := range map[string]boltstore.Config{
		"writable":  {Path: path, ReadOnly: true},
		"read-only": {Path: path, ReadOnly: true, OpenFile: opener(syscall.EROFS)},
	} {
		s, err := boltstore.Open(c)
		if err == nil || !strings.Contains(err.Error(), "another pointsman") {
			t.Errorf("%s: Open = %v, %v", name, s, err)
		}
	}
}
