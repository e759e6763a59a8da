package privilege

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// Readable says whether the process's user may read a file, with advice when not. What else
// may be wrong with the file is for others to find.
func (id Identity) Readable(path string) error {
	if err := unix.Access(path, unix.R_OK); !errors.Is(err, unix.EACCES) {
		return nil
	}
	return fmt.Errorf("user %s may not read %s, or not enter a folder above it: chgrp %s %s && "+
		"chmod g+r %s: %w", id.Name, path, id.Group, path, path, fs.ErrPermission)
}

// Writable says whether the process's user may read and write a folder and all that is in it,
// or make it when there is none, with the command that lets it. A file system that is
// read-only for everybody is not for permissions to mend, and no error.
func (id Identity) Writable(dir string) error {
	if _, err := os.Lstat(dir); errors.Is(err, fs.ErrNotExist) {
		return id.creatable(dir)
	}
	return filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		need := uint32(unix.R_OK | unix.W_OK)
		if path == dir || d != nil && d.IsDir() {
			need |= unix.X_OK
		}
		refused := errors.Is(err, fs.ErrPermission) ||
			errors.Is(unix.Access(path, need), unix.EACCES)
		if !refused {
			return nil // what else is wrong shows when it is opened
		}
		return fmt.Errorf("user %s may not write %s: chown -R %s %s: %w", id.Name, path,
			id.Owner(), dir, fs.ErrPermission)
	})
}

// creatable is Writable for a folder that is to be made.
func (id Identity) creatable(dir string) error {
	above := filepath.Dir(dir)
	for above != filepath.Dir(above) {
		if _, err := os.Lstat(above); !errors.Is(err, fs.ErrNotExist) {
			break
		}
		above = filepath.Dir(above)
	}
	if !errors.Is(unix.Access(above, unix.W_OK|unix.X_OK), unix.EACCES) {
		return nil
	}
	return fmt.Errorf("user %s may not make %s: install -d -o %s -g %s -m 0700 %s: %w", id.Name,
		dir, id.Name, id.Group, dir, fs.ErrPermission)
}
