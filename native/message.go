package native

import (
	"encoding/binary"
	"sync"
	"syscall"

	"github.com/kdbus-go/kdbus/abi"
	"github.com/kdbus-go/kdbus/bus"
	"github.com/kdbus-go/kdbus/meta"
)

// A SEND and what its receivers get are laid out alike: a struct kdbus_msg with items, then the
// payload, and what says where the payload is counts from the beginning of that struct. So what
// arrived is copied once, with the header of a frame before it, a few words are changed in it, and
// it is what receivers get. Only metadata, which come between items and payload, are added for each
// receiver (see encode.go). What arrived in memory of its own is not even copied.

// message is a message of a native peer. It is the bus.Maker of its own parts. Its memory is used
// again when nobody refers to it any more.
type message struct {
	bus.Message
	content

	space      []byte // for short frames
	briefSpace []byte // for brief
	done       func() // recycle, made once
}

// content is what is new with each message.
type content struct {
	// brief is a brief frame that says all there is to say, nil if there is none (see brief.go). A
	// message that came in one has no other. It is beside extra.Form, as receivers look at both.
	brief    []byte
	extra    bus.Extra
	segments [1]bus.Segment
	conn     *conn

	// frame is what receivers get who get no metadata. It does not change once the message was
	// sent.
	frame []byte
	kmsg  []byte // the struct kdbus_msg with its items, in frame

	form *form  // the payload as D-Bus has it; nil until somebody wants it
	head *head  // the header of the payload, for policies; nil until somebody wants it
	free func() // gives the frame back, if not nil
}

// maxSpace is how long a frame is at most, in bytes, that is copied to memory which stays with a message.
const maxSpace = 1 << 10

// messages are those not in use.
var messages sync.Pool

// takeMessage returns a message, which is empty.
func takeMessage() *message {
	m, _ := messages.Get().(*message)
	if m == nil {
		m = new(message)
		m.done = m.recycle
	}
	return m
}

// recycle is called with the last reference to m.
func (m *message) recycle() {
	free := m.free
	if m.head != nil {
		m.head.recycle()
	}
	m.Message, m.content = bus.Message{}, content{}
	if free != nil {
		free()
	}
	messages.Put(m)
}

// Offsets in struct kdbus_msg, and in items.
const (
	sizeKmsg   = 64
	offSrcID   = 32
	sizeItem   = 16 // of the header: size, type
	offType    = 8
	offVecAddr = sizeItem + 8  // PAYLOAD_VEC and PAYLOAD_OFF: size, address or offset
	offMemfd   = sizeItem + 16 // PAYLOAD_MEMFD: start, size, fd
)

// newMessage makes a message of what lies behind the command in a frame. It keeps the frame if it
// can.
func (c *conn) newMessage(r *request) (*message, error) {
	kmsg, _, err := abi.CutStruct(r.rest, "message")
	if err != nil {
		return nil, err
	}
	m := takeMessage()
	m.conn, m.Free = c, m.done
	switch size := abi.FrameHeaderSize + len(r.rest); {
	case r.owned:
		// There is space for the header where the command was.
		m.frame = r.raw[len(r.raw)-size:]
		m.free = r.free
		r.kept = true
	default:
		m.frame = m.room(size)[:size]
	}
	if !r.owned {
		copy(m.frame[abi.FrameHeaderSize:], r.rest)
	}
	m.kmsg = m.frame[abi.FrameHeaderSize:][:len(kmsg):len(kmsg)]
	return m, nil
}

// room returns memory for a frame of this size. Short ones use that which stays with the message.
func (m *message) room(size int) []byte {
	if size > maxSpace {
		return make([]byte, 0, size)
	}
	if cap(m.space) < size {
		m.space = make([]byte, 0, max(size, maxSpace/4))
	}
	return m.space[:0:size]
}

// maxGap is how many bytes may lie between one piece of payload and the next, for alignment.
const maxGap = 7

// checkPayload sees to it that all of the frame behind kmsg is payload, in order, and cuts off
// padding at its end.
func (m *message) checkPayload(k *abi.Message) error {
	b := m.frame[abi.FrameHeaderSize:]
	if err := k.PayloadWithin(uint64(align8(len(m.kmsg))), uint64(len(b))); err != nil {
		return err
	}
	end := uint64(min(align8(len(m.kmsg)), len(b)))
	for i := range k.Payload {
		p := &k.Payload[i]
		if p.Type != abi.ItemPayloadVec || p.Zeros() {
			continue
		}
		if p.Offset-end > maxGap {
			return refusef(syscall.EFAULT, "message: %d bytes before byte %d are no payload", p.Offset-end, p.Offset)
		}
		end = p.Offset + p.Size
	}
	if uint64(len(b))-end > maxGap {
		return refusef(syscall.EFAULT, "message: %d bytes from byte %d on are no payload", uint64(len(b))-end, end)
	}
	m.frame = m.frame[:abi.FrameHeaderSize+end]
	return nil
}

// fill makes the envelope, and of the frame that which receivers get. The descriptors are there
// already.
func (m *message) fill(k *abi.Message, sync bool) {
	if k.DstID == abi.DstIDBroadcast {
		m.dropFilter(k)
	}
	m.Dst, m.DstName = bus.ID(k.DstID), k.DstName
	m.Flags = bus.Flags(k.Flags)
	m.Cookie, m.ReplyCookie = k.Cookie, k.CookieReply
	m.Maker = m
	m.Extra = &m.extra
	x := &m.extra
	x.Priority, x.PayloadType = k.Priority, uint64(k.PayloadType)
	x.Form = m
	x.Bloom, x.BloomGeneration = k.Bloom.Data, k.Bloom.Generation
	if x.Bloom != nil {
		m.Has |= bus.PartBloom
	}
	if k.Flags&abi.MsgExpectReply != 0 {
		x.Deadline, x.Sync = k.TimeoutNS, sync
	}
	m.fillSegments(k)
	m.makeBrief(k)
	m.patch()
}

// dropFilter takes the bloom filter of a broadcast out of what receivers get, for whom it has done all it
// can: it would often be longer than the rest. In a long message that is not worth the moving.
func (m *message) dropFilter(k *abi.Message) {
	const long = 4 << 10
	n := len(k.Bloom.Data)
	if len(m.frame) > long {
		return
	}
	at := sizeKmsg
	for abi.ItemType(u64(m.kmsg[at+offType:])) != abi.ItemBloomFilter {
		at += align8(int(u64(m.kmsg[at:])))
	}
	var space [64]byte
	filter := append(space[:0], k.Bloom.Data...)
	cut := sizeItem + 8 + n // a multiple of 8, as the filter is made of words
	copy(m.frame[abi.FrameHeaderSize+at:], m.frame[abi.FrameHeaderSize+at+cut:])
	rest := len(m.frame) - cut
	k.Bloom.Data = append(m.frame[rest:rest:len(m.frame)], filter...) // the core still needs it
	m.frame, m.kmsg = m.frame[:rest:rest], m.kmsg[:len(m.kmsg)-cut]
	putU64(m.kmsg, uint64(len(m.kmsg)))
	for at = sizeKmsg; at+sizeItem <= len(m.kmsg); {
		item := m.kmsg[at:]
		at += align8(int(u64(item)))
		if abi.ItemType(u64(item[offType:])) == abi.ItemPayloadVec && u64(item[offVecAddr:]) != 0 {
			putU64(item[offVecAddr:], u64(item[offVecAddr:])-uint64(cut))
		}
	}
	for i := range k.Payload {
		if p := &k.Payload[i]; p.Type == abi.ItemPayloadVec && !p.Zeros() {
			p.Offset -= uint64(cut)
		}
	}
}

// fillSegments lists the payload for the core.
func (m *message) fillSegments(k *abi.Message) {
	m.extra.Segments = m.segments[:0]
	memfds := 0
	for _, p := range k.Payload {
		s := bus.Segment{Size: p.Size}
		switch {
		case p.Type == abi.ItemPayloadMemfd:
			memfds++
			s.Memfd, s.Offset = memfds, p.Offset
		case !p.Zeros():
			s.Bytes = m.frame[abi.FrameHeaderSize:][p.Offset:][:p.Size:p.Size]
		}
		m.extra.Segments = append(m.extra.Segments, s)
	}
}

// patch turns what was sent into what is received: its source is filled in, vectors are at offsets,
// and descriptors are numbered as they will be passed on: those of FDS, then the memfds. All of it
// has been judged.
func (m *message) patch() {
	putU64(m.kmsg[offSrcID:], uint64(m.conn.bus.ID()))
	memfd := len(m.FDs)
	for at := sizeKmsg; at+sizeItem <= len(m.kmsg); {
		item := m.kmsg[at:]
		at += align8(int(u64(item)))
		switch abi.ItemType(u64(item[offType:])) {
		case abi.ItemPayloadVec:
			putU64(item[offType:], uint64(abi.ItemPayloadOff))
			if u64(item[offVecAddr:]) == 0 {
				putU64(item[offVecAddr:], abi.ZerosOffset)
			}
		case abi.ItemPayloadMemfd:
			binary.NativeEndian.PutUint32(item[offMemfd:], uint32(memfd))
			memfd++
		case abi.ItemFDs:
			for i := range m.FDs {
				binary.NativeEndian.PutUint32(item[sizeItem+4*i:], uint32(i))
			}
		}
	}
	h := abi.FrameHeader{Size: uint32(len(m.frame)), Cmd: abi.CmdRecv, FDs: uint32(memfd)}
	h.Put(m.frame)
}

// Make implements bus.Maker.
func (m *message) Make(_ *bus.Message, missing bus.Parts) {
	if kinds := meta.Kinds(missing) & meta.ProcessKinds; kinds != 0 {
		m.collect(kinds)
	}
	m.makeParts(missing)
	if missing&bus.PartBloom != 0 {
		m.makeBloom()
	}
}

// makeBloom makes the filter of a signal that came without one, in a brief frame.
func (m *message) makeBloom() {
	if f := m.read(); f.err == nil {
		m.extra.Bloom = BloomOf(m.conn.bus.Bus().Bloom())(&f.header, f.body)
	}
}

// collect adds kinds of metadata to those that are there.
func (m *message) collect(kinds meta.Kinds) {
	if m.Meta != nil {
		kinds |= m.Meta.Has
	}
	data := m.conn.peer.Collect(kinds)
	data.Has &= kinds // it may be what others wanted as well
	m.Meta = &data
}
