package tap

import (
	"context"
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"
)

func TestAFileGoesOnWithWholeRecordsAfterItsDiskWasFull(t *testing.T) {
	w := &file{name: filepath.Join(t.TempDir(), "log"), maxSize: 1000, keep: 1}
	write := func(s string) error {
		w.retry.worked() // the pause is not what is tested
		return w.write(context.Background(), []byte(s))
	}
	if err := write("one\n"); err != nil {
		t.Fatal(err)
	}
	var old unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_FSIZE, &old); err != nil {
		t.Fatal(err)
	}
	small := unix.Rlimit{Cur: 6, Max: old.Max} // a part of the next record fits
	if err := unix.Setrlimit(unix.RLIMIT_FSIZE, &small); err != nil {
		t.Fatal(err)
	}
	failed := write("two\n")
	if err := unix.Setrlimit(unix.RLIMIT_FSIZE, &old); err != nil {
		t.Fatal(err)
	}
	if failed == nil {
		t.Fatal("a full disk took a record")
	}
	if err := w.write(context.Background(), []byte("early\n")); err != errAway {
		t.Errorf("tried again at once: %v", err)
	}
	if err := write("three\n"); err != nil {
		t.Fatal(err)
	}
	if err := w.close(); err != nil {
		t.Fatal(err)
	}
	got, err := os.ReadFile(w.name)
	if err != nil {
		t.Fatal(err)
	}
	if string(got) != "one\nthree\n" {
		t.Errorf("the file holds %q", got)
	}
}
