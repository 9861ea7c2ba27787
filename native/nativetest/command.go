package nativetest

import (
	"encoding/binary"
	"fmt"

	"golang.org/x/sys/unix"

	"github.com/kdbus-go/kdbus/abi"
)

// PoolSize is what Hello asks for unless told otherwise.
const PoolSize = 16 << 20

// Hello joins the bus. Zero fields mean: all metadata may be sent, PoolSize.
func (c *Client) Hello(h abi.Hello) error {
	if h.AttachFlagsSend == 0 {
		h.AttachFlagsSend = abi.AttachAny
	}
	if h.PoolSize == 0 {
		h.PoolSize = PoolSize
	}
	return c.HelloAs(&h)
}

// HelloAs joins the bus by exactly this HELLO, and fills in its Reply.
func (c *Client) HelloAs(h *abi.Hello) error {
	flags := abi.FrameFlags(0)
	if c.Brief {
		flags = abi.FrameBrief
	}
	f, err := c.do(h, flags)
	if err != nil {
		return err
	}
	items, err := f.Infos(h.Reply.Offset, h.Reply.ItemsSize)
	if err != nil {
		return err
	}
	for it := range abi.Items(items).All() {
		if it.Type == abi.ItemBloomParameter && len(it.Data) == 16 {
			c.Bloom = abi.BloomParameter{
				Size:  binary.NativeEndian.Uint64(it.Data),
				NHash: binary.NativeEndian.Uint64(it.Data[8:]),
			}
		}
	}
	h.Reply.Bloom = c.Bloom
	c.ID = h.Reply.ID
	return nil
}

// Infos returns what an answer tells behind its struct.
func (f *Frame) Infos(offset, size uint64) ([]byte, error) {
	if offset > uint64(len(f.Body)) || size > uint64(len(f.Body))-offset {
		return nil, fmt.Errorf("infos of %d bytes at %d, but the answer has %d", size, offset, len(f.Body))
	}
	return f.Body[offset:][:size], nil
}

// Do runs a command, and decodes what the bus has filled in into cmd. An error of the bus is a
// *Refused.
func (c *Client) Do(cmd abi.Command) (Frame, error) { return c.do(cmd, 0) }

func (c *Client) do(cmd abi.Command, flags abi.FrameFlags) (Frame, error) {
	b, tag := c.Request(cmd.Cmd(), flags, 0, cmd.Append(nil)...)
	if err := c.Write(b); err != nil {
		return Frame{}, err
	}
	f, err := c.Answer(tag)
	if err != nil {
		return f, err
	}
	reply, _, err := abi.CutStruct(f.Body, cmd.Cmd().String())
	if err != nil {
		return f, err
	}
	if r, ok := cmd.(interface{ DecodeReply([]byte) error }); ok {
		return f, r.DecodeReply(reply)
	}
	return f, nil
}

// Raw sends a request with this body, and returns the answer. The descriptors stay the caller's.
func (c *Client) Raw(cmd abi.Cmd, body []byte, fds ...int) (Frame, error) {
	b, tag := c.Request(cmd, 0, len(fds), body...)
	if err := c.Write(b, fds...); err != nil {
		return Frame{}, err
	}
	return c.Answer(tag)
}

// Outgoing is a message to be sent.
type Outgoing struct {
	abi.Message
	Flags abi.SendFlags // of SEND
	// Body is sent as one inline piece, before the pieces in Message.Payload, which are memfds. Empty:
	// there is none.
	Body []byte
	// Passed are the descriptors that the items of the message have by number.
	Passed []int
}

// Encode returns the body of the frame that sends the message.
func (o *Outgoing) Encode() []byte {
	m := o.Message
	if m.PayloadType == 0 {
		m.PayloadType = abi.PayloadDBus
	}
	if len(o.Body) > 0 {
		piece := abi.Payload{Type: abi.ItemPayloadVec, Size: uint64(len(o.Body))}
		m.Payload = append([]abi.Payload{piece}, m.Payload...)
		m.Payload[0].Offset = uint64(m.Size())
	}
	b := (&abi.Send{Flags: o.Flags}).Append(nil)
	return append(m.Append(b), o.Body...)
}

// Send sends a message; with SYNC_REPLY it returns the reply.
func (c *Client) Send(o Outgoing) (*Message, error) {
	f, err := c.Raw(abi.CmdSend, o.Encode(), o.Passed...)
	if err != nil || o.Flags&abi.SendSyncReply == 0 {
		return nil, err
	}
	return decode(f)
}

// Start sends a message and returns the tag of the answer that is to come.
func (c *Client) Start(o Outgoing, flags abi.FrameFlags) (tag uint64, err error) {
	b, tag := c.Request(abi.CmdSend, flags, len(o.Passed), o.Encode()...)
	return tag, c.Write(b, o.Passed...)
}

// SendBrief sends a D-Bus message in a brief frame. The size is filled in. Answer, with the message's
// serial as tag, tells whether it was refused.
func (c *Client) SendBrief(h abi.Brief, message []byte) error {
	h.Size = uint32(abi.FrameHeaderSize + len(message))
	return c.Write(append(h.Append(nil), message...))
}

// Message is one that arrived.
type Message struct {
	abi.Message
	Meta    abi.Metadata
	Dropped uint64 // how many were dropped before it
	// Passed are the descriptors that came with it, of which the receiver is the owner.
	Passed []int

	// InBrief: it came in a brief frame.
	InBrief bool

	frame []byte // its pieces count from its beginning
}

// Recv returns the next message. One whose SrcID is 0 and which has neither payload nor notification only
// says that some were dropped.
func (c *Client) Recv() (*Message, error) {
	for i, f := range c.waiting {
		if f.arrived() {
			c.waiting = append(c.waiting[:i:i], c.waiting[i+1:]...)
			return decode(f)
		}
	}
	for {
		f, err := c.readFrame()
		if err != nil {
			return nil, err
		}
		if f.arrived() {
			return decode(f)
		}
		c.waiting = append(c.waiting, f)
	}
}

// Reply returns the reply to a synchronous call that was begun by Start.
func (c *Client) Reply(tag uint64) (*Message, error) {
	f, err := c.Answer(tag)
	if err != nil {
		return nil, err
	}
	return decode(f)
}

func decode(f Frame) (*Message, error) {
	m := &Message{Passed: f.FDs, frame: f.Body}
	if f.Cmd == abi.CmdBrief || f.Cmd == abi.CmdBroadcast {
		m.decodeBrief(&f)
		return m, nil
	}
	if f.Cmd == abi.CmdRecv {
		m.Dropped = f.Tag
	}
	if len(f.Body) == 0 && f.Cmd == abi.CmdRecv {
		return m, nil
	}
	if err := m.DecodeReceived(f.Body); err != nil {
		return nil, err
	}
	return m, m.Meta.Decode(m.Message.Metadata)
}

// decodeBrief fills in what a brief frame tells.
func (m *Message) decodeBrief(f *Frame) {
	var h abi.Brief
	h.Decode(&f.FrameHeader)
	serial, _ := abi.Serial(f.Body)
	m.InBrief = true
	m.SrcID, m.Flags, m.CookieReply = h.ID, h.Flags, uint64(h.CookieReply)
	if f.Cmd == abi.CmdBroadcast {
		m.DstID, m.Flags, m.CookieReply = abi.DstIDBroadcast, abi.MsgSignal, 0
	}
	m.PayloadType, m.Cookie = abi.PayloadDBus, uint64(serial)
	m.Payload = []abi.Payload{{Type: abi.ItemPayloadOff, Size: uint64(len(f.Body))}}
}

// Content returns all pieces of the payload, one behind the other.
func (m *Message) Content() ([]byte, error) {
	var all []byte
	for _, p := range m.Payload {
		switch {
		case p.Type == abi.ItemPayloadMemfd:
			b := make([]byte, p.Size)
			if n, err := unix.Pread(m.Passed[p.FD], b, int64(p.Offset)); err != nil || n != len(b) {
				return nil, fmt.Errorf("read %d bytes of a memfd: %d, %v", len(b), n, err)
			}
			all = append(all, b...)
		case p.Zeros():
			all = append(all, make([]byte, p.Size)...)
		default:
			all = append(all, m.frame[p.Offset:][:p.Size]...)
		}
	}
	return all, nil
}

// Memfd returns a memfd with this content, sealed as kdbus wants it, which is the caller's to close.
func Memfd(content []byte) (int, error) {
	fd, err := unix.MemfdCreate("nativetest", unix.MFD_ALLOW_SEALING|unix.MFD_CLOEXEC)
	if err != nil {
		return -1, err
	}
	for at := 0; at < len(content); {
		n, err := unix.Pwrite(fd, content[at:], int64(at))
		if err != nil {
			unix.Close(fd)
			return -1, err
		}
		at += n
	}
	const seals = unix.F_SEAL_SHRINK | unix.F_SEAL_GROW | unix.F_SEAL_WRITE | unix.F_SEAL_SEAL
	if _, err := unix.FcntlInt(uintptr(fd), unix.F_ADD_SEALS, seals); err != nil {
		unix.Close(fd)
		return -1, err
	}
	return fd, nil
}
