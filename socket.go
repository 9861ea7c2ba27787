package kdbus

import (
	"errors"
	"fmt"
	"io"
	"os"
	"sync"
	"syscall"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// socket is a connected, non-blocking stream socket, with descriptors beside its bytes. One
// goroutine may read while another writes.
//
// Who reads either asks for what is there and waits a short while for it, as a system call of its
// own: that is the quickest, and holds up a thread. Or it is called when there is something, by
// the runtime's poller: that costs two changes of goroutines, and may take as long as it likes.
//
// The runtime's poller would wake the program not only when there is something to read, but also
// each time the other end has read something. So it is given an epoll instance instead, which
// waits for input only, and can be told not to; who has to wait for output, which is rare,
// registers for that.
type socket struct {
	input *os.File // the epoll instance
	epoll int      // its descriptor
	wait  syscall.RawConn

	mu     sync.RWMutex // held for reading while fd or epoll is in use
	fd     int
	closed bool
	deaf   bool // await is not told of what comes; of the reader
	remote bool // the other end may be on another machine
	noFDs  bool // the other end takes no descriptors; unchanged once authenticated

	// What system calls work with: made once, so that no call allocates.
	read  transfer
	write transfer
}

// transfer is one direction of a socket.
type transfer struct {
	head, body []byte
	control    []byte
	vectors    [2]unix.Iovec
	msg        unix.Msghdr
	n          int
	controlLen int
	flags      int32
	errno      syscall.Errno
}

// maxFDs is how many descriptors one sendmsg or recvmsg moves: the kernel's SCM_MAX_FD.
const maxFDs = 253

// newSocket takes over fd, which must be non-blocking.
func newSocket(fd int, name string) (*socket, error) {
	epoll, err := unix.EpollCreate1(unix.EPOLL_CLOEXEC)
	if err == nil {
		err = unix.EpollCtl(epoll, unix.EPOLL_CTL_ADD, fd, &unix.EpollEvent{Events: unix.EPOLLIN | unix.EPOLLRDHUP})
		if err == nil {
			err = unix.SetNonblock(epoll, true) // by which os knows that it can be polled
		}
		if err != nil {
			unix.Close(epoll)
		}
	}
	if err != nil {
		unix.Close(fd)
		return nil, fmt.Errorf("prepare to wait for a socket: %w", err)
	}
	s := &socket{input: os.NewFile(uintptr(epoll), name), epoll: epoll, fd: fd}
	if s.wait, err = s.input.SyscallConn(); err != nil {
		s.close()
		return nil, err
	}
	s.read.control = make([]byte, unix.CmsgSpace(4*maxFDs))
	return s, nil
}

// shutdown ends reading and writing, also for those who wait for it.
func (s *socket) shutdown() {
	s.mu.RLock()
	defer s.mu.RUnlock()
	if !s.closed {
		_ = unix.Shutdown(s.fd, unix.SHUT_RDWR) // it fails if the other end has gone already
	}
}

// close ends the connection. It may be called more than once, but not by who is called by await.
func (s *socket) close() {
	s.shutdown() // which ends the system calls of others, too
	s.mu.Lock()
	closed := s.closed
	s.closed = true
	s.mu.Unlock()
	if !closed {
		s.input.Close() // returns when nobody is in await any more
		unix.Close(s.fd)
	}
}

// message does one system call; it reports false if the socket is not ready.
func (t *transfer) message(fd int, call, flags uintptr) (ready bool) {
	count := 0
	for _, b := range [...][]byte{t.head, t.body} {
		if len(b) > 0 {
			t.vectors[count].Base = &b[0]
			t.vectors[count].SetLen(len(b))
			count++
		}
	}
	t.msg = unix.Msghdr{Iov: &t.vectors[0]}
	t.msg.SetIovlen(count)
	if len(t.control) > 0 {
		t.msg.Control = &t.control[0]
		t.msg.SetControllen(len(t.control))
	}
	for {
		// The socket never blocks, so the scheduler need not know of the call.
		n, _, errno := unix.RawSyscall(call, uintptr(fd), uintptr(unsafe.Pointer(&t.msg)), flags|unix.MSG_DONTWAIT)
		if errno == unix.EINTR {
			continue
		}
		t.n, t.errno, t.controlLen, t.flags = int(n), errno, int(t.msg.Controllen), t.msg.Flags
		if errno != 0 {
			t.n, t.controlLen = 0, 0
		}
		t.vectors = [2]unix.Iovec{}
		return errno != unix.EAGAIN
	}
}

// await calls ready when there may be something to read, as long as it returns false. It returns
// an error when the socket is closed.
func (s *socket) await(ready func() bool) error {
	return s.wait.Read(func(uintptr) bool { return ready() })
}

// listen makes await call or, for the time being, not. What is there to read when it is switched
// on may go unnoticed: its caller looks.
func (s *socket) listen(on bool) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	if !s.closed {
		s.setListening(on)
	}
}

func (s *socket) setListening(on bool) {
	s.deaf = !on
	var event unix.EpollEvent // errors are always told
	if on {
		event.Events = unix.EPOLLIN | unix.EPOLLRDHUP
	}
	// It cannot fail: it is registered, and takes no memory.
	unix.RawSyscall6(unix.SYS_EPOLL_CTL, uintptr(s.epoll), unix.EPOLL_CTL_MOD, uintptr(s.fd), uintptr(unsafe.Pointer(&event)), 0, 0)
}

// receive reads once, what there is, and appends descriptors that came along to fds. It waits for
// something as long as patience lets it, and holds up a thread meanwhile; n is 0 if nothing came.
// At the end of the stream the error is io.EOF.
func (s *socket) receive(b []byte, fds []int, patience time.Duration) (n int, _ []int, err error) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	if s.closed {
		return 0, fds, os.ErrClosed
	}
	if patience > 0 {
		s.waitReadable(patience)
	}
	if s.deaf {
		s.setListening(true)
	}
	t := &s.read
	t.head = b
	ready := t.message(s.fd, unix.SYS_RECVMSG, unix.MSG_CMSG_CLOEXEC)
	t.head = nil
	if !ready {
		return 0, fds, nil
	}
	if t.errno != 0 {
		return 0, fds, os.NewSyscallError("recvmsg", t.errno)
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

// waitReadable waits until there is something to read, or patience ends.
func (s *socket) waitReadable(patience time.Duration) {
	poll := unix.PollFd{Fd: int32(s.fd), Events: unix.POLLIN}
	limit := unix.NsecToTimespec(int64(patience))
	_, _, _ = unix.Syscall6(unix.SYS_PPOLL, uintptr(unsafe.Pointer(&poll)), 1, uintptr(unsafe.Pointer(&limit)), 0, 0, 0)
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
	s.mu.RLock()
	defer s.mu.RUnlock()
	if s.closed {
		return 0, os.ErrClosed
	}
	t.message(s.fd, unix.SYS_SENDMSG, unix.MSG_NOSIGNAL)
	t.head, t.body, t.control = nil, nil, nil
	if t.errno != 0 && t.errno != unix.EAGAIN {
		return 0, os.NewSyscallError("sendmsg", t.errno)
	}
	return t.n, nil
}

// waitWritable waits until the socket may take more, or fails.
func (s *socket) waitWritable() error {
	s.mu.RLock()
	if s.closed {
		s.mu.RUnlock()
		return os.ErrClosed
	}
	// Its own registration with the poller, for the time being.
	fd, err := unix.FcntlInt(uintptr(s.fd), unix.F_DUPFD_CLOEXEC, 0)
	s.mu.RUnlock()
	if err != nil {
		return fmt.Errorf("wait for a full socket: %w", err)
	}
	output := os.NewFile(uintptr(fd), s.input.Name())
	defer output.Close()
	raw, err := output.SyscallConn()
	if err != nil {
		return err
	}
	return raw.Write(func(fd uintptr) bool {
		poll := []unix.PollFd{{Fd: int32(fd), Events: unix.POLLOUT}}
		n, _ := unix.Poll(poll, 0)
		return n > 0
	})
}
