package process

import (
	"errors"
	"fmt"
	"os"
	"os/user"
	"slices"
	"strconv"
	"syscall"
)

// Account is a user of the system that a process can become.
type Account struct {
	Name   string // as it was asked for
	UID    uint32
	GID    uint32
	Groups []uint32 // all of the user's groups
}

// LookupAccount finds a user by name, or by number if no user has it for a name. Groups are
// as in the database of groups.
func LookupAccount(name string) (Account, error) {
	u, err := user.Lookup(name)
	if _, unknown := errors.AsType[user.UnknownUserError](err); unknown {
		if _, notNumber := strconv.ParseUint(name, 10, 32); notNumber == nil {
			u, err = user.LookupId(name)
		}
	}
	if err != nil {
		return Account{}, err
	}
	a := Account{Name: name}
	if a.UID, err = parseID(u.Uid); err != nil {
		return Account{}, err
	}
	if a.GID, err = parseID(u.Gid); err != nil {
		return Account{}, err
	}
	ids, err := u.GroupIds()
	if err != nil {
		return Account{}, fmt.Errorf("find the groups of user %s: %w", name, err)
	}
	a.Groups = []uint32{a.GID}
	for _, text := range ids {
		id, err := parseID(text)
		if err != nil {
			return Account{}, err
		}
		if !slices.Contains(a.Groups, id) {
			a.Groups = append(a.Groups, id)
		}
	}
	return a, nil
}

func parseID(s string) (uint32, error) {
	id, err := strconv.ParseUint(s, 10, 32)
	return uint32(id), err
}

// ErrNotRoot is returned by Become to a process without the privilege to become another user. It
// has no privileges to lose either.
var ErrNotRoot = errors.New("only root can become another user")

// Become makes the whole process one of the user, for good: all its user and group ids and its groups
// are the user's, and it has no capability. If it is the user's already, nothing happens.
func (a Account) Become() error {
	uid := uint32(os.Geteuid())
	if uid == a.UID && uint32(os.Getuid()) == a.UID {
		return nil
	}
	if uid != 0 {
		return ErrNotRoot
	}
	groups := make([]int, len(a.Groups))
	for i, id := range a.Groups {
		groups[i] = int(id)
	}
	// In this order: who is not root any more cannot change groups. The calls of package syscall
	// concern all threads. The kernel takes the capabilities away with the last one, all
	// user ids being other than root's; those in the bounding set mean nothing without a
	// setuid program.
	if err := syscall.Setgroups(groups); err != nil {
		return fmt.Errorf("failed to set the supplementary groups of user %s: %w", a.Name, err)
	}
	if err := syscall.Setresgid(int(a.GID), int(a.GID), int(a.GID)); err != nil {
		return fmt.Errorf("failed to set GID to %d: %w", a.GID, err)
	}
	if err := syscall.Setresuid(int(a.UID), int(a.UID), int(a.UID)); err != nil {
		return fmt.Errorf("failed to set UID to %d: %w", a.UID, err)
	}
	return nil
}
