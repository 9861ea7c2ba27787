package abi

import "syscall"

// Frames are what commands travel in where there is no ioctl: over a socket, one
// directly behind the other. docs/native-protocol.md of this module has the
// whole protocol. A request holds the struct of a command; its answer has the
// same command and tag. A message that arrives is a frame with CmdRecv that
// nobody asked for.

const (
	// FrameHeaderSize is the size of the header of a frame, in bytes.
	FrameHeaderSize = 24
	// FrameMaxSize is the largest request, in bytes with its header: a SEND
	// with as many items and as much payload as can be. What a bus sends has no
	// such limit.
	FrameMaxSize = FrameHeaderSize + 2*CmdMaxSize + MsgMaxPayloadVecSize
	// FrameMaxFDs is how many file descriptors a frame can come with: what one
	// sendmsg(2) takes.
	FrameMaxFDs = 253
)

// FrameFlags are those of a request.
type FrameFlags uint32

const (
	// FrameQuiet: answer only if the command fails.
	FrameQuiet FrameFlags = 1 << iota
	// FrameBrief, with HELLO: messages may arrive in brief frames, see [Brief].
	FrameBrief
)

func (f FrameFlags) String() string { return flagString(uint64(f), "QUIET", "BRIEF") }

// FrameHeader begins every frame.
type FrameHeader struct {
	// Size of the frame with its header, in bytes.
	Size uint32
	// Cmd is the command, in its answer, too; CmdRecv if a message arrives.
	Cmd Cmd
	// Tag is chosen by who asks, and repeated in the answer. With a message
	// that arrives, it is how many messages were dropped since the last one.
	Tag uint64
	// Code is [FrameFlags] in a request, an errno or 0 in an answer, and
	// [RecvReturnFlags] with a message that arrives.
	Code uint32
	// FDs is how many file descriptors come with the frame.
	FDs uint32
}

// Append appends the 24 bytes of the header to dst.
func (h *FrameHeader) Append(dst []byte) []byte {
	dst = appendU32(appendU32(dst, h.Size), uint32(h.Cmd))
	return appendU32(appendU32(appendU64(dst, h.Tag), h.Code), h.FDs)
}

// Put writes the header over the first 24 bytes of b.
func (h *FrameHeader) Put(b []byte) { h.Append(b[:0:FrameHeaderSize]) }

// Decode reads a header from the beginning of b. The error is EINVAL: b is
// shorter than a header, or says that the frame is. Whether the frame is too
// large (see FrameMaxSize) is for the caller to say, who knows which side it is.
func (h *FrameHeader) Decode(b []byte) error {
	const what = "frame"
	if len(b) < FrameHeaderSize {
		return invalid("fewer bytes than a header has").at(what, 0, 0)
	}
	*h = FrameHeader{Size: u32(b, 0), Cmd: Cmd(u32(b, 4)), Tag: u64(b, 8), Code: u32(b, 16), FDs: u32(b, 20)}
	if h.Size < FrameHeaderSize {
		return invalid("size is less than that of the header").at(what, 0, 0)
	}
	return nil
}

// CmdCancel ends the waiting of a SEND with SendSyncReply. kdbus.h does not have
// it: there, CANCEL_FD does this.
const CmdCancel = Cmd(iocW | sizeCancel<<16 | (iocMagic + 0x92))

const sizeCancel = 32 // struct kdbus_cmd, and a tag

var cancelShape = shape{"CANCEL", sizeCancel, 0, nil}

// Cancel is the command CmdCancel, of sockets only.
type Cancel struct {
	Negotiate Negotiation
	// Tag is that of the frame with the SEND that is to wait no more.
	Tag uint64
}

// Cmd returns CmdCancel.
func (*Cancel) Cmd() Cmd { return CmdCancel }

// Decode reads a request.
func (c *Cancel) Decode(b []byte) error {
	items, _, probe, err := cancelShape.open(b)
	if err != nil {
		return err
	}
	*c = Cancel{Negotiate: onlyNegotiation(items, probe), Tag: u64(b, 24)}
	return nil
}

// Append appends the struct.
func (c *Cancel) Append(dst []byte) []byte {
	start := len(dst)
	dst = appendU64(appendHead(dst, 0, c.Negotiate, 0), c.Tag)
	return putSize(c.Negotiate.append(dst), start)
}

// CutStruct cuts the struct that b begins with, with its items, off what follows
// it behind padding to a multiple of 8: in a request of SEND the message, behind
// a message its payload, behind an answer the infos. The size is judged like that
// of a command, EINVAL or EMSGSIZE; what names the struct in the error. If b ends
// with the struct, rest is empty.
func CutStruct(b []byte, what string) (first, rest []byte, err error) {
	fail := func(errno syscall.Errno, reason string) ([]byte, []byte, error) {
		return nil, nil, fault{errno, reason}.at(what, offSize, 0)
	}
	if len(b) < 8 {
		return fail(syscall.EINVAL, "too short for its size")
	}
	size := u64(b, offSize)
	switch {
	case size < 8:
		return fail(syscall.EINVAL, "size is less than that of the struct")
	case size > CmdMaxSize:
		return fail(syscall.EMSGSIZE, "size is more than 32 KiB")
	case size > uint64(len(b)):
		return fail(syscall.EINVAL, "size goes beyond the end of the frame")
	}
	return b[:size:size], b[min(align8(int(size)), len(b)):], nil
}
