package meta

import (
	"encoding/binary"
	"errors"
	"fmt"
	"strings"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Control is what came beside the bytes of one recvmsg.
type Control struct {
	Sender Sender
	FDs    []int // SCM_RIGHTS, in the order sent
}

// Close closes all file descriptors: those that were sent, and the pidfd.
func (c *Control) Close() {
	for _, fd := range c.FDs {
		unix.Close(fd)
	}
	c.FDs = nil
	c.Sender.Close()
}

// MaxControl is how long a buffer for [ParseControl] has to be: for 253 file descriptors, which is
// what Linux lets one message have, and for credentials, a pidfd and a security label of up to 4096
// bytes. With a shorter one the kernel sets MSG_CTRUNC and leaves things out.
var MaxControl = unix.CmsgSpace(253*4) + unix.CmsgSpace(unix.SizeofUcred) + unix.CmsgSpace(4) + unix.CmsgSpace(4096)

// SetPassing makes the kernel tell, or tell no longer, with every message on a UNIX socket who sent
// it: SO_PASSCRED, SO_PASSPIDFD if it is new enough (Linux 6.5), and SO_PASSSEC. What was sent to an
// accepted socket before is not told about. It costs the receiver about 2 microseconds each time it
// reads.
func (s Socket) SetPassing(tell bool) error {
	value := 0
	if tell {
		value = 1
	}
	if err := unix.SetsockoptInt(int(s), unix.SOL_SOCKET, unix.SO_PASSCRED, value); err != nil {
		return fmt.Errorf("ask for the credentials of senders (SO_PASSCRED): %w", err)
	}
	// Without these less is known, and nothing is wrong.
	_ = unix.SetsockoptInt(int(s), unix.SOL_SOCKET, unix.SO_PASSPIDFD, value)
	_ = unix.SetsockoptInt(int(s), unix.SOL_SOCKET, unix.SO_PASSSEC, value)
	return nil
}

var errControl = errors.New("malformed control message")

// ParseControl reads the control messages of one recvmsg on a UNIX socket. Everything in the result
// belongs to the caller, who closes it, also if there is an error: the kernel has opened it.
//
// It allocates nothing unless file descriptors or a security label came.
func ParseControl(control []byte) (Control, error) {
	var c Control
	const header = unix.SizeofCmsghdr
	for len(control) >= header {
		size, level, kind := cmsgHeader(control)
		if size < header || size > uint64(len(control)) {
			return c, errControl
		}
		data := control[unix.CmsgLen(0):max(size, uint64(unix.CmsgLen(0)))]
		if level == unix.SOL_SOCKET {
			c.set(kind, data)
		}
		control = control[min(unix.CmsgSpace(len(data)), len(control)):]
	}
	return c, nil
}

// cmsgHeader reads struct cmsghdr of cmsg(3): the size, header included, is a size_t.
func cmsgHeader(b []byte) (size uint64, level, kind int32) {
	native := binary.NativeEndian
	const word = unsafe.Sizeof(uintptr(0))
	if word == 8 {
		size = native.Uint64(b)
	} else {
		size = uint64(native.Uint32(b))
	}
	return size, int32(native.Uint32(b[word:])), int32(native.Uint32(b[word+4:]))
}

func (c *Control) set(kind int32, data []byte) {
	native := binary.NativeEndian
	switch kind {
	case unix.SCM_RIGHTS:
		for ; len(data) >= 4; data = data[4:] {
			c.FDs = append(c.FDs, int(int32(native.Uint32(data))))
		}
	case unix.SCM_CREDENTIALS:
		if len(data) >= unix.SizeofUcred {
			c.Sender.setCreds(Creds{PID: native.Uint32(data), UID: native.Uint32(data[4:]), GID: native.Uint32(data[8:])})
		}
	case unix.SCM_PIDFD:
		// It is negative, an errno, if the kernel could not make one.
		if len(data) >= 4 && c.Sender.PIDFD == 0 {
			c.Sender.PIDFD = max(0, int(int32(native.Uint32(data))))
		}
	case unix.SCM_SECURITY:
		c.Sender.SecLabel = strings.TrimRight(string(data), "\x00")
	}
}

// setCreds takes credentials unless they are those of nobody, as they are when the message was sent
// before the receiver asked for credentials.
func (s *Sender) setCreds(creds Creds) {
	if creds.PID == 0 {
		if nobody := overflowIDs(); creds.UID == nobody[0] && creds.GID == nobody[1] {
			return
		}
	}
	s.Creds, s.Known = creds, true
}
