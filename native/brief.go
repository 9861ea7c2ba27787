package native

import (
	"math"
	"syscall"

	"github.com/kdbus-go/kdbus/abi"
	"github.com/kdbus-go/kdbus/bus"
	"github.com/kdbus-go/kdbus/meta"
	"github.com/kdbus-go/kdbus/transport"
)

// Brief frames: most messages are a D-Bus message and need nothing of what kdbus_msg can say besides.
// The bus vouches for what is in the header, the rest is the sender's word, as everywhere.

// sendBrief sends the message in a brief frame. If that fails, it is answered like a SEND whose tag
// is the cookie.
func (c *conn) sendBrief(r *request) error {
	var h abi.Brief
	h.Decode(&r.FrameHeader)
	payload := r.raw[abi.FrameHeaderSize:]
	serial, _ := abi.Serial(payload)
	r.FrameHeader = abi.FrameHeader{Cmd: abi.CmdSend, Tag: uint64(serial), Code: uint32(abi.FrameQuiet)}
	switch {
	case c.bus == nil:
		return refusef(syscall.EBADFD, "a message before HELLO")
	case c.left:
		return refusef(syscall.ENOTCONN, "BYEBYE was said before")
	}
	payload, filter, err := h.CutFilter(payload)
	if err != nil {
		return err
	}
	cookie, err := h.CheckSent(payload)
	if err != nil {
		return err
	}
	m := takeMessage()
	defer m.Release()
	m.conn, m.Free = c, m.done
	if m.brief = r.raw; r.owned {
		m.free, r.kept = r.free, true
	} else {
		m.brief = append(m.room(len(r.raw)), r.raw...)
	}
	end := abi.FrameHeaderSize + len(payload)
	if filter != nil {
		m.extra.Bloom = m.brief[end:]
		m.Has |= bus.PartBloom
	}
	m.brief = m.brief[:end:end]
	payload = m.brief[abi.FrameHeaderSize:]
	m.Dst = bus.ID(h.ID)
	m.Flags = bus.Flags(h.Flags)
	m.Cookie, m.ReplyCookie = uint64(cookie), uint64(h.CookieReply)
	m.Maker = m
	m.Extra = &m.extra
	m.extra.PayloadType = uint64(abi.PayloadDBus)
	m.extra.Form = m
	m.segments[0] = bus.Segment{Bytes: payload, Size: uint64(len(payload))}
	m.extra.Segments = m.segments[:]
	m.putBrief()
	return c.route(r, m, false)
}

// putBrief writes the header of m.brief as receivers get it. There is room for FrameHeaderSize bytes.
func (m *message) putBrief() {
	source := uint64(m.conn.bus.ID())
	if m.Dst == bus.Broadcast {
		m.brief = m.brief[abi.FrameHeaderSize-abi.BroadcastHeaderSize:]
		abi.PutBroadcast(m.brief, uint32(len(m.brief)), source)
		return
	}
	h := abi.Brief{Size: uint32(len(m.brief)), ID: source, Flags: abi.MsgFlags(m.Flags), CookieReply: uint32(m.ReplyCookie)}
	h.Put(m.brief)
}

// maxBriefCopy is how long a payload is at most, in bytes, that is copied once more, to make a brief
// frame of what came with all of kdbus_msg.
const maxBriefCopy = 1 << 10

// makeBrief makes a brief frame of a message that came with all of kdbus_msg and needs none of it, for
// those who take such.
func (m *message) makeBrief(k *abi.Message) {
	if len(k.Payload) != 1 || len(k.FDs) > 0 || k.PayloadType != abi.PayloadDBus || k.Priority != 0 || k.DstName != "" ||
		k.CookieReply > math.MaxUint32 {
		return
	}
	payload := m.extra.Segments[0].Bytes
	if serial, ok := abi.Serial(payload); !ok || uint64(serial) != k.Cookie || len(payload) > maxBriefCopy {
		return
	}
	m.briefSpace = append(append(m.briefSpace[:0], noHeader[:]...), payload...)
	m.brief = m.briefSpace
	m.putBrief()
}

var noHeader [abi.FrameHeaderSize]byte

// encodeBrief encodes m as a brief frame, if that does. own is its sender's form, nil from D-Bus 1
// peers; h says what there would be to say besides.
func (c *conn) encodeBrief(e *transport.Encoding, h *abi.FrameHeader, m *bus.Message, own *message, data *meta.Data) bool {
	if !c.brief || data != nil || h.Cmd != abi.CmdRecv || h.Tag != 0 || !c.isFor(m) {
		return false
	}
	if own != nil {
		e.Piece(own.brief)
		return own.brief != nil
	}
	if h.FDs != 0 || m.ReplyCookie > math.MaxUint32 {
		return false
	}
	size := 0
	for _, p := range m.Payload {
		size += len(p)
	}
	if m.Dst == bus.Broadcast {
		e.Head(func(dst []byte) []byte {
			dst = append(dst, noHeader[:abi.BroadcastHeaderSize]...)
			abi.PutBroadcast(dst[len(dst)-abi.BroadcastHeaderSize:], uint32(abi.BroadcastHeaderSize+size), uint64(m.Src))
			return dst
		})
	} else {
		brief := abi.Brief{Size: uint32(abi.FrameHeaderSize + size), ID: uint64(m.Src), Flags: abi.MsgFlags(m.Flags), CookieReply: uint32(m.ReplyCookie)}
		e.Head(brief.Append)
	}
	e.Pieces(m.Payload)
	return true
}
