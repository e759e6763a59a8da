package config_test

import (
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"pointsman/internal/config"
)

// TestAConfigThatIsNoRegularFileIsRefusedAtOnce: nobody writes into the pipe, so opening it
// would wait for ever.
func TestAConfigThatIsNoRegularFileIsRefusedAtOnce(t *testing.T) {
	dir := folder(t, 0o600, map[string]string{"node.yaml": small})
	pipe, link := filepath.Join(dir, "pipe"), filepath.Join(dir, "link")
	if err := unix.Mkfifo(pipe, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := unix.Symlink(pipe, link); err != nil {
		t.Fatal(err)
	}
	good := filepath.Join(dir, "good")
	if err := unix.Symlink("node.yaml", good); err != nil {
		t.Fatal(err)
	}
	for path, want := range map[string]string{
		pipe:        "not a regular file but a pipe, which can be read only once: write it to a file",
		link:        "not a regular file but a pipe",
		"/dev/zero": "it is not a regular file",
		dir:         "it is a directory",
	} {
		_, _, err := config.Load(config.Options{Path: path})
		if err == nil || !strings.Contains(err.Error(), path+": cannot be read: ") ||
			!strings.Contains(err.Error(), want) {
			t.Errorf("%s gives %v, want %q", path, err, want)
		}
	}
	if _, _, err := config.Load(config.Options{Path: good}); err != nil {
		t.Errorf("a link to a file: %v", err)
	}
}
