package native

import (
	"math"
	"syscall"

	"github.com/kdbus-go/kdbus/abi"
	"github.com/kdbus-go/kdbus/bus"
	"github.com/kdbus-go/kdbus/meta"
	"github.com/kdbus-go/kdbus/transport"
	"github.com/kdbus-go/kdbus/wire"
)

// Encode implements transport.Protocol.
func (c *conn) Encode(e *transport.Encoding, m *bus.Message) {
	if m.Answer {
		e.Pieces(m.Payload)
		return
	}
	own := formOf(m)
	if own != nil && own.brief != nil && m.Meta == nil && m.ReplyCookie == 0 && c.brief && c.isFor(m) && !c.bus.HasDropped() {
		e.Piece(own.brief) // as it is nearly always with broadcasts, of which there can be many
		return
	}
	h := abi.FrameHeader{Cmd: abi.CmdRecv}
	call, answers := syncCall{}, false
	if m.Dst == c.bus.ID() || m.Dst == bus.ToName {
		call, answers = c.calls.end(m)
	}
	switch {
	case answers:
		h.Cmd, h.Tag = abi.CmdSend, call.tag
	case m.Notification != nil && m.Notification.Kind == bus.MessagesDropped:
		c.encodeEmpty(e, false)
		return
	case m.Notification != nil && m.Notification.Kind == bus.MessagesHeld:
		c.encodeEmpty(e, true)
		return
	case m.Notification != nil && notification(m.Notification).Type == 0:
		return // of no interest but to D-Bus 1 peers
	default:
		c.putDropped(&h)
	}
	if m.Notification != nil {
		c.encodeNotification(e, &h, m)
		return
	}
	if m.FDs != nil || m.Memfds() != nil {
		h.FDs = uint32(len(m.FDs) + len(m.Memfds()))
		e.FDs(m.FDs...)
		e.FDs(m.Memfds()...)
	}
	data, kinds := c.bus.Attached(m)
	switch {
	case c.encodeBrief(e, &h, m, own, data):
	case own == nil:
		encodePlain(e, &h, m, c.addressed(m), m.Payload, data, kinds)
	case own.frame == nil:
		encodePlain(e, &h, m, "", [][]byte{own.segments[0].Bytes}, data, kinds)
	default:
		own.encode(e, &h, data, kinds)
	}
}

// isFor reports whether m is for the peer, which does not merely overhear it. What went to a name may be
// either: there the bus does not know, but monitors are told all there is.
func (c *conn) isFor(m *bus.Message) bool {
	return m.Dst == bus.Broadcast || m.Dst == c.bus.ID() || m.Dst == bus.ToName && c.bus.Flags()&bus.FlagMonitor == 0
}

// encodeEmpty encodes a frame without a message: it says how many were dropped, if some were. To an
// activator it says, in any case, that messages wait for somebody to take its name.
func (c *conn) encodeEmpty(e *transport.Encoding, always bool) {
	h := abi.FrameHeader{Size: abi.FrameHeaderSize, Cmd: abi.CmdRecv}
	if c.putDropped(&h) || always {
		e.Head(h.Append)
	}
}

// putDropped says how many messages were dropped that the peer does not know of yet.
func (c *conn) putDropped(h *abi.FrameHeader) (some bool) {
	if h.Tag = c.bus.TakeDropped(); h.Tag > 0 {
		h.Code = uint32(abi.RecvReturnDroppedMsgs)
	}
	return h.Tag > 0
}

// formOf returns m as a native peer has sent it, or nil if another has.
func formOf(m *bus.Message) *message {
	if m.Extra == nil {
		return nil
	}
	own, _ := m.Extra.Form.(*message)
	return own
}

// encode encodes m for a receiver who gets these kinds of data.
func (m *message) encode(e *transport.Encoding, h *abi.FrameHeader, data *meta.Data, kinds meta.Kinds) {
	switch {
	case data != nil:
		payload := m.frame[min(abi.FrameHeaderSize+align8(len(m.kmsg)), len(m.frame)):]
		e.Head(func(dst []byte) []byte {
			start := len(dst)
			dst = append(h.Append(dst), m.kmsg...)
			return m.attach(dst, start, h, data, kinds, len(payload))
		})
		e.Piece(payload)
	case h.Cmd == abi.CmdRecv && h.Tag == 0:
		e.Piece(m.frame)
	default:
		h.Size = uint32(len(m.frame))
		e.Head(h.Append)
		e.Piece(m.frame[abi.FrameHeaderSize:])
	}
}

// attach appends metadata to the message at the end of dst, whose frame begins at start, and corrects
// what is wrong then.
func (m *message) attach(dst []byte, start int, h *abi.FrameHeader, data *meta.Data, kinds meta.Kinds, payload int) []byte {
	dst = padTo8(dst, start+abi.FrameHeaderSize)
	before := len(dst)
	dst = appendMetadata(dst, data, kinds)
	kmsg := dst[start+abi.FrameHeaderSize:]
	for at := sizeKmsg; at+sizeItem <= len(m.kmsg); {
		item := kmsg[at:]
		at += align8(int(u64(item)))
		if abi.ItemType(u64(item[offType:])) != abi.ItemPayloadOff {
			continue
		}
		if offset := u64(item[offVecAddr:]); offset != abi.ZerosOffset {
			putU64(item[offVecAddr:], offset+uint64(len(dst)-before))
		}
	}
	return end(dst, start, h, payload)
}

// end writes the sizes of the message that ends dst, and of its frame, which begins at start.
func end(dst []byte, start int, h *abi.FrameHeader, payload int) []byte {
	putU64(dst[start+abi.FrameHeaderSize:], uint64(len(dst)-start-abi.FrameHeaderSize))
	h.Size = uint32(len(dst) - start + payload)
	h.Put(dst[start:])
	return dst
}

func padTo8(dst []byte, start int) []byte {
	var zeros [8]byte
	return append(dst, zeros[:-(len(dst)-start)&7]...)
}

// appendMetadata appends items of these kinds.
func appendMetadata(dst []byte, data *meta.Data, kinds meta.Kinds) []byte {
	if kinds == 0 {
		return dst
	}
	m := metadataOf(data)
	return m.Append(dst, abi.AttachFlags(kinds))
}

// never is when the reply to a call of D-Bus 1 comes too late.
const never = math.MaxUint64

// addressed returns the name that the D-Bus 1 peer who sent m has addressed it by, which monitors are
// told. Others know that it is for them, and need not wait until the header has been read.
func (c *conn) addressed(m *bus.Message) string {
	if m.Dst != bus.ToName || c.bus.Flags()&bus.FlagMonitor == 0 || len(m.Payload) == 0 {
		return ""
	}
	var header wire.Header
	if _, err := header.Parse(m.Payload[0]); err != nil {
		return ""
	}
	return header.Destination
}

// encodePlain encodes a message that is there as D-Bus has it only, to this name, with this payload: of a
// D-Bus 1 peer, of the driver, or from a brief frame.
func encodePlain(e *transport.Encoding, h *abi.FrameHeader, m *bus.Message, name string, pieces [][]byte, data *meta.Data, kinds meta.Kinds) {
	size := 0
	for _, p := range pieces {
		size += len(p)
	}
	e.Head(func(dst []byte) []byte {
		start := len(dst)
		payload := [1]abi.Payload{{Type: abi.ItemPayloadOff, Size: uint64(size)}}
		var numbers [abi.FrameMaxFDs]int32
		for i := range m.FDs {
			numbers[i] = int32(i)
		}
		k := abi.Message{
			Flags:       abi.MsgFlags(m.Flags),
			Priority:    m.Priority(),
			DstID:       uint64(m.Dst),
			DstName:     name,
			SrcID:       uint64(m.Src),
			PayloadType: abi.PayloadDBus,
			Cookie:      m.Cookie,
			CookieReply: m.ReplyCookie,
			Payload:     payload[:],
			FDs:         numbers[:len(m.FDs)],
		}
		if m.Dst == bus.Broadcast {
			k.Flags |= abi.MsgSignal
		}
		if k.Flags&abi.MsgExpectReply != 0 {
			k.TimeoutNS = never
		}
		dst = k.Append(h.Append(dst))
		dst = padTo8(dst, start+abi.FrameHeaderSize)
		dst = appendMetadata(dst, data, kinds)
		kmsg := dst[start+abi.FrameHeaderSize:]
		vec := kmsg[sizeKmsg:] // the first item, unless the name is
		if name != "" {
			vec = vec[align8(int(u64(vec))):]
		}
		putU64(vec[offVecAddr:], uint64(len(kmsg)))
		return end(dst, start, h, size)
	})
	e.Pieces(pieces)
}

// encodeNotification encodes what the bus itself has to say: kdbus.message(7), "Notifications". To one
// who waits for the reply that does not come, it is an error.
func (c *conn) encodeNotification(e *transport.Encoding, h *abi.FrameHeader, m *bus.Message) {
	if h.Cmd == abi.CmdSend {
		text := "SEND: the one who was called left without a reply"
		h.Code = uint32(syscall.EPIPE)
		if m.Notification.Kind == bus.ReplyTimeout {
			text = "SEND: no reply came in time"
			h.Code = uint32(syscall.ETIMEDOUT)
		}
		if m.Notification.Reason != nil {
			reason := reasonOf(m.Notification.Reason)
			h.Code = uint32(reason.Errno)
			if text = "SEND: " + reason.Text; reason.Name != "" {
				text = reason.Name + ": " + reason.Text
			}
		}
		h.Size = uint32(abi.FrameHeaderSize + len(text))
		e.Head(func(dst []byte) []byte { return append(h.Append(dst), text...) })
		return
	}
	data, kinds := c.bus.Attached(m)
	e.Head(func(dst []byte) []byte {
		start := len(dst)
		k := abi.Message{DstID: uint64(m.Dst), CookieReply: m.ReplyCookie, Notification: notification(m.Notification)}
		if reason := m.Notification.Reason; reason != nil {
			k.Notification.Reason = reasonOf(reason)
		}
		if m.Dst == bus.Broadcast {
			k.Flags = abi.MsgSignal
		}
		dst = appendMetadata(k.Append(h.Append(dst)), data, kinds)
		return end(dst, start, h, 0)
	})
}

// notification translates a notification. Its type is 0 if kdbus has none like that.
func notification(n *bus.Notification) abi.Notification {
	before, after := abi.Party{ID: uint64(n.OldOwner), Flags: n.OldFlags}, abi.Party{ID: uint64(n.NewOwner), Flags: n.NewFlags}
	switch n.Kind {
	case bus.NameChanged:
		t := abi.ItemNameChange
		if n.OldOwner == 0 {
			t = abi.ItemNameAdd
		} else if n.NewOwner == 0 {
			t = abi.ItemNameRemove
		}
		return abi.Notification{Type: t, Old: before, New: after, Name: n.Name}
	case bus.IDAdded:
		return abi.Notification{Type: abi.ItemIDAdd, New: after}
	case bus.IDRemoved:
		return abi.Notification{Type: abi.ItemIDRemove, Old: before}
	case bus.ReplyTimeout:
		return abi.Notification{Type: abi.ItemReplyTimeout}
	case bus.ReplyDead:
		return abi.Notification{Type: abi.ItemReplyDead}
	}
	return abi.Notification{}
}
