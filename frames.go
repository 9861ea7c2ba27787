package kdbus

import (
	"context"
	"encoding/binary"
	"fmt"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/kdbus-go/kdbus/abi"
	"github.com/kdbus-go/kdbus/wire"
)

// frames is the transport of the native protocol: commands of kdbus in frames on a stream socket,
// see docs/native-protocol.md. This file is the way in, sendframe.go the way out.
//
// What it hands to the connection are D-Bus messages, whatever came: answers to commands are
// answers to calls of the bus, and what the bus notifies of are the signals that a D-Bus bus would
// have sent (notification.go). Who sent a message, to whom, and what it answers is told by the
// frame; a payload that says otherwise is dropped.
type frames struct {
	socket *socket
	writer writer
	inbox
	err error // after which there is no next message

	self    atomic.Pointer[identity] // nil before HELLO
	names   map[uint64]string        // unique names of senders seen lately
	kmsg    abi.Message              // scratch
	more    []*Message               // made of the last frame, which gave several
	conn    *Conn                    // whose it is: it counts what was dropped
	blooms  sync.Pool                // of *abi.Bloom
	signals signalBlooms
}

// identity is what the bus has said to HELLO.
type identity struct {
	id    uint64
	name  string
	bloom abi.BloomParameter
}

func newFrames(s *socket, c *Conn) *frames {
	return &frames{socket: s, writer: writer{socket: s}, inbox: newInbox(s, abi.FrameHeaderSize, frameSize),
		names: make(map[uint64]string), conn: c}
}

// maxFrame is the largest frame that is accepted: a D-Bus message that is not in a memfd, with its
// items.
const maxFrame = wire.MaxMessageSize + abi.FrameMaxSize

func frameSize(b []byte) (int, error) {
	var h abi.FrameHeader
	if err := h.Decode(b); err != nil {
		return 0, err
	}
	if h.Size > maxFrame {
		return 0, fmt.Errorf("a frame of %d bytes", h.Size)
	}
	return int(h.Size), nil
}

func (t *frames) flush(ctx context.Context) error { return t.writer.waitIdle(ctx) }

func (t *frames) stop(err error) { t.writer.stop(err) }

func (t *frames) close() { t.socket.close() }

func (t *frames) await(ready func() bool) error { return t.socket.await(ready) }

func (t *frames) receive(patience time.Duration) (m *Message, err error) {
	for m == nil && t.err == nil {
		if len(t.more) > 0 {
			m, t.more = t.more[0], t.more[1:]
			break
		}
		var frame []byte
		var owned bool
		if frame, owned, t.err = t.inbox.next(patience); frame == nil {
			break
		}
		m, t.err = t.read(frame, owned)
	}
	return m, t.err
}

// read returns the message that a frame holds, or nil if it is none for the program.
func (t *frames) read(frame []byte, owned bool) (*Message, error) {
	var h abi.FrameHeader
	if err := h.Decode(frame); err != nil {
		return nil, err
	}
	if h.Cmd == abi.CmdBrief || h.Cmd == abi.CmdBroadcast {
		return t.brief(&h, frame, owned)
	}
	var fds []int
	if h.FDs > 0 {
		var err error
		if fds, err = t.takeFDs(h.FDs); err != nil {
			return nil, err
		}
	}
	body := frame[abi.FrameHeaderSize:]
	switch {
	case h.Cmd == abi.CmdSend && h.Code == 0 && len(body) > 0:
		// It is a message like any other.
	case h.Cmd == abi.CmdRefused:
		closeFDs(fds)
		return nil, t.conn.tellRefused(h.Tag, body)
	case h.Cmd != abi.CmdRecv:
		closeFDs(fds)
		return t.answer(&h, body)
	case h.Tag > 0:
		t.conn.dropped.Add(h.Tag)
	case len(body) == 0 && t.conn.held != nil:
		t.conn.held()
	}
	if len(body) == 0 {
		closeFDs(fds)
		return nil, nil
	}
	if err := t.kmsg.DecodeReceived(body); err != nil {
		closeFDs(fds)
		return nil, err
	}
	if t.kmsg.SrcID == abi.SrcIDKernel && t.kmsg.PayloadType == abi.PayloadKernel {
		closeFDs(fds)
		m, err := t.notified(&t.kmsg)
		if err == nil && m != nil {
			err = m.takeMetadata(t.kmsg.Metadata)
		}
		return m, err
	}
	m, err := t.message(&t.kmsg, body, owned, fds)
	switch {
	case err == errNotAMessage && h.Cmd == abi.CmdSend:
		return t.fromBus(&wire.Header{Type: wire.TypeError, ReplySerial: uint32(h.Tag), ErrorName: ErrNoReply.Name},
			"the answer that came is no D-Bus message")
	case err == errNotAMessage:
		err = nil // its sender's business
	}
	return m, err
}

// brief returns the message that a brief frame holds, or nil if it is none.
func (t *frames) brief(h *abi.FrameHeader, frame []byte, owned bool) (*Message, error) {
	k := &t.kmsg
	*k = abi.Message{SrcID: h.Tag, PayloadType: abi.PayloadDBus, Payload: k.Payload[:0], FDs: k.FDs[:0]}
	body := frame[abi.FrameHeaderSize:]
	if h.Cmd == abi.CmdBroadcast {
		body = frame[abi.BroadcastHeaderSize:]
		k.DstID, k.Flags = abi.DstIDBroadcast, abi.MsgSignal
	} else {
		var brief abi.Brief
		brief.Decode(h)
		k.Flags, k.CookieReply = brief.Flags, uint64(brief.CookieReply)
		if self := t.self.Load(); self != nil {
			k.DstID = self.id
		}
	}
	serial, _ := abi.Serial(body)
	k.Cookie = uint64(serial)
	k.Payload = append(k.Payload, abi.Payload{Type: abi.ItemPayloadOff, Size: uint64(len(body))})
	m, err := t.message(k, body, owned, nil)
	if err == errNotAMessage {
		err = nil // its sender's business
	}
	return m, err
}

// answer makes the answer to a command that of a call of the bus: the body is what the frame holds.
func (t *frames) answer(h *abi.FrameHeader, body []byte) (*Message, error) {
	serial := uint32(h.Tag)
	if serial == 0 {
		return nil, nil
	}
	if h.Code != 0 {
		e := errorOfErrno(syscall.Errno(h.Code), string(body))
		m, err := t.fromBus(&wire.Header{Type: wire.TypeError, ReplySerial: serial, ErrorName: e.Name}, e.Message)
		if err == nil {
			m.errno = e.errno
		}
		return m, err
	}
	m := newMessage(body, false)
	m.body = m.raw
	m.header = wire.Header{Type: wire.TypeMethodReturn, Order: machineOrder, ReplySerial: serial, Sender: busName}
	return m, nil
}

// machineOrder is the byte order of the machine.
var machineOrder = func() wire.Order {
	if binary.NativeEndian.Uint16([]byte{1, 0}) == 1 {
		return wire.LittleEndian
	}
	return wire.BigEndian
}()

// fromBus returns a message of the bus with the given values.
func (t *frames) fromBus(h *wire.Header, values ...any) (*Message, error) {
	m := wire.Message{Header: *h}
	m.Header.Sender, m.Header.Serial = busName, 1<<32-1
	if err := m.SetBody(values...); err != nil {
		return nil, err
	}
	raw, err := m.Append(nil)
	if err != nil {
		return nil, err
	}
	made := &Message{raw: raw}
	return made, made.parse()
}

// maxSenders is how many unique names are remembered.
const maxSenders = 256

// uniqueName returns the unique name of a connection.
func (t *frames) uniqueName(id uint64) string {
	if name, ok := t.names[id]; ok {
		return name
	}
	if len(t.names) >= maxSenders {
		clear(t.names)
	}
	name := uniqueName(id)
	t.names[id] = name
	return name
}
