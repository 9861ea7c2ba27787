package sandbox

import (
	"errors"
	"fmt"
	"unsafe"

	"golang.org/x/sys/unix"
)

// confine takes every privilege from the calling thread, for what it executes, too.
func confine(noNetwork bool) error {
	if err := unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0); err != nil {
		return fmt.Errorf("give up new privileges: %w", err)
	}
	if err := scope(); err != nil && !noNetwork {
		return err
	}
	if err := filterSystemCalls(); err != nil {
		return err
	}
	return dropCapabilities()
}

// dropCapabilities drops all capabilities, and those that executing a program as root would give.
func dropCapabilities() error {
	if err := unix.Prctl(unix.PR_CAP_AMBIENT, unix.PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0); err != nil {
		return fmt.Errorf("drop capabilities: %w", err)
	}
	const noRoot = 1<<0 | 1<<1 // SECBIT_NOROOT and its lock: capabilities(7)
	if err := unix.Prctl(unix.PR_SET_SECUREBITS, noRoot, 0, 0, 0); err != nil {
		return fmt.Errorf("drop what root can: %w", err)
	}
	for c := uintptr(0); ; c++ {
		err := unix.Prctl(unix.PR_CAPBSET_DROP, c, 0, 0, 0)
		if errors.Is(err, unix.EINVAL) && c > unix.CAP_LAST_CAP {
			break // the kernel knows no more
		}
		if err != nil && !errors.Is(err, unix.EINVAL) {
			return fmt.Errorf("drop capability %d: %w", c, err)
		}
	}
	header := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	var none [2]unix.CapUserData
	if err := unix.Capset(&header, &none[0]); err != nil {
		return fmt.Errorf("drop capabilities: %w", err)
	}
	return nil
}

// scopedABI is the first version of Landlock that knows scopes: that of Linux 6.12.
const scopedABI = 6

// checkKernel reports whether the kernel can keep a program from abstract sockets.
func checkKernel(noNetwork bool) error {
	abi, _, errno := unix.Syscall(unix.SYS_LANDLOCK_CREATE_RULESET, 0, 0, unix.LANDLOCK_CREATE_RULESET_VERSION)
	switch {
	case noNetwork || errno == 0 && abi >= scopedABI:
		return nil
	case errno != 0:
		return fmt.Errorf("the kernel cannot keep a program from abstract sockets, for it has no Landlock (%w); use --no-network, or Linux 6.12 with Landlock", errno)
	}
	return fmt.Errorf("the kernel cannot keep a program from abstract sockets, as its Landlock is of version %d and not %d; use --no-network, or Linux 6.12", abi, scopedABI)
}

// scope keeps the calling thread from abstract sockets of others, and from signals to them: landlock(7).
func scope() error {
	attr := unix.LandlockRulesetAttr{Scoped: unix.LANDLOCK_SCOPE_ABSTRACT_UNIX_SOCKET | unix.LANDLOCK_SCOPE_SIGNAL}
	const size = unsafe.Offsetof(attr.Scoped) + unsafe.Sizeof(attr.Scoped) // what that version knows
	fd, _, errno := unix.Syscall(unix.SYS_LANDLOCK_CREATE_RULESET, uintptr(unsafe.Pointer(&attr)), size, 0)
	if errno != 0 {
		return fmt.Errorf("make a Landlock ruleset: %w", errno)
	}
	defer unix.Close(int(fd))
	if _, _, errno := unix.Syscall(unix.SYS_LANDLOCK_RESTRICT_SELF, fd, 0, 0); errno != 0 {
		return fmt.Errorf("put a Landlock ruleset in force: %w", errno)
	}
	return nil
}
