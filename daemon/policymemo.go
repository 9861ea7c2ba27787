package daemon

import (
	"github.com/kdbus-go/kdbus/busconfig"
	"github.com/kdbus-go/kdbus/wire"
)

// Most messages are like one before: a client that calls a method again and again, a service that answers.
// What was allowed is remembered with the sender, for a few kinds of messages, and takes a comparison then
// instead of look-ups. All that rules can ask about is compared. A connection is not given any of this before it
// sends something.

// memos are of one sender. Like all that is kept with a sender, they are touched by the goroutine that drives
// it, with the bus locked, or with the bus locked for writing.
type memos struct {
	entries [2]memo
	next    int // to be forgotten
}

// memo is a kind of message that may be sent and received.
type memo struct {
	known                    bool
	reply, requested, opaque bool
	typ                      wire.Type
	lengths                  [4]uint8 // of path, interface, member and error name, which are in text
	descriptors              uint32
	receiver                 *rights // nil: there is no receiver that the policy limits
	sender, destination      *busconfig.Names
	text                     [memoText]byte
}

// memoText is how long the header fields of messages are together that are remembered, in bytes.
const memoText = 128

// allows reports whether such a message was allowed before. sender are the names of the sender.
func (m *memos) allows(asked *busconfig.Message, sender *busconfig.Names, receiver *rights) bool {
	if m == nil {
		return false
	}
	for i := range m.entries {
		e := &m.entries[i]
		if e.known && e.typ == asked.Type && e.destination == asked.Destination && e.receiver == receiver && e.sender == sender &&
			e.descriptors == asked.Descriptors && e.reply == asked.Reply && e.requested == asked.Requested &&
			e.opaque == asked.Opaque && e.says(asked) {
			return true
		}
	}
	return false
}

// says reports whether the header fields are the same.
func (e *memo) says(asked *busconfig.Message) bool {
	at := 0
	for i, s := range [...]string{asked.Path, asked.Interface, asked.Member, asked.ErrorName} {
		end := at + int(e.lengths[i])
		if string(e.text[at:end]) != s {
			return false
		}
		at = end
	}
	return true
}

// remember notes that such a message is allowed. Messages that are long or special it does not note.
func (s *subject) remember(asked *busconfig.Message, receiver *rights) {
	fields := [...]string{asked.Path, asked.Interface, asked.Member, asked.ErrorName}
	if asked.Broadcast || asked.Eavesdropping || len(fields[0])+len(fields[1])+len(fields[2])+len(fields[3]) > memoText {
		return
	}
	if s.memos == nil {
		s.memos = new(memos)
	}
	e := &s.memos.entries[s.memos.next]
	s.memos.next = (s.memos.next + 1) % len(s.memos.entries)
	e.known, e.reply, e.requested, e.opaque = true, asked.Reply, asked.Requested, asked.Opaque
	e.typ, e.descriptors = asked.Type, asked.Descriptors
	e.receiver, e.sender, e.destination = receiver, s.names, asked.Destination
	at := 0
	for i, field := range fields {
		e.lengths[i] = uint8(len(field))
		at += copy(e.text[at:], field)
	}
}
