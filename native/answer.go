package native

import (
	"encoding/binary"
	"errors"
	"fmt"
	"strings"
	"syscall"

	"github.com/kdbus-go/kdbus/abi"
	"github.com/kdbus-go/kdbus/bus"
)

// Answers are frames that wait in the peer's queue like messages, in order with them.

// answer is one of them in a piece of memory.
type answer struct {
	bus.Message
	pieces [1][]byte
	header [abi.FrameHeaderSize]byte
}

// answer tells the peer what became of a request. The error is that it does not read its answers.
func (c *conn) answer(r *request, failure error) error {
	h := abi.FrameHeader{Cmd: r.Cmd, Tag: r.Tag}
	var body []byte
	switch {
	case failure != nil:
		h.Code = uint32(errnoOf(failure))
		if body = r.cmd; !r.asked {
			body = []byte(explain(failure))
		}
	case r.Cmd == abi.CmdSend && !r.asked:
	default:
		body = r.reply()
	}
	err := c.deliver(&h, body)
	if errors.Is(err, bus.ErrQueueFull) && failure == nil && len(r.infos) > 0 {
		text := fmt.Sprintf("%v: an answer of %d bytes is more than the queue can take", r.Cmd, len(body))
		h.Code = uint32(syscall.ENOBUFS)
		err = c.deliver(&h, []byte(text))
	}
	return err
}

// shorten leaves of the command's struct what the bus fills in. Who negotiates gets all of it back.
func (r *request) shorten() {
	if size := r.Cmd.FixedSize(); !r.asked && len(r.cmd) > size {
		r.cmd = r.cmd[:size]
		putU64(r.cmd, uint64(size))
	}
}

// infosAt returns where the infos will be, counted from the beginning of the struct.
func (r *request) infosAt() uint64 {
	if r.place != nil {
		return r.place(r.infos)
	}
	r.shorten()
	return uint64(align8(len(r.cmd)))
}

// reply returns the command's struct with what the bus filled in, and the infos behind it.
func (r *request) reply() []byte {
	r.shorten()
	if r.infos == nil {
		return r.cmd
	}
	var zeros [8]byte
	b := append(r.cmd[:len(r.cmd):len(r.cmd)], zeros[:-len(r.cmd)&7]...)
	return append(b, r.infos...)
}

// deliver queues an answer, whose size is not known yet.
func (c *conn) deliver(h *abi.FrameHeader, body []byte) error {
	h.Size = uint32(abi.FrameHeaderSize + len(body))
	m := new(answer)
	b := append(h.Append(m.header[:0]), body...)
	if c.bus == nil {
		return c.peer.WriteEarly(b)
	}
	m.pieces[0] = b
	m.Payload = m.pieces[:]
	m.Message.Answer = true
	defer m.Release()
	err := c.bus.Deliver(&m.Message)
	if errors.Is(err, bus.ErrQueueFull) {
		c.bus.Flush() // of many requests in one batch
		err = c.bus.Deliver(&m.Message)
	}
	if err != nil {
		return fmt.Errorf("answer %v: %w", h.Cmd, err)
	}
	return nil
}

// refused is an error with its errno.
type refused struct {
	errno  syscall.Errno
	reason string
}

func (e *refused) Error() string { return e.reason }
func (e *refused) Unwrap() error { return e.errno }

// refusef makes an error that the peer is told.
func refusef(errno syscall.Errno, format string, args ...any) error {
	return &refused{errno, fmt.Sprintf(format, args...)}
}

// errnoOf returns the errno in an error. What has none was refused by a policy that says more to
// people than to programs.
func errnoOf(err error) syscall.Errno {
	var core *bus.Error
	var errno syscall.Errno
	switch {
	case errors.As(err, &core):
		return core.Errno
	case errors.As(err, &errno):
		return errno
	}
	return syscall.EPERM
}

// reasonOf translates an error for whoever waits for a reply that does not come.
func reasonOf(err error) abi.Reason {
	r := abi.Reason{Errno: uint64(errnoOf(err)), Text: explain(err)}
	var named interface{ ErrorName() string }
	if errors.As(err, &named) {
		r.Name = named.ErrorName()
	}
	return r
}

// maxText is how long the text of an answer may be, in bytes.
const maxText = 1 << 10

// explain returns what an error says, as UTF-8 without NUL.
func explain(err error) string {
	s := err.Error()
	if len(s) > maxText {
		s = s[:maxText]
	}
	return strings.Map(func(r rune) rune {
		if r == 0 {
			return -1
		}
		return r
	}, strings.ToValidUTF8(s, "?"))
}

// Offsets of the fields that every command has.
const offFlags = 8

func align8(n int) int { return (n + 7) &^ 7 }

func u64(b []byte) uint64       { return binary.NativeEndian.Uint64(b) }
func putU64(b []byte, v uint64) { binary.NativeEndian.PutUint64(b, v) }
