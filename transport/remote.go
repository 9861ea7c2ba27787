package transport

import (
	"crypto/subtle"
	"errors"
	"os"

	"golang.org/x/sys/unix"

	"github.com/kdbus-go/kdbus/meta"
)

// Peers of which the kernel knows nothing, since they come over TCP. They are who they have proved to
// be, or nobody; there is no process to look at, and no descriptors are passed.

// remote is what only such a peer has.
type remote struct {
	nonce  []byte   // what it has to send first; nil once it has
	groups []uint32 // of its user, as the user database has them; unchanged once it may join
}

// NonceSize is how long the nonce of a nonce-tcp: address is, in bytes (D-Bus specification, "Nonce-authenticated TCP
// Sockets").
const NonceSize = 16

// overflowID is the number of the user and the group that the kernel has for those that have none
// (/proc/sys/kernel/overflowuid).
const overflowID = 65534

var nobody = meta.Creds{UID: overflowID, GID: overflowID}

// tuneRemote has a TCP socket send at once what is written, and notice one day that the other machine
// has gone.
func tuneRemote(fd int) error {
	if err := unix.SetsockoptInt(fd, unix.IPPROTO_TCP, unix.TCP_NODELAY, 1); err != nil {
		return os.NewSyscallError("setsockopt", err)
	}
	return os.NewSyscallError("setsockopt", unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_KEEPALIVE, 1))
}

// errNonce is why a peer is disconnected that has not read the right file.
var errNonce = errors.New("what it sent first is not the nonce of the address")

// checkNonce takes the nonce, once all of it is there, and returns what follows.
func (p *Peer) checkNonce(b []byte) ([]byte, error) {
	if len(b) < len(p.remote.nonce) {
		return b, nil
	}
	given, rest := b[:len(p.remote.nonce)], b[len(p.remote.nonce):]
	if subtle.ConstantTimeCompare(given, p.remote.nonce) != 1 {
		return nil, errNonce
	}
	p.remote.nonce = nil
	return rest, nil
}
