package boltstore_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"pointsman/internal/store"
	"pointsman/internal/store/boltstore"
)

// filled writes a store of some hundred kilobytes, closes it and returns its path.
func filled(t *testing.T) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "pointsman.db")
	s, err := boltstore.Open(boltstore.Config{Path: path})
	if err != nil {
		t.Fatal(err)
	}
	value := bytes.Repeat([]byte("purge everything "), 4000)
	for i := range 4 {
		if _, err := s.Put(t.Context(), fmt.Sprint("key/", i), value, store.PutOptions{}); err != nil {
			t.Fatal(err)
		}
		if _, err := s.Append(t.Context(), "log", value[:100]); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestWhatWasWrittenIsThereAfterReopening(t *testing.T) {
	path := filled(t)
	s := open(t, boltstore.Config{Path: path})
	list, err := s.List(t.Context(), "key/")
	if err != nil || len(list) != 4 {
		t.Errorf("List = %d entries, %v", len(list), err)
	}
	records, err := s.Read(t.Context(), "log", 0, 10)
	if err != nil || len(records) != 4 {
		t.Errorf("Read = %d records, %v", len(records), err)
	}
	if s.Path() != path || s.WasSetAside() != "" {
		t.Errorf("path %q, set aside %q", s.Path(), s.WasSetAside())
	}
	if err := s.Check(t.Context()); err != nil {
		t.Error(err)
	}
}

func TestASecondUserIsToldQuicklyWhoHasTheFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "pointsman.db")
	open(t, boltstore.Config{Path: path})
	began := time.Now()
	_, err := boltstore.Open(boltstore.Config{Path: path, SetAside: true})
	if err == nil || !strings.Contains(err.Error(), "another pointsman uses "+path) {
		t.Errorf("Open = %v", err)
	}
	if took := time.Since(began); took > 3*time.Second {
		t.Errorf("took %v", took)
	}
	if files, _ := filepath.Glob(path + "*"); len(files) != 1 {
		t.Errorf("left %v", files)
	}
}

func TestTheFileIsPrivateAndAlone(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "new", "deep")
	path := filepath.Join(dir, "pointsman.db")
	open(t, boltstore.Config{Path: path})
	for name, want := range map[string]fs.FileMode{path: 0o600, dir: 0o700 | fs.ModeDir} {
		info, err := os.Stat(name)
		if err != nil {
			t.Fatal(err)
		}
		if info.Mode() != want {
			t.Errorf("%s has mode %v, want %v", name, info.Mode(), want)
		}
	}
	entries, err := os.ReadDir(dir)
	if err != nil || len(entries) != 1 {
		t.Errorf("the directory holds %v, %v", entries, err)
	}
}

func TestAFileReadableByOthersIsMadePrivate(t *testing.T) {
	path := filled(t)
	if err := os.Chmod(path, 0o644); err != nil {
		t.Fatal(err)
	}
	var log bytes.Buffer
	open(t, boltstore.Config{Path: path, Logger: slog.New(slog.NewTextHandler(&log, nil))})
	info, err := os.Stat(path)
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("mode %v, %v", info.Mode(), err)
	}
	if !strings.Contains(log.String(), "store was readable by others") {
		t.Errorf("logged %q", log.String())
	}
}

func TestPlacesThatAreNotSafeAreRefused(t *testing.T) {
	dir := t.TempDir()
	everybody := filepath.Join(dir, "everybody")
	if err := os.Mkdir(everybody, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(everybody, 0o777|fs.ModeSticky); err != nil {
		t.Fatal(err)
	}
	link := filepath.Join(dir, "link")
	if err := os.Symlink(filled(t), link); err != nil {
		t.Fatal(err)
	}
	for path, want := range map[string]string{
		"":                               "no path",
		filepath.Join(everybody, "s.db"): "writable by everybody",
		link:                             "not a regular file",
		dir:                              "not a regular file",
	} {
		s, err := boltstore.Open(boltstore.Config{Path: path, SetAside: true})
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("Open(%q) = %v, %v; want %q", path, s, err, want)
		}
	}
}

// corruptions damage a file in ways that disks and crashes do.
var corruptions = map[string]func(file []byte) []byte{
	"empty":             func([]byte) []byte { return nil },
	"one byte":          func(b []byte) []byte { return b[:1] },
	"text":              func([]byte) []byte { return bytes.Repeat([]byte("pointsman\n"), 5000) },
	"half of it":        func(b []byte) []byte { return b[:len(b)/2] },
	"a page and a bit":  func(b []byte) []byte { return b[:5000] },
	"zeroes":            func(b []byte) []byte { return make([]byte, len(b)) },
	"both metas zeroed": func(b []byte) []byte { clear(b[:8192]); return b },
	"all but the metas zeroed": func(b []byte) []byte {
		clear(b[8192:])
		return b
	},
	"a value's byte": func(b []byte) []byte {
		b[bytes.LastIndex(b, []byte("purge everything"))] ^= 1
		return b
	},
}

func TestACorruptFileIsRefusedAndTheMessageSaysWhatToDo(t *testing.T) {
	for name, damage := range corruptions {
		t.Run(name, func(t *testing.T) {
			path := filled(t)
			damaged := spoil(t, path, damage)
			_, err := boltstore.Open(boltstore.Config{Path: path})
			if err == nil || !strings.Contains(err.Error(), "corrupt") ||
				!strings.Contains(err.Error(), "mv "+path) {
				t.Fatalf("Open = %v", err)
			}
			after, err := os.ReadFile(path)
			if err != nil || !bytes.Equal(after, damaged) {
				t.Errorf("the file was changed (%v)", err)
			}
		})
	}
}

func TestACorruptFileIsSetAsideWhenAllowed(t *testing.T) {
	for name, damage := range corruptions {
		t.Run(name, func(t *testing.T) {
			path := filled(t)
			damaged := spoil(t, path, damage)
			var log bytes.Buffer
			s := open(t, boltstore.Config{
				Path: path, SetAside: true, Logger: slog.New(slog.NewTextHandler(&log, nil)),
			})
			kept, err := os.ReadFile(s.WasSetAside())
			if err != nil || !bytes.Equal(kept, damaged) {
				t.Errorf("%q does not hold the corrupt file: %v", s.WasSetAside(), err)
			}
			if !strings.HasPrefix(s.WasSetAside(), path+".corrupt-") {
				t.Errorf("set aside as %q", s.WasSetAside())
			}
			if !strings.Contains(log.String(), "level=ERROR msg=\"corrupt store set aside\"") {
				t.Errorf("logged %q", log.String())
			}
			if _, err := s.Put(t.Context(), "a", nil, store.PutOptions{}); err != nil {
				t.Error(err)
			}
			if list, err := s.List(t.Context(), ""); err != nil || len(list) != 1 {
				t.Errorf("List = %v, %v", list, err)
			}
		})
	}
}

func spoil(t *testing.T, path string, damage func([]byte) []byte) []byte {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	b = damage(b)
	if err := os.WriteFile(path, b, 0o600); err != nil {
		t.Fatal(err)
	}
	return b
}

// TestNoFlippedByteGoesUnnoticed allows two outcomes: the file is refused, or all that it held
// is there. Wrong data or a panic is a failure.
func TestNoFlippedByteGoesUnnoticed(t *testing.T) {
	path := filled(t)
	whole, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	random := rand.New(rand.NewPCG(1, 2))
	refused := 0
	for range 150 {
		// Page heads matter more than the insides of large values.
		at := random.IntN(len(whole)/4096)*4096 + random.IntN(64)
		spoiled := bytes.Clone(whole)
		spoiled[at] ^= byte(1 + random.IntN(255))
		if err := os.WriteFile(path, spoiled, 0o600); err != nil {
			t.Fatal(err)
		}
		s, err := boltstore.Open(boltstore.Config{Path: path})
		if err != nil {
			refused++
			continue
		}
		checkFilled(t, s, at)
		_ = s.Close()
	}
	if refused < 10 {
		t.Errorf("only %d of 150 damaged files were refused", refused)
	}
}

// checkFilled checks that what can be read is what filled wrote.
func checkFilled(t *testing.T, s *boltstore.Store, at int) {
	t.Helper()
	list, err := s.List(t.Context(), "key/")
	if err != nil {
		if !errors.Is(err, store.ErrUnavailable) {
			t.Errorf("byte %d: %v", at, err)
		}
		return
	}
	for _, e := range list {
		if !bytes.Equal(e.Value, bytes.Repeat([]byte("purge everything "), 4000)) {
			t.Errorf("byte %d: key %q has another value", at, e.Key)
		}
	}
}

func TestAFileOfAnotherProgramOrVersionIsNotTouched(t *testing.T) {
	path := filled(t)
	spoil(t, path, func(b []byte) []byte {
		return bytes.ReplaceAll(b, []byte("pointsman store 1"), []byte("pointsman store 9"))
	})
	_, err := boltstore.Open(boltstore.Config{Path: path, SetAside: true})
	if err == nil || !strings.Contains(err.Error(), "made by another version") {
		t.Errorf("Open = %v", err)
	}
}

func TestWhatACrashedCreationLeftIsInNobodysWay(t *testing.T) {
	dir := t.TempDir()
	torn := filepath.Join(dir, ".pointsman.db.new-123")
	if err := os.WriteFile(torn, []byte("torn"), 0o600); err != nil {
		t.Fatal(err)
	}
	s := open(t, boltstore.Config{Path: filepath.Join(dir, "pointsman.db")})
	if _, err := s.Append(t.Context(), "log", nil); err != nil {
		t.Error(err)
	}
}

func TestOfManyWhoCreateTheFileAtOnceOneHasIt(t *testing.T) {
	path := filepath.Join(t.TempDir(), "pointsman.db")
	type opened struct {
		s   *boltstore.Store
		err error
	}
	results := make(chan opened)
	for range 6 {
		go func() { // results waits for each
			s, err := boltstore.Open(boltstore.Config{Path: path})
			results <- opened{s, err}
		}()
	}
	winners := 0
	for range 6 {
		switch r := <-results; {
		case r.err == nil:
			winners++
			defer func() { _ = r.s.Close() }()
		case !strings.Contains(r.err.Error(), "another pointsman uses"):
			t.Error(r.err)
		}
	}
	if winners != 1 {
		t.Errorf("%d have the file", winners)
	}
}

func TestAFullStoreRefusesWritesUntilThereIsRoom(t *testing.T) {
	s := open(t, boltstore.Config{
		Path: filepath.Join(t.TempDir(), "pointsman.db"), MaxBytes: 1 << 20,
	})
	value := make([]byte, 32<<10)
	var last uint64
	var err error
	for err == nil && last < 100 {
		var sequence uint64
		if sequence, err = s.Append(t.Context(), "log", value); err == nil {
			last = sequence
		}
	}
	if !errors.Is(err, store.ErrUnavailable) {
		t.Fatalf("appending %d records of 32 KiB into 1 MiB = %v", last, err)
	}
	records, err := s.Read(t.Context(), "log", 0, 1000)
	if err != nil || len(records) != int(last) {
		t.Errorf("%d records, %v; %d were acknowledged", len(records), err, last)
	}
	if err := s.Trim(t.Context(), "log", last); err != nil {
		t.Fatalf("trimming a full store: %v", err)
	}
	if _, err := s.Append(t.Context(), "log", value); err != nil {
		t.Errorf("appending after trimming: %v", err)
	}
}

func TestExpiryFollowsTheGivenClock(t *testing.T) {
	now := time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)
	path := filepath.Join(t.TempDir(), "pointsman.db")
	s := open(t, boltstore.Config{Path: path, Now: func() time.Time { return now }})
	ctx := context.Background()
	if _, err := s.Put(ctx, "a", nil, store.PutOptions{TTL: time.Minute}); err != nil {
		t.Fatal(err)
	}
	lease, err := s.Acquire(ctx, "lease", "h", time.Minute)
	if err != nil || !lease.Expires.Equal(now.Add(time.Minute)) {
		t.Errorf("Acquire = %+v, %v", lease, err)
	}
	now = now.Add(time.Minute - 1)
	if _, err := s.Get(ctx, "a"); err != nil {
		t.Errorf("just before its end: %v", err)
	}
	now = now.Add(1)
	if _, err := s.Get(ctx, "a"); !errors.Is(err, store.ErrNotFound) {
		t.Errorf("at its end: %v", err)
	}
	if _, err := s.Acquire(ctx, "lease", "other", time.Minute); err != nil {
		t.Errorf("a lease at its end: %v", err)
	}
}

func TestTokensKeepRisingWhenTheClockOrTheFileGoesBack(t *testing.T) {
	now := time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)
	dir := t.TempDir()
	acquire := func(s *boltstore.Store, holder string) uint64 {
		l, err := s.Acquire(t.Context(), "lease", holder, time.Minute)
		if err != nil {
			t.Fatal(err)
		}
		if err := s.Release(t.Context(), l); err != nil {
			t.Fatal(err)
		}
		now = now.Add(time.Millisecond)
		return l.Token
	}
	c := boltstore.Config{Path: filepath.Join(dir, "a.db"), Now: func() time.Time { return now }}
	s := open(t, c)
	first := acquire(s, "a")
	now = now.Add(-time.Hour)
	second := acquire(s, "b")
	if second <= first {
		t.Errorf("token %d after %d with the clock set back", second, first)
	}
	now = now.Add(2 * time.Hour)
	c.Path = filepath.Join(dir, "b.db") // as after a lost file
	if third := acquire(open(t, c), "c"); third <= second {
		t.Errorf("token %d after %d in a new file", third, second)
	}
}
