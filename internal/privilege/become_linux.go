package privilege

import (
	"errors"
	"fmt"
	"os"
	"runtime"
	"syscall"

	"golang.org/x/sys/unix"
)

// Supported says that this system can do what Become does.
const Supported = true

// Become gives up all that root may but CAP_NET_BIND_SERVICE, and runs this program again as id:
// the same process number, arguments, environment and open standard files. may is asked when the
// identity has changed and before the new run, whether id can work with what it needs. Become
// returns an error or not at all. After an error the process is neither the one nor the other
// and must end.
//
// The new run is what changes all threads of the process: capabilities belong to a thread, and
// an ambient one outlasts an exec. No later exec can gain anything (no_new_privs), so neither
// can a second Become follow: the new run is not root.
func Become(id Identity, may func() error) error {
	// What follows concerns this thread; exec ends all others. It is never unlocked.
	runtime.LockOSThread()
	self, err := os.Executable()
	if err != nil {
		return fmt.Errorf("finding this program: %w", err)
	}
	if err := drop(id); err != nil {
		return fmt.Errorf("becoming user %s: %w", id.Name, err)
	}
	if unix.Getuid() == 0 || unix.Geteuid() == 0 {
		return fmt.Errorf("becoming user %s: still root after the change", id.Name)
	}
	if err := may(); err != nil {
		return err
	}
	err = syscall.Exec(self, os.Args, os.Environ())
	if errors.Is(err, unix.EACCES) {
		return fmt.Errorf("user %s may not run %s: install it where every user may run it, such as "+
			"/usr/local/bin: %w", id.Name, self, err)
	}
	return fmt.Errorf("running %s again as user %s: %w", self, id.Name, err)
}

// drop changes the identity and the capabilities of the calling thread.
func drop(id Identity) error {
	const bind = uint32(1) << unix.CAP_NET_BIND_SERVICE
	header := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	var have [2]unix.CapUserData
	if err := unix.Capget(&header, &have[0]); err != nil {
		return fmt.Errorf("reading the capabilities: %w", err)
	}
	// A container may have taken it away: then there is nothing to keep.
	keep := have[0].Permitted & bind
	if err := shrinkBounds(); err != nil {
		return err
	}
	if err := unix.Prctl(unix.PR_SET_KEEPCAPS, 1, 0, 0, 0); err != nil {
		return fmt.Errorf("keeping capabilities over the change: %w", err)
	}
	if err := changeIdentity(id); err != nil {
		return err
	}
	want := [2]unix.CapUserData{{Effective: keep, Permitted: keep, Inheritable: keep}}
	if err := unix.Capset(&header, &want[0]); err != nil {
		return fmt.Errorf("giving up capabilities: %w", err)
	}
	if keep != 0 {
		err := unix.Prctl(unix.PR_CAP_AMBIENT, unix.PR_CAP_AMBIENT_RAISE,
			unix.CAP_NET_BIND_SERVICE, 0, 0)
		if err != nil {
			return fmt.Errorf("keeping CAP_NET_BIND_SERVICE for the new run: %w", err)
		}
	}
	if err := unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0); err != nil {
		return fmt.Errorf("refusing new privileges: %w", err)
	}
	return nil
}

// shrinkBounds takes all capabilities but one out of those that a later exec could give.
func shrinkBounds() error {
	for c := uintptr(0); c < 64; c++ {
		has, err := unix.PrctlRetInt(unix.PR_CAPBSET_READ, c, 0, 0, 0)
		if err != nil {
			return nil // the kernel knows no more of them
		}
		if has == 0 || c == unix.CAP_NET_BIND_SERVICE {
			continue
		}
		if err := unix.Prctl(unix.PR_CAPBSET_DROP, c, 0, 0, 0); err != nil {
			return fmt.Errorf("giving up capability %d (root without CAP_SETPCAP, as in some "+
				"containers, cannot: start it as the user instead): %w", c, err)
		}
	}
	return nil
}

// changeIdentity drops the groups first: later it would no longer be allowed.
func changeIdentity(id Identity) error {
	if err := syscall.Setgroups(id.Groups); err != nil {
		return fmt.Errorf("changing the supplementary groups: %w", err)
	}
	if err := syscall.Setresgid(id.GID, id.GID, id.GID); err != nil {
		return fmt.Errorf("changing the group: %w", err)
	}
	if err := syscall.Setresuid(id.UID, id.UID, id.UID); err != nil {
		return fmt.Errorf("changing the user: %w", err)
	}
	return nil
}
