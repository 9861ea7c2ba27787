package daemon

// A socket file is opened, replaced and removed here.
//
// The file of a bus that was killed stays behind, and bind(2) refuses the name as
// long as it is there; so a daemon must be able to remove it, and must never remove
// the file of a bus that lives. Whether a bus lives, connect(2) tells: nobody
// listening means ECONNREFUSED. That leaves two races between daemons that start or
// stop at the same place: a socket that is bound and does not listen yet looks dead,
// and the file that was tested may be another by the time it is removed. Both are
// closed by a lock, PATH.lock, that is held only while a socket is being opened or
// removed, by every daemon of this package. Nobody but the user who opens the socket
// (and root) can hold it, and nothing of it is left behind. Against programs that do
// not know the lock the file's identity is compared before it is removed, which
// leaves an instant no program can close.

import (
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/kdbus-go/kdbus/address"
)

// socketMode is what everybody needs to connect; who may do so is for the directory
// and for the bus's policy to say. dbus-daemon's sockets are as open.
const socketMode = 0o666

// listenPath opens a socket at path, in place of a stale one when there is one.
func listenPath(path string) (*listener, error) {
	path, err := filepath.Abs(path) // for clients that run elsewhere
	if err != nil {
		return nil, err
	}
	lock, err := lockPath(path)
	if err != nil {
		return nil, err
	}
	defer lock.release()
	l, err := bindFile(path)
	if !errors.Is(err, syscall.EADDRINUSE) {
		return l, err
	}
	if err := removeStale(path); err != nil {
		return nil, err
	}
	return bindFile(path)
}

// bindFile makes the socket file path, which is absolute, and listens on it. The
// error is EADDRINUSE when there is a file of any kind. The backlog is the system's highest, which is
// what package net asks for.
func bindFile(path string) (*listener, error) {
	if len(path) > address.MaxUnixPath {
		return nil, fmt.Errorf("the path %s has %d bytes; a socket's can have %d at most",
			path, len(path), address.MaxUnixPath)
	}
	l, err := net.ListenUnix("unix", &net.UnixAddr{Net: "unix", Name: path})
	if err != nil {
		return nil, plainError(err)
	}
	l.SetUnlinkOnClose(false) // it would remove any file of that name
	file := &socketFile{path: path}
	file.id, err = identify(path)
	if err == nil {
		err = os.Chmod(path, socketMode)
	}
	if err != nil {
		return nil, errors.Join(err, file.remove(), l.Close())
	}
	return &listener{sockets: []net.Listener{l}, address: address.UnixPath(path), file: file}, nil
}

// removeStale removes the socket file path when nobody listens on it. The caller
// holds the lock of path.
func removeStale(path string) error {
	before, err := identify(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	if before.mode != fs.ModeSocket {
		return fmt.Errorf("%s exists and is %s, not a socket; remove it or choose another path", path, kindOf(before.mode))
	}
	switch err := probe(path); {
	case errors.Is(err, unix.ENOENT):
		return nil
	case errors.Is(err, unix.ECONNREFUSED):
		// Nobody: stale.
	case err == nil, errors.Is(err, unix.EAGAIN):
		return fmt.Errorf("%w: a server is listening on %s", syscall.EADDRINUSE, path)
	default:
		return fmt.Errorf("cannot tell whether a server is listening on %s, so it stays: %w", path, err)
	}
	return (&socketFile{path: path, id: before}).unlink()
}

// probe connects to the socket file path and hangs up. It does not wait: EAGAIN
// means that somebody listens and has much to do.
func probe(path string) error {
	fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
	if err != nil {
		return os.NewSyscallError("socket", err)
	}
	defer unix.Close(fd)
	if err := unix.Connect(fd, &unix.SockaddrUnix{Name: path}); err != nil {
		return os.NewSyscallError("connect", err)
	}
	return nil
}

// socketFile is the file of a socket that we opened.
type socketFile struct {
	path string
	id   fileID
}

// remove removes the file unless it has gone or been replaced.
func (f *socketFile) remove() error {
	lock, err := lockPath(f.path)
	if err != nil {
		if errors.Is(err, fs.ErrNotExist) {
			return nil // with the directory
		}
		return err
	}
	defer lock.release()
	return f.unlink()
}

// unlink is remove for a caller that holds the lock.
func (f *socketFile) unlink() error {
	now, err := identify(f.path)
	if errors.Is(err, fs.ErrNotExist) || err == nil && now != f.id {
		return nil
	}
	if err != nil {
		return err
	}
	if err := os.Remove(f.path); !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}

// fileID tells a file from another that took its place. Inode numbers are used
// again; the modification time of a socket is the time it was made, whoever changes
// its mode or owner.
type fileID struct {
	dev, ino uint64
	mtime    time.Time
	mode     fs.FileMode // the type bits
}

func identify(path string) (fileID, error) {
	info, err := os.Lstat(path)
	if err != nil {
		return fileID{}, err
	}
	stat := info.Sys().(*syscall.Stat_t)
	return fileID{dev: stat.Dev, ino: stat.Ino, mtime: info.ModTime(), mode: info.Mode().Type()}, nil
}

func kindOf(mode fs.FileMode) string {
	switch mode {
	case 0:
		return "a regular file"
	case fs.ModeDir:
		return "a directory"
	case fs.ModeSymlink:
		return "a symbolic link"
	}
	return "a special file"
}

// pathLock is the held lock of a path.
type pathLock struct{ file *os.File }

// lockPath takes the lock of path, waiting for whoever holds it. Holders do a few
// system calls on local files, so the wait is short.
func lockPath(path string) (*pathLock, error) {
	name := path + ".lock"
	for {
		file, err := os.OpenFile(name, os.O_RDWR|os.O_CREATE|unix.O_NOFOLLOW, 0o600)
		if errors.Is(err, fs.ErrNotExist) {
			return nil, fmt.Errorf("%w: the directory %s", fs.ErrNotExist, filepath.Dir(path))
		}
		if err != nil {
			return nil, fmt.Errorf("cannot make the lock file for %s: %w", path, err)
		}
		for {
			if err = unix.Flock(int(file.Fd()), unix.LOCK_EX); err != unix.EINTR {
				break
			}
		}
		if err != nil {
			file.Close()
			return nil, fmt.Errorf("lock %s: %w", name, err)
		}
		// The last holder may have removed the file while we waited for it.
		if now, err := os.Lstat(name); err == nil {
			if ours, err := file.Stat(); err == nil && os.SameFile(now, ours) {
				return &pathLock{file: file}, nil
			}
		}
		file.Close()
	}
}

// release gives the lock up and removes its file.
func (l *pathLock) release() {
	// While we hold the lock the name is ours to remove. Should that fail, the next
	// one locks the file that stayed.
	os.Remove(l.file.Name())
	l.file.Close()
}
