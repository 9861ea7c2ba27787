package kdbusfs

import (
	"sync/atomic"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/kdbus-go/kdbus/abi"
	"github.com/kdbus-go/kdbus/kdbusfs/fuse"
	"github.com/kdbus-go/kdbus/meta"
	"github.com/kdbus-go/kdbus/native"
)

// file is an open file.
type file struct {
	fs     *FS
	handle *native.Handle
	pool   *pool         // nil for the control file
	wakeup atomic.Uint64 // for who polls; 0 if nobody has
}

const (
	pollError = unix.POLLERR | unix.POLLHUP
	pollWrite = unix.POLLOUT | 0x100 // POLLWRNORM
	pollRead  = unix.POLLIN | 0x40   // POLLRDNORM
)

// open opens a file.
func (s *FS) open(node uint64, k *known, caller fuse.Caller) (opened fuse.Opened, err error) {
	f := &file{fs: s}
	if k.Pool {
		if f.pool, err = newPool(s.conn, node); err != nil {
			s.log.Warn("cannot make a pool", "node", k.Name, "uid", caller.UID, "error", err)
			return opened, syscall.ENOMEM
		}
		opened.Backing, opened.Cached = f.pool.backing, f.pool.backing == 0
	}
	who := processOf(caller)
	creds := meta.Creds{PID: who.pid, UID: caller.UID, GID: caller.GID}
	f.handle, err = k.Node.Open(creds, who.groups, f.changed)
	if err != nil {
		if f.pool != nil {
			f.pool.close()
		}
		return opened, native.Errno(err)
	}
	s.mu.Lock()
	if s.files == nil {
		s.mu.Unlock()
		f.close()
		return opened, syscall.ESHUTDOWN
	}
	s.last++
	opened.Handle = s.last
	s.files[s.last] = f
	s.mu.Unlock()
	s.nodes.mu.Lock()
	if f.pool != nil {
		k.file = f
	}
	s.nodes.mu.Unlock()
	return opened, nil
}

// close ends the file. Mappings of its pool stay.
func (f *file) close() {
	f.handle.Close()
	if f.pool != nil {
		f.pool.close()
	}
}

// changed wakes those who poll.
func (f *file) changed() {
	if wakeup := f.wakeup.Load(); wakeup != 0 {
		f.fs.conn.WakePoll(wakeup)
	}
}

// events returns what poll(2) tells of the file.
func (f *file) events() uint32 {
	switch {
	case !f.handle.Connected():
		return pollError
	case f.handle.Readable():
		return pollWrite | pollRead
	}
	return pollWrite
}

// ioctl runs a command.
func (f *file) ioctl(r *fuse.Request, i *fuse.Ioctl) error {
	cmd := abi.Cmd(i.Cmd)
	if cmd.FixedSize() == 0 {
		return syscall.ENOTTY
	}
	c := &command{file: f, request: r, memory: memory(r.TID), cmd: cmd, at: i.Arg}
	if err := c.read(i.Input); err != nil {
		return err
	}
	if !r.Begin() {
		c.discard()
		return syscall.EINTR
	}
	return c.run()
}
