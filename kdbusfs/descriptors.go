package kdbusfs

import (
	"bufio"
	"os"
	"strings"
	"sync"
	"syscall"

	"golang.org/x/sys/unix"
)

// mayPass judges whether a descriptor may be in a message, as kdbus did: neither one of its own files nor a UNIX
// socket, as descriptors could travel in those that nobody counts, and in circles.
func (s *FS) mayPass(fd int) error {
	var stat unix.Statx_t
	// Without asking the file system: it may be ours.
	if err := unix.Statx(fd, "", unix.AT_EMPTY_PATH|unix.AT_STATX_DONT_SYNC, unix.STATX_TYPE, &stat); err != nil {
		return syscall.EBADF
	}
	if stat.Mode&unix.S_IFMT == unix.S_IFSOCK {
		domain, err := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_DOMAIN)
		if err != nil || domain == unix.AF_UNIX {
			return syscall.EOPNOTSUPP
		}
	}
	if s.device.is(stat.Dev_major, stat.Dev_minor) {
		return syscall.EOPNOTSUPP
	}
	return nil
}

// deviceOf knows which devices are file systems of this kind: ours, and those of other daemons, which would do the same to us.
type deviceOf struct {
	mu    sync.Mutex
	known map[[2]uint32]bool
}

// is reports whether a device is one.
func (d *deviceOf) is(major, minor uint32) bool {
	if major != 0 {
		return false // a disk
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	device := [2]uint32{major, minor}
	if ours, ok := d.known[device]; ok && ours {
		return true
	}
	if d.known == nil {
		d.known = make(map[[2]uint32]bool)
	}
	d.known[device] = isKdbusfs(minor)
	return d.known[device]
}

// isKdbusfs looks for a device among what is mounted.
func isKdbusfs(minor uint32) bool {
	f, err := os.Open("/proc/self/mountinfo")
	if err != nil {
		return true // rather refuse than pass
	}
	defer f.Close()
	for lines := bufio.NewScanner(f); lines.Scan(); {
		fields := strings.Fields(lines.Text())
		_, kind, found := strings.Cut(lines.Text(), " - ")
		if !found || len(fields) < 3 || !strings.HasPrefix(kind, "fuse.kdbusfs ") {
			continue
		}
		if _, m, _ := strings.Cut(fields[2], ":"); number(m) == minor {
			return true
		}
	}
	return false
}
