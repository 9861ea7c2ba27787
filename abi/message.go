package abi

import (
	"syscall"
	"unsafe"
)

// Message is a message as it is sent, and as it arrives: kdbus.message(7),
// "Message layout". In between, the bus turns payload vectors into ranges of the
// receiver's memory, fills in the sender, and adds metadata.
//
// A Message is made to be used again and again. Decoding keeps Payload and FDs
// for the next message, and makes DstName, Bloom and Metadata point into the
// bytes it reads: they are valid as long as those bytes do not change. Clone
// what is to be kept.
type Message struct {
	Flags     MsgFlags
	Negotiate Negotiation // of a message being sent
	// Priority orders the receiver's queue; the lowest number goes first.
	Priority int64
	// DstID is a connection, DstIDName or DstIDBroadcast.
	DstID uint64
	// SrcID is the sender, SrcIDKernel for a notification. In a message being
	// sent it is 0, or else the caller checks that it is the sender.
	SrcID       uint64
	PayloadType PayloadType
	Cookie      uint64 // the sender's number for the message
	// TimeoutNS is when a reply is too late: absolute, in nanoseconds of
	// CLOCK_MONOTONIC. Only with MsgExpectReply, or else CookieReply is in its
	// place. (A broadcast with either is refused, ENOTUNIQ.)
	TimeoutNS uint64
	// CookieReply is the cookie of the call that this message answers, or 0.
	CookieReply uint64

	// DstName is the name a message goes to. With a DstID that is a connection,
	// that connection must own it.
	DstName string
	// Bloom is the filter of a signal; its Data is nil if there is none.
	Bloom BloomFilter
	// Payload is one stream of bytes, in pieces.
	Payload []Payload
	// FDs are file descriptors, or whatever the transport has in their place.
	// -1 is one that the receiver could not get.
	FDs []int32

	// Notification is set in a message from the bus itself.
	Notification Notification
	// Metadata are the items that come last: metadata of the sender, see
	// [Metadata.Decode] and [Metadata.Append].
	Metadata Items
}

// Payload is a piece of a payload.
type Payload struct {
	// Type is ItemPayloadVec in a message being sent, ItemPayloadOff in one
	// that arrived, ItemPayloadMemfd in both.
	Type ItemType
	// FD of the memfd, or whatever the transport has in its place.
	FD int32
	// Offset is where the piece begins: an address in the sender's memory, from
	// the beginning of the message that arrived, or in the memfd.
	Offset uint64
	// Size in bytes; never 0.
	Size uint64
}

// ZerosOffset in place of the offset of a piece that arrived says that it is
// zeros only, which are nowhere. In a message being sent that is address 0.
const ZerosOffset uint64 = 1<<64 - 1

// Zeros reports whether the piece is zeros only, which are nowhere.
func (p Payload) Zeros() bool {
	return p.Type == ItemPayloadVec && p.Offset == 0 || p.Type == ItemPayloadOff && p.Offset == ZerosOffset
}

func (it Item) checkPayload() fault {
	if want, _ := it.Type.fixedSize(); len(it.Data) != want {
		return invalid("wrong size")
	}
	if it.payload().Size == 0 {
		return invalid("a payload of size 0")
	}
	return fault{}
}

// payload reads a PAYLOAD item that has its size.
func (it Item) payload() Payload {
	if it.Type != ItemPayloadMemfd {
		return Payload{Type: it.Type, Size: u64(it.Data, 0), Offset: u64(it.Data, 8)}
	}
	return Payload{Type: it.Type, Offset: u64(it.Data, 0), Size: u64(it.Data, 8), FD: int32(u32(it.Data, 16))}
}

func (p Payload) append(dst []byte) []byte {
	if p.Type != ItemPayloadMemfd {
		return appendU64(appendU64(appendItemHeader(dst, p.Type, 16), p.Size), p.Offset)
	}
	dst = appendU64(appendU64(appendItemHeader(dst, p.Type, 24), p.Offset), p.Size)
	return appendU32(appendU32(dst, uint32(p.FD)), 0)
}

// PayloadWithin checks that the pieces which are no memfds lie between begin and
// end, one behind the other. That is how they lie in a message that arrived, and
// in one sent over a socket, with offsets from its beginning in place of
// addresses. The error is EFAULT.
func (m *Message) PayloadWithin(begin, end uint64) error {
	for i := range m.Payload {
		p := &m.Payload[i]
		if p.Type == ItemPayloadMemfd || p.Zeros() {
			continue
		}
		if p.Offset < begin || p.Offset > end || p.Size > end-p.Offset {
			return fault{syscall.EFAULT, "payload is not within the bytes of the message, in order"}.
				at("message", sizeMessage, p.Type)
		}
		begin = p.Offset + p.Size
	}
	return nil
}

// reset empties m, keeps its slices, and reads the fixed part of b.
func (m *Message) reset(b []byte) {
	*m = Message{
		Flags:       MsgFlags(u64(b, 8) &^ FlagNegotiate),
		Priority:    int64(u64(b, 16)),
		DstID:       u64(b, 24),
		SrcID:       u64(b, 32),
		PayloadType: PayloadType(u64(b, 40)),
		Cookie:      u64(b, 48),
		Payload:     m.Payload[:0],
		FDs:         m.FDs[:0],
	}
	if m.Flags&MsgExpectReply != 0 {
		m.TimeoutNS = u64(b, 56)
	} else {
		m.CookieReply = u64(b, 56)
	}
}

// readItem reads an item that was judged. It does nothing if it is no item of a
// message.
func (m *Message) readItem(it Item) {
	switch it.Type {
	case ItemPayloadVec, ItemPayloadOff, ItemPayloadMemfd:
		m.Payload = append(m.Payload, it.payload())
	case ItemFDs:
		for i := 0; i < len(it.Data); i += 4 {
			m.FDs = append(m.FDs, int32(u32(it.Data, i)))
		}
	case ItemDstName:
		m.DstName = unsafe.String(unsafe.SliceData(it.Data), len(it.Data)-1)
	case ItemBloomFilter:
		m.Bloom = BloomFilter{Generation: u64(it.Data, 0), Data: it.Data[8:]}
	case ItemNegotiate:
		m.Negotiate.set(it.Data)
	}
}

// DecodeReceived reads a message from the bus: b is the message with the payload
// that lies behind it. Items that are not known are skipped; those of the
// message come before its metadata.
func (m *Message) DecodeReceived(b []byte) error {
	const what = "received message"
	if len(b) < sizeMessage || u64(b, 0) < sizeMessage || u64(b, 0) > uint64(len(b)) {
		return invalid("size is not within the bytes given").at(what, offSize, 0)
	}
	size := int(u64(b, 0))
	m.reset(b)
	items := Items(b[sizeMessage:size:size])
	for rest := items; len(rest) > 0; {
		offset := size - len(rest)
		it, next, f := rest.next()
		if f.errno == 0 && it.Type.isMetadata() {
			m.Metadata = rest
			break
		}
		if f.errno == 0 {
			f = it.check()
		}
		if f.errno == 0 {
			f = m.readReceived(it)
		}
		if f.errno != 0 {
			return f.at(what, offset, it.Type)
		}
		rest = next
	}
	if len(m.Metadata) > 0 {
		if err := m.checkMetadata(what, size-len(m.Metadata)); err != nil {
			return err
		}
	}
	return m.PayloadWithin(uint64(align8(size)), uint64(len(b)))
}

// readReceived reads an item of a received message.
func (m *Message) readReceived(it Item) fault {
	twice := false
	switch it.Type {
	case ItemPayloadVec:
		return invalid("not an item of a received message")
	case ItemFDs:
		twice = len(m.FDs) > 0
	case ItemDstName:
		twice = m.DstName != ""
	case ItemBloomFilter:
		twice = m.Bloom.Data != nil
	case ItemNegotiate:
		return fault{}
	case ItemNameAdd, ItemNameRemove, ItemNameChange, ItemIDAdd, ItemIDRemove, ItemReplyTimeout, ItemReplyDead:
		twice = m.Notification.Type != 0
		m.Notification = notification(it)
	case ItemReason:
		if t := m.Notification.Type; t != ItemReplyTimeout && t != ItemReplyDead {
			return invalid("comes without what it is the reason of")
		}
		twice = m.Notification.Reason.Errno != 0
		m.Notification.Reason = reason(it)
	}
	if twice {
		return invalid("occurs twice")
	}
	m.readItem(it)
	return fault{}
}

// checkMetadata judges m.Metadata, which begins at this offset.
func (m *Message) checkMetadata(what string, offset int) error {
	_, err := eachReceived(what, offset, m.Metadata, func(it Item) fault {
		switch it.Type {
		case ItemPayloadVec, ItemPayloadOff, ItemPayloadMemfd, ItemFDs, ItemDstName, ItemBloomFilter,
			ItemNameAdd, ItemNameRemove, ItemNameChange, ItemIDAdd, ItemIDRemove, ItemReplyTimeout, ItemReplyDead, ItemReason:
			return invalid("comes after metadata")
		}
		return fault{}
	})
	if err != nil {
		return err
	}
	return nil
}

// Append appends the message, without the payload itself, and returns the
// result.
func (m *Message) Append(dst []byte) []byte {
	start := len(dst)
	flags, last := uint64(m.Flags), m.CookieReply
	if m.Flags&MsgExpectReply != 0 {
		last = m.TimeoutNS
	}
	if m.Negotiate.Probe {
		flags |= FlagNegotiate
	}
	for _, v := range [sizeMessage / 8]uint64{
		0, flags, uint64(m.Priority), m.DstID, m.SrcID, uint64(m.PayloadType), m.Cookie, last,
	} {
		dst = appendU64(dst, v)
	}
	dst = m.Negotiate.append(dst)
	if m.DstName != "" {
		dst = appendStringItem(dst, ItemDstName, m.DstName)
	}
	if m.Bloom.Data != nil {
		dst = m.Bloom.append(dst)
	}
	for _, p := range m.Payload {
		dst = p.append(dst)
	}
	if len(m.FDs) > 0 {
		dst = appendFDItem(dst, ItemFDs, m.FDs...)
	}
	dst = m.Notification.append(dst, true)
	return putSize(append(dst, m.Metadata...), start)
}

// Size returns the size of what Append appends, in bytes. It is a multiple of 8
// if that of m.Metadata is: the payload behind a message begins there.
func (m *Message) Size() int {
	size := sizeMessage + len(m.Metadata)
	if n := len(m.Negotiate.Items); n > 0 {
		size += sizeItem + 8*n
	}
	if m.DstName != "" {
		size += align8(sizeItem + len(cString(m.DstName)) + 1)
	}
	if m.Bloom.Data != nil {
		size += sizeItem + 8 + align8(len(m.Bloom.Data))
	}
	for i := range m.Payload {
		if size += sizeItem + 16; m.Payload[i].Type == ItemPayloadMemfd {
			size += 8
		}
	}
	if n := len(m.FDs); n > 0 {
		size += align8(sizeItem + 4*n)
	}
	switch m.Notification.Type {
	case ItemNameAdd, ItemNameRemove, ItemNameChange:
		size += align8(sizeItem + 32 + len(cString(m.Notification.Name)) + 1)
	case ItemIDAdd, ItemIDRemove:
		size += sizeItem + 16
	case ItemReplyTimeout, ItemReplyDead:
		size += sizeItem
		if r := &m.Notification.Reason; r.Errno != 0 {
			size += align8(sizeItem + r.size())
		}
	}
	return size
}
