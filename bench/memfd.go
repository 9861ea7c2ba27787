package bench

import (
	"errors"
	"fmt"
	"io"
	"os"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/kdbus-go/kdbus/abi"
)

// Payload in memfds: made and sealed once by the caller, who sends it with every call, and
// mapped by the service for as long as it looks at it.

// sealed are the seals without which a bus does not pass a memfd on.
const sealed = unix.F_SEAL_SHRINK | unix.F_SEAL_GROW | unix.F_SEAL_WRITE | unix.F_SEAL_SEAL

// newMemfd returns a sealed memfd with the content b, which the caller is to close.
func newMemfd(b []byte) (int, error) {
	fd, err := unix.MemfdCreate("kdbus-bench", unix.MFD_CLOEXEC|unix.MFD_ALLOW_SEALING)
	if err != nil {
		return -1, fmt.Errorf("make a memfd: %w", err)
	}
	for rest := b; len(rest) > 0 && err == nil; {
		var n int
		n, err = unix.Write(fd, rest)
		rest = rest[max(n, 0):]
	}
	if err == nil {
		_, err = unix.FcntlInt(uintptr(fd), unix.F_ADD_SEALS, sealed)
	}
	if err != nil {
		unix.Close(fd)
		return -1, fmt.Errorf("fill and seal a memfd of %d bytes: %w", len(b), err)
	}
	return fd, nil
}

// passing is what a client needs that sends or takes file descriptors.
type passing struct {
	rights  []byte // control message that goes with what is sent; may be nil
	control []byte // for what comes with what is read
	fds     []int  // that came, in order, and that nobody has closed yet
	message abi.Message
}

// mostFDs is how many descriptors may come with one read.
const mostFDs = 16

func newPassing() *passing { return &passing{control: make([]byte, unix.CmsgSpace(4*mostFDs))} }

// send sends the beginning of b with the descriptors, and returns how much that was.
func (p *passing) send(fd int, b []byte) (int, error) {
	v := unix.Iovec{Base: unsafe.SliceData(b)}
	v.SetLen(len(b))
	h := unix.Msghdr{Iov: &v, Iovlen: 1, Control: unsafe.SliceData(p.rights)}
	h.SetControllen(len(p.rights))
	for {
		n, _, errno := unix.RawSyscall(unix.SYS_SENDMSG, uintptr(fd), uintptr(unsafe.Pointer(&h)), unix.MSG_NOSIGNAL)
		switch {
		case errno == 0:
			return int(n), nil
		case !errors.Is(errno, unix.EINTR):
			return 0, errno
		}
	}
}

// read is like the function read, and keeps the descriptors that come.
func (p *passing) read(fd int, b []byte) (int, error) {
	v := unix.Iovec{Base: unsafe.SliceData(b)}
	v.SetLen(len(b))
	h := unix.Msghdr{Iov: &v, Iovlen: 1, Control: unsafe.SliceData(p.control)}
	h.SetControllen(len(p.control))
	for {
		n, _, errno := unix.RawSyscall(unix.SYS_RECVMSG, uintptr(fd), uintptr(unsafe.Pointer(&h)), unix.MSG_CMSG_CLOEXEC)
		switch {
		case errors.Is(errno, unix.EINTR):
			continue
		case errno != 0:
			return 0, errno
		case n == 0:
			return 0, io.EOF
		case h.Controllen == 0:
			return int(n), nil
		}
		return int(n), p.keep(p.control[:h.Controllen])
	}
}

// keep adds the descriptors of a control message.
func (p *passing) keep(control []byte) error {
	messages, err := unix.ParseSocketControlMessage(control)
	if err != nil {
		return fmt.Errorf("read a control message: %w", err)
	}
	for i := range messages {
		fds, err := unix.ParseUnixRights(&messages[i])
		if err != nil {
			return fmt.Errorf("read a control message: %w", err)
		}
		p.fds = append(p.fds, fds...)
	}
	return nil
}

// look looks at the payload of a native message in memfds, as one does who reads it, and
// closes them.
func (p *passing) look(frame []byte) error {
	var h abi.FrameHeader
	if err := h.Decode(frame); err != nil {
		return err
	}
	if int(h.FDs) > len(p.fds) {
		return fmt.Errorf("a frame came with %d descriptors instead of %d", len(p.fds), h.FDs)
	}
	fds := p.fds[:h.FDs]
	p.fds = p.fds[h.FDs:]
	defer func() {
		for _, fd := range fds {
			unix.Close(fd)
		}
	}()
	if err := p.message.DecodeReceived(frame[abi.FrameHeaderSize:]); err != nil {
		return err
	}
	for _, piece := range p.message.Payload {
		if piece.Type != abi.ItemPayloadMemfd {
			continue
		}
		if piece.FD < 0 || int(piece.FD) >= len(fds) {
			return fmt.Errorf("a memfd is descriptor %d of %d", piece.FD, len(fds))
		}
		if err := touch(fds[piece.FD], piece.Offset, piece.Size); err != nil {
			return err
		}
	}
	return nil
}

// touched has what was read last, so that it is read.
var touched byte

// touch maps a range of a memfd and reads its first and its last page.
func touch(fd int, offset, size uint64) error {
	into := offset % uint64(os.Getpagesize())
	length := uintptr(into + size)
	at, err := unix.MmapPtr(fd, int64(offset-into), nil, length, unix.PROT_READ, unix.MAP_PRIVATE)
	if err != nil {
		return fmt.Errorf("map %d bytes of a memfd: %w", length, err)
	}
	b := unsafe.Slice((*byte)(at), length)
	touched = b[into] ^ b[length-1]
	if err := unix.MunmapPtr(at, length); err != nil {
		return fmt.Errorf("unmap a memfd: %w", err)
	}
	return nil
}
