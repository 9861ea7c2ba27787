package daemon

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"slices"
	"sync"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/kdbus-go/kdbus/abi"
	"github.com/kdbus-go/kdbus/address"
	"github.com/kdbus-go/kdbus/bus"
	"github.com/kdbus-go/kdbus/meta"
)

// Nodes are the sockets that clients make: the default endpoint of a bus, and custom ones. As in kdbusfs, who may
// connect is a matter of the mode and the owner of the file, which its owner can change (kdbus.fs(7)). Only
// the directories stay the daemon's own: who could write to them could have a daemon with privileges change
// other files.

// nodeOwner is whose a node is, and who else may connect.
type nodeOwner struct {
	uid, gid uint32
	access   abi.MakeFlags
}

func ownerOf(maker meta.Creds, access abi.MakeFlags) nodeOwner {
	return nodeOwner{uid: maker.UID, gid: maker.GID, access: access}
}

// mode returns the mode of the node: that of kdbus.
func (o nodeOwner) mode() fs.FileMode {
	switch {
	case o.access&abi.MakeAccessWorld != 0:
		return 0o666
	case o.access&abi.MakeAccessGroup != 0:
		return 0o660
	}
	return 0o600
}

// judge decides who may connect where the mode of the file cannot.
func (o nodeOwner) judge(uid uint32, groups []uint32) error {
	switch {
	case uid == 0, uid == o.uid, o.access&abi.MakeAccessWorld != 0:
		return nil
	case o.access&abi.MakeAccessGroup != 0 && slices.Contains(groups, o.gid):
		return nil
	}
	return fmt.Errorf("it is for user %d, who made it, and whom that admits", o.uid)
}

// admitAll is for nodes whose mode decides.
func admitAll(uint32, []uint32) error { return nil }

// node is the socket of a node.
type node struct {
	*door
	// admit decides who may connect, once it is known who that is.
	admit  func(uid uint32, groups []uint32) error
	closed sync.Once
}

// bindNode makes a node. Nobody but its owner can connect before it has its mode. The errors are
// EEXIST, ENAMETOOLONG, and those of the file system.
func bindNode(path string, owner nodeOwner) (*node, error) {
	if len(path) > address.MaxUnixPath {
		return nil, &bus.Error{Errno: syscall.ENAMETOOLONG,
			Detail: fmt.Sprintf("the path %s has %d bytes; a socket's can have %d at most", path, len(path), address.MaxUnixPath)}
	}
	socket, err := listenPrivately(path)
	if errors.Is(err, syscall.EADDRINUSE) {
		return nil, &bus.Error{Errno: syscall.EEXIST, Detail: fmt.Sprintf("there is a file %s already", path)}
	}
	if err != nil {
		return nil, fmt.Errorf("make the socket %s: %w", path, plainError(err))
	}
	n := &node{admit: admitAll}
	n.door = newDoor(&listener{sockets: []net.Listener{socket}, address: address.UnixPath(path)})
	file := &nodeFile{path: path}
	if file.id, err = identify(path); err == nil {
		n.file = file
		err = n.give(path, owner)
	}
	if err != nil {
		return nil, fmt.Errorf("make the socket %s: %w", path, errors.Join(err, n.close()))
	}
	return n, nil
}

// listenPrivately makes a socket file that only this user can connect to, whatever the umask is.
func listenPrivately(path string) (net.Listener, error) {
	// The file gets the mode that the socket has, but for the umask: unix_bind in the kernel.
	private := net.ListenConfig{Control: func(_, _ string, raw syscall.RawConn) error {
		var err error
		return errors.Join(raw.Control(func(fd uintptr) { err = unix.Fchmod(int(fd), 0o600) }), err)
	}}
	socket, err := private.Listen(context.Background(), "unix", path)
	if err != nil {
		return nil, err
	}
	socket.(*net.UnixListener).SetUnlinkOnClose(false) // it would remove any file of that name
	return socket, nil
}

// give makes the file its owner's. Where this process may not, everybody can connect, and is judged then.
func (n *node) give(path string, owner nodeOwner) error {
	err := os.Lchown(path, int(owner.uid), int(owner.gid))
	if errors.Is(err, fs.ErrPermission) || errors.Is(err, syscall.EINVAL) { // EINVAL: no such user in our namespace
		n.admit = owner.judge
		return os.Chmod(path, socketMode)
	}
	if err != nil {
		return err
	}
	return os.Chmod(path, owner.mode())
}

// unlink removes the file, and nobody can connect any more. It can be called again.
func (n *node) unlink() (err error) {
	n.closed.Do(func() { err = n.close() })
	return err
}

// nodeFile is the file of a node, in a directory that only this process and the likes of it write to.
type nodeFile socketFile

func (f *nodeFile) remove() error { return (*socketFile)(f).unlink() }

// nodeDir is a directory of the daemon's own, with nodes in it.
type nodeDir string

// makeNodeDir makes a directory for the nodes of a bus. Everybody can reach what is in it; what it is called
// can be read by those whom flags say. The error is EEXIST if there is something.
func makeNodeDir(path string, owner nodeOwner) (nodeDir, error) {
	if err := os.Mkdir(path, 0o700); err != nil {
		if errors.Is(err, fs.ErrExist) {
			return "", &bus.Error{Errno: syscall.EEXIST, Detail: fmt.Sprintf("there is a file %s already", path)}
		}
		return "", err
	}
	mode := fs.FileMode(0o711)
	if owner.access&abi.MakeAccessWorld != 0 {
		mode = 0o755
	} else if owner.access&abi.MakeAccessGroup != 0 && os.Lchown(path, -1, int(owner.gid)) == nil {
		mode = 0o751
	}
	if err := os.Chmod(path, mode); err != nil { // Mkdir heeds the umask
		return "", errors.Join(err, os.Remove(path))
	}
	return nodeDir(path), nil
}

// remove removes the directory, in which there is nothing any more.
func (d nodeDir) remove() error {
	if d == "" {
		return nil
	}
	if err := os.Remove(string(d)); !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}
