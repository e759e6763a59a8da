package privilege_test

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/user"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"pointsman/internal/privilege"
)

// nobody is a user that every system has, with its numbers.
func nobody(t *testing.T) (u *user.User, uid, gid int) {
	t.Helper()
	u, err := user.Lookup("nobody")
	if err != nil {
		t.Fatal(err)
	}
	uid, err1 := strconv.Atoi(u.Uid)
	gid, err2 := strconv.Atoi(u.Gid)
	if err := errors.Join(err1, err2); err != nil {
		t.Fatal(err)
	}
	return u, uid, gid
}

func TestAUserIsFoundByNameAndByNumberWithItsGroups(t *testing.T) {
	u, uid, gid := nobody(t)
	for _, name := range []string{"nobody", u.Uid} {
		id, err := privilege.Lookup(name, "")
		if err != nil {
			t.Fatal(err)
		}
		if id.UID != uid || id.GID != gid || !slices.Contains(id.Groups, gid) {
			t.Errorf("%s is %+v, want %d and %d", name, id, uid, gid)
		}
	}
}

func TestAGroupTakesThePlaceOfTheUsersOwn(t *testing.T) {
	_, uid, _ := nobody(t)
	id, err := privilege.Lookup("nobody", "54321")
	if err != nil {
		t.Fatal(err)
	}
	if id.UID != uid || id.GID != 54321 || !slices.Contains(id.Groups, 54321) {
		t.Errorf("it is %+v, want group 54321", id)
	}
	if id.Owner() != "nobody:54321" {
		t.Errorf("chown would be told %q", id.Owner())
	}
}

func TestNumbersNeedNoEntriesOnTheMachine(t *testing.T) {
	id, err := privilege.Lookup("54320", "54321")
	want := privilege.Identity{Name: "54320", Group: "54321", UID: 54320, GID: 54321,
		Groups: []int{54321}}
	if d := cmp.Diff(want, id); d != "" || err != nil {
		t.Errorf("%v (-want +got):\n%s", err, d)
	}
}

func TestWhoCannotBeBecomeIsNamedWithTheWayOut(t *testing.T) {
	for _, c := range []struct{ user, group, want string }{
		{"nobody-of-that-name", "", "useradd --system"},
		{"54320", "", `no user "54320"`},
		{"nobody", "no-group-of-that-name", "groupadd --system no-group-of-that-name"},
		{"root", "", "root itself"},
		{"0", "0", "root itself"},
		{"-1", "54321", `no user "-1"`},
		{"4294967295", "54321", `no user "4294967295"`}, // "unchanged" to the kernel
		{"nobody", "4294967295", `no group "4294967295"`},
		{"", "54321", `no user ""`},
	} {
		if id, err := privilege.Lookup(c.user, c.group); err == nil ||
			!strings.Contains(err.Error(), c.want) {
			t.Errorf("%q, %q: %+v, %v; want %q", c.user, c.group, id, err, c.want)
		}
	}
}

// TestWhatAUserMayNotReachIsToldWithTheCommand asks about a file system entry whose mode
// refuses everybody. To root no mode is a refusal, and nothing may be told.
func TestWhatAUserMayNotReachIsToldWithTheCommand(t *testing.T) {
	id := privilege.Identity{Name: "pat", Group: "crew"}
	dir := t.TempDir()
	file, sub := filepath.Join(dir, "file"), filepath.Join(dir, "sub")
	if err := errors.Join(os.WriteFile(file, nil, 0o000), os.Mkdir(sub, 0o500)); err != nil {
		t.Fatal(err)
	}
	root := os.Geteuid() == 0
	for what, c := range map[string]struct {
		err  error
		want string
	}{
		"a file":              {id.Readable(file), fmt.Sprintf("chgrp crew %s && chmod g+r %s", file, file)},
		"a folder":            {id.Writable(sub), "chown -R pat:crew " + sub},
		"a file in a folder":  {id.Writable(dir), "chown -R pat:crew " + dir},
		"a folder to be made": {id.Writable(filepath.Join(sub, "a", "b")), "install -d -o pat -g crew"},
	} {
		switch {
		case root && c.err != nil:
			t.Errorf("%s, root: %v", what, c.err)
		case !root && (!errors.Is(c.err, fs.ErrPermission) || !strings.Contains(c.err.Error(), c.want)):
			t.Errorf("%s: %v, want %q", what, c.err, c.want)
		}
	}
	if err := id.Readable(filepath.Join(dir, "none")); err != nil {
		t.Errorf("a file that is not there is for others to find: %v", err)
	}
}
