package app

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"

	"golang.org/x/sys/unix"

	"pointsman/internal/config"
)

// checkStateDir looks at the state folder as a start would, and makes nothing. The mistake is
// what a start refuses; the warning is what it does without, or what is probably a typing
// error. Both may be empty.
func checkStateDir(c *config.Config) (mistake, warning string) {
	dir := c.StateDir
	info, err := os.Stat(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return checkAbove(dir)
	}
	switch {
	case errors.Is(err, syscall.ENOTDIR), err == nil && !info.IsDir():
		return dir + " is not a directory, or lies below what is none", ""
	case err != nil:
		return "", fmt.Sprintf("cannot be looked at: %v", err)
	case info.Mode().Perm()&0o002 != 0:
		return fmt.Sprintf("directory %s is writable by everybody (mode %04o): anybody could "+
			"replace the store; use one of your own (chmod o-w)", dir, info.Mode().Perm()), ""
	}
	return "", readOnly(dir)
}

// checkAbove is checkStateDir for a folder that a start would make.
func checkAbove(dir string) (mistake, warning string) {
	above := filepath.Dir(dir)
	info, err := os.Stat(above)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return "", fmt.Sprintf("neither %s nor %s exists: a start makes both, if it may", dir, above)
	case err != nil:
		return "", fmt.Sprintf("cannot be looked at: %v", err)
	case !info.IsDir():
		return above + " is not a directory", ""
	}
	return "", readOnly(above)
}

// readOnly warns of a read-only file system. Whether the node's own user may write is not for
// whoever runs the check to see.
func readOnly(dir string) string {
	if !errors.Is(unix.Access(dir, unix.W_OK), unix.EROFS) {
		return ""
	}
	return dir + " is on a read-only file system: the node starts, but it takes no purges and " +
		"keeps nothing over a restart"
}
