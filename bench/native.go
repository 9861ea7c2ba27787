package bench

import (
	"encoding/binary"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/kdbus-go/kdbus/abi"
)

// native is the protocol of kdbus.h in frames, which our bus speaks with those who ask for
// it: docs/native-protocol.md. Payloads are the D-Bus messages that [dbus1] sends, so that a
// D-Bus 1 peer could be sent the same. What a brief frame can carry goes in one, as with
// any client that cares for speed. Sending is quiet: it is answered only if it fails.
type native struct {
	// memfd: descriptors can come and go, and the body of a call is in a memfd, the first
	// descriptor of its frame.
	memfd bool
	// deadline is when replies are too late, in ns of CLOCK_MONOTONIC, for the first call.
	// It is a little later with each call, as with a client that has a timeout.
	deadline uint64
	bloom    abi.BloomParameter // as the bus says
}

// longTimeout is how long a reply may take; it ends when the measurement is long over.
const longTimeout = time.Hour

// poolSize bounds the bytes that wait for a client: what clients of kdbus ask for.
const poolSize = 16 << 20

func newNative(memfd bool) *native {
	n := &native{memfd: memfd}
	var now unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_MONOTONIC, &now); err != nil {
		panic(err) // there is this clock everywhere
	}
	n.deadline = uint64(now.Nano() + int64(longTimeout))
	return n
}

// errNotNative is that a bus does not speak the native protocol.
var errNotNative = errors.New("the bus does not speak the native protocol")

// askNative is what to ask for a native connection with.
var askNative = question{"NEGOTIATE_KDBUS 1", "AGREE_KDBUS 1"}

func (n *native) negotiation() []question {
	if n.memfd {
		return []question{{"NEGOTIATE_UNIX_FD", "AGREE_UNIX_FD"}, askNative}
	}
	return []question{askNative}
}

// Where the fields are that are patched in a frame with a message that is sent, and looked
// at in one that arrives. In the former the message comes behind struct kdbus_cmd_send.
const (
	tagAt  = 8
	codeAt = 16

	sentAt     = abi.FrameHeaderSize + 56
	receivedAt = abi.FrameHeaderSize

	// Of struct kdbus_msg.
	flagsAt       = 8
	payloadTypeAt = 40
	cookieAt      = 48
	timeoutAt     = 56 // of calls
	cookieReplyAt = 56 // of all others
	messageSize   = 64

	// Of the header of a brief frame.
	briefReplyAt = 20
)

func u32(b []byte) uint32 { return binary.NativeEndian.Uint32(b) }
func u64(b []byte) uint64 { return binary.NativeEndian.Uint64(b) }

func putU32(b []byte, v uint32) { binary.NativeEndian.PutUint32(b, v) }
func putU64(b []byte, v uint64) { binary.NativeEndian.PutUint64(b, v) }

// frame returns a frame with a command, and what comes behind its struct.
func frame(flags abi.FrameFlags, fds uint32, command abi.Command, behind []byte) []byte {
	h := abi.FrameHeader{Cmd: command.Cmd(), Code: uint32(flags), FDs: fds}
	f := append(command.Append(h.Append(nil)), behind...)
	h.Size = uint32(len(f))
	h.Put(f)
	return f
}

// send returns the frame that sends m with a payload: all of it inline, unless rest more bytes
// of it are in the frame's memfd.
func send(m *abi.Message, inline []byte, rest int) []byte {
	m.PayloadType = abi.PayloadDBus
	m.Cookie = 1
	m.Payload = []abi.Payload{{Type: abi.ItemPayloadVec, Size: uint64(len(inline))}}
	fds := uint32(0)
	if rest > 0 {
		m.Payload = append(m.Payload, abi.Payload{Type: abi.ItemPayloadMemfd, FD: 0, Size: uint64(rest)})
		fds = 1
	}
	m.Payload[0].Offset = uint64(m.Size())
	return frame(abi.FrameQuiet, fds, &abi.Send{}, append(m.Append(nil), inline...))
}

// brief returns the brief frame that sends a D-Bus message.
func brief(h abi.Brief, message []byte) []byte {
	h.Size = uint32(abi.FrameHeaderSize + len(message))
	return append(h.Append(nil), message...)
}

func (n *native) hello() []byte {
	h := &abi.Hello{PoolSize: poolSize, AttachFlagsSend: abi.AttachAny}
	if n.memfd {
		h.Flags = abi.HelloAcceptFD
	}
	return frame(abi.FrameBrief, 0, h, nil)
}

func (n *native) welcome(answer []byte) (string, error) {
	body := answer[abi.FrameHeaderSize:]
	fixed, _, err := abi.CutStruct(body, "the answer to HELLO")
	if err != nil {
		return "", err
	}
	var h abi.Hello
	if err := h.DecodeReply(fixed); err != nil {
		return "", fmt.Errorf("read the answer to HELLO: %w", err)
	}
	if h.Reply.Offset > uint64(len(body)) {
		return "", fmt.Errorf("read the answer to HELLO: its items are at %d of %d bytes", h.Reply.Offset, len(body))
	}
	for item := range abi.Items(body[h.Reply.Offset:]).All() {
		if item.Type == abi.ItemBloomParameter && len(item.Data) == 16 {
			n.bloom = abi.BloomParameter{Size: u64(item.Data), NHash: u64(item.Data[8:])}
		}
	}
	if _, err := abi.NewBloom(n.bloom); err != nil {
		return "", fmt.Errorf("read the answer to HELLO: %w", err)
	}
	return uniquePrefix + strconv.FormatUint(h.Reply.ID, 10), nil
}

// uniquePrefix and the number of a connection are its unique name.
const uniquePrefix = ":1."

// connectionID returns the number of a connection.
func connectionID(name string) (uint64, error) {
	digits, ok := strings.CutPrefix(name, uniquePrefix)
	id, err := strconv.ParseUint(digits, 10, 64)
	if !ok || err != nil {
		return 0, fmt.Errorf("%q is not the unique name of a native peer", name)
	}
	return id, nil
}

func (n *native) size(b []byte) (int, error) {
	if len(b) < abi.FrameHeaderSize || u32(b) < abi.FrameHeaderSize {
		return 0, errors.New("bytes that are no frame")
	}
	return int(u32(b)), nil
}

func (n *native) headerSize() int { return abi.FrameHeaderSize }

func (n *native) kind(m []byte) kind {
	switch abi.Cmd(u32(m[4:])) {
	case abi.CmdBroadcast:
		return kindSignal
	case abi.CmdBrief:
		switch {
		case abi.MsgFlags(u32(m[codeAt:]))&abi.MsgExpectReply != 0:
			return kindCall
		case u32(m[briefReplyAt:]) != 0:
			return kindReply
		}
		return kindOther
	case abi.CmdRecv:
	default:
		if u32(m[codeAt:]) != 0 {
			return kindFailure
		}
		return kindReply
	}
	if u64(m[tagAt:]) != 0 || len(m) < receivedAt+messageSize {
		return kindFailure // messages were dropped
	}
	msg := m[receivedAt:]
	flags := abi.MsgFlags(u64(msg[flagsAt:]))
	switch {
	case abi.PayloadType(u64(msg[payloadTypeAt:])) != abi.PayloadDBus:
		return kindFailure // a notification: we ask for none but those about our calls
	case flags&abi.MsgSignal != 0:
		return kindSignal
	case flags&abi.MsgExpectReply != 0:
		return kindCall
	case u64(msg[cookieReplyAt:]) != 0:
		return kindReply
	}
	return kindOther
}

func (n *native) failure(m []byte) error {
	var h abi.FrameHeader
	if err := h.Decode(m); err != nil {
		return err
	}
	switch {
	case h.Cmd != abi.CmdRecv:
		return fmt.Errorf("%v: the bus answered %s: %s", h.Cmd, unix.ErrnoName(syscall.Errno(h.Code)), m[abi.FrameHeaderSize:])
	case h.Tag != 0:
		return fmt.Errorf("the bus dropped %d messages", h.Tag)
	}
	var msg abi.Message
	if err := msg.DecodeReceived(m[receivedAt:]); err != nil {
		return fmt.Errorf("the bus sent a message that cannot be read: %w", err)
	}
	return fmt.Errorf("the bus sent a notification: %v", msg.Notification.Type)
}

func (n *native) call(peer string, payload int) ([]byte, error) {
	id, err := connectionID(peer)
	if err != nil {
		return nil, err
	}
	m, rest := benchCall(peer, payload), 0
	if n.memfd {
		rest = len(benchBody(payload))
		m = m[:len(m)-rest]
	}
	if rest == 0 {
		return brief(abi.Brief{ID: id, Flags: abi.MsgExpectReply}, m), nil
	}
	return send(&abi.Message{Flags: abi.MsgExpectReply, DstID: id, TimeoutNS: n.deadline}, m, rest), nil
}

func (n *native) reply(peer string) ([]byte, error) {
	id, err := connectionID(peer)
	if err != nil {
		return nil, err
	}
	return brief(abi.Brief{ID: id, CookieReply: 1}, benchReply(peer)), nil
}

// elements fills a bloom filter with what clients put there of benchSignal or benchMatch.
func (n *native) elements(all bool) []byte {
	b, err := abi.NewBloom(n.bloom)
	if err != nil {
		panic(err) // welcome has seen to that
	}
	b.Add("message-type", "signal")
	b.Add("interface", serviceInterface)
	b.Add("member", serviceSignal)
	b.Add("path", servicePath)
	if all {
		b.AddPrefixes("path-slash-prefix", servicePath, '/')
	}
	return b.Data
}

func (n *native) signal() []byte {
	filter := n.elements(true)
	h := abi.Brief{ID: abi.DstIDBroadcast, Flags: abi.MsgSignal, Filter: uint32(len(filter))}
	return brief(h, append(benchSignal(), filter...))
}

func (n *native) subscription() []byte {
	return frame(0, 0, &abi.MatchAdd{
		Cookie: 1,
		Rules:  []abi.MatchRule{{Type: abi.ItemBloomMask, Mask: n.elements(false)}},
	}, nil)
}

func (n *native) own() []byte { return frame(0, 0, &abi.NameAcquire{Name: serviceName}, nil) }

// payloadOf returns the payload of a frame with a message that is sent.
func payloadOf(f []byte) []byte { return f[sentAt+u64(f[sentAt:]):] }

// number numbers a frame, the message in it, and the D-Bus message in that.
func (n *native) number(f []byte, serial uint32) {
	if abi.Cmd(u32(f[4:])) == abi.CmdBrief {
		setSerial(f[abi.FrameHeaderSize:], serial)
		return
	}
	putU64(f[tagAt:], uint64(serial))
	if abi.Cmd(u32(f[4:])) != abi.CmdSend {
		return
	}
	m := f[sentAt:]
	putU64(m[cookieAt:], uint64(serial))
	if abi.MsgFlags(u64(m[flagsAt:]))&abi.MsgExpectReply != 0 {
		putU64(m[timeoutAt:], n.deadline+uint64(serial)*uint64(time.Microsecond))
	}
	setSerial(payloadOf(f), serial)
}

func (n *native) answer(reply, call []byte) {
	cookie := uint32(0)
	if abi.Cmd(u32(call[4:])) == abi.CmdBrief {
		cookie = serialOf(call[abi.FrameHeaderSize:])
	} else {
		cookie = uint32(u64(call[receivedAt+cookieAt:]))
	}
	putU32(reply[briefReplyAt:], cookie)
	setReplySerial(reply[abi.FrameHeaderSize:], cookie)
}
