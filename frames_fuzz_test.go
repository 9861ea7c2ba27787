package kdbus

import (
	"encoding/binary"
	"testing"

	"github.com/kdbus-go/kdbus/abi"
	"github.com/kdbus-go/kdbus/wire"
)

// frameOf returns a frame with a body.
func frameOf(cmd abi.Cmd, tag uint64, code uint32, body []byte) []byte {
	h := abi.FrameHeader{Size: uint32(abi.FrameHeaderSize + len(body)), Cmd: cmd, Tag: tag, Code: code}
	return append(h.Append(nil), body...)
}

// received returns a frame as the bus sends a message.
func received(k abi.Message, payload []byte) []byte {
	if len(payload) > 0 {
		k.Payload = []abi.Payload{{Type: abi.ItemPayloadOff, Size: uint64(len(payload))}}
		k.Payload[0].Offset = uint64(k.Size())
	}
	return frameOf(abi.CmdRecv, 0, 0, append(k.Append(nil), payload...))
}

// FuzzFrames reads whatever may come from a bus, which may be a hostile one: it must end in a
// message that says what the frame says, in nothing, or in an error.
func FuzzFrames(f *testing.F) {
	call := payloadOf(f, wire.Header{Type: wire.TypeMethodCall, Path: "/", Member: "M"}, "text")
	signal := payloadOf(f, wire.Header{Type: wire.TypeSignal, Path: "/", Interface: "a.b", Member: "M"}, uint32(1))
	metadata := (&abi.Metadata{Has: abi.AttachPIDs | abi.AttachExe, PIDs: abi.PIDs{PID: 1}, Exe: "/bin/true"}).Append(nil, abi.AttachAll)
	party := abi.Party{ID: 7}
	for _, seed := range [][]byte{
		received(abi.Message{Flags: abi.MsgExpectReply, TimeoutNS: 1, DstID: 1, SrcID: 2, PayloadType: abi.PayloadDBus, Cookie: 1}, call),
		received(abi.Message{Flags: abi.MsgSignal, DstID: abi.DstIDBroadcast, SrcID: 2, PayloadType: abi.PayloadDBus, Cookie: 3, Metadata: metadata}, signal),
		received(abi.Message{Notification: abi.Notification{Type: abi.ItemNameAdd, New: party, Name: "a.b"}}, nil),
		received(abi.Message{Notification: abi.Notification{Type: abi.ItemNameChange, Old: party, New: abi.Party{ID: 1}, Name: "a.b"}}, nil),
		received(abi.Message{Notification: abi.Notification{Type: abi.ItemIDRemove, Old: party}}, nil),
		received(abi.Message{CookieReply: 5, Notification: abi.Notification{Type: abi.ItemReplyDead}}, nil),
		frameOf(abi.CmdRecv, 12, 2, nil),
		frameOf(abi.CmdSend, 9, 3, []byte("nobody")),
		frameOf(abi.CmdList, 4, 0, (&abi.List{Offset: 40}).Append(nil)),
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, frame []byte) {
		if len(frame) < abi.FrameHeaderSize {
			return
		}
		binary.NativeEndian.PutUint32(frame, uint32(len(frame)))
		in := newFrames(nil, &Conn{held: func() {}})
		in.self.Store(&identity{id: 1, name: ":1.1", bloom: abi.DefaultBloom})
		m, err := in.read(frame, false)
		if err != nil || m == nil {
			return
		}
		var h abi.FrameHeader
		_ = h.Decode(frame)
		if h.Cmd != abi.CmdRecv {
			if m.Sender() != busName || m.ReplySerial() != uint32(h.Tag) {
				t.Errorf("the answer to %v is %v to %d", h.Cmd, m, m.ReplySerial())
			}
			return
		}
		source := binary.NativeEndian.Uint64(frame[abi.FrameHeaderSize+32:])
		if want := uniqueName(source); source != 0 && m.Sender() != want || source == 0 && m.Sender() != busName {
			t.Errorf("a message of %d is of %s", source, m.Sender())
		}
		_, _ = m.Values()
		_ = m.String()
		m.discard()
	})
}
