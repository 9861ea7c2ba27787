package kdbus

import (
	"context"
	"errors"
	"math"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/kdbus-go/kdbus/abi"
	"github.com/kdbus-go/kdbus/wire"
)

// memfdThreshold is from which size on, in bytes, a body goes as a memfd. Below, copying it through
// the socket is quicker than making and mapping a file.
const memfdThreshold = 128 << 10

// send sends a message, or a command. The bus answers calls, with the reply or why there is none,
// and commands; the rest only if it fails.
func (t *frames) send(ctx context.Context, m *outgoing) error {
	if m.command != nil {
		m.head = appendCommand(m.head[:0], m)
		return t.writer.send(ctx, m.head, nil, nil)
	}
	fds := m.fds
	m.fds = nil
	body, fds, err := t.encode(m, fds)
	if err != nil {
		closeFDs(fds)
		return err
	}
	return t.writer.send(ctx, m.head, body, fds)
}

// appendCommand appends the frame of a command.
func appendCommand(dst []byte, m *outgoing) []byte {
	h := abi.FrameHeader{Cmd: m.command.Cmd(), Tag: uint64(m.header.Serial)}
	if m.quiet {
		h.Code = uint32(abi.FrameQuiet)
	}
	if h.Cmd == abi.CmdHello {
		h.Code |= uint32(abi.FrameBrief)
	}
	dst = m.command.Append(h.Append(dst))
	h.Size = uint32(len(dst))
	h.Put(dst)
	return dst
}

// sendStructs are the command SEND, of a message and of a call. A call is a synchronous one: then
// the bus lets it be cancelled, and does not count it any more.
var sendStructs = [2][]byte{new(abi.Send).Append(nil), (&abi.Send{Flags: abi.SendSyncReply}).Append(nil)}

// encode writes the frame of a message into m.head, but for its end, the body that is returned
// with what is to be sent beside it.
func (t *frames) encode(m *outgoing, fds []int) (body []byte, _ []int, err error) {
	if err := t.envelope(m, len(fds)); err != nil {
		return nil, fds, err
	}
	k := &m.kmsg
	body = m.body
	if len(body) >= memfdThreshold {
		fd, err := newMemfd(body)
		if err != nil {
			return nil, fds, err
		}
		k.Payload = append(k.Payload, abi.Payload{Type: abi.ItemPayloadMemfd, FD: int32(len(fds)), Size: uint64(len(body))})
		fds, body = append(fds, fd), nil
	}
	if len(fds) > maxFDs {
		return nil, fds, tooManyFDs(len(fds))
	}
	if len(fds) == 0 && k.DstName == "" && k.Priority == 0 {
		switch {
		case k.CookieReply != 0:
			m.head = appendBrief(m.head[:0], m, body)
			return body, fds, nil
		case k.DstID == abi.DstIDBroadcast && len(body) <= maxBriefBroadcast:
			m.head = appendBriefBroadcast(m.head[:0], m, body)
			return nil, fds, nil
		}
	}
	h := abi.FrameHeader{Cmd: abi.CmdSend, Tag: uint64(m.header.Serial), Code: uint32(abi.FrameQuiet), FDs: uint32(len(fds))}
	// Where the header of D-Bus begins is known when it is written: its size, when it has been.
	k.Payload[0] = abi.Payload{Type: abi.ItemPayloadVec, Offset: uint64(k.Size()), Size: 1}
	send := sendStructs[0]
	if k.Flags&abi.MsgExpectReply != 0 {
		h.Code, send = 0, sendStructs[1]
	}
	dst := append(h.Append(m.head[:0]), send...)
	at := len(dst)
	dst = k.Append(dst)
	begin := len(dst)
	dst = m.header.Append(dst)
	k.Payload[0].Size = uint64(len(dst) - begin + len(body))
	k.Append(dst[at:at:begin])
	h.Size = uint32(len(dst) + len(body))
	h.Put(dst)
	m.head = dst
	return body, fds, nil
}

// appendBrief appends the frame of a reply, which needs nothing more, but for its body.
func appendBrief(dst []byte, m *outgoing, body []byte) []byte {
	h := abi.Brief{ID: m.kmsg.DstID, Flags: m.kmsg.Flags, CookieReply: uint32(m.kmsg.CookieReply)}
	dst = m.header.Append(h.Append(dst))
	h.Size = uint32(len(dst) + len(body))
	h.Put(dst)
	return dst
}

// maxBriefBroadcast is how long the body of a broadcast is at most, in bytes, that is copied for a brief frame.
const maxBriefBroadcast = 4 << 10

// appendBriefBroadcast appends the frame of a broadcast.
func appendBriefBroadcast(dst []byte, m *outgoing, body []byte) []byte {
	h := abi.Brief{ID: abi.DstIDBroadcast, Flags: m.kmsg.Flags, Filter: uint32(len(m.kmsg.Bloom.Data))}
	dst = m.header.Append(h.Append(dst))
	dst = append(append(dst, body...), m.kmsg.Bloom.Data...)
	h.Size = uint32(len(dst))
	h.Put(dst)
	return dst
}

// envelope fills in what the bus looks at, with one piece of payload.
func (t *frames) envelope(m *outgoing, files int) error {
	h, k := &m.header, &m.kmsg
	k.PayloadType, k.Cookie, k.Priority = abi.PayloadDBus, uint64(h.Serial), m.priority
	k.Payload = append(k.Payload[:0], abi.Payload{})
	for i := range files {
		k.FDs = append(k.FDs, int32(i))
	}
	if h.Flags&NoAutoStart != 0 {
		k.Flags |= abi.MsgNoAutoStart
	}
	switch h.Type {
	case wire.TypeMethodCall:
		if h.Flags&NoReplyExpected == 0 {
			k.Flags |= abi.MsgExpectReply
			k.TimeoutNS = timeoutOf(m.deadline)
		}
	case wire.TypeSignal:
		k.Flags |= abi.MsgSignal
		if err := t.addBloom(m); err != nil {
			return err
		}
	default:
		k.CookieReply = uint64(h.ReplySerial)
	}
	switch {
	case h.Destination == "" && h.Type == wire.TypeSignal:
		k.DstID = abi.DstIDBroadcast
		if files > 0 {
			return errors.New("a broadcast cannot carry file descriptors on a native connection; send the signal to one peer")
		}
	case h.Destination == "":
		k.DstName = busName // as on D-Bus
	case wire.IsUniqueName(h.Destination):
		number, ok := strings.CutPrefix(h.Destination, ":1.")
		id, err := strconv.ParseUint(number, 10, 64)
		if !ok || err != nil || id == 0 || id == abi.DstIDBroadcast {
			return errorOfErrno(unix.ENXIO, "no connection has the name "+h.Destination)
		}
		k.DstID = id
	default:
		k.DstName = h.Destination
	}
	return nil
}

// grace is by how much the bus waits longer for an answer than the caller: who has a context is
// told that it ended, by the context.
const grace = 100 * time.Millisecond

// timeoutOf returns a deadline as kdbus has it: on CLOCK_MONOTONIC, in nanoseconds.
func timeoutOf(deadline time.Time) uint64 {
	if deadline.IsZero() {
		return math.MaxUint64
	}
	left := max(0, time.Until(deadline)) + grace
	return uint64(time.Since(clock.start) + clock.monotonic + left)
}

// clock relates the time of package time to CLOCK_MONOTONIC.
var clock = func() (c struct {
	start     time.Time
	monotonic time.Duration
}) {
	var now unix.Timespec
	_ = unix.ClockGettime(unix.CLOCK_MONOTONIC, &now) // it cannot fail
	c.start, c.monotonic = time.Now(), time.Duration(now.Nano())
	return c
}()

// memfdSeals make a memfd one that nobody can change any more (memfd_create(2), fcntl(2)).
const memfdSeals = unix.F_SEAL_SHRINK | unix.F_SEAL_GROW | unix.F_SEAL_WRITE | unix.F_SEAL_SEAL

// newMemfd returns a sealed memfd that holds body.
func newMemfd(body []byte) (fd int, err error) {
	fd, err = unix.MemfdCreate("kdbus message", unix.MFD_ALLOW_SEALING|unix.MFD_CLOEXEC)
	if err != nil {
		return -1, err
	}
	for at := 0; at < len(body) && err == nil; {
		var n int
		n, err = unix.Write(fd, body[at:])
		if err == unix.EINTR {
			err = nil
		}
		at += max(n, 0)
	}
	if err == nil {
		_, err = unix.FcntlInt(uintptr(fd), unix.F_ADD_SEALS, memfdSeals)
	}
	if err != nil {
		unix.Close(fd)
		return -1, err
	}
	return fd, nil
}
