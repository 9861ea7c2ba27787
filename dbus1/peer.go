package dbus1

import (
	"fmt"
	"sync"

	"github.com/kdbus-go/kdbus/bus"
	"github.com/kdbus-go/kdbus/meta"
	"github.com/kdbus-go/kdbus/transport"
	"github.com/kdbus-go/kdbus/wire"
)

// peer is one D-Bus 1 program: the transport.Protocol of its connection.
type peer struct {
	*transport.Peer
	party
}

// HeaderSize implements transport.Protocol.
func (p *peer) HeaderSize() int { return wire.HeaderFixedSize }

// FrameSize implements transport.Protocol: a frame is a message.
func (p *peer) FrameSize(b []byte) (int, error) {
	size, err := wire.MessageSize(b)
	if limit := p.server.limits.load().MaxMessageSize; err == nil && size > limit {
		err = &transport.LimitError{Limit: limitMessageSize, Amount: int64(size), Max: int64(limit), Reason: fmt.Sprintf("a message has %d bytes", size)}
	}
	return size, err
}

// MaxFDs implements transport.Protocol.
func (p *peer) MaxFDs() int { return p.server.limits.load().MaxMessageFDs }

// Frame implements transport.Protocol.
func (p *peer) Frame(raw []byte, owned bool, free func()) error {
	if len(raw) > longMessage {
		p.TakeLong()
	}
	s := scratches.Get().(*scratch)
	err := p.message(s, raw, owned, free)
	scratches.Put(s)
	return err
}

// longMessage is the size from which validating a message, of many small values at worst, is more
// than others should wait for, in bytes: some milliseconds.
const longMessage = 2 << 20

// Encode implements transport.Protocol.
func (p *peer) Encode(e *transport.Encoding, m *bus.Message) {
	e.Pieces(payload(m))
	e.FDs(m.FDs...)
}

// Make implements bus.Maker.
func (p *peer) Make(m *bus.Message, missing bus.Parts) {
	if kinds := meta.Kinds(missing & bus.PartsMetadata); kinds != 0 {
		if data := p.Collect(kinds); data.Has != 0 {
			m.Meta = &data
		}
	}
	if view, ok := m.View.(*matchMessage); ok && missing&bus.PartBloom != 0 && p.server.config.Bloom != nil {
		m.Extra = &bus.Extra{Bloom: p.server.config.Bloom(view.Header, view.Body)}
	}
}

// scratch is space for what is only needed while a message is handled.
type scratch struct {
	header wire.Header
	view   matchMessage // the same, for match rules
}

var scratches = sync.Pool{New: func() any { return new(scratch) }}

// claimFDs takes the descriptors that a message says it comes with.
func (p *peer) claimFDs(n uint32) ([]int, error) {
	switch {
	case n == 0:
		return nil, nil
	case !p.TakesFDs():
		return nil, fmt.Errorf("a message should come with %d file descriptors, which were not negotiated", n)
	case n > uint32(p.MaxFDs()):
		return nil, &transport.LimitError{Limit: limitMessageFDs, Amount: int64(n), Max: int64(p.MaxFDs()),
			Reason: fmt.Sprintf("a message says that it comes with %d file descriptors", n)}
	}
	return p.ClaimFDs(n)
}
