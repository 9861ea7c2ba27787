//go:build conformance

package policy

import (
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

// account is a user with its groups, as the user database has them: dbus-daemon 1.14 looks there, other
// buses ask the kernel.
type account struct {
	name     string
	uid, gid int
	groups   []uint32
}

func lookup(t testing.TB, name string) account {
	t.Helper()
	u, err := user.Lookup(name)
	if err != nil {
		t.Fatal(err)
	}
	number := func(s string) int {
		n, err := strconv.Atoi(s)
		if err != nil {
			t.Fatal(err)
		}
		return n
	}
	a := account{name: name, uid: number(u.Uid), gid: number(u.Gid)}
	ids, err := u.GroupIds()
	if err != nil {
		t.Fatal(err)
	}
	for _, id := range ids {
		a.groups = append(a.groups, uint32(number(id)))
	}
	return a
}

// as runs do in a thread that is of this user, which is what the other end of a socket sees of whoever connects. The
// thread ends with it.
func (a account) as(do func() error) error {
	if os.Getuid() != 0 {
		return fmt.Errorf("these tests need root, to be other users")
	}
	result := make(chan error)
	go func() {
		runtime.LockOSThread() // and never unlocked
		result <- a.become(do)
	}()
	return <-result
}

func (a account) become(do func() error) error {
	// Package syscall would change all threads.
	var first *uint32
	if len(a.groups) > 0 {
		first = &a.groups[0]
	}
	for _, call := range [][4]uintptr{
		{unix.SYS_SETGROUPS, uintptr(len(a.groups)), uintptr(unsafe.Pointer(first))},
		{unix.SYS_SETRESGID, uintptr(a.gid), uintptr(a.gid), uintptr(a.gid)},
		{unix.SYS_SETRESUID, uintptr(a.uid), uintptr(a.uid), uintptr(a.uid)},
	} {
		if _, _, errno := syscall.RawSyscall(call[0], call[1], call[2], call[3]); errno != 0 {
			return fmt.Errorf("become %s: %w", a.name, errno)
		}
	}
	return do()
}
