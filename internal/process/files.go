package process

import (
	"fmt"
	"os"
	"strconv"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// CloseOnExec sees to it that the programs that this process starts get none of the descriptors that it
// inherited, other than the standard ones.
func CloseOnExec() error {
	const first = 3
	err := unix.CloseRange(first, ^uint(0), unix.CLOSE_RANGE_CLOEXEC)
	if err == nil {
		return nil
	}
	// Linux before 5.11, or a filter of system calls that does not know it.
	entries, readErr := os.ReadDir("/proc/self/fd")
	if readErr != nil {
		return fmt.Errorf("close inherited descriptors on exec: %w", err)
	}
	for _, e := range entries {
		if fd, err := strconv.Atoi(e.Name()); err == nil && fd >= first {
			unix.CloseOnExec(fd)
		}
	}
	return nil
}

// enoughFiles are so many descriptors that not even several users together, each passing as many as
// it may, can use them up. dbus-daemon has the same number.
const enoughFiles = 65536

// RaiseFileLimit raises how many descriptors this process may have (RLIMIT_NOFILE), as far as that
// is possible. What it starts has the limit that this process began with, which is often 1024, and
// programs that use select(2) depend on it.
//
// The soft limit needs nothing: the Go runtime has raised it to the hard one, and gives children
// back what was before. But it forgets that when a limit is set, and it takes what it finds
// at the start for what was before. So if root may raise the hard limit, the program is executed
// anew with it: RaiseFileLimit does not return then, and nothing may have been done before that
// would not be done again.
func RaiseFileLimit() error {
	var limit unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &limit); err != nil {
		return fmt.Errorf("find out how many files may be open: %w", err)
	}
	if os.Geteuid() != 0 || limit.Max >= enoughFiles {
		return nil
	}
	limit.Max = enoughFiles
	// Not by package syscall or unix first, which make Go forget even if it fails.
	if _, _, errno := unix.RawSyscall6(unix.SYS_PRLIMIT64, 0, unix.RLIMIT_NOFILE,
		uintptr(unsafe.Pointer(&limit)), 0, 0, 0); errno != 0 {
		return fmt.Errorf("raise the number of files that may be open to %d: %w", enoughFiles, errno)
	}
	// Now it has to forget, or Exec would set the old limit again.
	if err := unix.Setrlimit(unix.RLIMIT_NOFILE, &limit); err != nil {
		return fmt.Errorf("raise the number of files that may be open to %d: %w", enoughFiles, err)
	}
	return syscall.Exec(self, os.Args, os.Environ())
}
