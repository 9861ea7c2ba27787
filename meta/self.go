package meta

import (
	"fmt"

	"golang.org/x/sys/unix"
)

// Self returns what can be known of our own process, of the kinds in want: for a bus, of who made
// it. It is collected as for a peer, see [Socket.Collect].
func Self(want Kinds) (Data, error) {
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return Data{}, fmt.Errorf("make a pair of sockets to be one's own peer: %w", err)
	}
	defer unix.Close(fds[0])
	defer unix.Close(fds[1])
	return Socket(fds[0]).Collect(want)
}
