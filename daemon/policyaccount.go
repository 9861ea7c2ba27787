package daemon

import (
	"bufio"
	"os"
	"os/user"
	"path/filepath"
	"strconv"
	"strings"
	"sync"

	"github.com/kdbus-go/kdbus/bus"
)

// accounts find out what a policy wants to know of users, if it wants to: their groups, and whether
// they sit at the machine. Groups are those that the process had when it connected (SO_PEERGROUPS), as with
// dbus-daemon since 1.15; where the kernel does not tell, those of the user database, which is all that
// dbus-daemon 1.14 looks at. Like there, what was found out counts for as long as the policy is in force.
type accounts struct {
	console, groups bool // what is wanted

	mu    sync.Mutex
	known map[uint32]*account
}

// account is what is known of a user.
type account struct {
	groups  func() []uint32 // from the user database
	console bool
}

// of returns the groups of c, and whether its user sits at the machine.
func (a *accounts) of(c *bus.Conn) (groups []uint32, console bool) {
	if a.groups {
		groups = c.Groups()
	}
	if !a.console && (!a.groups || len(groups) > 0) {
		return groups, false
	}
	one := a.lookup(c.UID())
	if a.groups && len(groups) == 0 {
		groups = one.groups()
	}
	return groups, one.console
}

func (a *accounts) lookup(uid uint32) *account {
	a.mu.Lock()
	defer a.mu.Unlock()
	if one := a.known[uid]; one != nil {
		return one
	}
	if a.known == nil {
		a.known = make(map[uint32]*account)
	}
	one := &account{
		groups:  sync.OnceValue(func() []uint32 { return groupsOf(uid) }),
		console: a.console && atConsole("/", uid),
	}
	a.known[uid] = one
	return one
}

// groupsOf returns what the user database says.
func groupsOf(uid uint32) (groups []uint32) {
	u, err := user.LookupId(strconv.FormatUint(uint64(uid), 10))
	if err != nil {
		return nil
	}
	ids, _ := u.GroupIds()
	for _, id := range ids {
		if gid, err := strconv.ParseUint(id, 10, 32); err == nil {
			groups = append(groups, uint32(gid))
		}
	}
	return groups
}

// atConsole reports whether a user is logged in at the machine, as dbus-daemon finds it out: on at least one
// seat, says systemd-logind (sd_uid_get_seats(3)); without that, pam_console(8). root is the root
// directory.
func atConsole(root string, uid uint32) bool {
	id := strconv.FormatUint(uint64(uid), 10)
	if _, err := os.Stat(filepath.Join(root, "run/systemd/seats")); err != nil {
		u, err := user.LookupId(id)
		return err == nil && exists(filepath.Join(root, "run/console", u.Username))
	}
	f, err := os.Open(filepath.Join(root, "run/systemd/users", id))
	if err != nil {
		return false
	}
	defer f.Close()
	for s := bufio.NewScanner(f); s.Scan(); {
		if seats, ok := strings.CutPrefix(s.Text(), "ONLINE_SEATS="); ok {
			return strings.Trim(seats, `" `) != ""
		}
	}
	return false
}
