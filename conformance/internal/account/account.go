// Package account lets one test process be several users: an Account does something in a thread of its own
// that has become the user, which is what the other end of a socket sees of whoever connects. It takes root.
package account

import (
	"errors"
	"fmt"
	"os"
	"os/user"
	"runtime"
	"strconv"
	"syscall"
	"testing"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Account is a user, who need not be known to the system.
type Account struct {
	UID, GID uint32
	Groups   []uint32 // the supplementary ones
}

// Lookup returns a user with the groups that the user database has: dbus-daemon 1.14 looks there, other buses
// ask the kernel.
func Lookup(tb testing.TB, name string) Account {
	tb.Helper()
	u, err := user.Lookup(name)
	if err != nil {
		tb.Fatal(err)
	}
	ids, err := u.GroupIds()
	if err != nil {
		tb.Fatal(err)
	}
	number := func(s string) uint32 {
		n, err := strconv.ParseUint(s, 10, 32)
		if err != nil {
			tb.Fatal(err)
		}
		return uint32(n)
	}
	a := Account{UID: number(u.Uid), GID: number(u.Gid)}
	for _, id := range ids {
		a.Groups = append(a.Groups, number(id))
	}
	return a
}

// Do runs do as the user, and returns its error. Sockets that it opens are the user's for good.
func (a Account) Do(do func() error) error {
	if os.Getuid() != 0 {
		return errors.New("only root can be other users")
	}
	result := make(chan error)
	go func() {
		runtime.LockOSThread() // and never unlocked: the thread ends with it
		if err := a.become(); err != nil {
			result <- err
			return
		}
		result <- do()
	}()
	return <-result
}

// become makes this thread the user's. Package syscall would change all of them.
func (a Account) become() error {
	var first *uint32
	if len(a.Groups) > 0 {
		first = &a.Groups[0]
	}
	uid, gid := uintptr(a.UID), uintptr(a.GID)
	for _, call := range [][4]uintptr{
		{unix.SYS_SETGROUPS, uintptr(len(a.Groups)), uintptr(unsafe.Pointer(first))},
		{unix.SYS_SETRESGID, gid, gid, gid},
		{unix.SYS_SETRESUID, uid, uid, uid},
	} {
		if _, _, errno := syscall.RawSyscall(call[0], call[1], call[2], call[3]); errno != 0 {
			return fmt.Errorf("become user %d: %w", a.UID, errno)
		}
	}
	return nil
}
