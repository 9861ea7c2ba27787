package busconfig

import (
	"math"
	"os/user"
	"strconv"
	"strings"
)

// Users finds the numbers of users and groups by name. An error means that there is no such name.
type Users interface {
	User(name string) (uid uint32, err error)
	Group(name string) (gid uint32, err error)
}

// SystemUsers asks the system: NSS in a program with cgo, else /etc/passwd and /etc/group.
type SystemUsers struct{}

// User returns the number of the user name.
func (SystemUsers) User(name string) (uint32, error) {
	u, err := user.Lookup(name)
	if err != nil {
		return 0, err
	}
	return id(u.Uid)
}

// Group returns the number of the group name.
func (SystemUsers) Group(name string) (uint32, error) {
	g, err := user.LookupGroup(name)
	if err != nil {
		return 0, err
	}
	return id(g.Gid)
}

func id(s string) (uint32, error) {
	n, err := strconv.ParseUint(s, 10, 32)
	return uint32(n), err
}

// lookupID returns the number that s is, or that find knows for it.
func lookupID(s string, find func(string) (uint32, error)) (uint32, bool) {
	if v, rest, err := parseNumber(s); err == nil && rest == "" && strings.TrimRight(s, " \t\n\v\f\r") == s {
		// the highest one stands for none
		return uint32(v), v >= 0 && v < math.MaxUint32
	}
	n, err := find(s)
	return n, err == nil
}
