package bus

import (
	"math/bits"

	"github.com/kdbus-go/kdbus/meta"
)

// Parts is a set of parts of a message that only some receivers want, and that are made only when
// one of those is among the receivers. The low bits are kinds of metadata, numbered as there.
type Parts uint32

const (
	// PartsMetadata are all kinds of metadata.
	PartsMetadata = Parts(meta.AllKinds)

	// PartView: Message.View is set.
	PartView Parts = 1 << 16
	// PartDBus1: Message.Payload is set, the message as D-Bus 1 has it.
	PartDBus1 Parts = 1 << 17
	// PartBloom: the bloom filter in Message.Extra is set.
	PartBloom Parts = 1 << 18
	// PartHeader: Message.View is set, if only to what is in the header, which is what a Policy looks
	// at. It is nil for what is no D-Bus message, and an error for what cannot be believed.
	PartHeader Parts = 1 << 19
)

// Parts that the core itself makes, and the other kinds of metadata.
const (
	connectionParts = Parts(meta.ConnectionKinds)
	processParts    = Parts(meta.ProcessKinds)
)

// A Maker makes parts of a message: the front-end whose peer sends it.
type Maker interface {
	// Make makes those of the missing parts of m that can be made, and leaves the others out. Of
	// metadata these are process kinds only: they go into a meta.Data that m.Meta is set to, which
	// has those that m.Meta had before, and which many messages may share. [Conn.Send] calls it
	// without locks, in the goroutine that sends, before the message has had any effect, and never
	// twice for one part.
	Make(m *Message, missing Parts)
}

// supply has the missing parts of m made. It is called without locks.
func (m *Message) supply(missing Parts) {
	if m.Maker != nil {
		m.Maker.Make(m, missing)
	}
	m.Has |= missing
}

// missing returns which of the parts that somebody wants of m have yet to be made by its Maker.
// Bus.mu is held. c is the sender.
func (c *Conn) missing(m *Message, wants Parts) Parts {
	lacking := wants &^ m.Has
	if lacking == 0 {
		return 0
	}
	lacking &= Parts(c.attachable) | ^PartsMetadata
	if c.fake != nil {
		lacking &^= processParts
	}
	return lacking &^ connectionParts
}

// unreadable reports whether dst can do nothing with m. The payload of a notification may just be
// being made, by who has received it already.
func (m *Message) unreadable(dst *Conn) bool {
	return m.Notification == nil && m.Payload == nil && dst.wanted()&PartDBus1 != 0 && dst.flags&FlagActivator == 0
}

// tally counts who wants which parts, to know what anybody wants.
type tally struct {
	parts  Parts // those with a count
	counts [32]uint32
}

func (t *tally) add(parts Parts) {
	t.parts |= parts
	for ; parts != 0; parts &= parts - 1 {
		t.counts[bits.TrailingZeros32(uint32(parts))]++
	}
}

func (t *tally) remove(parts Parts) {
	for ; parts != 0; parts &= parts - 1 {
		i := bits.TrailingZeros32(uint32(parts))
		if t.counts[i]--; t.counts[i] == 0 {
			t.parts &^= 1 << i
		}
	}
}
