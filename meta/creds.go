package meta

import (
	"errors"
	"fmt"
	"strings"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Creds are the credentials that a peer had when it connected: SO_PEERCRED of socket(7). PID is 0
// if the process is not visible in our pid namespace.
type Creds struct {
	PID uint32
	UID uint32
	GID uint32
}

// Socket reads what the kernel keeps about the peer of a connected UNIX socket, given as a file
// descriptor, which stays the caller's. All of it was fixed when the peer connected.
type Socket int

var errNotConnected = errors.New("read the peer's credentials (SO_PEERCRED): the socket is not connected")

// Creds returns the peer's credentials.
func (s Socket) Creds() (Creds, error) {
	c, err := unix.GetsockoptUcred(int(s), unix.SOL_SOCKET, unix.SO_PEERCRED)
	if err != nil {
		return Creds{}, fmt.Errorf("read the peer's credentials (SO_PEERCRED): %w", err)
	}
	return Creds{PID: uint32(c.Pid), UID: c.Uid, GID: c.Gid}, nil
}

// Groups returns the peer's supplementary groups (SO_PEERGROUPS), without duplicates of its primary
// group being removed.
func (s Socket) Groups() ([]uint32, error) {
	groups := make([]uint32, 32)
	for {
		size := uint32(len(groups) * 4)
		_, _, errno := unix.RawSyscall6(unix.SYS_GETSOCKOPT, uintptr(s), unix.SOL_SOCKET, unix.SO_PEERGROUPS,
			uintptr(unsafe.Pointer(unsafe.SliceData(groups))), uintptr(unsafe.Pointer(&size)), 0)
		switch {
		case errno == 0:
			return groups[:size/4], nil
		case errno == syscall.ERANGE && int(size) > len(groups)*4:
			groups = make([]uint32, size/4)
		default:
			return nil, fmt.Errorf("read the peer's groups (SO_PEERGROUPS): %w", errno)
		}
	}
}

// SecurityLabel returns the peer's label of the Linux security module in charge (SO_PEERSEC), or ""
// if there is none.
func (s Socket) SecurityLabel() (string, error) {
	label, err := unix.GetsockoptString(int(s), unix.SOL_SOCKET, unix.SO_PEERSEC)
	switch {
	case errors.Is(err, syscall.ENOPROTOOPT), errors.Is(err, syscall.EINVAL):
		return "", nil
	case err != nil:
		return "", fmt.Errorf("read the peer's security label (SO_PEERSEC): %w", err)
	}
	return strings.TrimRight(label, "\x00"), nil
}

// PIDFD returns a new pidfd of the process that connected (SO_PEERPIDFD, Linux 6.5), which the
// caller closes. It is the same process even if its pid has been given to another one since.
func (s Socket) PIDFD() (int, error) {
	fd, err := unix.GetsockoptInt(int(s), unix.SOL_SOCKET, unix.SO_PEERPIDFD)
	if err != nil {
		return -1, fmt.Errorf("get a pidfd of the peer (SO_PEERPIDFD): %w", err)
	}
	return fd, nil
}
