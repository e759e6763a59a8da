package app_test

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"pointsman/internal/admin/api"
	"pointsman/internal/app"
	"pointsman/internal/store"
	"pointsman/internal/store/boltstore"
)

// fill makes the disk under an open file full until the returned function is called.
func fill(t *testing.T, file *os.File) (empty func()) {
	t.Helper()
	fd := int(file.Fd())
	saved, err := unix.Dup(fd)
	if err != nil {
		t.Fatal(err)
	}
	full, err := os.OpenFile("/dev/full", os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer full.Close()
	if err := unix.Dup3(int(full.Fd()), fd, unix.O_CLOEXEC); err != nil {
		t.Fatal(err)
	}
	return func() {
		if err := errors.Join(unix.Dup3(saved, fd, unix.O_CLOEXEC), unix.Close(saved)); err != nil {
			t.Fatal(err)
		}
	}
}

// roomy makes a store with free pages, so that no write has to make the file larger.
func roomy(t *testing.T, path string) {
	t.Helper()
	s, err := boltstore.Open(boltstore.Config{Path: path})
	if err != nil {
		t.Fatal(err)
	}
	for range 2 {
		_, err = s.Put(t.Context(), "big", make([]byte, 400<<10), store.PutOptions{})
		if err != nil {
			t.Fatal(err)
		}
	}
	if err := errors.Join(s.Delete(t.Context(), "big", nil), s.Close()); err != nil {
		t.Fatal(err)
	}
}

// TestAFullDiskIsToldWhereItIsLookedFor: the audit log is what meets it first.
func TestAFullDiskIsToldWhereItIsLookedFor(t *testing.T) {
	s := newSite(t)
	s.write(s.with("vantage: here", "vantage: here\nroles: [dns, admin]")) // little is written
	roomy(t, filepath.Join(s.state(), "pointsman.db"))
	var disk *os.File
	n := s.start(func(o *app.Options) {
		app.OpenWith(o, func(name string, flag int, perm fs.FileMode) (*os.File, error) {
			f, err := os.OpenFile(name, flag, perm)
			if filepath.Base(name) == "pointsman.db" {
				disk = f
			}
			return f, err
		})
	})
	purge := func() error {
		_, err := n.admin.Purge(t.Context(), api.Purge{Kind: "tag", Items: []string{"x"}}, "")
		return err
	}
	eventually(t, "readiness", func() bool { return n.status().Ready })
	if err := purge(); err != nil {
		t.Fatal(err)
	}
	empty := fill(t, disk)
	var p *api.Problem
	if err := purge(); !errors.As(err, &p) || p.Status != 503 || !strings.Contains(p.Detail, "space") {
		t.Errorf("a purge gives %v", err)
	}
	if _, err := n.admin.Reload(t.Context()); err != nil {
		t.Errorf("a reload gives %v", err)
	}
	if got := n.gauge("pointsman_audit_failing_state"); got != "1" {
		t.Errorf("the gauge is %q", got)
	}
	warnings := strings.Join(n.status().Warnings, "\n")
	if !strings.Contains(warnings, "audit log could not be written") {
		t.Errorf("the status warns of\n%s", warnings)
	}
	empty()
	if err := purge(); err != nil {
		t.Errorf("with room again a purge gives %v", err)
	}
	if got := n.gauge("pointsman_audit_failing_state"); got != "0" {
		t.Errorf("with room again the gauge is %q", got)
	}
}
