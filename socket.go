package kdbus

import (
	"errors"
	"io"
	"os"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// socket is a connected stream socket, non-blocking and known to the runtime's poller, with
// descriptors beside its bytes. One goroutine may read while another writes.
type socket struct {
	file *os.File
	raw  syscall.RawConn

	// What the closures given to raw work with, made once so that no call allocates.
	read  transfer
	write transfer
}

// transfer is one direction of a socket.
type transfer struct {
	head, body []byte
	control    []byte
	n          int
	controlLen int
	flags      int32
	errno      syscall.Errno
	try        func(fd uintptr) bool
}

// maxFDs is how many descriptors one sendmsg or recvmsg moves: the kernel's SCM_MAX_FD.
const maxFDs = 253

// newSocket takes over fd, which must be non-blocking.
func newSocket(fd int, name string) (*socket, error) {
	s := &socket{file: os.NewFile(uintptr(fd), name)}
	var err error
	if s.raw, err = s.file.SyscallConn(); err != nil {
		s.file.Close()
		return nil, err
	}
	s.read.control = make([]byte, unix.CmsgSpace(4*maxFDs))
	s.read.try = func(fd uintptr) bool { return s.read.message(fd, unix.SYS_RECVMSG, unix.MSG_CMSG_CLOEXEC) }
	s.write.try = func(fd uintptr) bool { s.write.message(fd, unix.SYS_SENDMSG, unix.MSG_NOSIGNAL); return true }
	return s, nil
}

func (s *socket) close() { s.file.Close() }

// message does one system call; it reports false if the socket is not ready.
func (t *transfer) message(fd uintptr, call uintptr, flags uintptr) (ready bool) {
	var vectors [2]unix.Iovec
	count := 0
	for _, b := range [...][]byte{t.head, t.body} {
		if len(b) > 0 {
			vectors[count].Base = &b[0]
			vectors[count].SetLen(len(b))
			count++
		}
	}
	msg := unix.Msghdr{Iov: &vectors[0]}
	msg.SetIovlen(count)
	if len(t.control) > 0 {
		msg.Control = &t.control[0]
		msg.SetControllen(len(t.control))
	}
	for {
		// The socket never blocks, so the scheduler need not know of the call.
		n, _, errno := unix.RawSyscall(call, fd, uintptr(unsafe.Pointer(&msg)), flags|unix.MSG_DONTWAIT)
		if errno == unix.EINTR {
			continue
		}
		t.n, t.errno, t.controlLen, t.flags = int(n), errno, int(msg.Controllen), msg.Flags
		if errno != 0 {
			t.n, t.controlLen = 0, 0
		}
		return errno != unix.EAGAIN
	}
}

// receive reads once, what there is, waiting until there is something, and appends descriptors
// that came along to fds. At the end of the stream the error is io.EOF.
func (s *socket) receive(b []byte, fds []int) (int, []int, error) {
	t := &s.read
	t.head = b
	err := s.raw.Read(t.try)
	t.head = nil
	if err == nil && t.errno != 0 {
		err = os.NewSyscallError("recvmsg", t.errno)
	}
	if err != nil {
		return 0, fds, err
	}
	if t.controlLen > 0 {
		if fds, err = appendRights(fds, t.control[:t.controlLen]); err != nil {
			return 0, fds, err
		}
	}
	if t.flags&unix.MSG_CTRUNC != 0 {
		return 0, fds, errors.New("file descriptors were lost: this process may not open more")
	}
	if t.n == 0 {
		return 0, fds, io.EOF
	}
	return t.n, fds, nil
}

func appendRights(fds []int, control []byte) ([]int, error) {
	list, err := unix.ParseSocketControlMessage(control)
	if err != nil {
		return fds, err
	}
	for i := range list {
		if list[i].Header.Level == unix.SOL_SOCKET && list[i].Header.Type == unix.SCM_RIGHTS {
			got, err := unix.ParseUnixRights(&list[i])
			if err != nil {
				return fds, err
			}
			fds = append(fds, got...)
		}
	}
	return fds, nil
}

// send writes once, without waiting, head and body one after the other, with fds beside the
// first byte. It returns how many bytes the kernel took: 0 if the socket is full.
func (s *socket) send(head, body []byte, fds []int) (int, error) {
	t := &s.write
	t.head, t.body, t.control = head, body, nil
	if len(fds) > 0 {
		t.control = unix.UnixRights(fds...)
	}
	err := s.raw.Write(t.try)
	t.head, t.body, t.control = nil, nil, nil
	if err != nil {
		return 0, err
	}
	if t.errno != 0 && t.errno != unix.EAGAIN {
		return 0, os.NewSyscallError("sendmsg", t.errno)
	}
	return t.n, nil
}

// waitWritable waits until the socket may take more.
func (s *socket) waitWritable() error {
	return s.raw.Write(func(fd uintptr) bool {
		poll := []unix.PollFd{{Fd: int32(fd), Events: unix.POLLOUT}}
		n, _ := unix.Poll(poll, 0)
		return n > 0
	})
}
