package boltstore

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	bolt "go.etcd.io/bbolt"
	berrors "go.etcd.io/bbolt/errors"
)

// Open opens the file, creating it when it is missing, and checks all that it holds. It
// returns an error within about a second when another process uses the file, and one that
// says what to do when the file is corrupt (but see Config.SetAside).
func Open(c Config) (*Store, error) {
	if c.Path == "" {
		return nil, errors.New("opening store: no path given")
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	if c.OpenFile == nil {
		c.OpenFile = os.OpenFile
	}
	s := &Store{path: c.Path, now: c.Now, log: c.Logger, done: make(chan struct{})}
	var err error
	s.db, s.setAside, err = openOrSetAside(c)
	if err != nil && c.ReadOnly && unwritable(err) {
		s.broken.Store(&fault{err})
		s.db, err = openToRead(c, err)
	}
	if err != nil {
		return nil, fmt.Errorf("opening store %s: %w", c.Path, err)
	}
	return s, nil
}

// unwritable reports whether it is the disk, or our right to it, that keeps a file from being
// written. All else, such as another process that uses the file, is no reason to go on.
func unwritable(err error) bool {
	for _, known := range []error{syscall.EROFS, syscall.ENOSPC, syscall.EDQUOT, syscall.EIO,
		fs.ErrPermission} {
		if errors.Is(err, known) {
			return true
		}
	}
	// bbolt flattens the errors of growing the file into strings.
	return strings.Contains(err.Error(), "file resize error") ||
		strings.Contains(err.Error(), "file sync error")
}

// openToRead opens what there is without a write, after why. A file that can't be read is like
// none, since names must be answered then too; nil stands for either.
func openToRead(c Config, why error) (*bolt.DB, error) {
	db, _, err := openFile(c, c.Path, true)
	if err == nil {
		if err = guarded(func() error { return db.View(verify) }); err != nil {
			err = errors.Join(err, db.Close())
		}
	}
	switch {
	case err == nil:
		c.Logger.Error("store cannot be written, opened to be read", "path", c.Path, "err", why)
		return db, nil
	case errors.Is(err, fs.ErrNotExist), errors.Is(err, errCorrupt), unwritable(err):
		c.Logger.Error("store can be neither written nor read", "path", c.Path,
			"err", errors.Join(why, err))
		return nil, nil
	}
	return nil, err
}

func openOrSetAside(c Config) (db *bolt.DB, aside string, err error) {
	if err := prepareDir(filepath.Dir(c.Path)); err != nil {
		return nil, "", err
	}
	db, err = openChecked(c)
	switch {
	case err == nil:
		return db, "", nil
	case !errors.Is(err, errCorrupt):
		return nil, "", err
	case !c.SetAside:
		return nil, "", fmt.Errorf("%w; what it had acknowledged may be lost: keep a copy, "+
			"then move it aside (mv %s %s.corrupt) to start empty", err, c.Path, c.Path)
	}
	aside = c.Path + ".corrupt-" + c.Now().UTC().Format("20060102T150405.000Z")
	if err := errors.Join(os.Rename(c.Path, aside), syncDir(filepath.Dir(c.Path))); err != nil {
		return nil, "", fmt.Errorf("setting aside: %w", err)
	}
	c.Logger.Error("corrupt store set aside", "path", c.Path, "aside", aside, "err", err)
	db, err = openChecked(c)
	return db, aside, err
}

// openChecked opens the file, or makes a new one, and walks all of it.
func openChecked(c Config) (*bolt.DB, error) {
	info, err := os.Lstat(c.Path)
	if errors.Is(err, fs.ErrNotExist) {
		if err := create(c); err != nil {
			return nil, fmt.Errorf("creating: %w", err)
		}
		info, err = os.Lstat(c.Path)
	}
	if err != nil {
		return nil, err
	}
	if err := checkFile(c, info); err != nil {
		return nil, err
	}
	db, file, err := openFile(c, c.Path, false)
	if err != nil {
		return nil, err
	}
	err = errors.Join(sameFile(c.Path, file), guarded(func() error { return db.View(verify) }))
	if err != nil {
		return nil, errors.Join(err, db.Close())
	}
	return db, nil
}

func checkFile(c Config, info fs.FileInfo) error {
	switch {
	case !info.Mode().IsRegular():
		return fmt.Errorf("not a regular file (%s)", info.Mode().Type())
	case info.Size() == 0:
		// bbolt would silently begin an empty store here. We never leave a file empty.
		return fmt.Errorf("%w: the file is empty", errCorrupt)
	case info.Mode().Perm()&0o077 != 0:
		if err := os.Chmod(c.Path, 0o600); err != nil {
			return err
		}
		c.Logger.Warn("store was readable by others", "path", c.Path, "mode", info.Mode().Perm())
	}
	return nil
}

// sameFile refuses a file that was replaced between opening and locking it: two processes
// would then each write their own.
func sameFile(path string, file *os.File) error {
	opened, err := file.Stat()
	if err != nil {
		return err
	}
	named, err := os.Stat(path)
	if err != nil {
		return err
	}
	if !os.SameFile(opened, named) {
		return errors.New("the file was replaced while it was being opened")
	}
	return nil
}

// openFile opens an existing bbolt file and names what is wrong with it.
func openFile(c Config, path string, readOnly bool) (db *bolt.DB, file *os.File, err error) {
	options := &bolt.Options{
		Timeout:  lockTimeout,
		ReadOnly: readOnly,
		MaxSize:  c.MaxBytes,
		// The map is faster than the default array once the file holds many free pages.
		FreelistType: bolt.FreelistMapType,
		OpenFile: func(name string, flag int, mode os.FileMode) (*os.File, error) {
			file, err = c.OpenFile(name, flag, mode)
			return file, err
		},
	}
	openErr := guarded(func() (err error) {
		db, err = bolt.Open(path, 0o600, options)
		return err
	})
	switch {
	case openErr == nil:
		db.MaxBatchDelay = batchDelay
		return db, file, nil
	case errors.Is(openErr, berrors.ErrTimeout):
		return nil, nil, fmt.Errorf("another pointsman uses %s (waited %v for its lock)",
			path, lockTimeout)
	case errors.Is(openErr, errCorrupt):
		if file != nil {
			_ = file.Close() // after a panic nobody else lets go of the lock
		}
		return nil, nil, openErr
	case errors.Is(openErr, berrors.ErrInvalid), errors.Is(openErr, berrors.ErrChecksum),
		errors.Is(openErr, berrors.ErrVersionMismatch),
		strings.Contains(openErr.Error(), "file size too small"):
		return nil, nil, fmt.Errorf("%w: %w", errCorrupt, openErr)
	}
	return nil, nil, openErr
}

// create makes a whole, synced file under another name and gives it its own name only then,
// so that a crash at any moment leaves either no file or one that opens. It never replaces a
// file that another process made meanwhile.
func create(c Config) (err error) {
	dir := filepath.Dir(c.Path)
	name := filepath.Join(dir, "."+filepath.Base(c.Path)+".new-"+rand.Text())
	temp, err := c.OpenFile(name, os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.Remove(name)) }()
	if err := temp.Close(); err != nil {
		return err
	}
	unbound := c
	unbound.MaxBytes = 0
	db, _, err := openFile(unbound, name, false)
	if err != nil {
		return err
	}
	if err := errors.Join(db.Update(layOut), db.Sync(), db.Close()); err != nil {
		return err
	}
	// A hard link is a rename that fails when the name is taken.
	if err := os.Link(name, c.Path); err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	return syncDir(dir)
}

func prepareDir(dir string) error {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	info, err := os.Stat(dir)
	if err != nil {
		return err
	}
	if info.Mode().Perm()&0o002 != 0 {
		return fmt.Errorf("directory %s is writable by everybody (mode %04o): anybody could "+
			"replace the store; use one of your own (chmod o-w)", dir, info.Mode().Perm())
	}
	return nil
}

// syncDir makes names in dir survive a power cut.
func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

// Check reads the whole file again and returns an error wrapping ErrUnavailable when any of
// it is damaged.
func (s *Store) Check(ctx context.Context) error {
	if err := s.read(ctx, verify); err != nil {
		return fmt.Errorf("checking %s: %w", s.path, err)
	}
	return nil
}
