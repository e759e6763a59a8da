package privilege

import (
	"errors"
	"fmt"
	"os/user"
	"slices"
	"strconv"
)

// Identity is whom a process runs as.
type Identity struct {
	// Name and Group are as people write them, for messages.
	Name, Group string
	UID, GID    int
	// Groups are the supplementary groups, GID among them.
	Groups []int
}

// Owner is the identity as chown takes it.
func (id Identity) Owner() string { return id.Name + ":" + id.Group }

// Lookup finds a user, and the group in place of the user's own unless it is empty. Both may be
// numbers; a number without a user of this machine needs a group. The supplementary groups are
// the user's. Root is refused: nothing would be given up.
func Lookup(name, group string) (Identity, error) {
	id := Identity{Name: name}
	u, err := findUser(name)
	switch {
	case err == nil:
		id.Group = u.Gid
		if id.UID, err = number(u.Uid); err != nil {
			return id, err
		}
	case group == "":
		return id, err
	default:
		var bad error
		if id.UID, bad = number(name); bad != nil {
			return id, err // no number either: the first error says more
		}
	}
	if group != "" {
		id.Group = group
	}
	if id.Group, id.GID, err = findGroup(id.Group); err != nil {
		return id, err
	}
	if id.UID == 0 {
		return id, fmt.Errorf("user %q is root itself: name one that may do less", name)
	}
	if id.GID == 0 {
		return id, fmt.Errorf("group %q is root's: name one that may do less", id.Group)
	}
	id.Groups, err = supplementary(u, id.GID)
	return id, err
}

// findUser finds a user by name, or else by number.
func findUser(name string) (*user.User, error) {
	u, err := user.Lookup(name)
	if err == nil {
		return u, nil
	}
	if u, err := user.LookupId(name); err == nil {
		return u, nil
	}
	var unknown user.UnknownUserError
	if !errors.As(err, &unknown) {
		return nil, fmt.Errorf("looking up user %q: %w", name, err)
	}
	return nil, fmt.Errorf("there is no user %q on this machine: useradd --system --shell "+
		"/usr/sbin/nologin %s", name, name)
}

// findGroup finds a group by name or number. A number needs no entry.
func findGroup(name string) (string, int, error) {
	g, err := user.LookupGroup(name)
	if err != nil {
		var bad error
		if g, bad = user.LookupGroupId(name); bad == nil {
			err = nil
		}
	}
	if err == nil {
		gid, err := number(g.Gid)
		return g.Name, gid, err
	}
	if gid, bad := number(name); bad == nil {
		return name, gid, nil
	}
	return name, 0, fmt.Errorf("there is no group %q on this machine: groupadd --system %s",
		name, name)
}

// supplementary are a user's groups and gid. A number without a user has no others.
func supplementary(u *user.User, gid int) ([]int, error) {
	groups := []int{gid}
	if u == nil {
		return groups, nil
	}
	names, err := u.GroupIds()
	if err != nil {
		return nil, fmt.Errorf("looking up the groups of user %q: %w", u.Username, err)
	}
	for _, n := range names {
		g, err := number(n)
		if err != nil {
			return nil, err
		}
		groups = append(groups, g)
	}
	slices.Sort(groups)
	return slices.Compact(groups), nil
}

// number reads a user's or group's number. The highest one means "unchanged" to the kernel.
func number(s string) (int, error) {
	n, err := strconv.ParseUint(s, 10, 32)
	if err != nil || n > 1<<31-1 {
		return 0, fmt.Errorf("%q is no number of a user or group", s)
	}
	return int(n), nil
}
