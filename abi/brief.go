package abi

import (
	"encoding/binary"
	"syscall"
)

// A brief frame is a D-Bus message with little around it: for messages that need
// nothing of what kdbus can do besides. It takes less than half of what SEND
// and RECV take for a small message. kdbus.h does not have it; it is of sockets
// only. See docs/native-protocol.md.

const (
	// CmdBrief is the command of a brief frame: sent, it is a SEND with
	// FrameQuiet; one that arrives is a RECV, for this connection.
	CmdBrief = Cmd(iocMagic + 0x93)
	// CmdBroadcast is that of a brief frame with a broadcast that arrives, of
	// which there is so little to say that its header ends with the id.
	CmdBroadcast = Cmd(iocMagic + 0x94)
)

// BroadcastHeaderSize is the size of the header of a frame with CmdBroadcast, in
// bytes: size, command, and the id of the source. The whole frame has at least
// FrameHeaderSize bytes, as there is a D-Bus message in it.
const BroadcastHeaderSize = 16

// PutBroadcast writes the header of a frame with CmdBroadcast over the first
// BroadcastHeaderSize bytes of b.
func PutBroadcast(b []byte, size uint32, source uint64) {
	appendU64(appendU32(appendU32(b[:0:BroadcastHeaderSize], size), uint32(CmdBroadcast)), source)
}

// Brief is the header of a frame with CmdBrief, of FrameHeaderSize bytes. Behind it is a
// D-Bus message of version 1, the serial of which is the cookie.
type Brief struct {
	// Size of the frame with its header, in bytes.
	Size uint32
	// ID is the destination of a message being sent, a connection or
	// DstIDBroadcast; and the source of one that arrived.
	ID uint64
	// Flags are those of the message.
	Flags MsgFlags
	// CookieReply is the cookie of the call that this message answers, or 0. A broadcast has none.
	CookieReply uint32
	// Filter is how many bytes of a bloom filter, of generation 0, end the frame of a broadcast
	// being sent, behind the D-Bus message; 0 if the bus is to make the filter. It is where
	// CookieReply is in other messages.
	Filter uint32
}

// Append appends the header to dst.
func (h *Brief) Append(dst []byte) []byte {
	f := h.frame()
	return f.Append(dst)
}

// Put writes the header over the first FrameHeaderSize bytes of b.
func (h *Brief) Put(b []byte) {
	f := h.frame()
	f.Put(b)
}

func (h *Brief) frame() FrameHeader {
	f := FrameHeader{Size: h.Size, Cmd: CmdBrief, Tag: h.ID, Code: uint32(h.Flags), FDs: h.CookieReply}
	if h.ID == DstIDBroadcast {
		f.FDs = h.Filter
	}
	return f
}

// Decode reads the header f as that of a brief frame, which its Cmd says it is.
func (h *Brief) Decode(f *FrameHeader) {
	*h = Brief{Size: f.Size, ID: f.Tag, Flags: MsgFlags(f.Code)}
	if h.ID == DstIDBroadcast {
		h.Filter = f.FDs
	} else {
		h.CookieReply = f.FDs
	}
}

// Serial returns the serial of a D-Bus message, in whichever byte order it has;
// false if the bytes are no D-Bus message for sure.
func Serial(message []byte) (serial uint32, ok bool) {
	const least = 16
	if len(message) < least {
		return 0, false
	}
	switch message[0] {
	case 'l':
		return binary.LittleEndian.Uint32(message[8:]), true
	case 'B':
		return binary.BigEndian.Uint32(message[8:]), true
	}
	return 0, false
}

// CutFilter cuts the bloom filter off what is behind the header of a message
// being sent. It is nil if there is none. The error, EINVAL, is that it is longer
// than what is there.
func (h *Brief) CutFilter(behind []byte) (message, filter []byte, err error) {
	switch n := uint64(h.Filter); {
	case n == 0:
		return behind, nil, nil
	case n > uint64(len(behind)):
		return nil, nil, fault{syscall.EINVAL, "the frame is shorter than its bloom filter"}.at("brief message", offFlags, 0)
	default:
		at := uint64(len(behind)) - n
		return behind[:at:at], behind[at:], nil
	}
}

// CheckSent judges the header of a message being sent, and the D-Bus message, as
// CutFilter returns it, like [Message.DecodeSent] with the same errnos, and returns
// the cookie.
func (h *Brief) CheckSent(message []byte) (cookie uint32, err error) {
	const known = MsgExpectReply | MsgNoAutoStart | MsgSignal
	fail := func(errno syscall.Errno, reason string) (uint32, error) {
		return 0, fault{errno, reason}.at("brief message", offFlags, 0)
	}
	expect, signal := h.Flags&MsgExpectReply != 0, h.Flags&MsgSignal != 0
	cookie, ok := Serial(message)
	switch {
	case h.Flags&^known != 0:
		return fail(syscall.EINVAL, "unknown flags")
	case !ok:
		return fail(syscall.EBADMSG, "no D-Bus message")
	case len(message) > MsgMaxPayloadVecSize:
		return fail(syscall.EMSGSIZE, "more than 2 MiB")
	case cookie == 0:
		return fail(syscall.EINVAL, "the serial is 0")
	case h.ID == DstIDName:
		return fail(syscall.EDESTADDRREQ, "no destination; a name is for SEND")
	case h.ID == DstIDBroadcast && !signal:
		return fail(syscall.EBADMSG, "a broadcast that is no signal")
	case expect && signal:
		return fail(syscall.ENOTUNIQ, "a reply to a signal is expected")
	case h.CookieReply != 0 && (expect || signal):
		return fail(syscall.EINVAL, "an answer that is a call or a signal")
	}
	return cookie, nil
}
