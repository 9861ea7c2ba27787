package fuse

import (
	"unsafe"

	"golang.org/x/sys/unix"
)

// notify sends what the kernel has not asked for: b begins with space for the header.
func (c *Conn) notify(code uint32, b []byte) error {
	if !c.use() {
		return unix.ENODEV
	}
	defer c.release()
	appendU64(appendU32(b[:0], uint32(len(b)), code), 0)
	return c.write(b)
}

// WakePoll has everybody who polls an open file ask again: wakeup is what [FileSystem.Poll] was given for it. Safe for
// concurrent use.
func (c *Conn) WakePoll(wakeup uint64) {
	b := make([]byte, sizeOut, sizeOut+8)
	c.notify(notifyPoll, appendU64(b, wakeup)) // an error: nobody polls any more
}

// maxStore is how much is stored at once: the kernel holds pages locked meanwhile.
const maxStore = 128 << 10

// Store writes to what the kernel keeps of a file that was opened with Cached, and so to what is mapped of it. The file
// becomes as long as that. Safe for concurrent use.
func (c *Conn) Store(node, offset uint64, data []byte) error {
	for len(data) > 0 {
		n := min(len(data), maxStore)
		b := appendU32(appendU64(make([]byte, sizeOut, sizeOut+24+n), node, offset), uint32(n), 0)
		if err := c.notify(notifyStore, append(b, data[:n]...)); err != nil {
			return err
		}
		data, offset = data[n:], offset+uint64(n)
	}
	return nil
}

// Ioctls of /dev/fuse, since Linux 6.9.
const (
	backingOpen  = 1<<30 | 16<<16 | 229<<8 | 1
	backingClose = 1<<30 | 4<<16 | 229<<8 | 2
)

// Passthrough reports whether there can be files behind files. Once Serve is called.
func (c *Conn) Passthrough() bool { return c.passthrough }

// OpenBacking makes a file one that can be behind a file, see [Opened]: the kernel keeps it open by itself. It takes
// CAP_SYS_ADMIN (EPERM), and a kernel that knows it (EOPNOTSUPP).
func (c *Conn) OpenBacking(fd int) (backing int32, err error) {
	if !c.passthrough {
		return 0, unix.EOPNOTSUPP
	}
	request := struct {
		fd      int32
		flags   uint32
		padding uint64
	}{fd: int32(fd)}
	id, _, errno := unix.Syscall(unix.SYS_IOCTL, uintptr(c.fd), backingOpen, uintptr(unsafe.Pointer(&request)))
	if errno != 0 {
		return 0, errno
	}
	return int32(id), nil
}

// CloseBacking ends that, but for those who have it open or mapped.
func (c *Conn) CloseBacking(backing int32) {
	if !c.use() {
		return
	}
	defer c.release()
	unix.Syscall(unix.SYS_IOCTL, uintptr(c.fd), backingClose, uintptr(unsafe.Pointer(&backing)))
}
