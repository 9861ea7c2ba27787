package dbus1

import (
	"sync"

	"github.com/kdbus-go/kdbus/bus"
)

// message is a bus.Message in the form of D-Bus 1: one piece of memory for all that every message needs, which is
// used again when nobody refers to it any more: a good part of what a message costs would else be the
// collecting of garbage.
type message struct {
	bus.Message
	pieces  [2][]byte
	freeRaw func() // gives back what pieces[1] is in; nil for nothing
	done    func() // recycle, made once
	short   [maxShort]byte
}

// maxShort is the size, in bytes, up to which a payload is in its message: most are shorter, and in the queue
// of a peer that does not read the rest is not much more than what they are accounted with. What many receivers
// look at begins with a cache line of its own.
const maxShort = 384

// messages are those not in use.
var messages sync.Pool

func newMessage() *message {
	m, again := messages.Get().(*message)
	if !again {
		m = new(message)
		m.done = m.recycle
	}
	m.Free = m.done
	m.Has = bus.PartView | bus.PartHeader | bus.PartDBus1
	return m
}

// recycle is called when nobody has the message any more.
func (m *message) recycle() {
	if m.freeRaw != nil {
		m.freeRaw()
	}
	if spoilFreed {
		spoil(m.short[:])
	}
	m.Message, m.pieces, m.freeRaw = bus.Message{}, [2][]byte{}, nil
	messages.Put(m)
}

// space returns an empty slice with room for the payload of m, of size bytes.
func (m *message) space(size int) []byte {
	if size > maxShort {
		return make([]byte, 0, size)
	}
	return m.short[:0]
}

// spoil makes what is in b unlike anything that it can have been.
func spoil(b []byte) {
	for i := range b {
		b[i] = 0xdb
	}
}
